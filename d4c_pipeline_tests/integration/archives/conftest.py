"""What the tests of archives share: homes with a small release, the archives to try, and ways to die in the middle."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from d4c_pipeline.archives.invenio.client import InvenioArchive
from d4c_pipeline.archives.invenio.publication import Waits
from d4c_pipeline.archives.local.archive import LocalArchive
from d4c_pipeline.archives.port import Archive
from d4c_pipeline.ledger import Ledger
from d4c_pipeline.metadata.record import RecordMetadata
from d4c_pipeline.model.release import Release
from d4c_pipeline_tests.fakes.deposits import BASE_URL, QUICK_WAITS, SURE, Home, make_metadata
from d4c_pipeline_tests.fakes.invenio import TOKEN, FakeInvenio


@pytest.fixture(scope="session")
def planned_home(tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, Release]:
    """A home with a first release planned. Copy it, don't change it."""
    home = Home(tmp_path_factory.mktemp("planned"))
    return home, home.plan("0.1.0", b"first release")


@pytest.fixture(scope="session")
def second_home(
    planned_home: tuple[Home, Release], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Home, Release, Release]:
    """A home with a first release published and a second one planned. Copy it, don't change it."""
    first_home, first = planned_home
    home = first_home.copy(tmp_path_factory.mktemp("second") / "home")
    home.publish(first)
    return home, first, home.plan("0.1.1", b"second release, corrected")


@pytest.fixture
def home(planned_home: tuple[Home, Release], tmp_path: Path) -> tuple[Home, Release]:
    """A home of one's own with a first release planned."""
    return planned_home[0].copy(tmp_path / "home"), planned_home[1]


@pytest.fixture
def home_of_two(second_home: tuple[Home, Release, Release], tmp_path: Path) -> tuple[Home, Release, Release]:
    """A home of one's own with a first release published and a second one planned."""
    return second_home[0].copy(tmp_path / "home"), second_home[1], second_home[2]


@pytest.fixture
def fake() -> Iterator[FakeInvenio]:
    with FakeInvenio() as running:
        yield running


# Archives to try: a later one adds its name here and takes the same contract.
@pytest.fixture(params=["local", "fake", pytest.param("invenio", marks=pytest.mark.invenio)])
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Archive]:
    if request.param == "local":
        yield LocalArchive(tmp_path / "archive", BASE_URL)
        return
    if request.param == "fake":
        fake = request.getfixturevalue("fake")
        made = InvenioArchive("fake", fake.url, TOKEN, test=True, patience=SURE, waits=QUICK_WAITS, pause=fake.pause)
    else:
        url, token = request.getfixturevalue("invenio_lane")
        made = InvenioArchive("lane", url, token, test=True, waits=Waits(publish=30.0, poll=0.5, search=1.0))
    with closing(made):
        yield made


@pytest.fixture
def metadata() -> Callable[..., RecordMetadata]:
    """Make the metadata of a release named by a word; no other test ever had that release, in no archive."""
    salt = uuid.uuid4().hex

    def make(release: str = "first", version: str = "0.1.0") -> RecordMetadata:
        return make_metadata(hashlib.sha256(f"{salt} {release}".encode()).hexdigest(), version)

    return make


class Crash(BaseException):
    """The process dies here: no handler of the code may catch it."""


class Clock:
    """Counts the moments before and after every call of what is wrapped, and dies or acts at one of them."""

    def __init__(self, at: int | None = None, act: Callable[[], None] | None = None) -> None:
        self.count, self._at, self._act = 0, at, act
        self.labels: list[str] = []

    def tick(self, label: str) -> None:
        self.labels.append(label)
        self.count += 1
        if self.count - 1 == self._at:
            if self._act is None:
                raise Crash(label)
            self._act()

    def wrap(self, inner: Any) -> Any:
        """Return `inner` with a moment before and after each call of its methods."""
        clock = self

        class Wrapped:
            def __getattr__(self, name: str) -> Any:
                value = getattr(inner, name)
                if not callable(value):
                    return value

                def call(*args: Any, **kwargs: Any) -> Any:
                    clock.tick(f"before {name}")
                    result = value(*args, **kwargs)
                    clock.tick(f"after {name}")
                    return result

                return call

        return Wrapped()

    def wrap_ledger(self, ledger: Ledger) -> Any:
        """Return a ledger whose deposits are wrapped."""
        return SimpleNamespace(
            deposits=self.wrap(ledger.deposits), releases=ledger.releases, leases=ledger.leases, real=ledger
        )


@pytest.fixture(scope="session")
def clock() -> Callable[..., Clock]:
    return Clock


@pytest.fixture(scope="session")
def crash() -> type[Crash]:
    return Crash


@pytest.fixture(scope="session")
def in_children() -> Callable[[list[Callable[[], str]]], Iterator[str]]:
    """Run functions in forked processes at the same time; returns what each of them answered."""

    def run(works: list[Callable[[], str]]) -> Iterator[str]:
        running = []
        for work in works:
            reader, writer = os.pipe()
            child = os.fork()
            if child == 0:
                status = 1
                try:
                    os.write(writer, work().encode())
                    status = 0
                finally:
                    os._exit(status)
            os.close(writer)
            running.append((child, reader))
        for child, reader in running:
            with os.fdopen(reader) as pipe:
                answer = pipe.read()
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
            yield answer

    return run
