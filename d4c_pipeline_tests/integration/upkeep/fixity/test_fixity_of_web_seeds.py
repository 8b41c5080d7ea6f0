"""Web seeds are audited by their sampled pieces: what they serve, and how long a silent server is waited for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import pytest

from d4c_pipeline.files.hashing import hash_file
from d4c_pipeline.model.addresses import release_address, torrent_address
from d4c_pipeline.model.fixity import CopyKind, CopyState, FixityPolicy
from d4c_pipeline.model.release import Release, Torrent
from d4c_pipeline.model.version import Version
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.torrents.pieces import piece_hasher
from d4c_pipeline.torrents.torrent_files import torrent_of
from d4c_pipeline.upkeep import verification
from d4c_pipeline.upkeep.fixity import audit
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline_tests.fakes import rot
from d4c_pipeline_tests.fakes.web_servers import DEAD, GOOD, RANGELESS, WRONG, WebServer
from d4c_pipeline_tests.integration.upkeep.fixity.conftest import DATA, ON_FOLDERS
from d4c_pipeline_tests.support.ports import free_port

POLICY = FixityPolicy()
pytestmark = ON_FOLDERS


@pytest.fixture
def server(at: Deployment) -> Iterator[WebServer]:
    with closing(WebServer(rot.root_of(at.settings.home, "primary"), "127.0.0.1", free_port())) as answering:
        answering.turn(GOOD)
        yield answering


def publish(at: Deployment, version: str, *servers: str) -> Release:
    """Publish a release with the torrent of its data, whose web seeds are its addresses at these servers."""
    name = f"data_{version}.parquet"
    path = at.settings.home / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(DATA * 40)
    hasher = piece_hasher(path, hybrid=False)
    hash_file(path, hasher)
    address = release_address("provinces", Vintage.parse("2021"), Version.read(version), name)
    seeds = [f"{server}/{address}" for server in servers]
    made = torrent_of(
        hasher.finish(), name, web_seeds=seeds, trackers=[], comment="", created=datetime(2026, 11, 22, tzinfo=UTC)
    )
    release = rot.publish(at, version, {name: path.read_bytes(), f"{name}.torrent": made.data})
    known = Torrent(made.info_hash, None, made.magnet, made.piece_size, tuple(seeds), torrent_address(name))
    at.ledger.publications.record_torrents(release, {name: known})
    return release


@pytest.mark.parametrize(
    ("manner", "state", "said"),
    [
        (GOOD, None, ""),
        (WRONG, CopyState.DAMAGED, "serves other bytes in piece 0"),
        (RANGELESS, CopyState.DAMAGED, "ignores Range"),
        (DEAD, CopyState.UNREACHABLE, "can't be reached"),
    ],
)
def test_what_a_web_seed_serves(
    at: Deployment, server: WebServer, manner: str, state: CopyState | None, said: str
) -> None:
    publish(at, "1.0.0", server.url)
    server.turn(manner)
    found = audit(at, POLICY)
    looks = [one for one in (*found.lost, *found.unreachable) if one.copy.kind is CopyKind.WEB_SEED]
    assert [one.state for one in looks] == ([] if state is None else [state])
    assert all(said in one.detail for one in looks), looks
    assert len(looks) == len(found.lost) + len(found.unreachable)
    server.turn(GOOD)
    again = audit(at, POLICY)
    assert (again.lost, again.unreachable) == ((), ())


def test_a_server_that_gives_no_answer_three_times_is_left_for_the_next_night(
    at: Deployment, server: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = f"http://127.0.0.1:{free_port()}"
    for number in range(6):
        publish(at, f"1.0.{number}", dead, server.url)
    asked: list[str] = []
    try_web_seed = verification.try_web_seed

    def counted(url: str, *args: Any, **named: Any) -> Any:
        asked.append(url)
        return try_web_seed(url, *args, **named)

    monkeypatch.setattr(verification, "try_web_seed", counted)
    found = audit(at, POLICY)
    assert (len(found.unreachable), found.lost) == (6, ())
    assert {one.copy.address.startswith(dead) for one in found.unreachable} == {True}
    assert sum(url.startswith(dead) for url in asked) == 3
    assert sum(url.startswith(server.url) for url in asked) == 6
    assert [one.detail for one in found.unreachable][3:] == [
        f"{dead.removeprefix('http://')} gave no answer 3 times"
    ] * 3
