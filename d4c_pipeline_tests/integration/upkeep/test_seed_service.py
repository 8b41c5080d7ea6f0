"""`d4c seed` as a service: by the ledger, by a catalogue's address, by nothing but the operator's public key."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from d4c_pipeline.commands.main import app
from d4c_pipeline.model.addresses import CATALOGUE_PARQUET
from d4c_pipeline.model.errors import DataError
from d4c_pipeline.services.file_server import serving
from d4c_pipeline.torrents.operator_key import make_key
from d4c_pipeline.torrents.seeding_status import SeederStatus, TorrentStatus
from d4c_pipeline.upkeep.seedable import seedable_in_catalogue, seedable_in_ledger
from d4c_pipeline.upkeep.seeding import LedgerSource, write_whitelist
from d4c_pipeline_tests.integration.chain.conftest import Chain, chain, definitions
from d4c_pipeline_tests.support.ports import free_port

__all__ = ["chain", "definitions"]  # fixtures, found by their names here

D4C = Path(sys.executable).with_name("d4c")


class Service:
    """A running `d4c seed`."""

    def __init__(self, process: subprocess.Popen[str], home: Path, metrics: int) -> None:
        self.process = process
        self.home = home
        self.metrics = metrics

    def status(self) -> dict[str, Any]:
        words = [D4C, "seed", "--status", "--json", "--home", self.home]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    def until(self, true: Callable[[dict[str, Any]], Any], seconds: float = 40) -> dict[str, Any]:
        path = self.home / "seeding" / "status.json"
        deadline = time.monotonic() + seconds
        found: dict[str, Any] = {}
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.process.stdout.read() if self.process.stdout else ""
            if path.is_file():
                found = json.loads(path.read_bytes())
                if found["pid"] == self.process.pid and true(found):
                    return found
            time.sleep(0.1)
        raise AssertionError(found)


@contextmanager
def seeding(home: Path, *words: object, node: int | None = None, **variables: str) -> Iterator[Service]:
    metrics = free_port()
    environment = os.environ | {
        "D4C_SEED_LISTEN": "127.0.0.1:0",
        "D4C_SEED_LSD": "0",
        "D4C_SEED_REFRESH": "1",
        "D4C_SEED_METRICS_PORT": str(metrics),
        **({"D4C_SEED_DHT_NODES": f"127.0.0.1:{node}"} if node else {}),
        **variables,
    }
    command = [str(word) for word in (D4C, "seed", "--home", home, *words)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        yield Service(process, home, metrics)
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def states(status: dict[str, Any]) -> dict[str, str]:
    return {torrent["name"]: torrent["state"] for torrent in status["torrents"]}


def test_by_the_ledger_everything_published_is_seeded_where_it_lies(chain: Chain, tmp_path: Path) -> None:
    chain.run()
    release = chain.newest()
    (torrent,) = chain.opened.ledger.publications.torrents(release).values()
    (snapshot,) = chain.opened.ledger.torrents.snapshots()
    whitelist = tmp_path / "tracker" / "whitelist"
    with seeding(chain.home, D4C_TRACKER_WHITELIST=str(whitelist)) as service:
        status = service.until(lambda found: len(found["torrents"]) == 2)
        assert states(status) == {
            release.data_files[0].name: "seeding",
            snapshot.address.removeprefix("snapshots/"): "seeding",
        }
        assert all(one["own"] for one in status["torrents"])
        assert not list((chain.home / "seeding" / "data").glob("*"))
        assert whitelist.read_text() == "".join(
            f"{one}\n" for one in sorted((torrent.info_hash, snapshot.torrent.info_hash))
        )
        assert service.status()["offered"] == 2
        with urllib.request.urlopen(f"http://127.0.0.1:{service.metrics}/metrics") as answer:
            lines = answer.read().decode().splitlines()
        assert 'd4c_seeder_torrents{state="seeding"} 2.0' in lines
        assert "d4c_seeder_offered 2.0" in lines
        assert "d4c_seeder_problem 0.0" in lines
        second = subprocess.run([D4C, "seed", "--home", chain.home], capture_output=True, text=True, check=False)
        assert second.returncode == 1
        assert "Another seeder uses" in second.stderr
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(20) == 0
    gone = subprocess.run([D4C, "seed", "--status", "--home", chain.home], capture_output=True, text=True, check=False)
    assert gone.returncode == 1
    assert "stopped at" in gone.stderr


def test_a_file_that_can_not_be_seeded_is_a_dead_letter_until_it_is_seeded(chain: Chain) -> None:
    chain.run()
    release = chain.newest()
    (data,) = release.data_files
    path = chain.home / "store" / "releases" / "places" / "2021" / f"v{release.version}" / data.name
    intact = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(intact[:-1] + bytes([intact[-1] ^ 1]))
    source = LedgerSource(chain.opened, None)
    (info_hash,) = [entry.info_hash for entry in source.refresh(None) if entry.dataset]
    torrent = TorrentStatus(info_hash, data.name, "checking", True, data.size, 0, 0, 0, 0)
    status = SeederStatus(1, "", "", (), 0, 2, None, 0, "", torrents=(torrent,))
    source.note(status)
    assert chain.opened.ledger.failures.standing() == ()
    damaged = replace(status, torrents=(replace(torrent, state="damaged"),))
    source.note(damaged)
    source.note(damaged)
    (failed,) = chain.opened.ledger.failures.standing()
    assert (failed.subject, failed.partition, failed.step, failed.times) == ("places", "2021", "seed", 1)
    definitions = ["--home", str(chain.home), "--defs", str(chain.settings.definitions[0])]
    query = "SELECT kind, cause, command, inputs FROM failed"
    asked = CliRunner().invoke(app, ["failed", "--json", "--sql", query, *definitions])
    (row,) = json.loads(asked.stdout)
    assert row["kind"] == "IntegrityError"
    assert row["cause"] == f"The seeder does not serve {data.name}: the local file differs from its torrent"
    assert row["command"] == "d4c verify places --full"
    assert [each["name"] for each in json.loads(row["inputs"])] == ["places_2021.geojson"]
    replayed = CliRunner().invoke(app, ["failed", "--replay", "--json", *definitions])
    assert [each["outcome"] for each in json.loads(replayed.stdout)] == ["recovered"]
    assert path.read_bytes() == intact
    assert chain.opened.ledger.failures.standing() == ()
    # A file that fails for another reason, and is seeded again.
    source.note(replace(status, torrents=(replace(torrent, state="failed", problem="No space left on device"),)))
    (failed,) = chain.opened.ledger.failures.standing()
    assert (failed.kind, failed.cause.rpartition(": ")[2]) == ("StorageError", "No space left on device")
    source.note(replace(status, torrents=(replace(torrent, state="seeding"),)))
    assert chain.opened.ledger.failures.standing() == ()


def test_a_volunteer_by_the_address_of_the_catalogue(chain: Chain, tmp_path: Path) -> None:
    chain.run()
    release = chain.newest()
    data = release.data_files[0]
    url = chain.settings.embedded_url
    with (
        serving({"/": chain.home / "store"}, port=chain.settings.port),
        seeding(tmp_path / "volunteer", "--catalogue", f"{url}/{CATALOGUE_PARQUET}", "--fetch") as service,
    ):
        # Web seeds are enough: no peer is there.
        service.until(lambda found: list(states(found).values()) == ["seeding", "seeding"])
    (fetched,) = (tmp_path / "volunteer" / "seeding" / "data").rglob(data.name)
    path = chain.opened.primary.local_path(f"releases/places/2021/v{release.version}/{data.name}")
    assert path is not None
    assert fetched.read_bytes() == path.read_bytes()
    # The site is gone: what was fetched is seeded all the same, and the reason is told.
    with seeding(tmp_path / "volunteer", "--catalogue", f"{url}/{CATALOGUE_PARQUET}", "--fetch") as service:
        status = service.until(lambda found: found["problem"] and found["torrents"])
        assert "can't be reached" in status["problem"]
        assert states(status)[data.name] == "seeding"
        assert {one["downloaded"] for one in status["torrents"]} == {0}


def test_with_the_public_key_alone_the_collection_is_found(chain: Chain, tmp_path: Path) -> None:
    chain.run()
    release = chain.newest()
    data = release.data_files[0]
    key = make_key(chain.home / "keys" / "operator.pem")
    shown = subprocess.run([D4C, "keys", "--json", "--home", chain.home], capture_output=True, text=True, check=True)
    assert json.loads(shown.stdout)["public_key"] == key.public_text
    (snapshot,) = chain.opened.ledger.torrents.snapshots()
    # No site is up. A node of the DHT stands by itself, as millions do, so that items outlive who put them.
    with seeding(tmp_path / "node", "--catalogue", "http://127.0.0.1:1/x.parquet") as node:
        port = node.until(lambda found: found["listens"])["listens"][0]
        with seeding(chain.home, node=port) as operator:
            told = operator.until(lambda found: found["pointer_seq"])
            assert told["pointer"] == snapshot.torrent.info_hash
            words = ("--from-key", key.public_text, "--dataset", "places")
            with seeding(tmp_path / "volunteer", *words, node=port) as volunteer:
                status = volunteer.until(
                    lambda found: len(found["torrents"]) == 2 and set(states(found).values()) == {"seeding"}, 90
                )
                assert status["pointer"] == snapshot.torrent.info_hash
    (fetched,) = (tmp_path / "volunteer" / "seeding" / "data").rglob(data.name)
    path = chain.opened.primary.local_path(f"releases/places/2021/v{release.version}/{data.name}")
    assert path is not None
    assert fetched.read_bytes() == path.read_bytes()


def test_offers_of_ledger_and_catalogue_are_of_the_same_files(chain: Chain, tmp_path: Path) -> None:
    chain.run()
    snapshot, ours = seedable_in_ledger(chain.opened)
    path = chain.opened.primary.local_path(CATALOGUE_PARQUET)
    assert path is not None
    (theirs,) = seedable_in_catalogue(path)
    assert (theirs.info_hash, theirs.name, theirs.dataset, theirs.size, theirs.magnet) == (
        ours.info_hash, ours.name, "places", ours.size, ours.magnet
    )  # fmt: skip
    # A store and the archive, both by the ledger and by the web seeds.
    assert (ours.copies, theirs.copies, snapshot.copies) == (2, 2, 1)
    assert (ours.path is not None, theirs.path) == (True, None)
    assert theirs.torrent_urls[0] == chain.opened.primary.url(f"torrents/{ours.name.removesuffix('.parquet')}.torrent")
    assert ours.path is not None
    ours.path.unlink()
    _, lost = seedable_in_ledger(chain.opened)
    assert lost.path is None
    (tmp_path / "no.parquet").write_bytes(b"no catalogue")
    with pytest.raises(DataError, match="is not a catalogue"):
        seedable_in_catalogue(tmp_path / "no.parquet")


def test_the_whitelist_is_written_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "list"
    write_whitelist(path, ["bb" * 20, "aa" * 20, "aa" * 20])
    assert path.read_text() == f"{'aa' * 20}\n{'bb' * 20}\n"
    before = path.stat().st_ino
    write_whitelist(path, ["aa" * 20, "bb" * 20])
    assert path.stat().st_ino == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["seed", "--from-key", "x"], "is not a public key"),
        (["seed", "--from-key", "ab" * 32, "--catalogue", "http://127.0.0.1:1/a"], "a key are given"),
        (["seed", "--status"], "No seeder was started in"),
        (["seed", "--budget", "much"], "is no amount of bytes"),
        (["keys"], "No key at"),
    ],
)
def test_wrong_calls_are_one_sentence(tmp_path: Path, words: list[str], said: str) -> None:
    done = subprocess.run([D4C, *words, "--home", tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_reissue_by_hand(chain: Chain) -> None:
    chain.run()
    environment = os.environ | {
        "D4C_PORT": str(chain.settings.port),
        "D4C_DEFS": str(chain.settings.definitions[0]),
        "D4C_TRACKERS": "http://127.0.0.1:1/announce",
    }
    words = [D4C, "torrents", "reissue", "--home", chain.home]
    done = subprocess.run([*words, "--json"], env=environment, capture_output=True, text=True, check=True)
    (row,) = json.loads(done.stdout)
    assert (row["changed"], row["added"], row["removed"], row["remarks"]) == (True, [], [], [])
    assert len(row["web_seeds"]) == 2
    again = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    assert again.stdout == "0 of 1 torrents reissued.\n"
    magnet = next(iter(chain.opened.ledger.publications.torrents(chain.newest()).values())).magnet
    assert "tr=http%3A%2F%2F127.0.0.1%3A1%2Fannounce" in magnet
