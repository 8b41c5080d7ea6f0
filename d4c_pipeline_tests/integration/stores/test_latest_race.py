"""`/processed/` while many processes publish at once, in any order, and are killed: never backwards, never torn."""

from __future__ import annotations

import hashlib
import multiprocessing
import random
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from d4c_pipeline.chain import latest
from d4c_pipeline.chain.latest import latest_address_of
from d4c_pipeline.ledger import Ledger
from d4c_pipeline.model.errors import BusyError
from d4c_pipeline.services.file_server import serving
from d4c_pipeline.stores.port import Stored
from d4c_pipeline.stores.s3 import S3Store
from d4c_pipeline_tests.fakes.s3 import FakeS3, let_all_read
from d4c_pipeline_tests.integration.stores import race
from d4c_pipeline_tests.integration.stores.conftest import REAL
from d4c_pipeline_tests.integration.stores.race import FILES, VINTAGE, Place

VERSIONS = 20
WORKERS = 8
STEM = "processed/ca_example_2021A000011124_d4c-datapkg-foundation_places_2021"
_BY_DIGEST = {
    suffix: {hashlib.sha256(race.content(n, suffix)).hexdigest(): n for n in range(1, VERSIONS + 1)} for suffix in FILES
}


@pytest.fixture(params=["folder", "moto", REAL])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """A store of its own that answers readers over HTTP."""
    if request.param == "folder":
        with serving({"/": tmp_path / "store"}) as url:
            yield Place(url, folder=tmp_path / "store")
    elif request.param == "moto":
        moto: FakeS3 = request.getfixturevalue("moto")
        store = moto.store(uuid.uuid4().hex)
        let_all_read(moto.client(), store.bucket.name)
        yield Place(store.base_url, bucket=store.bucket)
    else:
        real: S3Store = request.getfixturevalue("real_store")
        let_all_read(request.getfixturevalue("real_s3"), real.bucket.name)
        yield Place(real.base_url, bucket=real.bucket)


@dataclass(eq=False)
class Reader(threading.Thread):
    """Reads one address again and again: which versions it got, in order, and what went wrong."""

    url: str
    suffix: str
    over: threading.Event
    versions: list[int] = field(default_factory=list[int])
    faults: list[str] = field(default_factory=list[str])

    def __post_init__(self) -> None:
        super().__init__(daemon=True)

    def run(self) -> None:
        with httpx.Client(trust_env=False, timeout=30) as client:
            while not self.over.is_set():
                try:
                    self._read(client)
                except httpx.HTTPError as error:  # an answer that ends early is one
                    self.faults.append(repr(error))
                time.sleep(0.005)

    def _read(self, client: httpx.Client) -> None:
        answer = client.get(f"{self.url}/{STEM}{self.suffix}")
        if answer.status_code == 404 and not self.versions:
            return
        version = _BY_DIGEST[self.suffix].get(hashlib.sha256(answer.content).hexdigest())
        if answer.status_code != 200 or version is None:
            self.faults.append(f"{answer.status_code}, {len(answer.content)} bytes of no version")
        else:
            self.versions.append(version)


