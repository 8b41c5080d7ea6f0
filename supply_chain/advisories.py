"""A local database of advisories in the OSV format, and which of them a pinned version has.

Here belongs reading such a database: a checkout of PyPA's advisory-database (YAML), an unpacked export of OSV or a
checkout of GitHub's advisory-database (JSON), or OSV's export as one zip. Which version is affected follows
https://ossf.github.io/osv-schema/#evaluation with the order of PEP 440. What becomes of a finding belongs to `audit`.
Nothing is requested from a network.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import InvalidVersion, Version

from d4c_pipeline.model.errors import PermanentError

_SUFFIXES = {".json", ".yaml", ".yml"}


@dataclass(frozen=True)
class Advisory:
    """What one document says of one package."""

    identifier: str
    aliases: tuple[str, ...]
    """Other identifiers of the same vulnerability: CVE, GHSA, PYSEC."""
    package: NormalizedName
    summary: str
    file: str
    affected: Mapping[str, Any]
    """One element of the document's `affected`."""

    def identifiers(self) -> set[str]:
        """Return every name of the vulnerability that this document knows."""
        return {self.identifier, *self.aliases}

    def affects(self, version: Version) -> bool:
        """Tell whether `version` is listed, or lies in one of the ranges.

        Raises:
            PermanentError: a bound or a listed version is no version of PEP 440.
        """
        if any(one == version for one in self._listed()):
            return True
        return any(self._in_range(version, events) for events in self._ranges())

    def fixed_in(self, version: Version) -> tuple[Version, ...]:
        """Return the versions above `version` in which it is mended, lowest first."""
        found = {self._bound(event["fixed"]) for events in self._ranges() for event in events if "fixed" in event}
        return tuple(sorted(one for one in found if one > version))

    def _listed(self) -> Iterator[Version]:
        for text in self.affected.get("versions") or ():
            try:
                yield Version(str(text))
            except InvalidVersion:
                continue  # versions from before PEP 440, which no lock can pin

    def _ranges(self) -> Iterator[list[Mapping[str, str]]]:
        for one in self.affected.get("ranges") or ():
            if one.get("type") != "GIT":  # commits say nothing of a version; OSV lists those beside
                yield one.get("events") or []

    def _in_range(self, version: Version, events: list[Mapping[str, str]]) -> bool:
        """Walk the events by version: `introduced` begins, `fixed` and whatever follows `last_affected` end."""
        walk: list[tuple[Version, int, bool]] = []
        for event in events:
            for kind, text in event.items():
                if kind == "introduced":
                    walk.append((Version("0.dev0") if str(text) == "0" else self._bound(text), 0, True))
                elif kind == "fixed":
                    walk.append((self._bound(text), 0, False))
                elif kind == "last_affected":
                    walk.append((self._bound(text), 1, False))
        affected = False
        for bound, after, begins in sorted(walk, key=lambda one: one[:2]):
            if (version > bound) if after else (version >= bound):
                affected = begins
        return affected

    def _bound(self, text: object) -> Version:
        try:
            return Version(str(text))
        except InvalidVersion as error:
            raise PermanentError(
                f"{self.file} bounds {self.package} by {text!r}, which is no version", "Update the advisory database"
            ) from error


@dataclass(frozen=True)
class Database:
    """What was read of one database."""

    documents: int
    """Those that name a package of PyPI, withdrawn ones included."""
    modified: datetime
    """When the newest of them was changed, in UTC: how old the database is at least."""
    advisories: tuple[Advisory, ...]
    """Of the packages that were asked for, without those withdrawn."""


def read(place: Path, packages: set[NormalizedName]) -> Database:
    """Read the documents below the folder or in the zip `place`, keeping those on `packages`.

    Raises:
        PermanentError: `place` is not there, no document names a package of PyPI, or one cannot be read.
    """
    documents = 0
    newest = datetime.min.replace(tzinfo=UTC)
    kept: list[Advisory] = []
    for name, content in _files(place):
        document = _parsed(name, content)
        mine = [one for one in document.get("affected") or () if _ecosystem(one) == "PyPI"]
        if not mine:
            continue
        documents += 1
        newest = max(newest, _moment(document.get("modified"), name))
        if document.get("withdrawn"):
            continue
        for affected in mine:
            package = canonicalize_name(str(affected["package"].get("name") or ""))
            if not package:
                raise PermanentError(f"The advisory {name} names no package", "Fetch the database again")
            if package in packages:
                summary = " ".join(str(document.get("summary") or document.get("details") or "").split())[:200]
                aliases = tuple(sorted(str(one) for one in document.get("aliases") or ()))
                kept.append(Advisory(str(document["id"]), aliases, package, summary, name, affected))
    if not documents:
        raise PermanentError(
            f"{place} holds no advisory on a package of PyPI",
            "Name a checkout of PyPA's advisory-database or OSV's export of PyPI in D4C_ADVISORIES",
        )
    return Database(documents, newest, tuple(sorted(kept, key=lambda one: (one.package, one.identifier))))


def _files(place: Path) -> Iterator[tuple[str, bytes]]:
    if place.is_dir():
        for path in sorted(place.rglob("*")):
            if path.suffix in _SUFFIXES and path.is_file() and not _hidden(path.relative_to(place)):
                yield str(path.relative_to(place)), path.read_bytes()
    elif place.is_file() and zipfile.is_zipfile(place):
        with zipfile.ZipFile(place) as packed:
            for name in sorted(packed.namelist()):
                if Path(name).suffix in _SUFFIXES:
                    yield name, packed.read(name)
    else:
        raise PermanentError(
            f"{place} is neither a folder nor a zip of advisories",
            "Name one that is there in D4C_ADVISORIES, or unset it",
        )


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)  # .github/workflows/*.yml of a checkout


def _parsed(name: str, content: bytes) -> Mapping[str, Any]:
    try:
        document = json.loads(content) if name.endswith(".json") else yaml.load(content, yaml.CSafeLoader)
    except (ValueError, yaml.YAMLError) as error:
        raise PermanentError(f"The advisory {name} cannot be read: {error}", "Fetch the database again") from error
    if not isinstance(document, dict) or "affected" not in document:
        return {}  # a file of the repository's own, such as its configuration
    if not document.get("id"):
        raise PermanentError(f"The advisory {name} has no id", "Fetch the database again")
    return document


def _ecosystem(affected: Any) -> str:
    package = affected.get("package") if isinstance(affected, dict) else None
    return str(package.get("ecosystem", "")).partition(":")[0] if isinstance(package, dict) else ""


def _moment(value: object, name: str) -> datetime:
    if isinstance(value, datetime):  # YAML knows moments
        moment = value
    else:
        try:
            moment = datetime.fromisoformat(str(value))
        except ValueError as error:
            raise PermanentError(
                f"The advisory {name} does not say when it was modified", "Fetch the database again"
            ) from error
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
