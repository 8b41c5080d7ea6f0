"""`torrent`: one single-file torrent per data artifact, with web seeds of stores that were seen to serve ranges.

The file itself is hidden until its release is approved; then its very bytes are tried, and the torrents are put where
everybody finds them (`revealing`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from d4c_pipeline.chain.copies import add_artifact
from d4c_pipeline.chain.preflight import try_ranges
from d4c_pipeline.files.disk import write_file
from d4c_pipeline.model.addresses import is_hidden, release_address, torrent_address
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.release import Artifact, ArtifactRole, Deposit, Release, Torrent
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.services.embedded import answering
from d4c_pipeline.stores.port import Store, Stored
from d4c_pipeline.torrents.pieces import Pieces
from d4c_pipeline.torrents.torrent_files import reissued, same_torrent, torrent_of
from d4c_pipeline.torrents.web_seeds import try_web_seed
from d4c_pipeline.workspace.current import current_release, deposit_of, is_settled
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline.workspace.pieces import published_torrents, staged_pieces
from d4c_pipeline.workspace.placing import replace_ours
from d4c_pipeline.workspace.staging import read_artifact, release_folder


@dataclass(frozen=True)
class Seeded:
    """The torrents by the names of their data artifacts, and why an address was left out of the web seeds."""

    torrents: Mapping[str, Torrent]
    left_out: tuple[str, ...]


def make(deployment: Deployment, dataset: Dataset, vintage: Vintage) -> Seeded:
    """Make the torrents of the vintage's planned release, as artifacts of it.

    A store's address becomes a web seed if the store holds the file and range requests gave the right bytes: of the
    file, or of the preflight's object while the file is hidden. The archive's address, known from the reserved record,
    is tried by `deposit` after publication.
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
        with answering(deployment) as silent:
            for artifact in release.data_files:
                pieces = staged_pieces(deployment, release, artifact)
                seeds, silently = _seeds(deployment, release, artifact, pieces, deposit, silent)
                left_out += silently
                torrents[artifact.name] = _made(deployment, dataset, release, artifact, pieces, deposit, seeds)
        deployment.ledger.publications.record_torrents(release, torrents)
        return Seeded(torrents, tuple(left_out))


def put_torrent(deployment: Deployment, release: Release, data: bytes, address: str) -> bool:
    """Put the current torrent of a data file into every store; says whether any store had another one."""
    stored: list[Stored] = []
    deployment.spreading.everywhere(
        lambda store: stored.append(replace_torrent(deployment, store, release, data, address))
    )
    return any(one.changed for one in stored)


def replace_torrent(deployment: Deployment, store: Store, release: Release, data: bytes, address: str) -> Stored:
    """Put a torrent where this home put one before, or one that differs in web seeds and trackers only.

    Raises ForeignBytesError when the torrent of another file, or of another home's release, lies there.
    """

    def issued_before(_sha256: str) -> bool:
        return same_torrent(store.read_bytes(address), data)

    def is_torrent(_sha256: str) -> bool:
        there = store.read_bytes(address)
        return same_torrent(there, there)

    return replace_ours(deployment, store, data, address, release=release, known=issued_before, published=is_torrent)


def _made(
    deployment: Deployment,
    dataset: Dataset,
    release: Release,
    artifact: Artifact,
    pieces: Pieces,
    deposit: Deposit,
    seeds: list[str],
) -> Torrent:
    made = torrent_of(
        pieces,
        artifact.name,
        web_seeds=seeds,
        trackers=deployment.settings.trackers,
        comment=f"{dataset.title.en}. doi:{deposit.doi}",
        created=release.planned_at,
    )
    folder = release_folder(deployment, release.name, dataset.id, str(release.vintage))
    staged = folder / f"{artifact.name}.torrent"
    write_file(staged, made.data)
    add_artifact(deployment, release, staged, ArtifactRole.TORRENT)
    address = torrent_address(artifact.name)
    return Torrent(made.info_hash, made.info_hash_v2, made.magnet, made.piece_size, tuple(seeds), address)


def _seeds(
    deployment: Deployment, release: Release, artifact: Artifact, pieces: Pieces, deposit: Deposit, silent: str | None
) -> tuple[list[str], list[str]]:
    """The addresses that become web seeds, the tried ones of the stores first, and those left out with the reason."""
    own = deployment.settings.embedded_url
    address = release_address(release.dataset, release.vintage, release.version, artifact.name)
    record = deposit.record_id
    at_archive = None if record is None else deployment.archive.file_url(record, artifact.name)
    copies = deployment.ledger.copies.of(release)
    held = {copy.store: copy.address for copy in copies if copy.artifact == artifact.name}
    seeds: list[str] = []
    left_out: list[str] = []
    stores = {store.url(address): store for store in deployment.stores}
    for url, store in stores.items():
        if silent is not None and url.startswith(own):
            left_out.append(f"{url} {silent}")
            continue
        if store.name not in held:
            left_out.append(f"{url} holds no copy")
            continue
        verdict = try_ranges(store) if is_hidden(held[store.name]) else try_web_seed(url, pieces)
        if verdict.ok:
            seeds.append(url)
        else:
            left_out.append(f"{url} {verdict.reason}")
    if at_archive is not None and at_archive not in stores:
        if silent is not None and at_archive.startswith(own):
            left_out.append(f"{at_archive} {silent}")
        else:
            seeds.append(at_archive)
    return seeds, left_out


def put_current(deployment: Deployment, release: Release, file: Artifact, torrent: Torrent) -> None:
    """Put the current torrent of a data file, with the web seeds that the ledger says, into every store.

    `file`: the `.torrent` among the artifacts of the release. Raises what `replace_torrent` raises.
    """
    put_torrent(deployment, release, _current(deployment, release, file, torrent), torrent.address)


def _mend(deployment: Deployment, release: Release, torrents: Mapping[str, Torrent]) -> None:
    """Put the torrents back where a store lost them."""

    def put_back(file: Artifact, torrent: Torrent, store: Store) -> None:
        if store.stat(torrent.address) is None:
            data = _current(deployment, release, file, torrent)
            replace_torrent(deployment, store, release, data, torrent.address)

    for file, torrent in published_torrents(release, torrents):
        deployment.spreading.everywhere(partial(put_back, file, torrent))


def _current(deployment: Deployment, release: Release, file: Artifact, torrent: Torrent) -> bytes:
    original = read_artifact(deployment, release, file)
    return reissued(original, web_seeds=torrent.web_seeds, trackers=deployment.settings.trackers).data
