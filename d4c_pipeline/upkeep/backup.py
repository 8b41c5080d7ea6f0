"""Backups: what a deployment can't make again, in one file: the ledger, the settings, the keys.

Files of releases are not in it: they are in stores and archive, and `reconciliation` compares these with the restored
ledger. Dagster's settings files are in it, its runs and events are not: they are history, and the ledger alone decides
what is published. Restoring belongs to `restore`.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shlex
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

from d4c_pipeline.files.disk import storage_errors, sync_folder
from d4c_pipeline.files.hashing import sha256_of
from d4c_pipeline.ledger.copying import copy_out, examine_copy
from d4c_pipeline.ledger.ledger import embedded_url
from d4c_pipeline.model import secrets
from d4c_pipeline.model.errors import D4CError, IntegrityError, PermanentError
from d4c_pipeline.model.seeding import SeedingSettings
from d4c_pipeline.model.settings import Settings, archive_token, has_archive_token
from d4c_pipeline.model.settings_table import GROUPS, documented, secret_variables
from d4c_pipeline.model.stores import S3Place

FORMAT = 1
CONTENTS = "backup.json"
LEDGER = "ledger.sqlite"
SETTINGS = "settings.env"
SECRETS = "secrets.env"
STORES = "stores.yaml"
OPERATOR_KEY = "keys/operator.pem"
_MODE = 0o600
_DAGSTER = ("dagster.yaml", "workspace.yaml")
_NOT_RESTORED = ("D4C_HOME", "D4C_STORES", "D4C_OPERATOR_KEY")
"""Variables whose value is a place on the machine of the backup; a restore has places of its own."""


@dataclass(frozen=True)
class Packed:
    """A file of a backup: its path in it, size in bytes, sha256, and file mode."""

    name: str
    size: int
    sha256: str
    mode: int


@dataclass(frozen=True)
class Contents:
    """The first member of a backup. `rows`: table of the ledger -> number of rows; `omitted`: secret variables."""

    format: int
    made_at: str
    code: str
    revision: str
    rows: Mapping[str, int]
    omitted: tuple[str, ...]
    files: tuple[Packed, ...]


def back_up(settings: Settings, file: Path, environment: Mapping[str, str], *, with_secrets: bool = False) -> Contents:
    """Write a backup of the deployment to the new `file`, readable by its owner alone, and return its contents.

    The ledger is copied at one moment and a running platform goes on. `file` appears complete and verified, or not at
    all. Raises PermanentError if `file` exists or there is no ledger, StorageError if the disk refuses.
    """
    if file.exists():
        raise PermanentError(f"{file} exists", "Choose another name, such as one with the date")
    with storage_errors(f"write {file}"), TemporaryDirectory(prefix=".d4c-backup-", dir=file.parent) as name:
        folder = Path(name)
        copy_out(settings.ledger_url or embedded_url(settings.home), folder / LEDGER)
        revision, rows = examine_copy(folder / LEDGER)
        omitted = _collect(settings, folder, environment, with_secrets=with_secrets)
        files = tuple(_packed(folder, path) for path in sorted(folder.rglob("*")) if path.is_file())
        moment = datetime.now(UTC).isoformat(timespec="seconds")
        contents = Contents(FORMAT, moment, version("d4c-pipeline"), revision, rows, tuple(omitted), files)
        part = folder / "part"
        _pack(part, folder, contents)
        read_contents(part)
        part.rename(file)
        sync_folder(file.parent)
    return contents


def read_contents(file: Path, target: Path | None = None) -> Contents:
    """Verify every file of a backup and return its contents; with `target`, unpack them into that folder.

    Raises PermanentError if `file` is no backup or one of a newer version, IntegrityError if it is damaged.
    """
    damaged = IntegrityError(f"The backup {file} is damaged", "Use another one")
    try:
        with storage_errors(f"read {file}"), tarfile.open(file, "r:gz") as archive:
            first = archive.next()
            stream = archive.extractfile(first) if first is not None and first.name == CONTENTS else None
            if stream is None:
                raise PermanentError(f"{file} is no backup", "Name a file that 'd4c backup' wrote")
            contents = _contents(json.loads(stream.read()), file)
            for known in contents.files:
                member = archive.next()
                stream = archive.extractfile(member) if member is not None and member.name == known.name else None
                if stream is None:
                    raise damaged
                _unpack(stream, known, target, damaged)
    except (tarfile.TarError, EOFError, ValueError, KeyError, TypeError) as error:
        raise damaged from error
    return contents


def _contents(found: dict[str, object], file: Path) -> Contents:
    if found.get("format") != FORMAT:
        raise PermanentError(
            f"{file} has the format {found.get('format')}, this version reads {FORMAT}",
            "Install the version of d4c_pipeline that wrote it, or a newer one",
        )
    values: dict[str, object] = {**found}
    listed = values.pop("files")
    if not isinstance(listed, list):
        raise TypeError("files is no list")
    return Contents(**values, files=tuple(Packed(**each) for each in listed))  # pyright: ignore[reportArgumentType]


def _unpack(stream: io.BufferedIOBase | object, known: Packed, target: Path | None, damaged: IntegrityError) -> None:
    place = Path(known.name)
    if place.is_absolute() or ".." in place.parts:
        raise damaged
    digest, size = hashlib.sha256(), 0
    out = None
    if target is not None:
        (target / place).parent.mkdir(parents=True, exist_ok=True)
        out = os.fdopen(os.open(target / place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, known.mode), "wb")
    try:
        while block := stream.read(1 << 20):  # pyright: ignore[reportAttributeAccessIssue]
            digest.update(block)
            size += len(block)
            if out is not None:
                out.write(block)
        if out is not None:
            out.flush()
            os.fsync(out.fileno())
    finally:
        if out is not None:
            out.close()
    if (digest.hexdigest(), size) != (known.sha256, known.size):
        raise damaged


def _collect(settings: Settings, folder: Path, environment: Mapping[str, str], *, with_secrets: bool) -> list[str]:
    """Copy settings and keys into `folder` and return the names of the secret variables that are left out."""
    public, private = _variables(settings, environment)
    _write(folder / SETTINGS, _lines(public))
    if with_secrets and private:
        _write(folder / SECRETS, _lines(private))
    keys = {path: f"keys/{path.name}" for path in sorted((settings.home / "keys").glob("*")) if path.is_file()}
    named = SeedingSettings.from_environment(environment).key_file
    if named is not None and named.is_file():
        keys[named] = OPERATOR_KEY
    files = {**keys, **{settings.home / "dagster" / name: f"dagster/{name}" for name in _DAGSTER}}
    if document := environment.get("D4C_STORES", "").strip():
        files[Path(document).expanduser().absolute()] = STORES
    for source, name in files.items():
        if source.is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            _write(folder / name, source.read_bytes(), source.stat().st_mode & 0o777)
    return [] if with_secrets else sorted(private)


def _variables(settings: Settings, environment: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the settings that the environment has: those that everybody may know, and the secret ones."""
    known = sorted(setting.variable for _, group in GROUPS for setting in documented(group))
    given = {name: text for name in known if (text := environment.get(name, "")).strip()}
    # An address of a mail server or a chat has its password in forms that no pattern knows.
    hidden = secret_variables()
    private = {name: text for name, text in given.items() if name in hidden or secrets.is_secret(name, text)}
    if has_archive_token(environment):
        try:
            private["D4C_ARCHIVE_TOKEN"] = archive_token(environment)
        except D4CError:
            private.setdefault("D4C_ARCHIVE_TOKEN", "")  # its file can't be read: named as omitted
    places = [place for place in (settings.stores.primary, *settings.stores.mirrors) if isinstance(place, S3Place)]
    named = [name for place in places for name in (place.access_key_env, place.secret_key_env) if name]
    private |= {name: environment[name] for name in (*named, "PGPASSWORD") if environment.get(name, "").strip()}
    public = {name: text for name, text in given.items() if name not in {*private, *_NOT_RESTORED}}
    return public, private


