"""Parsing of responses of DataCite's REST API: a DOI and its state, lists of DOIs, explained refusals.

Calls belong to `client.py` and `dois.py`. The responses are JSON:API documents.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import unquote

from d4c_pipeline.metadata.record import IDENTIFIER_SCHEME
from d4c_pipeline.model.errors import D4CError, NeedsPersonError, PermanentError, TransientError
from d4c_pipeline.transport.rest import Body, Refusal

_VERSION = re.compile(r"(?P<concept>.+)\.v(?P<number>\d+)")


@dataclass(frozen=True)
class Doi:
    """A DOI as DataCite has it; `state` is `draft`, `registered` or `findable`."""

    name: str
    state: str
    attributes: Mapping[str, Any]

    @property
    def identifier(self) -> str | None:
        """Our own alternate identifier."""
        stated = (str(entry.get("alternateIdentifier", "")) for entry in self._entries("alternateIdentifiers"))
        return next((identifier for identifier in stated if identifier.startswith(IDENTIFIER_SCHEME)), None)

    @property
    def version(self) -> str | None:
        """The version in its metadata."""
        return self.attributes.get("version") or None

    @property
    def files(self) -> dict[str, str]:
        """The addresses of its files, by name."""
        addresses = cast("Sequence[str]", self.attributes.get("contentUrl") or ())
        return {unquote(address.rpartition("/")[2]): address for address in addresses}

    @property
    def versions(self) -> list[str]:
        """The DOIs of its versions."""
        return [
            str(entry["relatedIdentifier"]).lower()
            for entry in self._entries("relatedIdentifiers")
            if entry.get("relationType") == "HasVersion"
        ]

    def _entries(self, name: str) -> Sequence[Mapping[str, Any]]:
        return cast("Sequence[Mapping[str, Any]]", self.attributes.get(name) or ())


def concept_of(name: str) -> str:
    """Return the all-versions DOI that the DOI of a version belongs to."""
    found = _VERSION.fullmatch(name)
    return found["concept"] if found else name


def number_of(name: str) -> int:
    """Return the number of a version in its concept, from 1; 0 for a DOI that is not a version of ours."""
    found = _VERSION.fullmatch(name)
    return int(found["number"]) if found else 0


def doi_body(attributes: Mapping[str, Any]) -> Body:
    """Return the body that creates or changes a DOI."""
    content = json.dumps({"data": {"type": "dois", "attributes": dict(attributes)}}, ensure_ascii=False).encode()
    return Body("application/vnd.api+json", len(content), lambda: nullcontext(iter((content,))))


def doi_of(body: Mapping[str, Any]) -> Doi:
    """Parse the response to a request for one DOI. Raises TransientError for any other content."""
    try:
        return _read(body["data"])
    except (KeyError, TypeError, AttributeError) as error:
        raise TransientError(f"DataCite returned no DOI ({error!r})", "Try again later") from error


def hits_of(body: Mapping[str, Any]) -> tuple[Doi, ...]:
    """Parse the response to a search. Raises TransientError for any other content."""
    try:
        return tuple(_read(entry) for entry in body["data"])
    except (KeyError, TypeError, AttributeError) as error:
        raise TransientError(f"DataCite returned no list of DOIs ({error!r})", "Try again later") from error


def explain_refusal(refusal: Refusal) -> D4CError:
    """Return the explained error of a refusal."""
    if refusal.status in (401, 403):
        return NeedsPersonError(
            f"DataCite refuses {refusal.method} {refusal.path} ({refusal.status})",
            "Check D4C_ARCHIVE_ACCOUNT, its password in D4C_ARCHIVE_TOKEN and that the account has the prefix",
        )
    errors = cast("Sequence[Mapping[str, Any]]", refusal.body.get("errors") or ())
    stated = [": ".join(str(error[key]) for key in ("source", "title") if error.get(key)) for error in errors]
    return PermanentError(
        f"DataCite refuses {refusal.method} {refusal.path} ({refusal.status}: {'; '.join(stated) or refusal.message})",
        "Correct what it names in the dataset's YAML",
    )


def _read(entry: Mapping[str, Any]) -> Doi:
    attributes = entry["attributes"]
    # DOIs are case-insensitive; DataCite stores them in lower case.
    return Doi(str(attributes.get("doi") or entry["id"]).lower(), str(attributes.get("state") or "draft"), attributes)
