"""Planned releases: reading their manifest, and abandoning a plan with its draft, copies and torrent.

`checksums` (a newer build) and `review` (a person) decide when to abandon a plan.
"""

from __future__ import annotations

from functools import partial

from d4c_pipeline.archives.deposit import abandon
from d4c_pipeline.ledger.leases import Lease
from d4c_pipeline.metadata.readme import README_NAME
from d4c_pipeline.model.addresses import release_address
from d4c_pipeline.model.errors import IntegrityError
from d4c_pipeline.model.manifest import Manifest
from d4c_pipeline.model.parts import MANIFEST_NAME
from d4c_pipeline.model.release import ITEM_NAME, ArtifactRole, PlannedRelease, Release
from d4c_pipeline.stores.port import Store
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline.workspace.placing import remove_hidden, remove_unpublished
from d4c_pipeline.workspace.staging import read_artifact


def manifest_of(deployment: Deployment, release: Release) -> Manifest:
    """Return the manifest of a release. Raises IntegrityError without an intact copy."""
    artifact = release.artifact(ArtifactRole.MANIFEST)
    if artifact is None:
        raise IntegrityError(f"{release.name} has no manifest", "Compare its artifacts with the record at the archive")
    return Manifest.from_bytes(read_artifact(deployment, release, artifact))


def abandon_plan(
    deployment: Deployment, release: PlannedRelease, lease: Lease, why: str, *, careful: bool = True
) -> None:
    """Abandon a plan for the reason `why`: delete its draft first, then its copies, then its row.

    Raises IntegrityError when the archive has published it; `careful`: NeedsPersonError when people edited its draft.
    """
    abandon(deployment.ledger, deployment.archive, release, careful=careful, lease=lease)
    # Files on an unreachable mirror are hidden or named nowhere; `copies` deletes them when the mirror is back.
    deployment.spreading.everywhere(partial(_take_back, deployment, release))
    deployment.ledger.releases.abandon(release, why)


def _take_back(deployment: Deployment, release: PlannedRelease, store: Store) -> None:
    """Delete the files that this plan put into a store: hidden files, and files that an earlier approval made public.

    Nothing is deleted when another home published a release at the plan's immutable address: files that both have
    (code, profile) are part of that publication.
    """
    placements = deployment.ledger.placements
    remove_hidden(deployment, store, release)
    ours = {each.address: each for each in placements.of(release) if each.store == store.name}
    for name in (MANIFEST_NAME, README_NAME, ITEM_NAME):
        address = release_address(release.dataset, release.vintage, release.version, name)
        if store.stat(address) is None:
            continue
        mine = ours.get(address)
        if mine is None or not store.verify(address, mine.size, mine.sha256):
            for put in ours:
                placements.forget(store.name, put)
            return
    for address in sorted(ours):
        remove_unpublished(deployment, store, address)
