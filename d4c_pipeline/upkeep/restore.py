"""Restoring a backup into an empty home: ledger, keys, settings files. `backup` writes them.

A restore resumes after a crash: the ledger comes last, so that a home without one is not restored yet. The comparison
with archive and stores belongs to `reconciliation`.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from d4c_pipeline.files.disk import storage_errors, sync_folder
from d4c_pipeline.files.hashing import sha256_of
from d4c_pipeline.ledger.copying import copy_in, examine_copy
from d4c_pipeline.ledger.database import HEAD
from d4c_pipeline.ledger.ledger import embedded_url
from d4c_pipeline.model.errors import IntegrityError, NeedsPersonError
from d4c_pipeline.model.settings import OWN_STORE, Settings
from d4c_pipeline.upkeep.backup import LEDGER, Contents, Packed, read_contents

_DESCRIBED = (OWN_STORE, "archive", "portal")
"""Folders that may exist in the home: what the ledger describes, and what is made from it."""
_SCRATCH = ".restoring-"


@dataclass(frozen=True)
class Restored:
    """`contents`: of the backup. `unset`: settings of the backup that this environment lacks or has differently."""

    contents: Contents
    unset: Mapping[str, str]


def restore(settings: Settings, file: Path, environment: Mapping[str, str]) -> Restored:
    """Restore the backup `file` into the home of `settings`, and the ledger into the database that they name.

    Raises NeedsPersonError if the home has anything but store, archive and portal, or the database has a ledger;
    IntegrityError if the backup is damaged; PermanentError if it is none.
    """
    contents = read_contents(file)
    home = settings.home
    _require_empty(home, contents.files)
    with storage_errors(f"write in {home}"):
        home.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=_SCRATCH, dir=home) as name:
            folder = Path(name)
            read_contents(file, folder)
            ledger = folder / LEDGER
            revision, rows = examine_copy(ledger)
            if dict(rows) != dict(contents.rows):
                raise IntegrityError(f"The ledger in {file} has other rows than it states", "Use another backup")
            if revision > HEAD:
                raise NeedsPersonError(
                    f"The ledger in {file} has revision {revision}, this version knows {HEAD}",
                    "Install the version of d4c_pipeline that wrote it, or a newer one",
                )
            for each in contents.files:
                if each.name != LEDGER:
                    place = home / each.name
                    place.parent.mkdir(parents=True, exist_ok=True)
                    (folder / each.name).replace(place)
                    sync_folder(place.parent)
            copy_in(ledger, settings.ledger_url or embedded_url(home))
            sync_folder(home)
    return Restored(contents, _unset(home, environment))


def _require_empty(home: Path, files: Sequence[Packed]) -> None:
    if not home.exists():
        return
    known = {each.name: each.sha256 for each in files if each.name != LEDGER}
    foreign: list[str] = []
    for path in sorted(home.rglob("*") if home.is_dir() else [home]):
        name = str(path.relative_to(home))
        first = name.partition("/")[0]
        if first in _DESCRIBED or first.startswith(_SCRATCH) or path.is_dir():
            continue
        if known.get(name) != (sha256_of(path) if path.is_file() else None):
            foreign.append(name)
    if foreign:
        raise NeedsPersonError(
            f"The home {home} is not empty: it has {', '.join(foreign[:3])}{' and more' if foreign[3:] else ''}",
            "Name an empty one with --home; only store, archive and portal may be there",
        )


def _unset(home: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the settings of the backup whose value in the environment is another."""
    found: dict[str, str] = {}
    for line in (home / "settings.env").read_text("utf-8").splitlines():
        name, _, quoted = line.partition("=")
        value = "".join(shlex.split(quoted))
        if environment.get(name, "").strip() != value:
            found[name] = value
    return found