def run_to_the_end(place: Place, home: Path, chance: random.Random) -> int:
    """Have all versions published by workers at once, each killed now and then; returns how many were killed."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([race.__name__])
    # Any order, the newest rather later, so that there are many switches; the next one is popped from the end.
    waiting = sorted(range(1, VERSIONS + 1), key=lambda number: number + chance.uniform(0, 9), reverse=True)
    running: dict[Any, tuple[int, float]] = {}
    lives: dict[int, int] = {}
    killed = 0
    while waiting or running:
        while waiting and len(running) < WORKERS:
            number = waiting.pop()
            lives[number] = lives.get(number, 0) + 1
            process = context.Process(target=race.publish_and_switch, args=(home, place, number))
            process.start()
            # A version that was killed three times is left alone, so that this ends.
            life = chance.expovariate(1 / 0.5) if lives[number] <= 3 and chance.random() < 0.7 else float("inf")
            running[process] = (number, time.monotonic() + life)
        for process, (number, end) in list(running.items()):
            if process.is_alive():
                if time.monotonic() >= end:
                    process.kill()
                continue
            del running[process]
            process.join()
            if process.exitcode == -9:
                killed += 1
                waiting.insert(len(waiting) - chance.randrange(min(4, len(waiting) + 1)), number)
            else:
                assert process.exitcode == 0, f"the worker of version {number} ended with {process.exitcode}"
        time.sleep(0.01)
    return killed


def test_readers_never_see_an_older_version_after_a_newer_one(place: Place, tmp_path: Path) -> None:
    home, over = tmp_path / "home", threading.Event()
    Ledger.in_folder(home).close()
    seed = random.SystemRandom().randrange(1_000_000)
    readers = [Reader(place.url, suffix, over) for suffix in FILES for _ in range(2)]
    for reader in readers:
        reader.start()
    began = time.monotonic()
    try:
        killed = run_to_the_end(place, home, random.Random(seed))
        time.sleep(0.3)  # whoever reads now reads the last one
    finally:
        over.set()
        for reader in readers:
            reader.join()
    print(  # noqa: T201 - the figures of the race
        f"seed {seed}: {killed} workers killed, {[len(reader.versions) for reader in readers]} reads, "
        f"{len({v for r in readers for v in r.versions})} versions seen, {time.monotonic() - began:.1f} s"
    )
    for reader in readers:
        assert reader.faults == [], seed
        assert reader.versions == sorted(reader.versions), seed
        assert reader.versions[-1] == VERSIONS, seed
    assert killed >= 5, seed
    assert len({version for reader in readers for version in reader.versions}) > 1, seed
    with race.opened(home, place.store()) as deployment:
        published = deployment.ledger.releases.published("places")
        assert [release.version.minor for release in published] == list(range(1, VERSIONS + 1))
        assert deployment.ledger.publications.latest() == {STEM + suffix: published[-1].id for suffix in FILES}
        assert not latest.switch(deployment, race.dataset(), VINTAGE).changed
        assert latest_address_of(race.dataset(), published[-1]) == f"{STEM}.parquet"


@pytest.mark.parametrize("lost", ["before the switch", "after the first file"])
def test_a_worker_whose_lease_went_to_another_changes_nothing(place: Place, tmp_path: Path, lost: str) -> None:
    store = place.store()
    put = store.replace
    with race.opened(tmp_path / "home", store) as slow, race.opened(tmp_path / "home", place.store()) as other:
        race.publish_version(slow, 1)

        def stand_still(source: Path | bytes, address: str, *, guard: Callable[[], object] | None = None) -> Stored:
            """What happens while this worker stands still for longer than its lease lasts."""
            if lost == "before the switch" or address.endswith(".parquet"):
                with closing(sqlite3.connect(tmp_path / "home" / "ledger.sqlite")) as ledger, ledger:
                    ledger.execute("DELETE FROM lease WHERE key = 'latest/places'")
                race.publish_version(other, 2)
                latest.switch(other, race.dataset(), VINTAGE)
            return put(source, address, guard=guard)

        store.replace = stand_still
        with pytest.raises(BusyError, match="latest/places went to another process"):
            latest.switch(slow, race.dataset(), VINTAGE)
        newest = other.ledger.releases.newest_published("places", VINTAGE)
        assert newest is not None
        assert str(newest.version) == "0.2.0"
        for suffix in FILES:
            assert store.read_bytes(STEM + suffix) == race.content(2, suffix)
        assert other.ledger.publications.latest() == {STEM + suffix: newest.id for suffix in FILES}


# To a folder, nothing is under way once its writer is dead.
@pytest.mark.parametrize("place", ["moto", REAL], indirect=True)
def test_an_upload_that_arrives_after_a_newer_one_is_refused(place: Place, tmp_path: Path) -> None:
    store = place.store()
    put = store.replace
    with race.opened(tmp_path / "home", store) as slow, race.opened(tmp_path / "home", place.store()) as other:
        race.publish_version(slow, 1)
        latest.switch(slow, race.dataset(), VINTAGE)
        race.publish_version(slow, 2)

        def on_its_way(source: Path | bytes, address: str, *, guard: Callable[[], object] | None = None) -> Stored:
            def newer_ones_first() -> None:
                assert guard is not None
                guard()
                with closing(sqlite3.connect(tmp_path / "home" / "ledger.sqlite")) as ledger, ledger:
                    ledger.execute("DELETE FROM lease WHERE key = 'latest/places'")
                race.publish_version(other, 3)
                latest.switch(other, race.dataset(), VINTAGE)

            return put(source, address, guard=newer_ones_first)

        store.replace = on_its_way
        with pytest.raises(BusyError, match="wrote processed/"):
            latest.switch(slow, race.dataset(), VINTAGE)
        for suffix in FILES:
            assert store.read_bytes(STEM + suffix) == race.content(3, suffix)
