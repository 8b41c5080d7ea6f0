"""`torrent`: one single-file torrent of the data artifact, with web seeds that were seen to serve its very bytes."""

from __future__ import annotations

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
from d4c_pipeline.model.release import ArtifactRole, Release, Torrent
from d4c_pipeline.model.vintage import Vintage


@dataclass(frozen=True)
class Seeded:
    """The torrent, and why an address was left out of its web seeds."""

    torrent: Torrent
    left_out: tuple[str, ...]


def make(deployment: Deployment, dataset: Dataset, vintage: Vintage) -> Seeded:
    """Make the torrent of the vintage's planned release and put it into every store.

    A store's address becomes a web seed only after range requests gave the right bytes; the archive's address, known
    from the reserved record, is tried by `deposit` after publication.
    """
    with deployment.working_on(dataset, vintage):
        release = current_release(deployment, dataset, vintage)
        known = deployment.ledger.publications.torrent(release)
        if known is not None and is_settled(deployment, release):
            _mend(deployment, release, known)
            return Seeded(known, ())
        deposit = deposit_of(deployment, release)
        path = artifact_path(deployment, release, release.data)
        at_archive = deployment.archive.file_url(str(deposit.record_id), release.data.name)
        seeds, left_out = _seeds(deployment, release, path, at_archive)
        made = make_torrent(
            path,
            release.data.name,
            web_seeds=seeds,
            trackers=deployment.settings.trackers,
            comment=f"{dataset.title.en}. doi:{deposit.doi}",
            created=release.planned_at,
            hybrid=deployment.settings.hybrid_torrents,
        )
        staged = release_folder(deployment, release.name, dataset.id, str(vintage)) / f"{release.data.name}.torrent"
        write_file(staged, made.data)
        add_artifact(deployment, release, staged, ArtifactRole.TORRENT)
        address = torrent_address(dataset.release_name(release.vintage, release.version))
        for store in deployment.stores:
            store.replace(made.data, address)
        torrent = Torrent(made.info_hash, made.info_hash_v2, made.magnet, made.piece_size, tuple(seeds), address)
        deployment.ledger.publications.record_torrent(release, torrent)
        return Seeded(torrent, tuple(left_out))


def _seeds(deployment: Deployment, release: Release, path: Path, at_archive: str | None) -> tuple[list[str], list[str]]:
    """The addresses that become web seeds, the tried ones of the stores first, and those left out with the reason."""
    own = deployment.settings.embedded_url
    address = release_address(release.dataset, release.vintage, release.version, release.data.name)
    seeds: list[str] = []
    left_out: list[str] = []
    with deployment.answering() as silent:
        for store in deployment.stores:
            url = store.url(address)
            if silent is not None and url.startswith(own):
                left_out.append(f"{url} {silent}")
                continue
            verdict = try_web_seed(url, path, piece_size_for(release.data.size))
            if verdict.ok:
                seeds.append(url)
            else:
                left_out.append(f"{url} {verdict.reason}")
    if at_archive is not None:
        if silent is not None and at_archive.startswith(own):
            left_out.append(f"{at_archive} {silent}")
        else:
            seeds.append(at_archive)
    return seeds, left_out


def _mend(deployment: Deployment, release: Release, torrent: Torrent) -> None:
    """Put the torrent back where a store lost it."""
    artifact = release.artifact(ArtifactRole.TORRENT)
    if artifact is None:
        return
    for store in deployment.stores:
        if store.stat(torrent.address) is None:
            store.replace(artifact_path(deployment, release, artifact), torrent.address)
