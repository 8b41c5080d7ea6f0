"""Fetches the record of a published release, named by its DOI or its name, into a folder.

The ledger of the home answers first, if there is one; else the archive. Which record a rebuild needs, and what it does
with it, belongs to `rebuilding`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from d4c_pipeline.archives.port import Archive, PublishedRecord
from d4c_pipeline.archives.retrieval import retrieve
from d4c_pipeline.files.disk import storage_errors
from d4c_pipeline.ledger.ledger import LEDGER_NAME
from d4c_pipeline.model.addresses import release_address
from d4c_pipeline.model.errors import (
    D4CError,
    IntegrityError,
    PermanentError,
    StorageError,
    TransientError,
    UnknownNameError,
)
from d4c_pipeline.model.manifest import Manifest
from d4c_pipeline.model.naming import ReleaseName
from d4c_pipeline.model.parts import MANIFEST_NAME
from d4c_pipeline.model.release import CHECKSUMS_NAME, ITEM_NAME, Deposit, PublishedRelease
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.stores.port import Store
from d4c_pipeline.workspace.archive import readable_archive
from d4c_pipeline.workspace.code_archive import CODE_NAME
from d4c_pipeline.workspace.deployment import opened_ledger
from d4c_pipeline.workspace.staging import fetched
from d4c_pipeline.workspace.stores import opened_stores

_DOI = re.compile(r"(?:https?://(?:dx\.)?doi\.org/|doi:)?(?P<doi>10\.\d{4,9}/\S+)", re.IGNORECASE)
_NEEDED = (MANIFEST_NAME, CODE_NAME, CHECKSUMS_NAME)


@dataclass(frozen=True)
class Fetched:
    """A record in a folder. `origin`: the archive that has it, `left_out`: name of a file -> why it is not there."""

    folder: Path
    doi: str | None
    origin: str
    left_out: dict[str, str]


@contextmanager
def fetched_record(wanted: str, settings: Settings, source: str | None = None) -> Iterator[Fetched]:
    """Fetch the files of a release that a rebuild compares into a temporary folder.

    `wanted`: a DOI, also as an address, or the name of a release. `source`: as `readable_archive` takes it; without it
    the ledger of the home says where the release lies, and a store's copy stands in for a file that the archive does
    not deliver. Raises UnknownNameError when no release has that DOI or name, WithdrawnError when the archive withdrew
    the record, IntegrityError when a file that a rebuild needs can't be had, and the archive's errors.
    """
    doi, name = _read(wanted)
    release, deposit = _of_ledger(settings, doi, name)
    stores = retaining_stores(settings) if release is not None else ()
    with TemporaryDirectory(prefix="d4c-record-") as folder:
        try:
            with readable_archive(settings, source) as archive:
                record = _record(archive, doi or (deposit and deposit.doi), name)
                found = _fetch(Path(folder), archive, record, release, stores)
        except (UnknownNameError, TransientError):
            if release is None or source is not None:
                raise
            # DataCite has no files, a test archive loses records: the stores have the same bytes.
            found = _fetch(Path(folder), None, None, release, stores)
        yield found


def retaining_stores(settings: Settings) -> tuple[Store, ...]:
    """Return the stores of a home that exists; none for a stranger."""
    if settings.home.is_dir() or settings.stores.primary is not None or settings.stores.mirrors:
        return opened_stores(settings)
    return ()


def _read(wanted: str) -> tuple[str | None, str | None]:
    """Return the DOI or the name of a release in `wanted`."""
    if match := _DOI.fullmatch(wanted.strip()):
        return match["doi"], None
    try:
        return None, str(ReleaseName.parse(wanted.strip()))
    except PermanentError:
        raise UnknownNameError(
            f"'{wanted}' is no folder, DOI or name of a release",
            "Name a folder with all files of one release, its DOI (10.5281/zenodo.123) or its name ('d4c releases')",
        ) from None


def _of_ledger(settings: Settings, doi: str | None, name: str | None) -> tuple[PublishedRelease | None, Deposit | None]:
    """Return the release and its deposit, if there is a ledger and it has them."""
    if settings.ledger_url is None and not (settings.home / LEDGER_NAME).is_file():
        return None, None
    with opened_ledger(settings) as ledger:
        releases = {release.id: release for release in ledger.releases.published()}
        deposits = {deposit.release_id: deposit for deposit in ledger.deposits.all()}
    for release in releases.values():
        deposit = deposits.get(release.id)
        if release.name == name or (doi and deposit and str(deposit.doi).lower() == doi.lower()):
            return release, deposit
    return None, None


def _record(archive: Archive, doi: str | None, name: str | None) -> PublishedRecord:
    """Return the record with a DOI, else the record with the name of a release."""
    if doi is not None:
        # The ids of InvenioRDM and of the local archive are the end of their DOIs.
        suffix = doi.partition("/")[2].lower()
        for record_id in dict.fromkeys((suffix, suffix.rpartition(".")[2], suffix.rpartition("/")[2])):
            if "/" in record_id or not record_id or record_id.startswith("."):
                continue
            record = archive.read(record_id)
            if record is not None and record.doi.lower() == doi.lower():
                return record
        raise UnknownNameError(
            f"{archive.name} has no record with the DOI {doi}",
            "Name the DOI of one version (that of all versions names no single release), or its archive with --from",
        )
    if archive.name != "local":
        raise UnknownNameError(f"{archive.name} is searched by DOI only, not by {name}", "Name the release's DOI")
    for listed in archive.listed():
        if any(each.startswith((f"{name}.", f"{name}_")) for each in listed.names):
            record = archive.read(listed.record_id)
            if record is not None:
                return record
    raise UnknownNameError(f"{archive.name} has no record of {name}", "Name its archive with --from, or its DOI")


def _fetch(
    folder: Path,
    archive: Archive | None,
    record: PublishedRecord | None,
    release: PublishedRelease | None,
    stores: tuple[Store, ...],
) -> Fetched:
    """Fetch the manifest and what a rebuild needs, then every output of the manifest and the item."""
    left_out: dict[str, str] = {}
    for name in _NEEDED:
        if (why := _one(folder, name, archive, record, release, stores)) is not None:
            raise IntegrityError(
                f"{name} of {record.doi if record else release and release.name} can't be had: {why}",
                "Name another archive with --from, or a folder with all files of the release",
            )
    manifest = Manifest.from_bytes((folder / MANIFEST_NAME).read_bytes())
    for name in (*(output.name for output in manifest.outputs), ITEM_NAME):
        if (why := _one(folder, name, archive, record, release, stores)) is not None:
            left_out[name] = why
    if archive is not None and record is not None:
        return Fetched(folder, record.doi, archive.record_url(record.record_id) or archive.name, left_out)
    return Fetched(folder, None, ", ".join(store.name for store in stores), left_out)


def _one(
    folder: Path,
    name: str,
    archive: Archive | None,
    record: PublishedRecord | None,
    release: PublishedRelease | None,
    stores: tuple[Store, ...],
) -> str | None:
    """Put the file `name` into the folder; return None, or why it can't be had."""
    why = "the record does not list it"
    if archive is not None and record is not None and any(file.name == name for file in record.files):
        try:
            path = retrieve(archive, record.record_id, name, folder / name)
            if path is not None:
                if path != folder / name:
                    with storage_errors(f"write {name}"):
                        (folder / name).symlink_to(path.absolute())
                return None
            why = "the archive lists it and does not deliver it"
        except StorageError:
            raise
        except D4CError as error:
            why = error.cause
    artifact = next((each for each in release.artifacts if each.name == name), None) if release else None
    if release is not None and artifact is not None:
        address = release_address(release.dataset, release.vintage, release.version, name)
        for store in stores:
            try:
                if fetched(store, address, artifact.size, artifact.sha256, folder / name):
                    return None
            except D4CError as error:
                why = f"{why}; {store.name}: {error.cause}"
    return why
