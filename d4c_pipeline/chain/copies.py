"""`copies`: puts the files of a release into every store, verified, hidden until it may be public.

They lie at an address that nobody can guess and no server shows. Moving them to the immutable address, once the release
is approved, belongs to `revealing`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from d4c_pipeline.files.hashing import Digests
from d4c_pipeline.model.addresses import hidden_address, release_address
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.release import Artifact, ArtifactRole, Copy, Release
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.stores.port import Store
from d4c_pipeline.workspace.current import current_release, is_settled
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline.workspace.placing import make_way, move_release_file, put_release_file
from d4c_pipeline.workspace.staging import artifact_path, as_artifact
from d4c_pipeline.workspace.stores import Missed


@dataclass(frozen=True)
class Distributed:
    """The copies of a release, and the mirrors that were down: it is published with fewer copies then."""

    copies: tuple[Copy, ...]
    missed: tuple[Missed, ...]


def distribute(deployment: Deployment, dataset: Dataset, vintage: Vintage) -> Distributed:
    """Put what the release consists of by now into every store that can be reached.

    Raises what the primary store raises, and IntegrityError when any store holds other bytes at a published address.
    """
    with deployment.working_on(dataset, vintage):
        deployment.spreading.everywhere(partial(_sweep_abandoned, deployment, dataset, vintage))
        release = current_release(deployment, dataset, vintage)
        put_artifacts(deployment, release, release.artifacts)
        return Distributed(deployment.ledger.copies.of(release), deployment.spreading.missed)


def put_artifacts(
    deployment: Deployment,
    release: Release,
    artifacts: Iterable[Artifact],
    *,
    public: bool = False,
    guard: Callable[[], object] = lambda: None,
) -> None:
    """Put artifacts of a release into every store, read back and recorded. What is there already is verified.

    `public` as in `hold`; `guard` is called before each, and may raise.
    Raises IntegrityError when a published address holds other bytes, and what the primary store raises. A mirror that
    is down is left out (`Deployment.spreading`), and so is one that retention took the file from.
    """
    pruned = {(one.artifact, one.store) for one in deployment.ledger.pruning.of(release)}
    for artifact in artifacts:
        local = cache(partial(artifact_path, deployment, release, artifact))  # found once for all stores

        def put(store: Store, artifact: Artifact = artifact, local: Callable[[], Path] = local) -> None:
            if (artifact.name, store.name) not in pruned:
                guard()
                hold(deployment, release, artifact, local, store, public=public)

        deployment.spreading.everywhere(put)


def stores_holding(deployment: Deployment, release: Release) -> dict[str, tuple[Store, ...]]:
    """Return, for each artifact of a release, the stores whose address of it may be named, the primary first.

    Those are the stores of the settings that hold an intact copy and that retention did not take it from.
    """
    held = {(copy.artifact, copy.store) for copy in deployment.ledger.copies.of(release) if copy.intact}
    return {
        artifact.name: tuple(store for store in deployment.stores if (artifact.name, store.name) in held)
        for artifact in release.artifacts
    }


def hold(
    deployment: Deployment,
    release: Release,
    artifact: Artifact,
    local: Callable[[], Path],
    store: Store,
    *,
    public: bool = False,
) -> None:
    """See that `store` holds an artifact, and record it. `local` finds a file with its bytes, where one is wanted.

    It lies at the immutable address if the release may be `public` or is settled, else at the hidden one. Equal bytes
    at the immutable address are taken as they are. Raises ForeignBytesError when that address holds other bytes than an
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
    elif hidden is None or public or is_settled(deployment, release):
        aside = hidden if is_aside else None
        if aside is None or not move_release_file(deployment, store, release, aside, address, digests):
            put_release_file(deployment, store, release, local(), address, digests)
    else:
        make_way(deployment, store, release, address)
        address = hidden
        if not store.verify(address, artifact.size, artifact.sha256):
            put_release_file(deployment, store, release, local(), address, digests)
    deployment.ledger.copies.record(
        release,
        artifact.name,
        store.name,
        address=address,
        size=artifact.size,
        sha256=artifact.sha256,
        intact=True,
    )


def _sweep_abandoned(deployment: Deployment, dataset: Dataset, vintage: Vintage, store: Store) -> None:
    """Delete what plans that were given up left at hidden addresses of a store that was down then."""
    for placed in deployment.ledger.placements.abandoned(dataset.id, vintage):
        if placed.store == store.name:
            store.delete(placed.address)
            deployment.ledger.placements.forget(store.name, placed.address)


def add_artifact(deployment: Deployment, release: Release, path: Path, role: ArtifactRole) -> Release:
    """Add a staged file to a planned release: to the ledger, then to every store."""
    artifact = as_artifact(path, role)
    release = deployment.ledger.releases.add_artifacts(release, [artifact])
    put_artifacts(deployment, release, [artifact])
    return release
