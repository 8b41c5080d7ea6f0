"""What the tests of archives share: a small real release, the archives to try, and ways to die in the middle."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from d4c_pipeline.archives import deposit
from d4c_pipeline.archives.local import LocalArchive
from d4c_pipeline.archives.metadata import RecordMetadata, record_metadata
from d4c_pipeline.archives.port import Archive
from d4c_pipeline.ledger import Ledger
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.release import (
    Artifact,
    ArtifactRole,
    Change,
    DataSummary,
    Deposit,
    Release,
    ReleaseState,
    release_key,
)
from d4c_pipeline.model.version import Bump, Version
from d4c_pipeline.model.vintage import Vintage

BASE_URL = "http://127.0.0.1:8763"
DATASET = Dataset.model_validate(
    {
        "id": "provinces",
        "name": {
            "region": "ca",
            "source": "statcan",
            "dguid": "2021A000011124",
            "package": "d4c-datapkg-statistical",
            "theme": "provinces_territories_digital",
        },
        "title": {"en": "Provinces and territories", "fr": "Provinces et territoires"},
        "description": {"en": "Thirteen.", "fr": "Treize."},
        "license": "ogl-canada-2.0",
        "creators": [{"name": "Statistics Canada"}],
        "vintages": ["2016", "2021"],
        "source": {"kind": "http", "urls": ["https://example.org/lpr_000a{vintage:yy}a_e.zip"]},
        "processing": {"kind": "vector"},
    }
)
VINTAGE = Vintage.parse("2021")
SUMMARY = DataSummary(13, (), (), None, None, (), {})


def make_metadata(key: str = "a" * 64, version: str = "0.1.0") -> RecordMetadata:
    release = Release(
        id=1,
        dataset=DATASET.id,
        vintage=VINTAGE,
        version=Version.read(version),
        name=str(DATASET.release_name(VINTAGE, Version.read(version))),
        state=ReleaseState.PLANNED,
        key=key,
        change=Change(Bump.PATCH, ()),
        summary=SUMMARY,
        artifacts=(),
        planned_at=datetime(2026, 1, 2, tzinfo=UTC),
        published_at=None,
    )
    return record_metadata(DATASET, release, ["https://example.org/lpr_000a21a_e.zip"])


@dataclass
class Home:
    """A folder with ledger, local archive and staged files; every object on it is made anew, as in a new process."""

    folder: Path

    def ledger(self) -> Ledger:
        return Ledger.in_folder(self.folder)

    def archive(self) -> LocalArchive:
        return LocalArchive(self.folder / "archive", BASE_URL)

    def copy(self, folder: Path) -> Home:
        shutil.copytree(self.folder, folder)
        return Home(folder)

    def staged(self, version: str) -> dict[str, Path]:
        return {path.name: path for path in sorted((self.folder / "staging" / version).iterdir())}

    def contents(self, version: str) -> dict[str, bytes]:
        return {name: path.read_bytes() for name, path in self.staged(version).items()}

    def plan(self, version: str, data: bytes, *, name: str = "data.parquet") -> Release:
        """Stage a data file and a manifest, and plan their release in the ledger."""
        folder = self.folder / "staging" / version
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / name).write_bytes(data)
        (folder / "manifest.json").write_bytes(b'{"data": "%s"}' % hashlib.sha256(data).hexdigest().encode())
        artifacts = [self._artifact(path) for path in folder.iterdir()]
        read = Version.read(version)
        with closing(self.ledger()) as ledger:
            return ledger.releases.plan(
                DATASET.id,
                VINTAGE,
                read,
                name=str(DATASET.release_name(VINTAGE, read)),
                key=release_key(DATASET.id, VINTAGE, read, artifacts),
                change=Change(Bump.PATCH, ("values changed",)),
                summary=SUMMARY,
                artifacts=artifacts,
            )

    @staticmethod
    def _artifact(path: Path) -> Artifact:
        content = path.read_bytes()
        return Artifact(
            name=path.name,
            role=ArtifactRole.MANIFEST if path.suffix == ".json" else ArtifactRole.DATA,
            size=len(content),
            md5=hashlib.md5(content, usedforsecurity=False).hexdigest(),
            sha256=hashlib.sha256(content).hexdigest(),
            media_type="application/octet-stream",
        )

    def metadata(self, release: Release) -> RecordMetadata:
        return record_metadata(DATASET, release, ["https://example.org/lpr_000a21a_e.zip"])

    def previous(self, ledger: Ledger) -> Deposit | None:
        newest = ledger.releases.newest_published(DATASET.id, VINTAGE)
        return None if newest is None else ledger.deposits.of(newest)

    def publish(self, release: Release, *, ledger: Any = None, archive: Any = None) -> Deposit:
        """All of a release's way, as the chain walks it; `ledger` and `archive` may be wrapped ones."""
        with closing(self.ledger()) as real:
            used, at = ledger or real, archive or self.archive()
            metadata = self.metadata(release)
            deposit.reserve(used, at, release, metadata, previous=self.previous(real))
            done = deposit.complete(used, at, release, self.staged(str(release.version)), metadata)
            real.releases.mark_published(release)
            return done

    def records(self) -> list[tuple[str | None, dict[str, bytes]]]:
        """Identifier and files, read from disk, of every published record."""
        found = []
        for path in sorted((self.folder / "archive" / "records").glob("*/record.json")):
            record = self.archive().read(path.parent.name)
            assert record is not None
            files = {file.name: file.read_bytes() for file in (path.parent / "files").iterdir()}
            assert set(files) == {file.name for file in record.files}
            assert {child.name for child in path.parent.iterdir()} == {"record.json", "files"}
            found.append((record.identifier, files))
        return found

    def check_published_once(self, *releases: Release) -> None:
        """One record per release with exactly its files, and a ledger that says the same."""
        expected = [(r.identifier, self.contents(str(r.version))) for r in releases]
        assert sorted(self.records(), key=str) == sorted(expected, key=str)
        with closing(self.ledger()) as ledger:
            for release in releases:
                known = ledger.deposits.of(release)
                record = self.archive().find_published(release.identifier)
                assert known is not None
                assert record is not None
                assert (known.state.value, known.record_id, known.doi, known.concept_doi) == (
                    "published",
                    record.record_id,
                    record.doi,
                    record.concept_doi,
                )
                assert set(known.files) == set(self.contents(str(release.version)))
                assert ledger.releases.get(release.id).state is ReleaseState.PUBLISHED


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


# Archives to try: a later archive (a fake or a real InvenioRDM) adds its line here and takes the same contract.
ARCHIVES: dict[str, Callable[[Path], Archive]] = {"local": lambda folder: LocalArchive(folder / "archive", BASE_URL)}


@pytest.fixture(params=sorted(ARCHIVES))
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> Archive:
    return ARCHIVES[request.param](tmp_path)


@pytest.fixture
def metadata() -> Callable[..., RecordMetadata]:
    """Make the metadata of a release with that key and version."""
    return make_metadata


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
def in_child() -> Callable[[Callable[[], None]], int]:
    """Run a function in a forked process; returns its exit status (negative: the signal that killed it)."""

    def run(work: Callable[[], None]) -> int:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                work()
                status = 0
            finally:
                os._exit(status)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    return run


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
