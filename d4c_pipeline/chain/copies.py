"""`copies`: puts the files of a release into every store and verifies them, hidden until the release is approved.

A hidden file has an address that can't be guessed and that no server lists. Moving the files to the immutable address
after the approval belongs to `revealing`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from d4c_pipeline.files.hashing import Digests
from d4c_pipeline.model.addresses import hidden_address, release_address
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.release import (
    Artifact,
    ArtifactRole,
    Copy,
    LivingRelease,
    PlannedRelease,
    PublishedRelease,
    Release,
)
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.stores.port import Store
from d4c_pipeline.workspace.current import current_release, is_settled
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline.workspace.placing import make_way, move_release_file, put_release_file
from d4c_pipeline.workspace.staging import artifact_path, as_artifact
from d4c_pipeline.workspace.stores import Missed
from d4c_pipeline.workspace.work import work_of


@dataclass(frozen=True)
class Distributed:
    """The copies of a release, and the mirrors that were unreachable: the release is published with fewer copies."""

    copies: tuple[Copy, ...]
    missed: tuple[Missed, ...]


def distribute(deployment: Deployment, dataset: Dataset, vintage: Vintage) -> Distributed:
    """Put the present artifacts of the release into every reachable store.

    Raises what the primary store raises, and IntegrityError when a store holds other bytes at a published address.
    """
    with deployment.working_on(dataset, vintage):
        deployment.spreading.everywhere(partial(_sweep_abandoned, deployment, dataset, vintage))
        release = current_release(deployment, dataset, vintage)
        put_artifacts(deployment, release, release.artifacts)
        return Distributed(deployment.ledger.copies.of(release), deployment.spreading.missed)


def put_artifacts(
    deployment: Deployment,
    release: LivingRelease,
    artifacts: Iterable[Artifact],
    *,
    public: bool = False,
    guard: Callable[[], object] = lambda: None,
) -> None:
    """Put artifacts of a release into every store, read them back and record them; verify present copies.

    `public` is as in `hold`; `guard` runs before each artifact and may raise. An unreachable mirror is skipped
    (`Deployment.spreading`), and so is a mirror from which retention pruned the file. Raises IntegrityError when a
    published address holds other bytes, and what the primary store raises.
    """
    pruned = {(each.artifact, each.store) for each in deployment.ledger.pruning.of(release)}
    for artifact in artifacts:
        local = cache(partial(artifact_path, deployment, release, artifact))  # found once for all stores

        def put(store: Store, artifact: Artifact = artifact, local: Callable[[], Path] = local) -> None:
            if (artifact.name, store.name) not in pruned:
                guard()
                hold(deployment, release, artifact, local, store, public=public)

        deployment.spreading.everywhere(put)


def stores_holding(deployment: Deployment, release: Release) -> dict[str, tuple[Store, ...]]:
    """Return, for each artifact of a release, the configured stores with an intact copy, the primary store first.

    Stores from which retention pruned the file are left out.
    """
    held = {(copy.artifact, copy.store) for copy in deployment.ledger.copies.of(release) if copy.intact}
    return {
        artifact.name: tuple(store for store in deployment.stores if (artifact.name, store.name) in held)
        for artifact in release.artifacts
    }


def hold(
    deployment: Deployment,
    release: LivingRelease,
    artifact: Artifact,
    local: Callable[[], Path],
    store: Store,
    *,
    public: bool = False,
) -> None:
    """Ensure that `store` holds an artifact, and record the copy. `local` returns a file with its bytes if needed.

    The file goes to the immutable address if the release is `public` or settled, else to the hidden address. Equal
    bytes at the immutable address are adopted. Raises ForeignBytesError when that address holds bytes that no
    unpublished plan of this ledger put there.
    """
    placements = deployment.ledger.placements
    address = release_address(release.dataset, release.vintage, release.version, artifact.name)
    hidden = None if release.token is None else hidden_address(release.token, artifact.name)
    digests = Digests(artifact.size, artifact.md5, artifact.sha256)
    is_aside = hidden is not None and bool(placements.at(store.name, hidden))
    if store.verify(address, artifact.size, artifact.sha256):
        if is_aside and hidden is not None:
            store.delete(hidden)
            placements.forget(store.name, hidden)
    elif hidden is None or public or isinstance(release, PublishedRelease) or is_settled(deployment, release):
        sources = [*([hidden] if is_aside and hidden else []), *_work(deployment, release, artifact, store)]
        _bring(deployment, release, local, store, sources, address, digests)
    else:
        make_way(deployment, store, release, address)
        address = hidden
        if not store.verify(address, artifact.size, artifact.sha256):
            _bring(deployment, release, local, store, _work(deployment, release, artifact, store), address, digests)
    deployment.ledger.copies.record(
        release,
        artifact.name,
        store.name,
        address=address,
        size=artifact.size,
        sha256=artifact.sha256,
        intact=True,
    )


def _work(deployment: Deployment, release: LivingRelease, artifact: Artifact, store: Store) -> list[str]:
    """Return the addresses in `store` where an earlier step left the bytes of an artifact."""
    if store.name != deployment.primary.name:
        return []
    return [placed.address for placed in work_of(deployment, release.dataset, release.vintage, artifact.sha256)]


def _bring(
    deployment: Deployment,
    release: LivingRelease,
    local: Callable[[], Path],
    store: Store,
    sources: Sequence[str],
    address: str,
    digests: Digests,
) -> None:
    """Move a file to its address inside the store, or else put it there from this machine."""
    if not any(move_release_file(deployment, store, release, source, address, digests) for source in sources):
        put_release_file(deployment, store, release, local(), address, digests)


def _sweep_abandoned(deployment: Deployment, dataset: Dataset, vintage: Vintage, store: Store) -> None:
    """Delete the hidden files of plans that were abandoned while the store was unreachable."""
    for placed in deployment.ledger.placements.abandoned(dataset.id, vintage):
        if placed.store == store.name:
            store.delete(placed.address)
            deployment.ledger.placements.forget(store.name, placed.address)


def add_artifact(deployment: Deployment, release: PlannedRelease, path: Path, role: ArtifactRole) -> PlannedRelease:
    """Add a staged file to a planned release: to the ledger, then to every store."""
    artifact = as_artifact(path, role)
    release = deployment.ledger.releases.add_artifacts(release, [artifact])
    put_artifacts(deployment, release, [artifact])
    return release
