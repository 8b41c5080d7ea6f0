"""The seeder: a libtorrent session that seeds files of local stores and fetches further files by a policy.

Files of a local store are only read. Fetched files go into the seeder's own folder, with resume data that survive a
kill. Listing the seedable files belongs to `upkeep.seedable`.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import libtorrent as lt

from d4c_pipeline.files.disk import storage_errors, write_file
from d4c_pipeline.model.errors import BusyError
from d4c_pipeline.model.seeding import SeedingSettings
from d4c_pipeline.torrents import dht_pointer
from d4c_pipeline.torrents.dht_put import Placed
from d4c_pipeline.torrents.operator_key import OperatorKey
from d4c_pipeline.torrents.seeding_policy import Seedable, chosen
from d4c_pipeline.torrents.seeding_session import open_session, to_fetch, whole_file, with_addresses
from d4c_pipeline.torrents.seeding_status import SeederStatus, TorrentStatus

_RESUME_SECONDS = 10.0
_CLOSE_SECONDS = 10.0
_RETRY_SECONDS = 60.0
_save = lt.save_resume_flags_t


@dataclass
class _Held:
    """A torrent in the session, and its seedable file."""

    entry: Seedable
    handle: Any


class Seeder:
    """Seeds the files passed to `follow`. Not thread-safe.

    `folder` holds `data/<info hash>/`, `resume/<info hash>.resume`, and the name that decides among equal files.
    `obtain` returns the `.torrent` of a file without one, None if it is unavailable.
    """

    def __init__(
        self, settings: SeedingSettings, folder: Path, obtain: Callable[[Seedable], bytes | None] = lambda _: None
    ) -> None:
        self._settings = settings
        self._obtain = obtain
        self._folder = folder
        self._name = _own_name(folder)
        self._session = open_session(settings)
        self._held: dict[str, _Held] = {}
        self._started = datetime.now(UTC)
        self._resume_due = time.monotonic() + _RESUME_SECONDS
        self._offered = 0
        self._dht_nodes = 0
        self._key: OperatorKey | None = None
        self._publish_due = 0.0
        self._published_hash: str | None = None
        self._publisher = ThreadPoolExecutor(1, thread_name_prefix="dht-pointer")
        self._publishing: tuple[Future[Placed], str] | None = None
        self._requested_key: bytes | None = None
        self.pointer: dht_pointer.Pointer | None = None
        self.problem = ""
        self._listens: set[int] = set()
        self._refused: dict[str, str] = {}
        self._meet_nodes()

    @property
    def ports(self) -> tuple[int, ...]:
        """The listening port; empty before the session listens."""
        port = self._session.listen_port()
        return (port,) if port else ()

    @property
    def deaf(self) -> str:
        """The reason why peers can't connect as configured; "" if they can, or if it is not known yet."""
        refused = "; ".join(f"{where}: {why}" for where, why in sorted(self._refused.items()))
        if not self._listens:
            return (
                f"The seeder does not listen ({refused}): peers can't connect. Correct D4C_SEED_LISTEN, or free "
                "the port"
                if refused
                else ""
            )
        wanted = self._settings.ports
        if 0 not in wanted and (other := self._listens - wanted):
            # libtorrent silently uses the next free port.
            return (
                f"The seeder listens on port {_ports(other)} instead of {_ports(wanted)}, which another program uses: "
                "peers can't reach it at the announced port. Stop that program, or correct D4C_SEED_LISTEN"
            )
        return (
            f"The seeder does not listen on all addresses ({refused}). Correct D4C_SEED_LISTEN, or free the port"
            if refused
            else ""
        )

    def follow(self, seedable: Iterable[Seedable]) -> None:
        """Seed the local files, fetch the files that the policy chooses, and drop all others.

        Fetched files that are no longer chosen are deleted, only in the seeder's own folder. An empty list changes
        nothing, since it is probably an error. Raises IntegrityError for an invalid torrent.
        """
        known = {entry.info_hash: entry for entry in seedable}
        if not known:
            return
        self._offered = len(known)
        fetched = {info_hash for info_hash, held in self._held.items() if held.entry.path is None}
        fetched |= {path.stem for path in (self._folder / "resume").glob("*.resume")}
        fetched |= {path.name for path in (self._folder / "data").glob("*")}
        wanted = chosen(known.values(), self._settings.fetch, held=fetched, seeder=self._name)
        here = {entry.info_hash: entry for entry in known.values() if entry.path is not None}
        here |= {entry.info_hash: entry for entry in wanted}
        for info_hash in [*self._held]:
            if info_hash not in here or self._held[info_hash].entry.path != here[info_hash].path:
                self._drop(info_hash)
        for info_hash in fetched - here.keys():
            self._forget(info_hash)
        for entry in here.values():
            self._take(entry)

    def fetch(self, info_hash: str) -> Path | None:
        """Fetch the file of a torrent by its info hash; return its path once it is complete."""
        if info_hash not in self._held:
            magnet = f"magnet:?xt=urn:btih:{info_hash}"
            self._take(Seedable(info_hash, info_hash, "", 0, 0, magnet))
        status = self._held[info_hash].handle.status()
        return self._data(info_hash) / status.name if status.is_seeding else None

    def keeps(self, info_hash: str) -> Seedable | None:
        """Return the seedable file of a held torrent, so that the next `follow` keeps it."""
        held = self._held.get(info_hash)
        return held.entry if held is not None else None

    def publish_pointer(self, key: OperatorKey, info_hash: str) -> None:
        """Point the operator's key at a catalogue torrent, now and every hour while the seeder runs."""
        if (self._key, self._published_hash) != (key, info_hash):
            self._key, self._published_hash, self._publish_due = key, info_hash, 0.0

    def request_pointer(self, public: bytes) -> None:
        """Request the pointer of a key; `pointer` holds the newest response so far."""
        self._requested_key = public
        dht_pointer.request(self._session, public)

    def turn(self, seconds: float) -> None:
        """Work for `seconds`: process alerts, save resume data when due. Raises StorageError."""
        deadline = time.monotonic() + seconds
        while True:
            self._hear()
            now = time.monotonic()
            if now >= self._resume_due:
                self._resume_due = now + _RESUME_SECONDS
                self._save_all()
                self._meet_nodes()
            if (
                self._key is not None
                and self._published_hash is not None
                and now >= self._publish_due
                and self._publishing is None
            ):
                self._publish_due = now + _RETRY_SECONDS
                where = dht_pointer.whereabouts(self._session, self._settings.dht_nodes)
                self._publishing = (
                    self._publisher.submit(dht_pointer.publish, where, self._key, self._published_hash),
                    self._published_hash,
                )
            self._check_placement()
            self._session.post_session_stats()
            left = deadline - time.monotonic()
            if left <= 0:
                return
            self._session.wait_for_alert(int(min(left, 1.0) * 1000) + 1)

    def status(self) -> SeederStatus:
        """Return the current status."""
        return SeederStatus(
            pid=os.getpid(),
            started_at=self._started.isoformat(timespec="seconds"),
            updated_at=datetime.now(UTC).isoformat(timespec="seconds"),
            listens=self.ports,
            dht_nodes=self._dht_nodes,
            offered=self._offered,
            pointer=self.pointer.info_hash if self.pointer else None,
            pointer_seq=self.pointer.seq if self.pointer else 0,
            problem=self.problem,
            deaf=self.deaf,
            torrents=tuple(_status(held) for held in [*self._held.values()]),
        )

    def close(self) -> None:
        """Save resume data and leave the swarms."""
        self._publisher.shutdown(wait=False, cancel_futures=True)
        self._session.pause()
        waiting = self._save_all()
        deadline = time.monotonic() + _CLOSE_SECONDS
        while waiting and time.monotonic() < deadline:
            self._session.wait_for_alert(100)
            waiting -= self._hear()

    def _meet_nodes(self) -> None:
        """Add the configured nodes to the DHT while it has no others."""
        if not self._dht_nodes:
            for node in self._settings.dht_nodes:
                self._session.add_dht_node(node)

    def _take(self, entry: Seedable) -> None:
        held = self._held.get(entry.info_hash)
        if held is not None:
            if held.entry != entry:
                self._readdress(held, entry)
            return
        if entry.path is not None and entry.torrent is not None:
            parameters = whole_file(entry.torrent, entry.path)
        else:
            folder = self._data(entry.info_hash)
            resume = self._resume(entry.info_hash)
            with storage_errors(f"write {folder}"):
                folder.mkdir(parents=True, exist_ok=True)
                known = resume.read_bytes() if resume.is_file() else None
            torrent = entry.torrent or self._obtain(entry)
            parameters = to_fetch(folder, torrent=torrent, magnet=entry.magnet, resume=known)
            if known is not None:
                parameters = with_addresses(parameters, torrent=torrent, magnet=entry.magnet)
        self._held[entry.info_hash] = _Held(entry, self._session.add_torrent(parameters))

    def _readdress(self, held: _Held, entry: Seedable) -> None:
        """Set the new trackers and web seeds of a running torrent that was reissued."""
        today = lt.load_torrent_buffer(entry.torrent) if entry.torrent else lt.parse_magnet_uri(entry.magnet)
        held.handle.replace_trackers([{"url": url, "tier": tier} for tier, url in enumerate(today.trackers)])
        for url in set(held.handle.url_seeds()) - set(today.url_seeds):
            held.handle.remove_url_seed(url)
        for url in today.url_seeds:
            held.handle.add_url_seed(url)
        held.entry = entry

    def _drop(self, info_hash: str) -> None:
        self._session.remove_torrent(self._held.pop(info_hash).handle)

    def _forget(self, info_hash: str) -> None:
        """Delete the fetched files of a torrent: the data first, so that resume data never claim deleted files."""
        with storage_errors(f"delete {info_hash}"):
            if self._data(info_hash).is_dir():
                shutil.rmtree(self._data(info_hash))
            self._resume(info_hash).unlink(missing_ok=True)

    def _save_all(self) -> int:
        """Request the resume data of changed torrents, which arrive as alerts. Return their number."""
        requested = 0
        for held in self._held.values():
            if held.entry.path is None and held.handle.need_save_resume_data():
                held.handle.save_resume_data(_save.save_info_dict | _save.flush_disk_cache)
                requested += 1
        return requested

    def _hear(self) -> int:
        """Process all alerts. Return the number of responses to `_save_all`."""
        saves = 0
        for alert in self._session.pop_alerts():
            match alert:
                case lt.save_resume_data_alert():
                    saves += 1
                    self._keep(alert)
                case lt.save_resume_data_failed_alert():
                    saves += 1
                case lt.torrent_finished_alert() | lt.metadata_received_alert():
                    self._save_now(alert.handle)
                case lt.listen_succeeded_alert():
                    self._listens.add(alert.port)
                case lt.listen_failed_alert():
                    self._refused[f"{alert.address}:{alert.port}"] = alert.error.message()
                case lt.session_stats_alert():
                    self._dht_nodes = alert.values["dht.dht_nodes"]
                case lt.dht_mutable_item_alert():
                    self._hear_pointer(alert)
                case _:
                    pass
        return saves

    def _check_placement(self) -> None:
        """Process the result of the last publication of the pointer; if no node accepted it, it is repeated soon."""
        if self._publishing is None or not self._publishing[0].done():
            return
        (future, info_hash), self._publishing = self._publishing, None
        placed = future.result()
        if placed.nodes and info_hash == self._published_hash:
            self._publish_due = time.monotonic() + dht_pointer.REFRESH_SECONDS
            self.pointer = dht_pointer.Pointer(info_hash, placed.seq)

    def _hear_pointer(self, alert: Any) -> None:
        found = dht_pointer.answered(alert, self._requested_key) if self._requested_key else None
        # Nodes may still hold an older item: an older sequence number never replaces a newer one.
        if found is not None and (self.pointer is None or found.seq >= self.pointer.seq):
            self.pointer = found

    def _save_now(self, handle: Any) -> None:
        held = self._held.get(str(handle.info_hashes().v1)) if handle.is_valid() else None
        if held is not None and held.entry.path is None:
            handle.save_resume_data(_save.save_info_dict | _save.flush_disk_cache)

    def _keep(self, alert: Any) -> None:
        info_hash = str(alert.params.info_hashes.v1)
        # A torrent dropped meanwhile is already deleted.
        if info_hash in self._held:
            write_file(self._resume(info_hash), lt.write_resume_data_buf(alert.params))

    def _data(self, info_hash: str) -> Path:
        return self._folder / "data" / info_hash

    def _resume(self, info_hash: str) -> Path:
        return self._folder / "resume" / f"{info_hash}.resume"


