"""`torrent`: one single-file torrent per data artifact, with the addresses of stores that serve ranges as web seeds.

A release that awaits approval is hidden. After the approval, `revealing` tests the web seeds with the file's own bytes
and publishes the torrents.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from d4c_pipeline.chain.copies import add_artifact
from d4c_pipeline.chain.preflight import try_ranges
from d4c_pipeline.files.disk import write_file
from d4c_pipeline.model.addresses import is_hidden, release_address, torrent_address
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.release import (
    Artifact,
    ArtifactRole,
    Deposit,
    LivingRelease,
    PlannedRelease,
    PublishedRelease,
    Release,
    Torrent,
)
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.services.embedded import answering
from d4c_pipeline.stores.port import Store, Stored
from d4c_pipeline.torrents.pieces import Pieces
from d4c_pipeline.torrents.torrent_files import TorrentFile, reissued, same_torrent, torrent_of
from d4c_pipeline.torrents.web_seeds import try_web_seed
from d4c_pipeline.workspace.current import current_release, deposit_of, is_settled
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline.workspace.pieces import published_torrents, staged_pieces
from d4c_pipeline.workspace.placing import replace_ours
from d4c_pipeline.workspace.staging import read_artifact, release_folder


@dataclass(frozen=True)
class Seeded:
    """The torrents by the names of their data artifacts; `left_out` has each rejected web seed and the reason."""

    torrents: Mapping[str, Torrent]
    left_out: tuple[str, ...]


def make(deployment: Deployment, dataset: Dataset, vintage: Vintage) -> Seeded:
    """Make the torrents of the vintage's planned release and add them to its artifacts.

    A store's address becomes a web seed if the store holds the file and range requests return the right bytes: of the
    file, or of the preflight object while the file is hidden. The archive's address is known from the reserved record;
    `deposit` tries it after publication.
    """
    with deployment.working_on(dataset, vintage):
        release = current_release(deployment, dataset, vintage)
        known = deployment.ledger.publications.torrents(release)
        if isinstance(release, PublishedRelease) or (known and is_settled(deployment, release)):
            mend(deployment, release, known)
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


def put_torrent(deployment: Deployment, release: LivingRelease, data: bytes, address: str) -> bool:
    """Put the current torrent of a data file into every store; return whether a store held a different torrent."""
    stored: list[Stored] = []
    deployment.spreading.everywhere(
        lambda store: stored.append(replace_torrent(deployment, store, release, data, address))
    )
    return any(each.changed for each in stored)


def replace_torrent(deployment: Deployment, store: Store, release: LivingRelease, data: bytes, address: str) -> Stored:
    """Replace a torrent that this home put there, or one that differs only in web seeds and trackers.

    Raises ForeignBytesError when the address holds the torrent of another file, or of another home's release.
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
    release: PlannedRelease,
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
    deployment: Deployment,
    release: PlannedRelease,
    artifact: Artifact,
    pieces: Pieces,
    deposit: Deposit,
    silent: str | None,
) -> tuple[list[str], list[str]]:
    """Return the addresses that become web seeds, the stores' first, and the rejected addresses with the reason."""
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


def put_current(deployment: Deployment, release: PlannedRelease, file: Artifact, torrent: Torrent) -> None:
    """Put the current torrent of a data file, with the web seeds recorded in the ledger, into every store.

    `file` is the `.torrent` among the artifacts of the release. Raises what `replace_torrent` raises.
    """
    put_torrent(deployment, release, _current(deployment, release, file, torrent), torrent.address)


def mend(deployment: Deployment, release: LivingRelease, torrents: Mapping[str, Torrent]) -> None:
    """Put the torrents of a release into each store that lacks them."""

    def put_back(file: Artifact, torrent: Torrent, store: Store) -> None:
        if store.stat(torrent.address) is None:
            data = _current(deployment, release, file, torrent)
            replace_torrent(deployment, store, release, data, torrent.address)

    for file, torrent in published_torrents(release, torrents):
        deployment.spreading.everywhere(partial(put_back, file, torrent))


def _current(deployment: Deployment, release: Release, file: Artifact, torrent: Torrent) -> bytes:
    original = read_artifact(deployment, release, file)
    return current(deployment, release, original, torrent.web_seeds).data


def current(deployment: Deployment, release: Release, original: bytes, seeds: Sequence[str]) -> TorrentFile:
    """Return the torrent `original` with the web seeds and trackers of today; of a withdrawn release, with the reason.

    Raises IntegrityError when `original` is not a single-file torrent.
    """
    withdrawn = release.withdrawn if isinstance(release, PublishedRelease) else None
    note = withdrawn.sentence("en") if withdrawn else ""
    return reissued(original, web_seeds=seeds, trackers=deployment.settings.trackers, note=note)
