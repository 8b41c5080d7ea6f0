"""The form of a submission: its fields as text, the submission that they make, and the fields that are wrong.

The fields of the form are flat; `model.submission` decides what is valid. Pages belong to `pages`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import parse_qsl

from pydantic import ValidationError

from d4c_pipeline.appraisal.delivered import refuse_inner
from d4c_pipeline.appraisal.policy import wrong_fields
from d4c_pipeline.model.errors import PermanentError
from d4c_pipeline.model.submission import Submission

_SIDES = ("west", "south", "east", "north")
_OF_SUBMITTER = ("name", "email", "organization", "webhook")
_LINES = ("title", "description", "licence", "rights", "place", "start", "end", "size", "frequency", "reason")
FIELDS = (*_OF_SUBMITTER, *_LINES, "sources", "upload", *_SIDES, "terms")
"""The names of all fields."""
_MOST_FIELDS = 60


@dataclass(frozen=True)
class Filled:
    """A form as sent: the submission, None if it is not valid; the names of wrong fields, in the form's order."""

    values: Mapping[str, str]
    submission: Submission | None = None
    wrong: tuple[str, ...] = field(default=())


def decoded(body: bytes, most: int = _MOST_FIELDS) -> dict[str, str]:
    """Return the fields of an `application/x-www-form-urlencoded` body; of repeated fields the values by lines.

    `most`: of its fields. Raises ValueError for too many fields or for bytes that are no UTF-8.
    """
    found: dict[str, str] = {}
    text = body.decode("ascii")
    for name, value in parse_qsl(text, keep_blank_values=True, max_num_fields=most, errors="strict"):
        plain = value.replace("\r\n", "\n")
        found[name] = f"{found[name]}\n{plain}" if name in found else plain
    return found


def filled(values: Mapping[str, str], language: Literal["en", "fr"]) -> Filled:
    """Return a sent form with its submission or its wrong fields."""
    document: dict[str, Any] = {"language": language, "submitter": _given(values, _OF_SUBMITTER)}
    document |= _given(values, (*_LINES, "terms"))
    document["sources"] = [line.strip() for line in values.get("sources", "").splitlines() if line.strip()]
    document["upload"] = bool(values.get("upload"))
    sides = [values.get(side, "").strip().replace(",", ".") for side in _SIDES]
    if any(sides):
        document["bounds"] = sides
    try:
        submission = Submission.model_validate(document)
        refuse_inner(submission.sources)
    except ValidationError as error:
        wrong = {_field(path, cause) for path, cause in wrong_fields(error)}
    except PermanentError:
        wrong = {"sources"}
    else:
        return Filled(values, submission)
    return Filled(values, wrong=tuple(name for name in FIELDS if name in wrong))


def values_of(submission: Submission) -> dict[str, str]:
    """Return the fields of the form that make a submission, without the agreement to terms."""
    found = {name: getattr(submission.submitter, name) for name in _OF_SUBMITTER}
    found |= {name: getattr(submission, name) for name in _LINES}
    found["sources"] = "\n".join(submission.sources)
    found["upload"] = "yes" if submission.upload else None
    if submission.bounds is not None:
        found |= dict(zip(_SIDES, (f"{side:g}" for side in submission.bounds), strict=True))
    return {name: str(value) for name, value in found.items() if value is not None}


def _given(values: Mapping[str, str], names: tuple[str, ...]) -> dict[str, str]:
    return {name: text for name in names if (text := values.get(name, "").strip())}


def _field(path: str, cause: str) -> str:
    parts = path.split(".")
    if parts[0] == "submitter":
        return parts[1] if len(parts) > 1 else "name"
    if parts[0] == "bounds":
        return "west"
    if parts[0] in FIELDS:
        return parts[0]
    # A contradiction between fields has no path.
    if "bounds" in cause:
        return "west"
    return "end" if "start" in cause else "sources"
