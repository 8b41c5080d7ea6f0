"""Whether real torrent clients get a published release whole: from web seeds alone, good and bad ones, and from a peer.

Run `.venv/bin/python benchmarks/torrent_clients.py [--quick]` where Debian's `aria2`, `transmission-cli`,
`transmission-daemon`, `opentracker` and `iproute2` are installed. Everything happens in a network namespace of its own
(`unshare --net`), which holds nothing but our servers: what arrives came from them. `d4c publish` makes the release in
two stores and its torrent, while both their servers are good; then one turns bad, `d4c torrents reissue` does what it
does about that, and at last `d4c seed` is the only one that has the file. A case passes when it has the right sha256 in
time. `--quick` publishes a smaller one and tries peers once. The last line is one JSON object: cases tried, passed.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import libtorrent as lt
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from d4c_pipeline.files.hashing import sha256_of
from d4c_pipeline.model.addresses import torrent_address
from d4c_pipeline.upkeep.seeding import write_whitelist
from d4c_pipeline_tests.fakes.web_servers import DEAD, GOOD, RANGELESS, WRONG, WebServer
from d4c_pipeline_tests.support.samples import HOST as ORIGIN
from d4c_pipeline_tests.support.samples import Origin, define

# Transmission takes no peer on 127.0.0.1 for one, and one address is one peer: these exist in the namespace alone.
HOST, SEEDER_HOST = "10.77.0.1", "10.77.0.2"
CLIENTS = {"aria2c": "10.77.0.3", "transmission": "10.77.0.4", "libtorrent": "10.77.0.5"}
PRIMARY_PORT, MIRROR_PORT, TRACKER_PORT, SEEDER_PORT = 8001, 8002, 6969, 6881
TRACKER = f"http://{HOST}:{TRACKER_PORT}/announce"
SIZE, QUICK = 64 << 20, 16 << 20  # of random numbers; the release is a little smaller
COLUMNS = 8
SECONDS, ATTEMPTS = 60.0, 3
DATASET = "noise"
D4C = (sys.executable, "-m", "d4c_pipeline.commands.main")
# What the servers of the two stores are while clients download, by the torrent as it was published.
WEB_SEEDS = {
    "both web seeds good": (GOOD, GOOD),
    "one serves wrong bytes": (WRONG, GOOD),
    "one is dead": (DEAD, GOOD),
    "one ignores ranges": (RANGELESS, GOOD),
}
REISSUED = "issued again: one good"
PEERS = {
    "a peer, one wrong, one dead": (WRONG, DEAD),
    "a peer, no ranges, one dead": (RANGELESS, DEAD),
}

Client = Callable[[Path, Path], Any]  # (torrent, folder) -> context manager while which it downloads


@contextmanager
def process(words: Sequence[object], log: Path, **options: Any) -> Iterator[subprocess.Popen[Any]]:
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
             "--bt-enable-lpd=false", "--enable-peer-exchange=false", "--file-allocation=none",
             f"--interface={CLIENTS['aria2c']}", "--summary-interval=0", "--no-conf", torrent]  # fmt: skip
    with process(words, folder.with_suffix(".log")):
        yield


@contextmanager
def transmission(torrent: Path, folder: Path) -> Iterator[None]:
    home = folder.with_suffix(".transmission")
    home.mkdir(exist_ok=True)
    settings = {
        "bind-address-ipv4": CLIENTS["transmission"], "dht-enabled": False, "lpd-enabled": False, "pex-enabled": False,
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
    host = CLIENTS["libtorrent"]
    session = lt.session(
        {
            "listen_interfaces": f"{host}:0", "outgoing_interfaces": host, "enable_dht": False, "enable_lsd": False,
            "enable_upnp": False, "enable_natpmp": False, "alert_mask": 0,
        }
    )  # fmt: skip
    parameters = lt.load_torrent_buffer(torrent.read_bytes())
    parameters.save_path = str(folder)
    parameters.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
    session.add_torrent(parameters)
    signal.pause()


@dataclass(frozen=True)
class Published:
    """A release as `d4c publish` left it: its data file, and its torrent as the chain wrote it."""

    name: str
    size: int
    sha256: str
    url: str
    torrent: bytes


class Operator:
    """Who publishes: `d4c` on a home with a primary store and a mirror, each with a server of its own."""

    def __init__(self, work: Path, origin: Origin) -> None:
        self.home = work / "home"
        self.primary = WebServer(self.home / "store", HOST, PRIMARY_PORT)
        self.mirror = WebServer(work / "mirror", HOST, MIRROR_PORT)
        (work / "mirror").mkdir()
        mirror = f"{{name: mirror, kind: folder, path: {work / 'mirror'}, url: '{self.mirror.url}'}}"
        (work / "stores.yaml").write_text(f"mirrors: [{mirror}]\n", "utf-8")
        self.whitelist = work / "tracker" / "whitelist"
        self.environment = os.environ | {
            "D4C_HOME": str(self.home),
            "D4C_DEFS": str(work / "definitions"),
            "D4C_STORES": str(work / "stores.yaml"),
            "D4C_STORE_URL": self.primary.url,
            "D4C_ORIGIN_MAP": origin.map,
            "D4C_TRACKERS": TRACKER,
            "D4C_TRACKER_WHITELIST": str(self.whitelist),
            "D4C_SEED_LISTEN": f"{SEEDER_HOST}:{SEEDER_PORT}",
            "D4C_SEED_DHT": "0",
            "D4C_SEED_LSD": "0",
            "D4C_SEED_METRICS_PORT": "0",
        }

    def d4c(self, *words: str) -> Any:
        """Run a command that has to succeed; returns what it prints for machines."""
        done = subprocess.run(
            [*D4C, *words, "--json"], env=self.environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"d4c {' '.join(words)} failed: {done.stderr}")
        return json.loads(done.stdout)

    def publish(self) -> Published:
        """Publish the dataset while all servers are good."""
        row = self.d4c("publish", DATASET)
        assert row["outcome"] == "published", row
        torrent = httpx.get(f"{row['url']}.torrent", trust_env=False).raise_for_status().content
        return Published(row["files"][0]["name"], row["size"], row["sha256"], row["url"], torrent)

    def reissue(self) -> tuple[bytes, list[str]]:
        """Have every web seed tried again; returns the current torrent, had from the mirror, and its web seeds."""
        (row,) = self.d4c("torrents", "reissue")
        current = f"{self.mirror.url}/{torrent_address(row['torrent'])}"
        return httpx.get(current, trust_env=False).raise_for_status().content, row["web_seeds"]

    @contextmanager
    def seeding(self, work: Path) -> Iterator[None]:
        """Run `d4c seed`, announced to an opentracker that serves what is on its whitelist alone."""
        info_hashes = [torrent["info_hash"] for torrent in self.d4c("releases")]
        root = self.whitelist.parent
        root.mkdir()
        root.chmod(0o755)
        write_whitelist(self.whitelist, info_hashes)
        words = ["opentracker", "-i", HOST, "-p", TRACKER_PORT, "-P", TRACKER_PORT, "-d", root, "-w", "whitelist"]
        with (
            process(words, work / "opentracker.log", cwd=root),
            process([*D4C, "seed"], work / "seeder.log", env=self.environment),
        ):
            scrape = f"http://{HOST}:{TRACKER_PORT}/scrape?info_hash={quote(bytes.fromhex(info_hashes[0]))}"
            until = time.monotonic() + SECONDS
            while not _is_up(scrape):
                assert time.monotonic() < until, (work / "seeder.log").read_text("utf-8")
                time.sleep(0.2)
            yield


def _is_up(scrape: str) -> bool:
    """Whether the tracker answers, and knows of somebody who has the whole file."""
    try:
        return b"8:completei1e" in httpx.get(scrape, trust_env=False).content
    except httpx.ConnectError:
        return False


def noise(path: Path, size: int) -> None:
    """Write a table of so many bytes of random numbers: nothing makes it smaller."""
    rows = size // COLUMNS // 8
    drawn = np.random.default_rng(6).random((COLUMNS, rows))
    columns = {"id": np.arange(rows), **{f"value_{number}": values for number, values in enumerate(drawn)}}
    pq.write_table(pa.table(columns), path)


def check_torrent(release: Published, operator: Operator) -> None:
    """See that the torrent is as it should be: the stores' addresses in their order, the tracker, the DOI."""
    path = release.url.removeprefix(operator.primary.url)
    content: Any = lt.bdecode(release.torrent)
    assert [seed.decode() for seed in content[b"url-list"]] == [release.url, operator.mirror.url + path]
    assert content[b"announce"].decode() == TRACKER
    assert b"doi:10." in content[b"comment"]
    info = content[b"info"]
    assert (info[b"name"].decode(), info[b"length"]) == (release.name, release.size)
    print(f"{release.name}: {release.size / 2**20:.1f} MiB in pieces of {info[b'piece length'] >> 10} KiB")


