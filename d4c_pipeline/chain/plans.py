"""Planned releases: what their manifest says, and giving one up with its draft, copies and torrent.

When a plan is given up is decided by `checksums` (a newer build) and by `review` (a person).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import Any

from d4c_pipeline.archives.deposit import abandon
from d4c_pipeline.chain.deployment import Deployment
from d4c_pipeline.chain.placing import remove_unpublished
from d4c_pipeline.chain.staging import artifact_path
from d4c_pipeline.distribution.store import Store
from d4c_pipeline.ledger.leases import Lease
from d4c_pipeline.model.release import ArtifactRole, Release


def manifest_of(deployment: Deployment, release: Release) -> Mapping[str, Any]:
    """Return the manifest of a release. Raises IntegrityError when it is nowhere intact."""
    manifest = release.artifact(ArtifactRole.MANIFEST)
    return {} if manifest is None else json.loads(artifact_path(deployment, release, manifest).read_text("utf-8"))


def abandon_plan(deployment: Deployment, release: Release, lease: Lease, why: str) -> None:
    """Give a plan up for the reason `why`: its draft first, then its copies, which nothing ever named, then the row.

    Raises IntegrityError when the archive has published it.
    """
    abandon(deployment.ledger, deployment.archive, release, lease=lease)
    for address in sorted({one.address for one in deployment.ledger.placements.of(release)}):
        # What stays on a mirror that is down was never named, and gives way to the next plan of that version. What
        # this plan did not put stays: another home may have published it.
        deployment.spreading.everywhere(partial(_remove, deployment, address))
    deployment.ledger.releases.abandon(release, why)


def _remove(deployment: Deployment, address: str, store: Store) -> None:
    remove_unpublished(deployment, store, address)
