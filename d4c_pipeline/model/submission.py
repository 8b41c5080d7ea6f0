"""A submission: what a person asks the platform to take in, its states, and the moves between them.

The rows of the ledger belong to `ledger.submissions`, the policy and the decisions to `appraisal`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

import orjson
from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from d4c_pipeline.model.declared import Declared, HttpUrl, full_match, text_of_number
from d4c_pipeline.model.environment import amount
from d4c_pipeline.model.frequency import Frequency
from d4c_pipeline.model.texts import unfit

MOST_SOURCES = 20
_LONGEST_TEXT, _LONGEST_LINE = 10_000, 300  # characters
_LONGEST_MAIL = 254  # characters; RFC 5321 section 4.5.3.1.3 allows a path of 256 with its angle brackets
_MAIL = (
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}"
    r"@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,63}"
)


class SubmissionState(StrEnum):
    """The state of a submission. An `assessing` submission may have no process, after a crash."""

    SUBMITTED = "submitted"
    ASSESSING = "assessing"
    IN_APPRAISAL = "in_appraisal"
    NEEDS_CHANGES = "needs_changes"
    ACCEPTED = "accepted"
    DECLINED = "declined"
    DRAFTED = "drafted"
    READY = "ready"
    PUBLISHED = "published"


_S = SubmissionState
MOVES: Mapping[SubmissionState, tuple[SubmissionState, ...]] = {
    _S.SUBMITTED: (_S.ASSESSING,),
    _S.ASSESSING: (_S.IN_APPRAISAL, _S.DECLINED),
    _S.IN_APPRAISAL: (_S.ACCEPTED, _S.DECLINED, _S.NEEDS_CHANGES, _S.ASSESSING),
    _S.NEEDS_CHANGES: (_S.SUBMITTED, _S.DECLINED),
    _S.ACCEPTED: (_S.DRAFTED,),
    _S.DRAFTED: (_S.READY,),
    _S.READY: (_S.DRAFTED, _S.PUBLISHED),
    _S.DECLINED: (),
    _S.PUBLISHED: (),
}
"""The states that may follow each state."""

FINAL = tuple(state for state, following in MOVES.items() if not following)
"""The states that nothing follows."""


def _plain(text: str) -> str:
    if (what := unfit(text, markup=False)) is not None:
        raise ValueError(f"the text has {what}; write it without")
    return text.strip()


def _one_line(text: str) -> str:
    if len(text.splitlines()) > 1:
        raise ValueError("the text has a line break; write one line")
    return text


def _bytes(value: object) -> object:
    if not isinstance(value, str):
        return value
    if value.strip().isdecimal():
        return int(value)
    if (found := amount(value)) is None:
        raise ValueError(f"'{value}' is no size: write a number of bytes, or an amount such as 200 MB")
    return found


def _secure(url: str) -> str:
    if urlsplit(url).scheme != "https":
        raise ValueError(f"'{url}' is no https address")
    return url


Line = Annotated[str, Field(min_length=1, max_length=_LONGEST_LINE), AfterValidator(_plain), AfterValidator(_one_line)]
"""One line of plain text."""
Prose = Annotated[str, Field(min_length=1, max_length=_LONGEST_TEXT), AfterValidator(_plain)]
"""Plain text; the pages and mails that show it escape its markup."""
Mail = Annotated[str, Field(max_length=_LONGEST_MAIL), full_match(_MAIL, "one mail address (name@example.ca)")]
"""A mail address without display name, comment or line break: it can't add a header or a receiver to a mail."""
Day = Annotated[
    str,
    BeforeValidator(text_of_number),
    full_match(r"\d{4}(?:-(?:0[1-9]|1[0-2])(?:-(?:0[1-9]|[12]\d|3[01]))?)?", "a year, a month or a day (2021-05-11)"),
]


class Submitter(Declared):
    """The person who submits. `webhook`: an https address that is told of every change, beside the mail."""

    name: Line
    email: Mail
    organization: Line | None = None
    webhook: Annotated[HttpUrl, AfterValidator(_secure)] | None = None


class Submission(Declared):
    """What is submitted.

    `language`: of title, description and notifications. `licence`: an id of a known licence, its title or its address;
    `rights`: who holds the rights, and limits that the licence does not state. `sources`: addresses of the files or of
    their page; `upload`: whether files are uploaded instead or beside them. `bounds`: west, south, east, north in
    degrees. `size`: bytes. `terms`: the version of the terms that the submitter agreed to.
    """

    submitter: Submitter
    language: Literal["en", "fr"] = "en"
    title: Line
    description: Prose
    licence: Line
    rights: Prose | None = None
    sources: Annotated[tuple[HttpUrl, ...], Field(max_length=MOST_SOURCES)] = ()
    upload: bool = False
    place: Line | None = None
    bounds: tuple[float, float, float, float] | None = None
    start: Day | None = None
    end: Day | None = None
    size: Annotated[Annotated[int, Field(ge=0)], BeforeValidator(_bytes)] | None = None
    frequency: Frequency | None = None
    reason: Prose
    terms: Annotated[Line, BeforeValidator(text_of_number)]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.sources and not self.upload:
            raise ValueError("nothing is submitted: give at least one source address, or upload: true")
        if len(set(self.sources)) != len(self.sources):
            raise ValueError("a source address is given twice")
        if self.bounds is not None:
            west, south, east, north = self.bounds
            if not (-180 <= west <= 180 and -180 <= east <= 180 and -90 <= south <= north <= 90):
                raise ValueError("bounds are not west, south, east, north in degrees")
        if self.start is not None and self.end is not None:
            if len(self.end) < len(self.start):
                raise ValueError("start and end differ in form: write both as years, months or days")
            if self.end[: len(self.start)] < self.start:
                raise ValueError(f"the end {self.end} is before the start {self.start}")
        return self

    @property
    def digest(self) -> str:
        """The sha256 (hex) of the content: equal for the same submission sent twice."""
        facts = self.model_dump(mode="json", exclude={"terms"})
        return hashlib.sha256(orjson.dumps(facts, option=orjson.OPT_SORT_KEYS)).hexdigest()


@dataclass(frozen=True)
class SubmissionRecord:
    """A submission in the ledger.

    `token`: the unguessable part of its private address; `sent_as`: the key that its sender chose. `revision` grows
    with every change. `files_complete`: False while the submitter may still upload files. `assigned_to`: the
    specialist. `assessment`: the document of the last assessment, see `appraisal`. `dataset` and `doi`: of its draft
    and its release.
    """

    id: int
    token: str
    sent_as: str | None
    state: SubmissionState
    revision: int
    submission: Submission
    files_complete: bool
    assigned_to: str | None
    assessment: Mapping[str, Any] | None
    dataset: str | None
    doi: str | None
    submitted_at: datetime
    updated_at: datetime


@dataclass(frozen=True)
class SubmissionLine:
    """The facts of a submission in a list."""

    id: int
    state: SubmissionState
    title: str
    submitter: str
    assigned_to: str | None
    dataset: str | None
    submitted_at: datetime
    updated_at: datetime


@dataclass(frozen=True)
class SubmissionEvent:
    """A change of a submission: the state after it, who made it, when and why.

    `detail` is JSON: for a refusal the criteria and the alternative repositories, for a publication the DOI.
    """

    id: int
    submission_id: int
    state: SubmissionState
    who: str
    reason: str
    at: datetime
    detail: Mapping[str, Any]
