"""`torrent`: one single-file torrent per data artifact, with web seeds that were seen to serve its very bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from d4c_pipeline.chain.copies import add_artifact
from d4c_pipeline.chain.current import current_release, deposit_of, is_settled
from d4c_pipeline.chain.deployment import Deployment
from d4c_pipeline.chain.staging import artifact_path, release_folder, write_file
from d4c_pipeline.distribution.pieces import piece_size_for
from d4c_pipeline.distribution.torrents import make_torrent
from d4c_pipeline.distribution.web_seeds import try_web_seed
from d4c_pipeline.model.addresses import release_address, torrent_address
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.release import Artifact, ArtifactRole, Deposit, Release, Torrent
from d4c_pipeline.model.vintage import Vintage


@dataclass(frozen=True)
class Seeded:
    """The torrents by the names of their data artifacts, and why an address was left out of the web seeds."""

    torrents: Mapping[str, Torrent]
    left_out: tuple[str, ...]


def make(deployment: Deployment, dataset: Dataset, vintage: Vintage) -> Seeded:
    """Make the torrents of the vintage's planned release and put them into every store.

    A store's address becomes a web seed only after range requests gave the right bytes; the archive's address, known
    from the reserved record, is tried by `deposit` after publication.
    """
    with deployment.working_on(dataset, vintage):
        release = current_release(deployment, dataset, vintage)
        known = deployment.ledger.publications.torrents(release)
        if known and is_settled(deployment, release):
            _mend(deployment, release, known)
            return Seeded(known, ())
        deposit = deposit_of(deployment, release)
        torrents: dict[str, Torrent] = {}
        left_out: list[str] = []
        with deployment.answering() as silent:
            for artifact in release.data_files:
                path = artifact_path(deployment, release, artifact)
                seeds, silently = _seeds(deployment, release, artifact, path, deposit, silent)
                left_out += silently
                torrents[artifact.name] = _made(deployment, dataset, release, artifact, path, deposit, seeds)
        deployment.ledger.publications.record_torrents(release, torrents)
        return Seeded(torrents, tuple(left_out))


def _made(
    deployment: Deployment,
    dataset: Dataset,
    release: Release,
    artifact: Artifact,
    path: Path,
    deposit: Deposit,
    seeds: list[str],
) -> Torrent:
    made = make_torrent(
        path,
        artifact.name,
        web_seeds=seeds,
        trackers=deployment.settings.trackers,
        comment=f"{dataset.title.en}. doi:{deposit.doi}",
        created=release.planned_at,
        hybrid=deployment.settings.hybrid_torrents,
    )
    folder = release_folder(deployment, release.name, dataset.id, str(release.vintage))
    staged = folder / f"{artifact.name}.torrent"
    write_file(staged, made.data)
    add_artifact(deployment, release, staged, ArtifactRole.TORRENT)
    address = torrent_address(artifact.name)
    for store in deployment.stores:
        store.replace(made.data, address)
    return Torrent(made.info_hash, made.info_hash_v2, made.magnet, made.piece_size, tuple(seeds), address)


def _seeds(
    deployment: Deployment, release: Release, artifact: Artifact, path: Path, deposit: Deposit, silent: str | None
) -> tuple[list[str], list[str]]:
    """The addresses that become web seeds, the tried ones of the stores first, and those left out with the reason."""
    own = deployment.settings.embedded_url
    address = release_address(release.dataset, release.vintage, release.version, artifact.name)
    at_archive = deployment.archive.file_url(str(deposit.record_id), artifact.name)
    seeds: list[str] = []
    left_out: list[str] = []
    for store in deployment.stores:
        url = store.url(address)
        if silent is not None and url.startswith(own):
            left_out.append(f"{url} {silent}")
            continue
        verdict = try_web_seed(url, path, piece_size_for(artifact.size))
        if verdict.ok:
            seeds.append(url)
        else:
            left_out.append(f"{url} {verdict.reason}")
    if at_archive is not None and at_archive not in seeds:
        if silent is not None and at_archive.startswith(own):
            left_out.append(f"{at_archive} {silent}")
        else:
            seeds.append(at_archive)
    return seeds, left_out


def _mend(deployment: Deployment, release: Release, torrents: Mapping[str, Torrent]) -> None:
    """Put the torrents back where a store lost them."""
    artifacts = {artifact.name: artifact for artifact in release.artifacts}
    for name, torrent in torrents.items():
        artifact = artifacts.get(f"{name}.torrent")
        for store in deployment.stores:
            if artifact is not None and store.stat(torrent.address) is None:
                store.replace(artifact_path(deployment, release, artifact), torrent.address)
