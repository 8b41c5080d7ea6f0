"""The seeding service of `d4c seed`: refreshes the list of torrents periodically and passes it to the seeder.

The list comes from the ledger of a deployment, from a catalogue's address, or from the operator's public key, under
which the DHT publishes the newest catalogue. Peers belong to `torrents.seeder`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import Protocol, TypeVar

from d4c_pipeline.files.disk import storage_errors, write_file
from d4c_pipeline.model.errors import D4CError, TransientError
from d4c_pipeline.model.seeding import SeedingSettings
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.torrents.dht_pointer import Pointer
from d4c_pipeline.torrents.operator_key import OperatorKey, read_key
from d4c_pipeline.torrents.seeder import Seeder, exclusive_folder
from d4c_pipeline.torrents.seeding_policy import Seedable
from d4c_pipeline.torrents.seeding_status import SeederStatus, metrics_served, write_status
from d4c_pipeline.upkeep.seedable import Downloads, seedable_in_catalogue, seedable_in_ledger
from d4c_pipeline.upkeep.seeding_failures import SeedingFailures
from d4c_pipeline.watch.failures import outages_explained
from d4c_pipeline.workspace.deployment import Deployment

T = TypeVar("T")
_STATUS_SECONDS = 2.0
_AGAIN_SECONDS = 15.0
_POINTER_SECONDS = 30.0


class Source(Protocol):
    """The source of a list of seedable files."""

    def refresh(self, seeder: Seeder) -> list[Seedable]:
        """Return the current files. Raises a D4CError if they can't be listed."""
        ...

    def note(self, status: SeederStatus) -> None:
        """Receive the status of the seeder, every few seconds. Raises a D4CError if it can't be recorded."""
        ...


class LedgerSource:
    """The ledger of a deployment, which also records files that can't be seeded.

    With the operator's key, it publishes the newest catalogue in the DHT.
    """

    def __init__(self, deployment: Deployment, key: OperatorKey | None) -> None:
        self._deployment = deployment
        self._key = key
        self._failures = SeedingFailures(deployment)
        self._seedable: list[Seedable] = []

    def refresh(self, seeder: Seeder) -> list[Seedable]:
        """Return the files of the ledger. Raises the errors of `seedable_in_ledger`."""
        snapshots = self._deployment.ledger.torrents.snapshots()
        if self._key is not None and snapshots:
            seeder.publish_pointer(self._key, snapshots[0].torrent.info_hash)
        with outages_explained():
            self._seedable = seedable_in_ledger(self._deployment)
        return self._seedable

    def note(self, status: SeederStatus) -> None:
        """Record the files that can't be seeded."""
        with outages_explained():
            self._failures.record(self._seedable, status)


class _WithoutLedger:
    """A source of volunteers, who have no ledger: `d4c seed --status` and the metrics show their failures."""

    def note(self, status: SeederStatus) -> None:
        """Record nothing."""


class CatalogueSource(_WithoutLedger):
    """The address of a catalogue."""

    def __init__(self, url: str, downloads: Downloads) -> None:
        self._url = url
        self._downloads = downloads
        self._seen = False

    def refresh(self, seeder: Seeder) -> list[Seedable]:
        """Return the files of the catalogue; until its first download, the files of the last known catalogue."""
        self._downloads.forgive()
        try:
            seedable = self._downloads.catalogue(self._url)
        except TransientError:
            if not self._seen:
                seeder.follow(self._downloads.last_catalogue())
                self._seen = True
            raise
        self._seen = True
        return seedable


