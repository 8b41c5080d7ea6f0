"""Seeders on this machine's loopback: they give what lies in a store, fetch, survive a kill, and point by the DHT."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import libtorrent as lt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from d4c_pipeline.model.errors import BusyError, IntegrityError
from d4c_pipeline.model.seeding import SeedingSettings
from d4c_pipeline.torrents import dht_pointer, dht_put
from d4c_pipeline.torrents.operator_key import make_key
from d4c_pipeline.torrents.pieces import hash_pieces, piece_size_for
from d4c_pipeline.torrents.seeder import Seeder, exclusive_folder
from d4c_pipeline.torrents.seeding_policy import Seedable
from d4c_pipeline.torrents.seeding_session import open_session
from d4c_pipeline.torrents.seeding_status import TorrentStatus
from d4c_pipeline.torrents.torrent_files import TorrentFile, torrent_of

FACTS = ("key", "salt", "seq", "item", "signature", "authoritative")
ALONE = SeedingSettings(listen="127.0.0.1:0", lsd=False)
ALL = ALONE.model_copy(update={"fetch_everything": True})
CREATED = datetime(2026, 11, 22, tzinfo=UTC)


def made(path: Path, seed: str, size: int = 3_000_000) -> TorrentFile:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(hashlib.shake_256(seed.encode()).digest(size))
    path.chmod(0o444)
    pieces = hash_pieces(path, hybrid=False)
    return torrent_of(pieces, path.name, web_seeds=[], trackers=[], comment="", created=CREATED)


def offered(torrent: TorrentFile, path: Path | None, *, size: int, copies: int = 1, name: str = "a") -> Seedable:
    return Seedable(torrent.info_hash, name, "places", size, copies, torrent.magnet, torrent.data, path=path)


class Swarm:
    """Seeders that know of each other, each turned in its turn."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seeders: list[Seeder] = []
        self.closing = ExitStack()

    def add(self, settings: SeedingSettings, name: str, **words: Any) -> Seeder:
        nodes = tuple(("127.0.0.1", other.ports[0]) for other in self._seeders)
        seeder = Seeder(settings.model_copy(update={"dht_nodes": nodes}), self._folder / name, **words)
        self.closing.enter_context(closing(seeder))
        self.until(lambda: bool(seeder.ports))
        self._seeders.append(seeder)
        return seeder

    def until(self, true: Callable[[], Any], seconds: float = 20) -> None:
        deadline = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < deadline, [seeder.status() for seeder in self._seeders]
            for seeder in self._seeders:
                seeder.turn(0.05)

    def leave(self, seeder: Seeder) -> None:
        self._seeders.remove(seeder)


@pytest.fixture
def swarm(tmp_path: Path) -> Iterator[Swarm]:
    swarm = Swarm(tmp_path / "seeders")
    with swarm.closing:
        yield swarm


def meet(taker: Seeder, giver: Seeder) -> None:
    """Tell a peer of another, as a tracker would; by itself it looks again only after minutes."""
    for held in taker._held.values():
        held.handle.connect_peer(("127.0.0.1", giver.ports[0]))


def only(seeder: Seeder) -> TorrentStatus:
    (status,) = seeder.status().torrents
    return status


def test_a_file_of_a_store_is_given_as_it_lies_there_to_whoever_finds_it_by_the_dht(
    swarm: Swarm, tmp_path: Path
) -> None:
    path = tmp_path / "store" / "stops.parquet"
    torrent = made(path, "stops")
    before = path.stat()
    giver, taker = swarm.add(ALONE, "giver"), swarm.add(ALL, "taker")
    giver.follow([offered(torrent, path, size=3_000_000)])
    assert (only(giver).state, only(giver).own, only(giver).done) == ("seeding", True, 3_000_000)
    taker.follow([offered(torrent, None, size=3_000_000)])
    swarm.until(lambda: only(taker).state == "seeding")
    fetched = tmp_path / "seeders" / "taker" / "data" / torrent.info_hash / "stops.parquet"
    assert fetched.read_bytes() == path.read_bytes()
    assert only(giver).uploaded == 3_000_000
    after = path.stat()
    assert (after.st_mtime_ns, after.st_ino, after.st_mode) == (before.st_mtime_ns, before.st_ino, before.st_mode)
    assert sorted(one.name for one in path.parent.iterdir()) == ["stops.parquet"]


