"""Whether real torrent clients get a release whole: from web seeds alone, good and bad ones, and from a peer.

Run `.venv/bin/python benchmarks/torrent_clients.py [--quick]` where Debian's `aria2`, `transmission-cli`,
`transmission-daemon`, `opentracker` and `iproute2` are installed. Everything happens in a network namespace of its own
(`unshare --net`), which holds nothing but our servers: what arrives came from them. A case passes when the file has
the right sha256 in time. `--quick` takes a smaller file. The last line is one JSON object: cases tried, cases passed.
"""

from __future__ import annotations

import argparse
import hashlib
import http.server
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import libtorrent as lt

from d4c_pipeline.chain.seeding import write_whitelist
from d4c_pipeline.distribution.file_server import serving
from d4c_pipeline.distribution.folder_store import FolderStore
from d4c_pipeline.distribution.hashing import hash_file, sha256_of
from d4c_pipeline.distribution.pieces import piece_hasher
from d4c_pipeline.distribution.seeding import Seeder
from d4c_pipeline.distribution.seeding_policy import Offer
from d4c_pipeline.distribution.torrents import TorrentFile, reissued, torrent_of
from d4c_pipeline.model.seeding import SeedingSettings

# Transmission takes no peer on 127.0.0.1 for one, and one address is one peer: these exist in the namespace alone.
HOST, SEEDER_HOST = "10.77.0.1", "10.77.0.2"
TRACKER_PORT = 6969
SIZE, QUICK = 64 << 20, 12 << 20
SECONDS = 40.0
NAME = "ca_d4c_stops_2024_v1.0.0.parquet"
ADDRESS = f"releases/stops/2024/v1.0.0/{NAME}"
CLIENTS = ("aria2c", "transmission", "libtorrent")
WEB_SEEDS = {
    "one web seed": ("good",),
    "one serves wrong bytes": ("wrong", "good"),
    "one is dead": ("dead", "good"),
    "one ignores ranges": ("rangeless", "good"),
}
PEER = "a peer of the tracker"

Client = Callable[[Path, Path], Any]  # (torrent, folder) -> context manager while which it downloads


