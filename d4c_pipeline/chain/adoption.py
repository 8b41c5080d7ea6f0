"""Adopts releases that the archive has published and this ledger lacks, after the ledger was lost or restored.

Records are found by our identifier (`urn:d4c:...`) and by the names of their files. A record is accepted when its own
manifest yields the release key in the identifier. The archive is not changed. Finding the declarations of datasets
belongs to `archived_definitions`, the order of a complete recovery to `upkeep.recovery`.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from d4c_pipeline.archives.deposit import abandon
from d4c_pipeline.archives.port import Listed, PublishedRecord, RemoteFile
from d4c_pipeline.archives.retrieval import retrieve
from d4c_pipeline.chain.copies import hold
from d4c_pipeline.chain.own_copies import restore_primary
from d4c_pipeline.chain.torrent import mend
from d4c_pipeline.files.hashing import hash_file
from d4c_pipeline.files.media_types import media_type
from d4c_pipeline.ledger.leases import Lease
from d4c_pipeline.metadata.readme import README_NAME
from d4c_pipeline.metadata.record import IDENTIFIER_SCHEME
from d4c_pipeline.model.addresses import release_address, torrent_address
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.described import source_words
from d4c_pipeline.model.differences import Adopted
from d4c_pipeline.model.errors import IntegrityError
from d4c_pipeline.model.licences import LICENCE_NAME
from d4c_pipeline.model.manifest import LicenceTerms, Manifest
from d4c_pipeline.model.naming import latest_stem
from d4c_pipeline.model.parts import MANIFEST_NAME
from d4c_pipeline.model.reasons import stated_in
from d4c_pipeline.model.release import (
    CHECKSUMS_NAME,
    CHECKSUMS_REST_NAME,
    ITEM_NAME,
    Artifact,
    ArtifactRole,
    Change,
    DepositState,
    PublishedRelease,
    Torrent,
    release_key,
)
from d4c_pipeline.model.version import Bump, Version
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.stores.port import Store
from d4c_pipeline.torrents.torrent_files import reissued, web_seeds_of
from d4c_pipeline.workspace.code_archive import CODE_NAME
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline.workspace.placing import remove_hidden
from d4c_pipeline.workspace.staging import as_artifact, is_file_of

_FOLLOWING = {
    README_NAME: ArtifactRole.README,
    ITEM_NAME: ArtifactRole.METADATA,
    CHECKSUMS_REST_NAME: ArtifactRole.CHECKSUMS_REST,
}
_PLANNED = {
    MANIFEST_NAME: ArtifactRole.MANIFEST,
    CODE_NAME: ArtifactRole.CODE,
    CHECKSUMS_NAME: ArtifactRole.CHECKSUMS,
}


def adopt_published(
    deployment: Deployment, dataset: Dataset, vintage: Vintage, lease: Lease
) -> tuple[PublishedRelease, ...]:
    """Record the published releases of a vintage that the ledger lacks, and return them ordered by version.

    Their files go into every store that lacks them. `lease` is the lease on the vintage. Raises IntegrityError for a
    record that contradicts its identifier, or when a store holds other bytes at a release's address.
    """
    found = [listed for listed in unadopted(deployment) if is_of(listed, dataset, vintage)]
    return adopt_records(deployment, dataset, found, lease, vintage)


def adopt_records(
    deployment: Deployment, dataset: Dataset, records: Iterable[Listed], lease: Lease, vintage: Vintage
) -> tuple[PublishedRelease, ...]:
    """Adopt the releases of a vintage among these records, as `adopt_published`.

    The other records belong to another dataset that used these names earlier.
    """
    found = [
        release for listed in records if (release := ArchivedRelease(deployment, listed)).is_of(dataset.id, vintage)
    ]
    for each in found:
        each.check()  # all of them before the first is recorded
    adopted = (_adopt(deployment, dataset, each, lease) for each in sorted(found, key=lambda each: each.version))
    return tuple(release for release in adopted if release is not None)


def unadopted(deployment: Deployment) -> Iterator[Listed]:
    """Yield the archive's published records with our identifier and a manifest that the ledger lacks."""
    known = {deposit.doi for deposit in deployment.ledger.deposits.all() if deposit.state is DepositState.PUBLISHED}
    for listed in deployment.archive.listed():
        ours = (listed.identifier or "").startswith(IDENTIFIER_SCHEME)
        if ours and MANIFEST_NAME in listed.names and listed.doi not in known:
            yield listed


