"""The arguments of a request: which a verb takes, dates in both granularities, repeated and unknown arguments."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from d4c_pipeline.services.oai.errors import OaiError

LONGEST = 4_096
"""Characters of a value; the longest that we make is a resumption token of some 500."""
_SPEC = re.compile(r"[A-Za-z0-9\-_.!~*'()]+(?::[A-Za-z0-9\-_.!~*'()]+)*")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_SECOND = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z", re.ASCII)
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:\S+")
TOKEN = "resumptionToken"  # noqa: S105 - the name of an argument
_HARVEST = ("from", "until", "set", TOKEN)


@dataclass(frozen=True)
class _Verb:
    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()


VERBS: Mapping[str, _Verb] = {
    "Identify": _Verb(),
    "ListMetadataFormats": _Verb(optional=("identifier",)),
    "ListSets": _Verb(optional=(TOKEN,)),
    "GetRecord": _Verb(required=("identifier", "metadataPrefix")),
    "ListIdentifiers": _Verb(required=("metadataPrefix",), optional=_HARVEST),
    "ListRecords": _Verb(required=("metadataPrefix",), optional=_HARVEST),
}


@dataclass(frozen=True)
class Selection:
    """What a list contains: format, set, and the first and last second since 1970 (UTC) of `modified`."""

    prefix: str
    spec: str | None = None
    first: int | None = None
    last: int | None = None


@dataclass(frozen=True)
class Arguments:
    """The arguments of a valid request. `stated`: as the answer repeats them; `token` excludes the others."""

    verb: str
    stated: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def token(self) -> str | None:
        """The resumption token of the request."""
        return self.stated.get(TOKEN)

    @property
    def identifier(self) -> str | None:
        """The identifier of an item."""
        return self.stated.get("identifier")

    def selection(self) -> Selection:
        """Return what the list contains."""
        first, last = self.stated.get("from"), self.stated.get("until")
        return Selection(
            self.stated["metadataPrefix"],
            self.stated.get("set"),
            None if first is None else int(_moment(first)[0].timestamp()),
            None if last is None else int(_moment(last)[1].timestamp()),
        )


def read(pairs: Iterable[tuple[str, str]]) -> Arguments:
    """Return the arguments of a request. Raises OaiError with badVerb or badArgument."""
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    verbs = found.pop("verb", [])
    if len(verbs) != 1:
        raise OaiError("badVerb", "Give one verb" if verbs else f"Give a verb: {', '.join(VERBS)}")
    verb = VERBS.get(verbs[0])
    if verb is None:
        raise OaiError("badVerb", f"The verbs are {', '.join(VERBS)}")
    known = (*verb.required, *verb.optional)
    if unknown := [name for name in found if name not in known]:
        takes = f"takes {', '.join(known)}" if known else "takes no arguments"
        raise OaiError("badArgument", f"{verbs[0]} {takes}, not {_shown(unknown[0])}")
    if repeated := [name for name, values in found.items() if len(values) > 1]:
        raise OaiError("badArgument", f"{repeated[0]} is given {len(found[repeated[0]])} times: give it once")
    stated = {"verb": verbs[0]} | {name: values[0] for name, values in found.items()}
    if long := [name for name, value in stated.items() if len(value) > LONGEST]:
        raise OaiError("badArgument", f"{long[0]} is longer than {LONGEST} characters")
    if TOKEN in stated:
        if len(stated) > 2:
            raise OaiError("badArgument", f"{TOKEN} excludes all other arguments")
        return Arguments(verbs[0], stated)
    if missing := [name for name in verb.required if not stated.get(name)]:
        raise OaiError("badArgument", f"{verbs[0]} needs {missing[0]}")
    _check(stated)
    return Arguments(verbs[0], stated)


def _check(stated: Mapping[str, str]) -> None:
    dates = {name: stated[name] for name in ("from", "until") if name in stated}
    moments = {name: _moment(text) for name, text in dates.items()}
    if len({len(text) for text in dates.values()}) > 1:
        raise OaiError("badArgument", "from and until have different granularities: use the same for both")
    if len(moments) > 1 and moments["from"][0] > moments["until"][0]:
        raise OaiError("badArgument", "from is later than until")
    if "set" in stated and not _SPEC.fullmatch(stated["set"]):
        raise OaiError("badArgument", f"{_shown(stated['set'])} is not a setSpec: ListSets has all of them")
    if "identifier" in stated and not _ADDRESS.fullmatch(stated["identifier"]):
        raise OaiError("badArgument", f"{_shown(stated['identifier'])} is not an identifier, which is a URI")


def _moment(text: str) -> tuple[datetime, datetime]:
    """Return the first and the last second of a date. Raises OaiError with badArgument."""
    if not (_DAY.fullmatch(text) or _SECOND.fullmatch(text)):
        raise OaiError(
            "badArgument", f"{_shown(text)} is not a date of the form YYYY-MM-DD or YYYY-MM-DDThh:mm:ssZ (UTC)"
        )
    try:
        start = datetime.fromisoformat(text.replace("Z", "+00:00"))
        start = start.replace(tzinfo=UTC)
        return start, start if "T" in text else start + timedelta(days=1, seconds=-1)
    except (ValueError, OverflowError) as error:
        raise OaiError("badArgument", f"{_shown(text)} is not a date: {error}") from error


def _shown(text: str) -> str:
    return f"'{text[:80]}'"
