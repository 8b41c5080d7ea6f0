"""The bounds of a filter, and the problem of a filter that is wrong."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus

from d4c_pipeline.services.problems import ProblemError


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The largest filter: `bytes` of text, `depth` of nesting, `nodes` (operators and operands), `vertices`."""

    bytes: int = 10_000
    depth: int = 32
    nodes: int = 2_000
    vertices: int = 10_000


def bad_filter(detail: str, remedy: str) -> ProblemError:
    """Return the problem (400) of a filter that can't be evaluated."""
    return ProblemError(HTTPStatus.BAD_REQUEST, f"The filter can't be used: {detail}", remedy)