def _lines(variables: Mapping[str, str]) -> bytes:
    return "".join(f"{name}={shlex.quote(text)}\n" for name, text in variables.items()).encode()


def _write(path: Path, content: bytes, mode: int = _MODE) -> None:
    path.write_bytes(content)
    path.chmod(mode)


def _packed(folder: Path, path: Path) -> Packed:
    status = path.stat()
    return Packed(str(path.relative_to(folder)), status.st_size, sha256_of(path), status.st_mode & 0o777)


def _pack(part: Path, folder: Path, contents: Contents) -> None:
    with (
        os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE), "wb") as file,
        tarfile.open(fileobj=file, mode="w:gz", compresslevel=6) as archive,
    ):
        for name, content in _members(folder, contents):
            with content as stream:
                member = tarfile.TarInfo(name)
                member.size, member.mode = stream.seek(0, os.SEEK_END), _MODE
                stream.seek(0)
                archive.addfile(member, stream)
    with part.open("rb") as file:
        os.fsync(file.fileno())


def _members(folder: Path, contents: Contents) -> Iterator[tuple[str, io.BufferedIOBase]]:
    yield CONTENTS, io.BytesIO(json.dumps(asdict(contents), indent=2).encode())
    for each in contents.files:
        yield each.name, (folder / each.name).open("rb")
