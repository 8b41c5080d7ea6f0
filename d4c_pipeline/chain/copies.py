"""`copies`: puts the files of a release at its immutable address in every store, verified, linked from nowhere yet."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from d4c_pipeline.chain.current import current_release
from d4c_pipeline.chain.deployment import Deployment
from d4c_pipeline.chain.staging import artifact_path, as_artifact
from d4c_pipeline.distribution.hashing import Digests
from d4c_pipeline.distribution.store import Store
from d4c_pipeline.model.addresses import release_address
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import IntegrityError
from d4c_pipeline.model.release import Artifact, ArtifactRole, Copy, Release, ReleaseState
from d4c_pipeline.model.vintage import Vintage


def distribute(deployment: Deployment, dataset: Dataset, vintage: Vintage) -> tuple[Copy, ...]:
    """Put what the release consists of by now into every store and return its copies."""
    with deployment.working_on(dataset, vintage):
        release = current_release(deployment, dataset, vintage)
        put_artifacts(deployment, release, release.artifacts)
        return deployment.ledger.copies.of(release)


def put_artifacts(deployment: Deployment, release: Release, artifacts: Iterable[Artifact]) -> None:
    """Put artifacts of a release into every store, read back and recorded. What is there already is verified.

    Raises IntegrityError when a published address holds other bytes, and StorageError as the store does.
    """
    for artifact in artifacts:
        path: Path | None = None
        for store in deployment.stores:
            address = release_address(release.dataset, release.vintage, release.version, artifact.name)
            if not store.verify(address, artifact.size, artifact.sha256):
                path = path or artifact_path(deployment, release, artifact)
                _put(store, release, artifact, path, address)
            deployment.ledger.copies.record(
                release,
                artifact.name,
                store.name,
                address=address,
                size=artifact.size,
                sha256=artifact.sha256,
                intact=True,
            )


def add_artifact(deployment: Deployment, release: Release, path: Path, role: ArtifactRole) -> Release:
    """Add a staged file to a planned release: to the ledger, then to every store."""
    artifact = as_artifact(path, role)
    release = deployment.ledger.releases.add_artifacts(release, [artifact])
    put_artifacts(deployment, release, [artifact])
    return release


def _put(store: Store, release: Release, artifact: Artifact, path: Path, address: str) -> None:
    digests = Digests(artifact.size, artifact.md5, artifact.sha256)
    try:
        store.put_immutable(path, address, digests)
    except IntegrityError:
        if release.state is not ReleaseState.PLANNED:
            raise
        # Bytes of an earlier attempt at this very plan; nothing has named the address yet, so they may go.
        store.delete(address)
        store.put_immutable(path, address, digests)