def is_of(listed: Listed, dataset: Dataset, vintage: Vintage) -> bool:
    """Return whether a record of ours has file names of this vintage of the dataset."""
    stem = f"{latest_stem(dataset.name.as_dataset_name(), vintage)}_v"
    return any(name.startswith(stem) for name in listed.names)


class ArchivedRelease:
    """A published record and the release that its manifest and files describe.

    Files are downloaded once, into staging; `remove` deletes them.
    """

    def __init__(self, deployment: Deployment, listed: Listed) -> None:
        self._deployment = deployment
        if deployment.archive.reads_stores:
            restore_primary(deployment, listed)
        record = deployment.archive.read(listed.record_id)
        if record is None:
            raise IntegrityError(
                f"The archive lists record {listed.record_id} but does not return it", "Run again later"
            )
        self.record: PublishedRecord = record
        # No dataset's id begins with a dot.
        self._folder = deployment.settings.home / "staging" / ".adopted" / quote(record.record_id, safe="")
        self.files = {file.name: file for file in record.files}
        self.manifest = Manifest.from_bytes(self.path(MANIFEST_NAME).read_bytes())
        self.dataset, self.vintage = self.manifest.dataset, Vintage.parse(self.manifest.vintage)
        self.version = Version.read(self.manifest.version)

    def is_of(self, dataset: str, vintage: Vintage) -> bool:
        """Return whether the release is of this vintage of the dataset."""
        return (self.dataset, self.vintage) == (dataset, vintage)

    def remove(self) -> None:
        """Delete the downloaded files."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def check(self) -> None:
        """Read the artifacts. Raises IntegrityError when they contradict the record's identifier."""
        record = self.record
        self.artifacts = self._artifacts()
        planned = [
            each for each in self.artifacts if each.role is not ArtifactRole.TORRENT and each.name not in _FOLLOWING
        ]
        self.key = release_key(self.dataset, self.vintage, self.version, planned)
        if f"{IDENTIFIER_SCHEME}{self.key}" != record.identifier:
            raise IntegrityError(
                f"Record {record.record_id} ({record.doi}) carries {record.identifier}, which its files do not give",
                "Compare the record with another copy of the release; it is not adopted as it is",
            )

    def path(self, name: str) -> Path:
        """Return a local copy of the record's file `name`.

        Raises IntegrityError when its bytes differ from the manifest.
        """
        file, target = self.files[name], self._folder / name
        if target.is_file() and _has(target, file):  # downloaded by a killed recovery, or for its declaration
            return target
        path = retrieve(self._deployment.archive, self.record.record_id, name, target)
        if path is None:
            raise IntegrityError(
                f"Record {self.record.record_id} has no file {name} that can be read", "Ask the archive's managers"
            )
        if not _has(path, file):
            raise IntegrityError(f"Record {self.record.record_id} serves other bytes of {name}", "Run again later")
        return path

    @property
    def item(self) -> Mapping[str, Any]:
        """The STAC item in the record."""
        return json.loads(self.path(ITEM_NAME).read_text("utf-8"))

    def _artifacts(self) -> list[Artifact]:
        outputs = {output.name: output for output in self.manifest.outputs}
        made: list[Artifact] = []
        for name, file in sorted(self.files.items()):
            if name in outputs:
                output = outputs[name]
                if output.size != file.size:
                    raise IntegrityError(
                        f"Record {self.record.record_id} has {file.size} bytes of {name}, its manifest says "
                        f"{output.size}",
                        "Ask the archive's managers",
                    )
                made.append(Artifact(name, output.role, file.size, file.md5, output.sha256, media_type(name)))
            else:
                role = (_PLANNED | _FOLLOWING).get(name)
                if name == LICENCE_NAME and isinstance(self.manifest.license, LicenceTerms):
                    role = ArtifactRole.LICENCE
                if role is None and name.endswith(".torrent"):
                    role = ArtifactRole.TORRENT
                if role is not None:  # a file that a curator added
                    made.append(as_artifact(self.path(name), role))
        return made