@contextmanager
def process(words: Sequence[object], log: Path, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command for as long as the block does; what it says goes to `log`."""
    with log.open("ab") as out:
        child = subprocess.Popen([str(word) for word in words], stdout=out, stderr=out, **options)
        try:
            yield child
        finally:
            child.terminate()
            try:
                child.wait(timeout=10)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


@contextmanager
def aria2c(torrent: Path, folder: Path) -> Iterator[None]:
    words = ["aria2c", f"--dir={folder}", "--seed-time=0", "--enable-dht=false", "--enable-dht6=false",
             "--bt-enable-lpd=false", "--enable-peer-exchange=false", "--file-allocation=none", f"--interface={HOST}",
             "--summary-interval=0", "--no-conf", torrent]  # fmt: skip
    with process(words, folder.with_suffix(".log")):
        yield


@contextmanager
def transmission(torrent: Path, folder: Path) -> Iterator[None]:
    home = folder.with_suffix(".transmission")
    home.mkdir()
    settings = {
        "bind-address-ipv4": HOST, "dht-enabled": False, "lpd-enabled": False, "pex-enabled": False,
        "utp-enabled": False, "port-forwarding-enabled": False, "peer-port": 51413, "rpc-enabled": False,
        "download-dir": str(folder), "watch-dir": str(torrent.parent), "watch-dir-enabled": True,
        "blocklist-enabled": False, "incomplete-dir-enabled": False, "rename-partial-files": True,
    }  # fmt: skip
    (home / "settings.json").write_text(json.dumps(settings))
    log = folder.with_suffix(".log")
    with process(["transmission-daemon", "--foreground", "--config-dir", home, "--log-debug"], log):
        yield


@contextmanager
def libtorrent(torrent: Path, folder: Path) -> Iterator[None]:
    with process([sys.executable, __file__, "--libtorrent", torrent, folder], folder.with_suffix(".log")):
        yield


def download_with_libtorrent(torrent: Path, folder: Path) -> None:
    """Download until ended from outside; in a process of its own."""
    session = lt.session(
        {
            "listen_interfaces": f"{HOST}:0", "enable_dht": False, "enable_lsd": False, "enable_upnp": False,
            "enable_natpmp": False, "alert_mask": 0,
        }
    )  # fmt: skip
    parameters = lt.load_torrent_buffer(torrent.read_bytes())
    parameters.save_path = str(folder)
    session.add_torrent(parameters)
    signal.pause()


class Quiet(http.server.SimpleHTTPRequestHandler):
    """The standard library's file server: it knows no ranges."""

    protocol_version = "HTTP/1.1"
    asked: ClassVar[Counter[str]] = Counter()

    def do_GET(self) -> None:  # noqa: D102
        self.asked["rangeless"] += 1
        super().do_GET()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""


class Wrong(Quiet):
    """Answers ranges as it should, but with other bytes."""

    size = 0

    def do_GET(self) -> None:  # noqa: D102
        low, _, high = self.headers.get("Range", f"bytes=0-{self.size - 1}").removeprefix("bytes=").partition("-")
        first, last = int(low), min(int(high or self.size - 1), self.size - 1)
        self.asked["wrong"] += 1
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{last}/{self.size}")
        self.send_header("Content-Length", str(last - first + 1))
        self.end_headers()
        self.wfile.write(b"\x5a" * (last - first + 1))


class Server(http.server.ThreadingHTTPServer):
    """Bears clients that hang up."""

    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up early is no error worth printing."""


@contextmanager
def serves(handler: Callable[..., http.server.BaseHTTPRequestHandler]) -> Iterator[str]:
    server = Server((HOST, 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://{HOST}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def tracked(torrent: TorrentFile, path: Path, work: Path) -> Iterator[None]:
    """Seed the file with our seeder, announced to an opentracker whose whitelist the seeder keeps."""
    root = work / "tracker"
    root.mkdir()
    root.chmod(0o755)
    whitelist = root / "whitelist"
    whitelist.write_text("")
    words = ["opentracker", "-i", HOST, "-p", TRACKER_PORT, "-P", TRACKER_PORT, "-d", root, "-w", whitelist.name]
    with process(words, work / "opentracker.log", cwd=root) as tracker:
        time.sleep(0.5)
        write_whitelist(whitelist, [torrent.info_hash])
        tracker.send_signal(signal.SIGHUP)
        time.sleep(0.5)
        settings = SeedingSettings(listen=f"{SEEDER_HOST}:0", dht=False, lsd=False)
        offer = Offer(torrent.info_hash, NAME, "stops", path.stat().st_size, 1, torrent.magnet, torrent.data, path=path)
        ended = threading.Event()

        def seed() -> None:
            with closing(Seeder(settings, work / "seeder")) as seeder:
                seeder.follow([offer])
                while not ended.is_set():
                    seeder.turn(0.1)

        thread = threading.Thread(target=seed)
        thread.start()
        try:
            time.sleep(1)
            yield
        finally:
            ended.set()
            thread.join()


def try_case(client: Client, torrent: TorrentFile, work: Path, sha256: str) -> float | None:
    """Return the seconds until the file was there as it should be; None when it did not come in time."""
    folder, watched = work / "got", work / "watched"
    folder.mkdir(parents=True)
    watched.mkdir()
    path = watched / "release.torrent"
    path.write_bytes(torrent.data)
    began = time.monotonic()
    got = folder / NAME
    size = lt.load_torrent_buffer(torrent.data).ti.total_size()
    with client(path, folder):
        while time.monotonic() - began < SECONDS:
            if got.is_file() and got.stat().st_size == size and sha256_of(got) == sha256:
                return time.monotonic() - began
            time.sleep(0.2)
    return None


def inside(size: int, clients: Sequence[str]) -> None:
    """Try all cases, in the namespace."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for address in (HOST, SEEDER_HOST):
        subprocess.run(["ip", "address", "add", f"{address}/32", "dev", "lo"], check=True)
    results: dict[tuple[str, str], float | None] = {}
    with tempfile.TemporaryDirectory(prefix="d4c-clients-") as folder, ExitStack() as opened:
        work = Path(folder)
        work.chmod(0o755)
        source = work / NAME
        source.write_bytes(hashlib.shake_256(b"d4c").digest(size))
        hasher = piece_hasher(source, hybrid=False)
        digests = hash_file(source, hasher)
        store = FolderStore(work / "store", f"http://{HOST}")
        store.put_immutable(source, ADDRESS, digests)
        path = store.local_path(ADDRESS)
        assert path is not None
        torrent = torrent_of(
            hasher.finish(), NAME, web_seeds=[], trackers=[], comment="", created=datetime(2026, 11, 22, tzinfo=UTC)
        )
        bases = {
            "good": opened.enter_context(serving({"/": work / "store"}, host=HOST)),
            "wrong": opened.enter_context(serves(type("OfSize", (Wrong,), {"size": size}))),
            "rangeless": opened.enter_context(
                serves(lambda *words, **named: Quiet(*words, directory=str(work / "store"), **named))
            ),
            "dead": f"http://{HOST}:9",
        }
        kinds: dict[str, Client] = {"aria2c": aria2c, "transmission": transmission, "libtorrent": libtorrent}
        for situation, seeds in WEB_SEEDS.items():
            issued = reissued(torrent.data, web_seeds=[f"{bases[seed]}/{ADDRESS}" for seed in seeds], trackers=[])
            for name in clients:
                place = work / f"{name} {situation}".replace(" ", "-")
                results[name, situation] = try_case(kinds[name], issued, place, digests.sha256)
                _explain(results[name, situation], place)
        announced = reissued(torrent.data, web_seeds=[], trackers=[f"http://{HOST}:{TRACKER_PORT}/announce"])
        with tracked(announced, path, work):
            for name in clients:
                place = work / f"{name}-peer"
                results[name, PEER] = try_case(kinds[name], announced, place, digests.sha256)
                _explain(results[name, PEER], place)
    print(table(results, clients))
    print(", ".join(f"{kind} seed asked {times} times" for kind, times in sorted(Quiet.asked.items())))
    assert set(Quiet.asked) == {"wrong", "rangeless"}, "a bad seed that nobody asks proves nothing"
    passed = sum(seconds is not None for seconds in results.values())
    print(json.dumps({"cases": len(results), "passed": passed}))
    sys.exit(passed < len(results))


def _explain(seconds: float | None, place: Path) -> None:
    if seconds is None:
        log = place / "got.log"
        last = log.read_text(errors="replace").splitlines()[-12:] if log.is_file() else []
        print(f"{place.name} failed:", *last, sep="\n  ", file=sys.stderr)


def table(results: dict[tuple[str, str], float | None], clients: Sequence[str]) -> str:
    """Return client x situation: the seconds until the file was whole and right, or `no`."""
    lines = [f"{'':24}" + "".join(f"{name:>14}" for name in clients)]
    for situation in (*WEB_SEEDS, PEER):
        cells = [results[name, situation] for name in clients]
        lines.append(f"{situation:24}" + "".join(f"{'no' if s is None else f'{s:.1f} s':>14}" for s in cells))
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="12 MiB instead of 64 MiB")
    parser.add_argument("--client", action="append", choices=CLIENTS, help="only this client, repeatable")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--libtorrent", nargs=2, type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.libtorrent:
        download_with_libtorrent(*options.libtorrent)
    elif options.inside:
        inside(QUICK if options.quick else SIZE, options.client or CLIENTS)
    else:
        # Who is not root becomes it in a user namespace; opentracker stays who it is then.
        alone = ["unshare", "--net"] if os.getuid() == 0 else ["unshare", "--map-root-user", "--net"]
        os.execvp("unshare", [*alone, sys.executable, __file__, "--inside", *sys.argv[1:]])  # noqa: S606


if __name__ == "__main__":
    main()