def test_a_damaged_file_of_a_store_is_reported_and_never_written(swarm: Swarm, tmp_path: Path) -> None:
    path = tmp_path / "store" / "stops.parquet"
    torrent = made(path, "stops")
    content = bytearray(path.read_bytes())
    content[1_500_000] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)
    whole = tmp_path / "elsewhere" / "stops.parquet"
    made(whole, "stops")
    giver, other = swarm.add(ALONE, "giver"), swarm.add(ALONE, "other")
    taker = swarm.add(ALL, "taker")
    giver.follow([offered(torrent, path, size=3_000_000)])
    taker.follow([offered(torrent, None, size=3_000_000)])
    # Nothing is hashed before somebody asks; then the bad piece stays where it is, and the others are given.
    meet(taker, giver)
    swarm.until(lambda: only(giver).state == "damaged")
    assert 0 < only(giver).done < 3_000_000
    assert only(taker).state == "fetching"
    other.follow([offered(torrent, whole, size=3_000_000)])
    meet(taker, other)
    swarm.until(lambda: only(taker).state == "seeding", 60)
    fetched = tmp_path / "seeders" / "taker" / "data" / torrent.info_hash / "stops.parquet"
    assert fetched.read_bytes() == whole.read_bytes()
    assert path.read_bytes() == bytes(content)


def test_what_is_no_longer_chosen_goes_and_an_empty_list_takes_nothing_away(swarm: Swarm, tmp_path: Path) -> None:
    paths = {name: tmp_path / "store" / f"{name}.parquet" for name in ("common", "rare")}
    torrents = {name: made(path, name) for name, path in paths.items()}
    giver = swarm.add(ALONE, "giver")
    giver.follow([offered(torrents[name], paths[name], size=3_000_000) for name in paths])
    taker = swarm.add(ALL.model_copy(update={"fetch_everything": True, "fetch_budget": 5_000_000}), "taker")
    common = offered(torrents["common"], None, size=3_000_000, copies=3)
    taker.follow([common])
    meet(taker, giver)
    swarm.until(lambda: only(taker).state == "seeding")
    data, resume = (tmp_path / "seeders" / "taker" / name for name in ("data", "resume"))
    swarm.until(lambda: list(resume.glob("*.resume")))
    taker.follow([])
    assert only(taker).info_hash == common.info_hash
    taker.follow([common, offered(torrents["rare"], None, size=3_000_000, copies=1)])
    assert only(taker).info_hash == torrents["rare"].info_hash
    assert [path.name for path in data.iterdir()] == [torrents["rare"].info_hash]
    meet(taker, giver)
    swarm.until(lambda: only(taker).state == "seeding")
    swarm.until(lambda: [path.stem for path in resume.glob("*.resume")] == [torrents["rare"].info_hash])
    # What lies in a store is never deleted by letting go of it.
    giver.follow([offered(torrents["rare"], paths["rare"], size=3_000_000)])
    assert only(giver).info_hash == torrents["rare"].info_hash
    assert paths["common"].is_file()


def test_a_torrent_that_was_issued_again_gets_its_new_addresses(swarm: Swarm, tmp_path: Path) -> None:
    path = tmp_path / "store" / "stops.parquet"
    torrent = made(path, "stops")
    seeder = swarm.add(ALONE, "seeder")
    seeder.follow([offered(torrent, path, size=3_000_000)])
    words: dict[str, Any] = {"comment": "", "created": CREATED}
    pieces = hash_pieces(path, hybrid=False)
    ways = (["http://127.0.0.1:1/a"], ["http://127.0.0.1:1/announce"]), (["http://127.0.0.1:2/b"], [])
    for seeds, trackers in ways:
        again = torrent_of(pieces, path.name, web_seeds=seeds, trackers=trackers, **words)
        seeder.follow([offered(again, path, size=3_000_000)])
        handle = seeder._held[torrent.info_hash].handle
        assert handle.url_seeds() == seeds
        assert [tracker["url"] for tracker in handle.trackers()] == trackers


@pytest.mark.parametrize("bad", [b"", b"nothing"])
def test_an_offer_whose_torrent_is_none_is_an_error_in_words(swarm: Swarm, tmp_path: Path, bad: bytes) -> None:
    seeder = swarm.add(ALL, "seeder")
    offer = Seedable("ab" * 20, "a", "places", 1, 1, "magnet:?", torrent=bad or None)
    with pytest.raises(IntegrityError, match="Invalid torrent"):
        seeder.follow([offer])


def test_one_folder_has_one_seeder(tmp_path: Path) -> None:
    with (
        exclusive_folder(tmp_path),
        pytest.raises(BusyError, match="Another seeder uses"),
        exclusive_folder(tmp_path),
    ):
        pass
    with exclusive_folder(tmp_path):
        pass


