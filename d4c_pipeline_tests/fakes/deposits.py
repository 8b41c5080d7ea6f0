"""A small release with its ledger and staged files, and the way it goes into an archive: the local one or the fake.

Everything is made anew from the folder each time, as a new process would; tests and benchmarks share it.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from d4c_pipeline.archives import deposit
from d4c_pipeline.archives.invenio.client import InvenioArchive
from d4c_pipeline.archives.invenio.publication import Waits
from d4c_pipeline.archives.local.archive import LocalArchive
from d4c_pipeline.ledger import Ledger
from d4c_pipeline.metadata.record import RecordMetadata, record_metadata
from d4c_pipeline.model.differences import Stated
from d4c_pipeline.model.release import (
    Artifact,
    ArtifactRole,
    Change,
    DataSummary,
    Deposit,
    PlannedRelease,
    PublishedRelease,
    Release,
    release_key,
)
from d4c_pipeline.model.version import Bump, Version
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.transport.patience import Patience
from d4c_pipeline_tests.fakes.invenio import TOKEN, FakeInvenio
from d4c_pipeline_tests.support.declarations import a_dataset

BASE_URL = "http://127.0.0.1:8763"
DATASET = a_dataset(
    "provinces",
    name={"source": "statcan", "package": "d4c-datapkg-statistical", "theme": "provinces_territories_digital"},
    title={"en": "Provinces and territories", "fr": "Provinces et territoires"},
    description={"en": "Thirteen.", "fr": "Treize."},
    license="cc-by-4.0",
    creators=[{"name": "Statistics Canada"}],
    vintages=["2016", "2021"],
    source={"kind": "http", "urls": ["https://example.org/lpr_000a{vintage:yy}a_e.zip"]},
)
VINTAGE = Vintage.parse("2021")
_ROLES = {"manifest.json": ArtifactRole.MANIFEST, "profile.json": ArtifactRole.PROFILE}
SUMMARY = DataSummary(13, (), (), None, None, (), {})


def make_metadata(key: str = "a" * 64, version: str = "0.1.0") -> RecordMetadata:
    release = PlannedRelease(
        id=1,
        dataset=DATASET.id,
        vintage=VINTAGE,
        version=Version.read(version),
        name=str(DATASET.release_name(VINTAGE, Version.read(version))),
        key=key,
        change=Change(Bump.PATCH, ()),
        summary=SUMMARY,
        artifacts=(),
        planned_at=datetime(2026, 1, 2, tzinfo=UTC),
    )
    return record_metadata(DATASET, release, ["https://example.org/lpr_000a21a_e.zip"])


@dataclass
class Home:
    """A folder with ledger, local archive and staged files; every object on it is made anew, as in a new process."""

    folder: Path

    def ledger(self) -> Ledger:
        return Ledger.in_folder(self.folder)

    def archive(self) -> Any:
        return LocalArchive(self.folder / "archive", BASE_URL)

    def copy(self, folder: Path) -> Home:
        shutil.copytree(self.folder, folder)
        return Home(folder)

    def staged(self, version: str) -> dict[str, Path]:
        return {path.name: path for path in sorted((self.folder / "staging" / version).iterdir())}

    def contents(self, version: str) -> dict[str, bytes]:
        return {name: path.read_bytes() for name, path in self.staged(version).items()}

    def plan(
        self, version: str, data: bytes, *, name: str = "data.parquet", extra: Mapping[str, bytes] | None = None
    ) -> PlannedRelease:
        """Stage a data file, a manifest and `extra` files, and plan their release in the ledger."""
        folder = self.folder / "staging" / version
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / name).write_bytes(data)
        (folder / "manifest.json").write_bytes(b'{"data": "%s"}' % hashlib.sha256(data).hexdigest().encode())
        for other, content in (extra or {}).items():
            (folder / other).write_bytes(content)
        artifacts = [self._artifact(path) for path in sorted(folder.iterdir())]
        read = Version.read(version)
        with closing(self.ledger()) as ledger:
            return ledger.releases.plan(
                DATASET.id,
                VINTAGE,
                read,
                name=str(DATASET.release_name(VINTAGE, read)),
                key=release_key(DATASET.id, VINTAGE, read, artifacts),
                change=Change(Bump.PATCH, (Stated("values changed"),)),
                summary=SUMMARY,
                artifacts=artifacts,
            )

    @staticmethod
    def _artifact(path: Path) -> Artifact:
        content = path.read_bytes()
        return Artifact(
            name=path.name,
            role=_ROLES.get(path.name, ArtifactRole.DATA),
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

    def publish(self, release: PlannedRelease, *, ledger: Any = None, archive: Any = None) -> Deposit:
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
                assert type(ledger.releases.get(release.id)) is PublishedRelease


SURE = Patience(attempts=4, first_wait=0.01, longest_wait=60.0, connect_timeout=10.0, read_timeout=30.0)
"""A client that is only let down by real faults, however busy the machine is."""

QUICK_WAITS = Waits(publish=0.05, poll=0.01, search=0.0)


@dataclass
class InvenioHome(Home):
    """The same with the fake InvenioRDM as archive."""

    fake: FakeInvenio
    patience: Patience = SURE
    transport: httpx.BaseTransport | None = None
    opened: list[InvenioArchive] = field(default_factory=list)

    def archive(self) -> Any:
        archive = InvenioArchive(
            "fake",
            self.fake.url,
            TOKEN,
            test=True,
            patience=self.patience,
            waits=QUICK_WAITS,
            pause=self.fake.pause,
            transport=self.transport,
        )
        self.opened.append(archive)
        return archive

    def close(self) -> None:
        """Close the connections of every archive that was made here."""
        while self.opened:
            self.opened.pop().close()

    def copy(self, folder: Path) -> InvenioHome:
        shutil.copytree(self.folder, folder)
        return InvenioHome(folder, self.fake, self.patience, self.transport)

    def records(self) -> list[tuple[str | None, dict[str, bytes]]]:
        return [
            (record.metadata["identifiers"][0]["identifier"], self.fake.contents(record))
            for record in self.fake.state.published()
        ]