def _adopt(deployment: Deployment, dataset: Dataset, found: ArchivedRelease, lease: Lease) -> PublishedRelease | None:
    """Record a checked release and put its files into every store that lacks them.

    `lease` is the lease on its vintage. The deposit is recorded last, so that the next call continues after a kill.
    Returns None for the release of a plan whose own deposit continues. Raises as `adopt_published`.
    """
    ledger, vintage, record = deployment.ledger, found.vintage, found.record
    planned = ledger.releases.planned(dataset.id, vintage)
    if planned is not None and planned.identifier == record.identifier:
        return None
    if planned is not None and planned.version == found.version:
        # Its files may be the files of the published release at the same addresses, so none is deleted.
        abandon(ledger, deployment.archive, planned, lease=lease)
        deployment.spreading.everywhere(partial(remove_hidden, deployment, release=planned))
        for placed in ledger.placements.of(planned):
            ledger.placements.forget(placed.store, placed.address)
        ledger.releases.abandon(planned, f"the archive has published {found.manifest.release} meanwhile")
    item = found.item
    _fetch(deployment, found)
    ledger.declarations.record(dataset)
    release = ledger.releases.adopt(
        dataset.id,
        vintage,
        found.version,
        name=found.manifest.release,
        key=found.key,
        change=_change(item, deployment.archive.name),
        summary=found.manifest.summary,
        artifacts=found.artifacts,
        planned_at=datetime.fromisoformat(item["properties"]["created"]).astimezone(UTC),
        published_at=record.published_at,
    )
    for artifact in release.artifacts:
        lease.renew()
        local = cache(partial(_local, artifact, found))
        deployment.spreading.everywhere(
            lambda store, artifact=artifact, local=local: hold(deployment, release, artifact, local, store)
        )
    torrents = dict(_torrents(deployment, release, found))
    ledger.publications.record_torrents(release, torrents)
    mend(deployment, release, torrents)
    ledger.publications.record_item(release, item)
    words = source_words(dataset, item["properties"])
    if words is not None:
        ledger.natives.describe(dataset.id, vintage, words)
    addresses = {file.name: deployment.archive.file_url(record.record_id, file.name) for file in record.files}
    ledger.deposits.open(release, deployment.archive.name, test=deployment.archive.test)
    ledger.deposits.advance(
        release,
        DepositState.PUBLISHED,
        record_id=record.record_id,
        concept_id=record.concept_id,
        doi=record.doi,
        concept_doi=record.concept_doi,
        url=record.url,
        files={name: address for name, address in addresses.items() if address is not None},
    )
    found.remove()
    return release


def _has(path: Path, file: RemoteFile) -> bool:
    """Return whether a local file has the size and md5 that the archive states."""
    found = hash_file(path)
    return (found.size, found.md5) == (file.size, file.md5)


def _change(item: Mapping[str, Any], archive: str) -> Change:
    """Return the difference to the release before it, as its item states it."""
    stated = str(item["properties"].get("d4c:change", "")).upper()
    if stated not in Bump.__members__:  # an item of an earlier form
        return Change(Bump.NONE, (Adopted(archive),))
    return Change(Bump[stated], stated_in(item["properties"]))


def _fetch(deployment: Deployment, found: ArchivedRelease) -> None:
    """Download and verify the files that a store lacks, so that no release is recorded without its bytes."""
    for artifact in found.artifacts:
        address = release_address(found.dataset, found.vintage, found.version, artifact.name)
        local = cache(partial(_local, artifact, found))

        def fetch(store: Store, artifact: Artifact = artifact, address: str = address, local: Any = local) -> None:
            if store.stat(address) != artifact.size:
                local()

        deployment.spreading.everywhere(fetch)


def _local(artifact: Artifact, found: ArchivedRelease) -> Path:
    """Return a local file with the bytes of an artifact, fetched from the archive into staging."""
    path = found.path(artifact.name)
    if not is_file_of(path, artifact.size, artifact.sha256):
        raise IntegrityError(
            f"The archive's {artifact.name} of {found.manifest.release} is not what its manifest says",
            "Ask its managers",
        )
    return path


def _torrents(deployment: Deployment, release: PublishedRelease, found: ArchivedRelease) -> list[tuple[str, Torrent]]:
    made: list[tuple[str, Torrent]] = []
    for artifact in release.data_files:
        data = found.path(f"{artifact.name}.torrent").read_bytes()
        seeds = web_seeds_of(data)
        each = reissued(data, web_seeds=seeds, trackers=deployment.settings.trackers)
        address = torrent_address(artifact.name)
        made.append(
            (
                artifact.name,
                Torrent(each.info_hash, each.info_hash_v2, each.magnet, each.piece_size, tuple(seeds), address),
            )
        )
    return made