def try_case(client: Client, torrent: bytes, release: Published, work: Path) -> float | None:
    """Return the seconds until the file was there as it should be; None when it did not come in time.

    A client that stands still is started again, as its user would: libtorrent bans whoever sent a block of some pieces
    that turned out wrong, and where others sent the rest of these pieces, that may be everybody.
    """
    folder, watched = work / "got", work / "watched"
    folder.mkdir(parents=True)
    watched.mkdir()
    path = watched / "release.torrent"
    path.write_bytes(torrent)
    began = time.monotonic()
    got = folder / release.name
    for _ in range(ATTEMPTS):
        with client(path, folder):
            until = time.monotonic() + SECONDS
            while time.monotonic() < until:
                if got.is_file() and got.stat().st_size == release.size and sha256_of(got) == release.sha256:
                    return time.monotonic() - began
                time.sleep(0.2)
        log = folder.with_suffix(".log")
        said = log.read_text(errors="replace").splitlines()[-12:] if log.is_file() else []
        print(f"{work.name} stands still:", *said, sep="\n  ", file=sys.stderr)
    return None


class Cases:
    """The cases that were tried: (client, situation) -> seconds, None for one that failed."""

    def __init__(self, work: Path, release: Published, clients: Sequence[str]) -> None:
        kinds: dict[str, Client] = {"aria2c": aria2c, "transmission": transmission, "libtorrent": libtorrent}
        self.clients = {name: kinds[name] for name in clients}
        self.results: dict[tuple[str, str], float | None] = {}
        self._work, self._release = work, release

    def at_once(self, situation: str, torrent: bytes) -> None:
        """Try all clients at the same time; of each other they can only have what one of them was given."""
        with ThreadPoolExecutor(len(self.clients)) as pool:
            list(pool.map(lambda name: self._try(name, situation, torrent), self.clients))

    def _try(self, name: str, situation: str, torrent: bytes) -> None:
        place = self._work / "".join(letter if letter.isalnum() else "-" for letter in f"{name}-{situation}")
        self.results[name, situation] = try_case(self.clients[name], torrent, self._release, place)

    def table(self) -> str:
        """Return client x situation: the seconds until the file was whole and right, or `no`."""
        lines = [f"{'':28}" + "".join(f"{name:>14}" for name in self.clients)]
        for situation in dict.fromkeys(situation for _, situation in self.results):
            cells = [self.results[name, situation] for name in self.clients]
            lines.append(f"{situation:28}" + "".join(f"{'no' if s is None else f'{s:.1f} s':>14}" for s in cells))
        return "\n".join(lines)


