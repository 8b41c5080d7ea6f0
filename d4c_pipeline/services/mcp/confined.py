"""Runs SQL over a release in the sandbox: a process without network and with the release's files only.

DuckDB's own limits (`checked_sql`) are the first fence; this process is the second, and ends what DuckDB does not
interrupt. `sandbox.call` keeps a server for it, which starts with the first query.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from d4c_pipeline.model.errors import D4CError, PermanentError
from d4c_pipeline.sandbox import call
from d4c_pipeline.sandbox.wire import Limits, Reach
from d4c_pipeline.services.mcp import checked_sql
from d4c_pipeline.services.problems import ProblemError
from d4c_pipeline.services.subset.source import Source, is_remote

SECONDS = 10.0
"""Time of a query."""
MOST_ROWS, MOST_BYTES = 500, 200_000
LONGEST = 10_000
"""Characters of the SQL."""
_GRACE_SECONDS = 2.0  # until the process ends that DuckDB did not interrupt
_MEMORY = 600 << 20
_SETTINGS = call.Settings(memory="the limit of a query", time="the limit of a query")

_Value = str | int | float | bool | None


class _Column(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    name: str
    type: str


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    columns: list[_Column]
    rows: Annotated[list[list[_Value]], Field(max_length=MOST_ROWS)]
    truncated: str | None


class _Problem(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    problem: Annotated[list[str], Field(min_length=2, max_length=2)]


@dataclass(frozen=True)
class Rows:
    """The rows of a query. `truncated`: the limit that they reached, `rows` or `bytes`, or None."""

    columns: list[dict[str, str]]
    rows: list[list[_Value]]
    truncated: str | None


def queried(sql: str, source: Source, most_rows: int = MOST_ROWS, seconds: float = SECONDS) -> Rows:
    """Return the rows of a SELECT over the view `data`, the rows of a release.

    Raises ProblemError (400) for SQL that is refused, fails, or exceeds a limit, PermanentError when the process
    answers with anything else.
    """
    if len(sql) > LONGEST:
        raise ProblemError(
            HTTPStatus.BAD_REQUEST, f"The query has {len(sql):,} characters, and {LONGEST:,} are allowed", "Shorten it"
        )
    local = tuple(Path(file).resolve() for file in source.files if not is_remote(file))
    files = [file if is_remote(file) else str(Path(file).resolve()) for file in source.files]
    network = any(map(is_remote, source.files))
    extensions = (*(("httpfs",) if network else ()), "spatial")
    most = {"rows": most_rows, "bytes": MOST_BYTES, "seconds": seconds}
    with tempfile.TemporaryDirectory(prefix="d4c-query-") as scratch:
        try:
            found = call.run(
                checked_sql.answer,
                sql,
                files,
                source.geometry,
                extensions,
                most,
                what="The query",
                limits=Limits(_MEMORY, seconds + _GRACE_SECONDS),
                settings=_SETTINGS,
                reach=Reach(Path(scratch), local, network=network),
            )
        except D4CError as error:  # what the sandbox says: the process ended without an answer
            raise ProblemError(HTTPStatus.BAD_REQUEST, error.cause, checked_sql.SMALLER) from error
    try:
        if "problem" in found:
            cause, remedy = _Problem.model_validate(found).problem
            raise ProblemError(HTTPStatus.BAD_REQUEST, cause, remedy)
        answer = _Answer.model_validate(found)
    except (ValidationError, TypeError, ValueError) as error:
        raise PermanentError("The query ended without a valid answer", "Report this bug") from error
    return Rows([each.model_dump() for each in answer.columns], answer.rows, answer.truncated)
