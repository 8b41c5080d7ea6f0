"""The status of a seeder: in a file for `d4c seed --status`, over HTTP for Prometheus.

Collecting the numbers belongs to `seeder.py`. Names of metrics: https://prometheus.io/docs/practices/naming/
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from d4c_pipeline.files.disk import storage_errors, write_file
from d4c_pipeline.model.errors import PermanentError

STATUS_NAME = "status.json"
STATES = ("seeding", "checking", "fetching", "damaged", "failed")


@dataclass(frozen=True)
class TorrentStatus:
    """A torrent of a seeder.

    `state`: seeding; checking (a local file is hashed); fetching; damaged (a local file differs from its torrent);
    failed. `own`: whether its file is in a local store. Bytes count the payload since the start of the seeder.
    """

    info_hash: str
    name: str
    state: str
    own: bool
    size: int
    done: int
    uploaded: int
    downloaded: int
    peers: int
    problem: str = ""


@dataclass(frozen=True)
class SeederStatus:
    """The state of a seeder. `pointer`: the info hash that the operator's key points at, as published or as found.

    `problem`: the error of the last refresh. `deaf`: the reason why peers can't connect as configured.
    """

    pid: int
    started_at: str
    updated_at: str
    listens: tuple[int, ...]
    dht_nodes: int
    offered: int
    pointer: str | None
    pointer_seq: int
    problem: str
    deaf: str = ""
    torrents: tuple[TorrentStatus, ...] = field(default=())

    @property
    def uploaded(self) -> int:
        """Bytes sent to peers."""
        return sum(torrent.uploaded for torrent in self.torrents)

    @property
    def downloaded(self) -> int:
        """Bytes received from peers and web seeds."""
        return sum(torrent.downloaded for torrent in self.torrents)


def write_status(folder: Path, status: SeederStatus) -> None:
    """Write the status file. Raises StorageError."""
    write_file(folder / STATUS_NAME, (json.dumps(asdict(status), indent=2) + "\n").encode())


def read_status(folder: Path) -> SeederStatus:
    """Return the status of the seeder in `folder`. Raises PermanentError if none is running."""
    path = folder / STATUS_NAME
    if not path.is_file():
        raise PermanentError(f"No seeder was started in {folder}", "Start one with 'd4c seed'")
    with storage_errors(f"read {path}"):
        value: dict[str, Any] = json.loads(path.read_bytes())
    value["listens"] = tuple(value["listens"])
    value["torrents"] = tuple(TorrentStatus(**torrent) for torrent in value["torrents"])
    status = SeederStatus(**value)
    if not _lives(status.pid):
        raise PermanentError(f"The seeder in {folder} stopped at {status.updated_at}", "Start it again with 'd4c seed'")
    return status


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # of another user, so it lives
        return True
    return True


@contextmanager
def metrics_served(status: Callable[[], SeederStatus], host: str, port: int) -> Iterator[int]:
    """Serve the metrics of `status` to Prometheus during the block; yield the port.

    Raises PermanentError if the port is taken.
    """
    registry = CollectorRegistry()
    registry.register(_Numbers(status))
    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as error:
        raise PermanentError(
            f"Metrics can't be served at {host}:{port}: {error.strerror}", "Choose another D4C_SEED_METRICS_PORT"
        ) from error
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Numbers(Collector):
    """The metrics of the current status."""

    def __init__(self, status: Callable[[], SeederStatus]) -> None:
        self._status = status

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        status = self._status()
        torrents = GaugeMetricFamily("d4c_seeder_torrents", "Torrents by their state.", labels=["state"])
        held = GaugeMetricFamily("d4c_seeder_held_bytes", "Bytes that can be given, by state.", labels=["state"])
        for state in STATES:
            its = [torrent for torrent in status.torrents if torrent.state == state]
            torrents.add_metric([state], len(its))
            held.add_metric([state], sum(torrent.done for torrent in its))
        yield torrents
        yield held
        yield CounterMetricFamily("d4c_seeder_uploaded_bytes", "Payload given to peers.", status.uploaded)
        yield CounterMetricFamily("d4c_seeder_downloaded_bytes", "Payload had from peers and seeds.", status.downloaded)
        yield GaugeMetricFamily("d4c_seeder_peers", "Connections.", sum(torrent.peers for torrent in status.torrents))
        yield GaugeMetricFamily("d4c_seeder_offered", "Files that could be seeded.", status.offered)
        yield GaugeMetricFamily("d4c_seeder_dht_nodes", "Nodes in the DHT's routing table.", status.dht_nodes)
        yield GaugeMetricFamily("d4c_seeder_pointer_seq", "Sequence of the catalogue's pointer.", status.pointer_seq)
        problem = bool(status.problem or status.deaf)
        yield GaugeMetricFamily("d4c_seeder_problem", "1 while offers or peers can't be had.", float(problem))