class KeySource(_WithoutLedger):
    """The public key of an operator: the DHT names the newest catalogue, the swarm serves it."""

    def __init__(self, public: bytes, folder: Path, downloads: Downloads) -> None:
        self._public = public
        self._kept = folder / "pointer.json"
        self._downloads = downloads

    def refresh(self, seeder: Seeder) -> list[Seedable]:
        """Return the files of the newest catalogue. Raises TransientError while pointer or catalogue are not found."""
        self._downloads.forgive()
        if seeder.pointer is None:
            seeder.pointer = self._remembered()
        seeder.request_pointer(self._public)
        pointer = self._wait(seeder, lambda: seeder.pointer)
        if pointer is None:
            raise TransientError(
                f"No pointer of the key {self._public.hex()} in the DHT yet",
                "Wait; check the key and D4C_SEED_DHT_NODES",
            )
        if pointer != self._remembered():
            write_file(self._kept, json.dumps(vars(pointer) | {"key": self._public.hex()}).encode())
        path = self._wait(seeder, lambda: seeder.fetch(pointer.info_hash))
        if path is None:
            raise TransientError(f"The catalogue {pointer.info_hash} is not fetched yet: no peer has it", "Wait")
        itself = seeder.keeps(pointer.info_hash)
        return [*([itself] if itself is not None else []), *seedable_in_catalogue(path)]

    def _remembered(self) -> Pointer | None:
        """Return the last known pointer of the key; None without one, and for the file of another key."""
        if not self._kept.is_file():
            return None
        with storage_errors(f"read {self._kept.name}"):
            value = json.loads(self._kept.read_bytes())
        return Pointer(value["info_hash"], value["seq"]) if value["key"] == self._public.hex() else None

    @staticmethod
    def _wait(seeder: Seeder, found: Callable[[], T | None]) -> T | None:
        deadline = time.monotonic() + _POINTER_SECONDS
        while (value := found()) is None and time.monotonic() < deadline:
            seeder.turn(0.2)
        return value


@contextmanager
def opened_source(
    settings: Settings,
    wishes: SeedingSettings,
    folder: Path,
    downloads: Downloads,
    *,
    catalogue: str | None = None,
    public: bytes | None = None,
) -> Iterator[Source]:
    """Yield the source of seedable files: a key, else a catalogue, else the ledger of this deployment.

    Raises the errors of opening the deployment or the operator's key.
    """
    if public is not None:
        yield KeySource(public, folder, downloads)
    elif catalogue is not None:
        yield CatalogueSource(catalogue, downloads)
    else:
        path = wishes.key_file or key_place(settings)
        # A configured key must exist; the key of the home is optional.
        key = read_key(path) if wishes.key_file is not None or path.is_file() else None
        with Deployment.open(settings, archive=False) as deployment:
            yield LedgerSource(deployment, key)


def key_place(settings: Settings) -> Path:
    """Return the default file of the operator's key."""
    return settings.home / "keys" / "operator.pem"


def seed(
    source: Source,
    settings: SeedingSettings,
    folder: Path,
    downloads: Downloads,
    *,
    stopped: Callable[[], bool],
    on_refresh: Callable[[SeederStatus], None] = lambda _: None,
) -> None:
    """Seed the files of `source` until `stopped`; `on_refresh` receives the status after each refresh.

    An unavailable source stops nothing: held files stay seeded, the status states the reason, and the next refresh
    follows soon. Raises BusyError if another seeder uses `folder`, PermanentError if the port for metrics is taken,
    StorageError if the disk refuses.
    """
    with exclusive_folder(folder), closing(Seeder(settings, folder, downloads.torrent)) as seeder:
        status = seeder.status()
        with (
            metrics_served(lambda: status, settings.metrics_host, settings.metrics_port)
            if settings.metrics_port
            else nullcontext()
        ):
            refresh_due = status_due = 0.0
            while not stopped():
                if time.monotonic() >= refresh_due:
                    _refresh(source, seeder, settings)
                    again = _AGAIN_SECONDS if seeder.problem else settings.refresh
                    refresh_due, status_due = time.monotonic() + min(again, settings.refresh), 0.0
                    on_refresh(seeder.status())
                seeder.turn(0.5)
                status = seeder.status()
                if time.monotonic() >= status_due:
                    status_due = time.monotonic() + _STATUS_SECONDS
                    write_status(folder, status)
                    _note(source, seeder, status)


def _note(source: Source, seeder: Seeder, status: SeederStatus) -> None:
    try:
        source.note(status)
    except D4CError as error:  # the ledger is down: files stay seeded, and the next status tries again
        seeder.problem = str(error)


def _refresh(source: Source, seeder: Seeder, settings: SeedingSettings) -> None:
    try:
        seedable = source.refresh(seeder)
        seeder.follow(seedable)
        if settings.whitelist is not None and seedable:
            write_whitelist(settings.whitelist, (entry.info_hash for entry in seedable))
        seeder.problem = ""
    except D4CError as error:
        seeder.problem = str(error)


def write_whitelist(path: Path, info_hashes: Iterable[str]) -> None:
    """Write the tracker's list of v1 info hashes, one per line, if it changed. Raises StorageError."""
    content = "".join(f"{info_hash}\n" for info_hash in sorted(set(info_hashes))).encode()
    with storage_errors(f"read {path.name}"):
        known = path.read_bytes() if path.is_file() else None
    if content != known:
        write_file(path, content)