FETCHING = """
import sys
import libtorrent as lt
from pathlib import Path
from d4c_pipeline.torrents import seeder as seeding
from d4c_pipeline.torrents.seeding_policy import Seedable
from d4c_pipeline.model.seeding import FetchPolicy, SeedingSettings
seeding._RESUME_SECONDS = 0.3
folder, torrent, node = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
settings = SeedingSettings(listen="127.0.0.1:0", lsd=False, dht=False, fetch_everything=True)
seeder = seeding.Seeder(settings, folder)
seeder.follow([Seedable(sys.argv[4], "a", "places", 1, 1, "", torrent.read_bytes())])
handle = seeder._held[sys.argv[4]].handle
handle.connect_peer(("127.0.0.1", node))
handle.set_download_limit(10_000_000)  # the session's limits spare the local network
while True:
    seeder.turn(0.05)
    status = handle.status()
    (one,) = seeder.status().torrents
    print(one.done, one.downloaded, one.state, int(status.state == lt.torrent_status.states.checking_files), flush=True)
"""


def test_a_killed_seeder_goes_on_where_it_was(swarm: Swarm, tmp_path: Path) -> None:
    size = 40 << 20  # so many pieces, each whole
    path = tmp_path / "store" / "stops.parquet"
    torrent = made(path, "stops", size)
    file = tmp_path / "stops.torrent"
    file.write_bytes(torrent.data)
    giver = swarm.add(ALONE, "giver")
    giver.follow([offered(torrent, path, size=size)])
    words = [sys.executable, "-c", FETCHING, tmp_path / "fetching", file, giver.ports[0], torrent.info_hash]

    def lines_until(true: Callable[[int, str], bool]) -> list[list[str]]:
        process = subprocess.Popen([str(word) for word in words], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        lines: list[list[str]] = []
        try:
            for line in process.stdout:
                lines.append(line.split())
                if true(int(lines[-1][0]), lines[-1][2]):
                    return lines
                giver.turn(0.01)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
            process.stdout.close()
        raise AssertionError("it ended by itself")

    def noted() -> int:
        notes = [path.read_bytes() for path in (tmp_path / "fetching" / "resume").glob("*.resume")]
        return sum(sum(lt.read_resume_data(note).have_pieces) for note in notes) * piece_size_for(size)

    lines_until(lambda done, _: done > size * 0.5 and noted() > size * 0.3)
    before = noted()
    assert before < size
    resumed = lines_until(lambda _, state: state == "seeding" and noted() == size)
    # What was noted is had once, whatever else came before the kill; nothing is hashed again.
    again = int(resumed[-1][1])
    assert again <= size - before, f"{again:,} of {size:,} bytes were had after the kill, {before:,} were noted"
    assert not any(int(line[3]) for line in resumed)
    fetched = tmp_path / "fetching" / "data" / torrent.info_hash / "stops.parquet"
    assert fetched.read_bytes() == path.read_bytes()
    # Whole, it is whole from the first moment on, and not a byte is fetched.
    whole = lines_until(lambda _, state: state == "seeding")
    assert not any(int(line[3]) for line in whole)
    assert int(whole[-1][1]) == 0


def in_the_dht(session: Any) -> bool:
    session.post_session_stats()
    session.wait_for_alert(1000)
    stats = [alert for alert in session.pop_alerts() if isinstance(alert, lt.session_stats_alert)]
    return any(alert.values["dht.dht_nodes"] for alert in stats)


def answers(session: Any, public: bytes, seconds: float = 20) -> list[Any]:
    dht_pointer.request(session, public)
    deadline = time.monotonic() + seconds
    found: list[Any] = []
    while time.monotonic() < deadline:
        # Copied: an alert is gone with the next call of pop_alerts.
        found += [
            SimpleNamespace(**{name: getattr(alert, name) for name in FACTS})
            for alert in session.pop_alerts()
            if isinstance(alert, lt.dht_mutable_item_alert)
        ]
        if any(alert.authoritative for alert in found):
            return found
        time.sleep(0.05)
    raise AssertionError("the DHT did not answer")


def test_a_key_points_at_the_newest_and_never_back(swarm: Swarm, tmp_path: Path) -> None:
    key = make_key(tmp_path / "key.pem")
    operator, node, reader = (swarm.add(ALONE, name) for name in ("operator", "node", "reader"))
    swarm.until(lambda: all(seeder.status().dht_nodes for seeder in (operator, node, reader)))
    first, second = os.urandom(20).hex(), os.urandom(20).hex()
    operator.publish_pointer(key, first)
    swarm.until(lambda: operator.pointer)
    reader.request_pointer(key.public)
    swarm.until(lambda: reader.pointer)
    assert reader.pointer is not None
    assert reader.pointer.info_hash == first
    operator.publish_pointer(key, second)
    swarm.until(lambda: operator.pointer and operator.pointer.info_hash == second)
    reader.request_pointer(key.public)
    swarm.until(lambda: reader.pointer and reader.pointer.info_hash == second)
    assert reader.pointer.seq == operator.pointer.seq > 1  # pyright: ignore[reportOptionalMemberAccess]
    # Whoever saw a newer one does not follow an older one, whatever a node still holds.
    reader.pointer = dht_pointer.Pointer("ff" * 20, 99)
    reader.request_pointer(key.public)
    swarm.until(lambda: True)
    for _ in range(10):
        reader.turn(0.05)
    assert reader.pointer == dht_pointer.Pointer("ff" * 20, 99)


def test_the_item_is_what_bep_44_says_and_foreign_ones_say_nothing(tmp_path: Path) -> None:
    key, stranger = make_key(tmp_path / "key.pem"), make_key(tmp_path / "other.pem")
    sessions = [open_session(ALONE)]
    deadline = time.monotonic() + 10
    while not sessions[0].listen_port() and time.monotonic() < deadline:
        time.sleep(0.05)
    for _ in range(2):
        sessions.append(open_session(ALONE))
        sessions[-1].add_dht_node(("127.0.0.1", sessions[0].listen_port()))
    for session in sessions:
        while not in_the_dht(session) and time.monotonic() < deadline:
            time.sleep(0.05)
    info_hash = os.urandom(20)
    there = [("localhost", session.listen_port()) for session in sessions]
    where = dht_pointer.whereabouts(sessions[1], there)
    gone = replace(where, nodes=(*where.nodes, ("no-such-host.invalid", 1), ("127.0.0.1", 9)))
    placed = dht_pointer.publish(gone, key, info_hash.hex())
    assert (placed.seq, placed.nodes) == (1, 3)
    found = answers(sessions[2], key.public)[-1]
    # BEP 46: the value is a dictionary with the info hash; BEP 44: the signature is over salt, seq and v as they stand
    # in the bencoded message.
    assert found.item == {b"ih": info_hash}
    value = b"d2:ih20:%be" % info_hash
    signed = b"4:salt%d:%b3:seqi%de1:v%b" % (len(dht_pointer.SALT), dht_pointer.SALT, found.seq, value)
    Ed25519PublicKey.from_public_bytes(key.public).verify(bytes(found.signature), signed)
    assert dht_pointer.answered(found, key.public) == dht_pointer.Pointer(info_hash.hex(), found.seq)
    assert dht_pointer.answered(found, stranger.public) is None
    assert dht_pointer.answered(answers(sessions[2], stranger.public)[-1], stranger.public) is None
    # The same again keeps its number, another has the next, and what is no pointer says nothing.
    assert dht_pointer.publish(where, key, info_hash.hex()).seq == 1
    assert dht_pointer.publish(dht_pointer.whereabouts(sessions[1]), key, "ab" * 20).seq == 2
    assert dht_put.put(there, stranger, b"no info hash", dht_pointer.SALT, name=where.name).nodes == 3
    assert dht_pointer.answered(answers(sessions[2], stranger.public)[-1], stranger.public) is None


def test_a_seeder_says_when_its_port_is_another_program_s(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with closing(Seeder(ALONE.model_copy(update={"listen": f"127.0.0.1:{port}"}), tmp_path)) as seeder:
            wait_for(seeder, lambda: bool(seeder.ports))
            said = seeder.status().deaf
            assert seeder.ports[0] != port
            assert said.startswith(
                f"The seeder listens on port {seeder.ports[0]} instead of {port}, which another program uses"
            )


def test_a_seeder_says_when_it_listens_on_nothing(tmp_path: Path) -> None:
    # An address for documentation (RFC 5737), which no machine has.
    with closing(Seeder(ALONE.model_copy(update={"listen": "192.0.2.1:6881"}), tmp_path)) as seeder:
        wait_for(seeder, lambda: bool(seeder.deaf))
        assert seeder.status().listens == ()
        assert seeder.status().deaf.startswith("The seeder does not listen (192.0.2.1:6881: ")


def test_a_seeder_that_listens_as_it_should_says_nothing(tmp_path: Path) -> None:
    with closing(Seeder(ALONE, tmp_path)) as seeder:
        wait_for(seeder, lambda: bool(seeder.ports))
        seeder.turn(0.2)
        assert seeder.status().deaf == ""


def wait_for(seeder: Seeder, done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not done():
        assert time.monotonic() < deadline
        seeder.turn(0.1)
    seeder.turn(0.1)
