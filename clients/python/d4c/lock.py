"""The lock file: what dataset, version and vintage were resolved to, so that later runs read exactly the same bytes.

`d4c.lock` is JSON for a project's version control. Resolving belongs to `catalogue` and `opening`; the bytes are
verified by `cache`. Form 1: `releases` is a list of what was asked for and what it gave.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from d4c.errors import FormError, IntegrityError

try:
    import fcntl
except ImportError:  # Windows: two processes that add to one lock file at once may lose an entry, which is added again
    fcntl = None

FORM = 1


@dataclass(frozen=True)
class Asked:
    """The arguments of `d4c.open`, as they were given."""

    dataset: str
    version: str | None
    vintage: str | None

    def __str__(self) -> str:
        """Dataset, vintage and version as a text."""
        parts = [self.dataset, *(f"{name}={value}" for name, value in self._given())]
        return " ".join(parts)

    def _given(self) -> Iterator[tuple[str, str]]:
        for name, value in (("version", self.version), ("vintage", self.vintage)):
            if value is not None:
                yield name, value


@dataclass(frozen=True)
class Locked:
    """A release in a lock file. `files`: name, size and sha256 (hex) of each data file; `came_from`: mirrors."""

    asked: Asked
    vintage: str
    version: str
    doi: str | None
    files: tuple[tuple[str, int, str], ...]
    came_from: tuple[str, ...]

    def differing(self, files: Mapping[str, tuple[int, str]]) -> list[str]:
        """Return how these files (name -> size and sha256) differ from the locked ones, in words."""
        ours = {name: (size, sha256) for name, size, sha256 in self.files}
        return [
            f"{name}: sha256 {ours[name][1] if name in ours else 'none'} is locked, "
            f"{files[name][1] if name in files else 'none'} is stated"
            for name in sorted(ours.keys() | files.keys())
            if ours.get(name) != files.get(name)
        ]


def read(path: Path) -> dict[Asked, Locked]:
    """Return the entries of a lock file, none where there is no file yet. Raises FormError for any other content."""
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return {}
    try:
        document = json.loads(text)
        if document["form"] != FORM:
            raise FormError(
                f"{path} has form {document['form']}, this client reads {FORM}", "Install the d4c-client that wrote it"
            )
        entries = [_read(each) for each in document["releases"]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FormError(
            f"{path} is no lock file: {error}", "Restore it from version control, or delete it to lock anew"
        ) from error
    found = {entry.asked: entry for entry in entries}
    if len(found) != len(entries):
        raise IntegrityError(f"{path} locks one request twice", "Keep one of the entries, as after a merge")
    return found


@contextmanager
def changing(path: Path) -> Iterator[dict[Asked, Locked]]:
    """Yield the entries of a lock file; write them at the end if they changed, in one step and alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    guard = path.with_name(f".{path.name}.guard")
    with guard.open("a") as held:
        if fcntl is not None:
            fcntl.flock(held, fcntl.LOCK_EX)
        before = read(path)
        entries = dict(before)
        yield entries
        if entries != before:
            _write(path, entries)


def public(base: str) -> str | None:
    """Return a mirror's address without a password; None for a folder, which other machines do not have."""
    parts = urlsplit(base)
    if parts.scheme not in ("http", "https"):
        return None
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _read(entry: Mapping[str, Any]) -> Locked:
    asked = Asked(*(entry["asked"][name] for name in ("dataset", "version", "vintage")))
    files = tuple((file["name"], file["size"], file["sha256"]) for file in entry["files"])
    return Locked(asked, entry["vintage"], entry["version"], entry["doi"], files, tuple(entry["came_from"]))


def _write(path: Path, entries: Mapping[Asked, Locked]) -> None:
    ordered = sorted(entries.values(), key=lambda entry: str(entry.asked))
    releases = [
        {
            "asked": asdict(entry.asked),
            "dataset": entry.asked.dataset,
            "vintage": entry.vintage,
            "version": entry.version,
            "doi": entry.doi,
            "files": [{"name": name, "size": size, "sha256": sha256} for name, size, sha256 in entry.files],
            "came_from": list(entry.came_from),
        }
        for entry in ordered
    ]
    text = json.dumps({"form": FORM, "releases": releases}, indent=2, ensure_ascii=False) + "\n"
    number, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    new = Path(name)
    try:
        with os.fdopen(number, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        new.chmod(0o644)
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)