def _status(held: _Held) -> TorrentStatus:
    found = held.handle.status()
    failed = found.errc.value() != 0
    own = held.entry.path is not None
    if failed:
        state = "failed"
    elif found.is_seeding:
        state = "seeding"
    elif own and found.state == lt.torrent_status.states.checking_files:
        state = "checking"
    else:
        state = "damaged" if own else "fetching"
    return TorrentStatus(
        info_hash=held.entry.info_hash,
        name=found.name or held.entry.name,
        state=state,
        own=own,
        size=found.total_wanted or held.entry.size,
        done=found.total_wanted_done,
        uploaded=found.total_payload_upload,
        downloaded=found.total_payload_download,
        peers=found.num_peers,
        problem=found.errc.message() if failed else "",
    )


def _ports(ports: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(ports)))


@contextmanager
def exclusive_folder(folder: Path) -> Iterator[None]:
    """Hold the lock of a seeder's folder. Raises BusyError if another seeder holds it, and StorageError."""
    with storage_errors(f"write {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("a")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BusyError(f"Another seeder uses {folder}", "Use it ('d4c seed --status'), or stop it") from error
        yield


def _own_name(folder: Path) -> str:
    path = folder / "name"
    if not path.is_file():
        write_file(path, uuid4().hex.encode())
    with storage_errors(f"read {path}"):
        return path.read_text(encoding="ascii")
