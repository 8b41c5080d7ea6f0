"""Adopts releases that the archive has published and this ledger lacks, after the ledger was lost or restored.

Records are found by our identifier (`urn:d4c:...`) and by the names of their files. A record is accepted when its own
manifest yields the release key in the identifier. The archive is not changed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any

from d4c_pipeline.archives.deposit import abandon
from d4c_pipeline.archives.port import Listed, PublishedRecord
from d4c_pipeline.archives.retrieval import retrieve
from d4c_pipeline.chain.copies import hold
from d4c_pipeline.files.media_types import media_type
from d4c_pipeline.ledger.leases import Lease
from d4c_pipeline.metadata.readme import README_NAME
from d4c_pipeline.metadata.record import IDENTIFIER_SCHEME
from d4c_pipeline.model.addresses import torrent_address
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import IntegrityError
from d4c_pipeline.model.licences import LICENCE_NAME
from d4c_pipeline.model.manifest import LicenceTerms, Manifest
from d4c_pipeline.model.naming import latest_stem
from d4c_pipeline.model.parts import MANIFEST_NAME
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
    known = {deposit.doi for deposit in deployment.ledger.deposits.all() if deposit.state is DepositState.PUBLISHED}
    planned = deployment.ledger.releases.planned(dataset.id, vintage)
    records: list[tuple[Version, _Found]] = []
    for listed in deployment.archive.listed():
        if listed.doi in known or not is_of(listed, dataset, vintage):
            continue
        if planned is not None and planned.identifier == listed.identifier:
            continue  # the deposit of the plan continues from there
        found = _Found(deployment, dataset, vintage, listed)
        if found.is_of:  # otherwise a release of another dataset that used these names earlier
            found.check()
            records.append((found.version, found))
    return tuple(_adopt(deployment, dataset, found, lease) for _, found in sorted(records, key=lambda each: each[0]))


def is_of(listed: Listed, dataset: Dataset, vintage: Vintage) -> bool:
    """Return whether a record has our identifier and file names of this vintage of the dataset."""
    stem = f"{latest_stem(dataset.name.as_dataset_name(), vintage)}_v"
    ours = (listed.identifier or "").startswith(IDENTIFIER_SCHEME)
    return ours and MANIFEST_NAME in listed.names and any(name.startswith(stem) for name in listed.names)


class _Found:
    """A published record and the release that its manifest and files describe."""

    def __init__(self, deployment: Deployment, dataset: Dataset, vintage: Vintage, listed: Listed) -> None:
        self._deployment, self._listed = deployment, listed
        record = deployment.archive.read(listed.record_id)
        if record is None:
            raise IntegrityError(
                f"The archive lists record {listed.record_id} but does not return it", "Run again later"
            )
        self.record: PublishedRecord = record
        self._folder = deployment.settings.home / "staging" / dataset.id / str(vintage) / "adopted" / record.record_id
        self.files = {file.name: file for file in record.files}
        self.manifest = Manifest.from_bytes(self.path(MANIFEST_NAME).read_bytes())
        self.version = Version.read(self.manifest.version)
        self.is_of = (self.manifest.dataset, self.manifest.vintage) == (dataset.id, str(vintage))

    def check(self) -> None:
        """Read the artifacts. Raises IntegrityError when they contradict the record's identifier."""
        record, dataset, vintage = self.record, self.manifest.dataset, Vintage.parse(self.manifest.vintage)
        self.artifacts = self._artifacts()
        planned = [
            each for each in self.artifacts if each.role is not ArtifactRole.TORRENT and each.name not in _FOLLOWING
        ]
        self.key = release_key(dataset, vintage, self.version, planned)
        if f"{IDENTIFIER_SCHEME}{self.key}" != record.identifier:
            raise IntegrityError(
                f"Record {record.record_id} ({record.doi}) carries {record.identifier}, which its files do not give",
                "Compare the record with another copy of the release; it is not adopted as it is",
            )

    def path(self, name: str) -> Path:
        """Return a local copy of the record's file `name`.

        Raises IntegrityError when its bytes differ from the manifest.
        """
        path = retrieve(self._deployment.archive, self.record.record_id, name, self._folder / name)
        if path is None:
            raise IntegrityError(
                f"Record {self.record.record_id} has no file {name} that can be read", "Ask the archive's managers"
            )
        found = as_artifact(path, ArtifactRole.SOURCE)
        if (found.size, found.md5) != (self.files[name].size, self.files[name].md5):
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


def _adopt(deployment: Deployment, dataset: Dataset, found: _Found, lease: Lease) -> PublishedRelease:
    ledger, vintage = deployment.ledger, Vintage.parse(found.manifest.vintage)
    planned = ledger.releases.planned(dataset.id, vintage)
    if planned is not None and planned.version == found.version:
        # Its files may be the files of the published release at the same addresses, so none is deleted.
        abandon(ledger, deployment.archive, planned, lease=lease)
        deployment.spreading.everywhere(partial(remove_hidden, deployment, release=planned))
        for placed in ledger.placements.of(planned):
            ledger.placements.forget(placed.store, placed.address)
        ledger.releases.abandon(planned, f"the archive has published {found.manifest.release} meanwhile")
    item = found.item
    ledger.declarations.record(dataset)
    release = ledger.releases.adopt(
        dataset.id,
        vintage,
        found.version,
        name=found.manifest.release,
        key=found.key,
        change=Change(Bump.NONE, (f"adopted from {deployment.archive.name}",)),
        summary=found.manifest.summary,
        artifacts=found.artifacts,
        planned_at=datetime.fromisoformat(item["properties"]["created"]).astimezone(UTC),
    )
    for artifact in release.artifacts:
        local = cache(partial(_local, release, artifact, found))
        deployment.spreading.everywhere(
            lambda store, artifact=artifact, local=local: hold(deployment, release, artifact, local, store)
        )
    ledger.publications.record_torrents(release, dict(_torrents(deployment, release, found)))
    ledger.publications.record_item(release, item)
    record = found.record
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
    return release


def _local(release: PublishedRelease, artifact: Artifact, found: _Found) -> Path:
    """Return a local file with the bytes of an artifact, fetched from the archive into staging."""
    path = found.path(artifact.name)
    if not is_file_of(path, artifact.size, artifact.sha256):
        raise IntegrityError(
            f"The archive's {artifact.name} of {release.name} is not what its manifest says", "Ask its managers"
        )
    return path


def _torrents(deployment: Deployment, release: PublishedRelease, found: _Found) -> list[tuple[str, Torrent]]:
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
