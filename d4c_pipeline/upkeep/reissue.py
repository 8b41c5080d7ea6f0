"""Reissue of torrents: the same info hash, with the web seeds that serve its bytes now.

The `.torrent` among a release's files is archived and immutable; the `.torrent` at its `/torrents/...` address is
current and lists the present seeds. The ledger lists the copies, `torrents.web_seeds` tests each address.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

import httpx

from d4c_pipeline.chain import catalogue, latest
from d4c_pipeline.chain.torrent import current, put_torrent
from d4c_pipeline.ledger import lease_keys
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import BusyError, D4CError, IntegrityError
from d4c_pipeline.model.release import PublishedRelease, Torrent
from d4c_pipeline.services.embedded import SharedServer
from d4c_pipeline.torrents.torrent_files import pieces_of
from d4c_pipeline.torrents.web_seeds import SECONDS_PER_PIECE, SeedVerdict, try_web_seed
from d4c_pipeline.transport.clients import http_client
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline.workspace.pieces import published_torrents
from d4c_pipeline.workspace.staging import read_artifact


@dataclass(frozen=True)
class Reissued:
    """The reissue of one torrent: seeds added and removed, and a remark for each that failed its test.

    `changed`: whether the torrent in the ledger or in a store changed.
    """

    release: PublishedRelease
    artifact: str
    torrent: Torrent
    added: tuple[str, ...]
    removed: tuple[str, ...]
    remarks: tuple[str, ...]
    changed: bool


def follow_copies(deployment: Deployment, declared: Sequence[Dataset] = ()) -> tuple[Reissued, ...]:
    """Reissue the torrents whose seeds changed, then rebuild the catalogue. `declared` as in `catalogue.rebuild`.

    The catalogue is always rebuilt, since an earlier run may have died before; unchanged files are not written. A
    vintage in the future that became due becomes the newest, in `/processed/` and in the catalogue. Raises what
    `reissue` and `latest.switch` raise.
    """
    try:
        return reissue(deployment)
    finally:
        try:
            _switch_due(deployment, declared)
        finally:
            catalogue.rebuild(deployment, declared)


def _switch_due(deployment: Deployment, declared: Sequence[Dataset]) -> None:
    known = {dataset.id: dataset for dataset in declared}
    for number in deployment.ledger.withdrawals.served():  # a withdrawal that was killed
        release = deployment.ledger.releases.get(number)
        dataset = known.get(release.dataset) or deployment.ledger.declarations.of(release.dataset)
        if dataset is not None:
            latest.switch(deployment, dataset, release.vintage)
    for listed in deployment.ledger.catalogue.listed(catalogue.become_due(deployment)):
        dataset = known.get(listed[0].dataset) or deployment.ledger.declarations.of(listed[0].dataset)
        if dataset is not None and dataset.series == "rolling":  # a vintage of an edition has addresses of its own
            latest.switch(deployment, dataset, listed[-1].vintage)


def reissue(
    deployment: Deployment, dataset: str | None = None, only: PublishedRelease | None = None
) -> tuple[Reissued, ...]:
    """Test the addresses of every published data file and reissue its torrent if they changed.

    `dataset`, `only`: of this dataset or release alone. Candidates are the stores with an intact copy by the ledger, in
    their order, then the archive. An address that serves other bytes or ignores Range is removed. An unreachable
    address stays if it was listed, since torrent clients skip it, and is not added otherwise. Idempotent. A release
    without an intact `.torrent`, or in use by another process, does not stop the others: its IntegrityError or
    BusyError is raised at the end.
    """
    done: list[Reissued] = []
    failures: list[D4CError] = []
    with SharedServer(deployment) as server, http_client(SECONDS_PER_PIECE) as client:
        for release in deployment.ledger.releases.published(dataset) if only is None else (only,):
            try:
                # One lease per release, so that a publication waits for one release at most.
                with _working_on(deployment, release, server):
                    done += _all_of(deployment, release, server.silent(), client)
            except (IntegrityError, BusyError) as error:
                failures.append(error)
    if failures:
        raise failures[0]
    return tuple(done)


@contextmanager
def _working_on(deployment: Deployment, release: PublishedRelease, server: SharedServer) -> Iterator[None]:
    """Hold the lease on the vintage of a release; the server stops while another process has it."""
    leases, key = deployment.ledger.leases, lease_keys.of_vintage(release.dataset, release.vintage)
    with ExitStack() as held:
        try:
            held.enter_context(leases.hold(key, wait=0))
        except BusyError:
            server.pause()
            held.enter_context(leases.hold(key))
        yield


def _all_of(
    deployment: Deployment, release: PublishedRelease, silent: str | None, client: httpx.Client
) -> list[Reissued]:
    torrents = deployment.ledger.publications.torrents(release)
    return [
        _again(
            deployment,
            release,
            file.name.removesuffix(".torrent"),
            torrent,
            read_artifact(deployment, release, file),
            silent,
            client,
        )
        for file, torrent in published_torrents(release, torrents)
    ]


def _again(
    deployment: Deployment,
    release: PublishedRelease,
    name: str,
    known: Torrent,
    original: bytes,
    silent: str | None,
    client: httpx.Client,
) -> Reissued:
    pieces = pieces_of(original)
    seeds: list[str] = []
    remarks: list[str] = []
    for url in _candidates(deployment, release, name):
        own = silent is not None and url.startswith(deployment.settings.embedded_url)
        verdict = SeedVerdict(False, str(silent), silent=True) if own else try_web_seed(url, pieces, client=client)
        if verdict.ok:
            seeds.append(url)
            continue
        kept = verdict.silent and url in known.web_seeds
        if kept:
            seeds.append(url)
        remarks.append(f"{url} {verdict.reason}{', kept until it answers' if kept else ''}")
    made = current(deployment, release, original, seeds)
    torrent = replace(known, magnet=made.magnet, web_seeds=tuple(seeds))
    # Stores first: after a crash in between, the ledger never names a torrent that no store has.
    stored = put_torrent(deployment, release, made.data, known.address)
    if torrent != known:
        deployment.ledger.torrents.reissue(release, name, torrent)
    return Reissued(
        release,
        name,
        torrent,
        added=tuple(url for url in seeds if url not in known.web_seeds),
        removed=tuple(url for url in known.web_seeds if url not in seeds),
        remarks=tuple(remarks),
        changed=stored or torrent != known,
    )


def _candidates(deployment: Deployment, release: PublishedRelease, name: str) -> list[str]:
    """The candidate addresses of a data file: of the stores that hold it, then of the archive."""
    copies = {copy.store: copy for copy in deployment.ledger.copies.of(release) if copy.artifact == name}
    held = [(store, copies[store.name]) for store in deployment.stores if store.name in copies]
    urls = [store.url(copy.address) for store, copy in held if copy.intact]
    deposit = deployment.ledger.deposits.of(release)
    at_archive = deposit.files.get(name) if deposit is not None else None
    return list(dict.fromkeys([*urls, *([at_archive] if at_archive else [])]))