def inside(clients: Sequence[str], *, quick: bool) -> None:
    """Publish a release and try all cases, in the namespace."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for address in (HOST, SEEDER_HOST, *CLIENTS.values()):
        subprocess.run(["ip", "address", "add", f"{address}/32", "dev", "lo"], check=True)
    with tempfile.TemporaryDirectory(prefix="d4c-clients-") as folder, ExitStack() as opened:
        work = Path(folder)
        work.chmod(0o755)
        origin = opened.enter_context(closing(Origin(work / "origin")))
        noise(work / "noise.parquet", QUICK if quick else SIZE)
        origin.put(f"{ORIGIN}/{DATASET}_2021.parquet", work / "noise.parquet")
        source = {"kind": "http", "urls": [f"{ORIGIN}/{DATASET}_{{vintage}}.parquet"]}
        define(work / "definitions", DATASET, source=source, processing={"kind": "table", "key": ["id"]})
        operator = Operator(work, origin)
        servers = [opened.enter_context(closing(server)) for server in (operator.primary, operator.mirror)]

        def turn(manners: Sequence[str]) -> None:
            for server, manner in zip(servers, manners, strict=True):
                server.turn(manner)

        turn((GOOD, GOOD))
        began = time.monotonic()
        release = operator.publish()
        print(f"published in {time.monotonic() - began:.1f} s")
        check_torrent(release, operator)
        cases = Cases(work, release, clients)
        for situation, manners in WEB_SEEDS.items():
            turn(manners)
            cases.at_once(situation, release.torrent)
        current, web_seeds = operator.reissue()
        assert web_seeds == [operator.mirror.url + release.url.removeprefix(operator.primary.url)], web_seeds
        assert lt.load_torrent_buffer(current).info_hashes == lt.load_torrent_buffer(release.torrent).info_hashes
        cases.at_once(REISSUED, current)
        with operator.seeding(work):
            for situation, manners in list(PEERS.items())[: 1 if quick else None]:
                turn(manners)
                cases.at_once(situation, release.torrent)
            given = operator.d4c("seed", "--status")["uploaded"]
        asked = operator.primary.asked
    print(cases.table())
    print(", ".join(f"{manner} seed asked {times} times" for manner, times in sorted(asked.items())))
    print(f"our seeder gave {given / 2**20:.1f} MiB")
    assert set(asked) == {WRONG, RANGELESS}, "a bad seed that nobody asks proves nothing"
    assert given >= release.size, "nor do clients that have it from elsewhere"
    passed = sum(seconds is not None for seconds in cases.results.values())
    print(json.dumps({"cases": len(cases.results), "passed": passed}))
    sys.exit(passed < len(cases.results))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="16 MiB instead of 64 MiB, peers in one situation")
    parser.add_argument("--client", action="append", choices=CLIENTS, help="only this client, repeatable")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--libtorrent", nargs=2, type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.libtorrent:
        download_with_libtorrent(*options.libtorrent)
    elif options.inside:
        inside(options.client or tuple(CLIENTS), quick=options.quick)
    else:
        # Who is not root becomes it in a user namespace; opentracker stays who it is then.
        alone = ["unshare", "--net"] if os.getuid() == 0 else ["unshare", "--map-root-user", "--net"]
        os.execvp("unshare", [*alone, sys.executable, __file__, "--inside", *sys.argv[1:]])  # noqa: S606


if __name__ == "__main__":
    main()
