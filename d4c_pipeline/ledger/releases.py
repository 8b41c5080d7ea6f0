"""Releases and their artifacts: planned, published or abandoned, and which of them is the newest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import chain
from secrets import token_hex
from typing import Any

from sqlalchemy import Connection, Engine, Select, delete, insert, select, update
from sqlalchemy.exc import IntegrityError as ConstraintViolated

from d4c_pipeline.ledger import schema
from d4c_pipeline.ledger.database import chunked, reading
from d4c_pipeline.ledger.events import append, now
from d4c_pipeline.model.errors import BusyError, IntegrityError, UnknownNameError
from d4c_pipeline.model.release import Artifact, ArtifactRole, Change, DataSummary, Release, ReleaseState
from d4c_pipeline.model.version import Bump, Version
from d4c_pipeline.model.vintage import Vintage

_TOKEN_BYTES = 16  # 128 bits: whoever guesses a thousand million times a second needs longer than the world is old


class Releases:
    """Releases in the ledger."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def plan(
        self,
        dataset: str,
        vintage: Vintage,
        version: Version,
        *,
        name: str,
        key: str,
        change: Change,
        summary: DataSummary,
        artifacts: Iterable[Artifact],
    ) -> Release:
        """Record a planned release with the artifacts known so far.

        Raises BusyError when the vintage has another plan or the version is taken: somebody else was first.
        """
        try:
            with self._engine.begin() as connection:
                release_id = connection.execute(
                    insert(schema.release)
                    .values(
                        dataset=dataset,
                        vintage=str(vintage),
                        version=str(version),
                        name=name,
                        state=ReleaseState.PLANNED.value,
                        key=key,
                        bump=int(change.bump),
                        reasons=list(change.reasons),
                        summary=summary.to_json(),
                        planned_at=now(),
                        token=token_hex(_TOKEN_BYTES),
                    )
                    .returning(schema.release.c.id)
                ).scalar_one()
                _write_artifacts(connection, release_id, artifacts)
                append(
                    connection,
                    "release planned",
                    dataset=dataset,
                    vintage=str(vintage),
                    release_id=release_id,
                    version=str(version),
                    reasons=list(change.reasons),
                )
        except ConstraintViolated as error:
            raise BusyError(
                f"Another process planned a release of {dataset} {vintage} meanwhile",
                "Run again: it goes on from there",
            ) from error
        return self.get(release_id)

    def adopt(
        self,
        dataset: str,
        vintage: Vintage,
        version: Version,
        *,
        name: str,
        key: str,
        change: Change,
        summary: DataSummary,
        artifacts: Iterable[Artifact],
        planned_at: datetime,
    ) -> Release:
        """Record a release that an archive has published and this ledger did not know; one that it knows is returned.

        Raises BusyError when the version is taken by another release.
        """
        known = [one for one in self.published(dataset, vintage) if one.key == key]
        if known:
            return known[0]
        try:
            with self._engine.begin() as connection:
                release_id = connection.execute(
                    insert(schema.release)
                    .values(
                        dataset=dataset,
                        vintage=str(vintage),
                        version=str(version),
                        name=name,
                        state=ReleaseState.PUBLISHED.value,
                        key=key,
                        bump=int(change.bump),
                        reasons=list(change.reasons),
                        summary=summary.to_json(),
                        planned_at=planned_at,
                        published_at=planned_at,
                    )
                    .returning(schema.release.c.id)
                ).scalar_one()
                _write_artifacts(connection, release_id, artifacts)
                append(
                    connection,
                    "release adopted",
                    dataset=dataset,
                    vintage=str(vintage),
                    release_id=release_id,
                    version=str(version),
                )
        except ConstraintViolated as error:
            raise BusyError(
                f"The ledger has another release {name}, which another process may have planned meanwhile", "Run again"
            ) from error
        return self.get(release_id)

    def add_artifacts(self, release: Release, artifacts: Sequence[Artifact]) -> Release:
        """Add artifacts that follow from the planned ones (torrent, catalogue item), or replace them while planned.

        Raises IntegrityError when the release is published and holds other bytes under such a name.
        """
        with self._engine.begin() as connection:
            current = _read_one(connection, select(schema.release).where(schema.release.c.id == release.id))
            have = {artifact.name: artifact for artifact in current.artifacts}
            different = [artifact for artifact in artifacts if have.get(artifact.name) != artifact]
            if different and current.state is not ReleaseState.PLANNED:
                raise IntegrityError(
                    f"Release {release.name} is {current.state}, its file {different[0].name} can't change",
                    "A published release is immutable: publish a new version",
                )
            _write_artifacts(connection, release.id, different)
        return self.get(release.id)

    def mark_published(self, release: Release) -> Release:
        """Record that a release is public for ever and supersedes the one before it; a no-op when it already is.

        Raises IntegrityError for a release that was abandoned.
        """
        before = self.newest_published(release.dataset, release.vintage)
        with self._engine.begin() as connection:
            changed = connection.execute(
                update(schema.release)
                .where(schema.release.c.id == release.id, schema.release.c.state == ReleaseState.PLANNED.value)
                .values(state=ReleaseState.PUBLISHED.value, published_at=now())
            ).rowcount
            if changed:
                if before is not None:
                    append(
                        connection,
                        "release superseded",
                        dataset=before.dataset,
                        vintage=str(before.vintage),
                        release_id=before.id,
                        by=release.name,
                    )
                append(
                    connection,
                    "release published",
                    dataset=release.dataset,
                    vintage=str(release.vintage),
                    release_id=release.id,
                    version=str(release.version),
                )
        current = self.get(release.id)
        if current.state is not ReleaseState.PUBLISHED:
            raise IntegrityError(
                f"Release {release.name} is {current.state} and can't be published", "Run again: a new one is planned"
            )
        return current

    def abandon(self, release: Release, why: str) -> None:
        """Record that a plan was overtaken. Its copies are no longer the ledger's; the caller removed them before."""
        with self._engine.begin() as connection:
            changed = connection.execute(
                update(schema.release)
                .where(schema.release.c.id == release.id, schema.release.c.state == ReleaseState.PLANNED.value)
                .values(state=ReleaseState.ABANDONED.value)
            ).rowcount
            if not changed:
                raise IntegrityError(
                    f"Release {release.name} is no plan any more and can't be abandoned", "Run again to see its state"
                )
            connection.execute(delete(schema.copy).where(schema.copy.c.release_id == release.id))
            append(
                connection,
                "release abandoned",
                dataset=release.dataset,
                vintage=str(release.vintage),
                release_id=release.id,
                why=why,
            )

    def get(self, release_id: int) -> Release:
        """Return a release by the ledger's id. Raises UnknownNameError when there is none."""
        with reading(self._engine) as connection:
            return _read_one(connection, select(schema.release).where(schema.release.c.id == release_id))

    def identified(self, identifier: str) -> Release:
        """Return the newest release that carries our identifier. Raises UnknownNameError when there is none."""
        key = identifier.rpartition(":")[2]
        with reading(self._engine) as connection:
            return _read_one(
                connection,
                select(schema.release).where(schema.release.c.key == key).order_by(schema.release.c.id.desc()).limit(1),
            )

    def planned(self, dataset: str, vintage: Vintage) -> Release | None:
        """Return the one planned release of a vintage."""
        found = self._find(dataset=dataset, vintage=vintage, state=ReleaseState.PLANNED)
        return found[0] if found else None

    def newest_published(self, dataset: str, vintage: Vintage) -> Release | None:
        """Return the published release of a vintage that has the highest version."""
        found = self._find(dataset=dataset, vintage=vintage, state=ReleaseState.PUBLISHED)
        return max(found, key=lambda release: release.version) if found else None

    def published(self, dataset: str | None = None, vintage: Vintage | None = None) -> tuple[Release, ...]:
        """Return all published releases, by dataset, vintage and version."""
        found = self._find(dataset=dataset, vintage=vintage, state=ReleaseState.PUBLISHED)
        return tuple(sorted(found, key=lambda release: (release.dataset, release.vintage, release.version)))

    def living(self, dataset: str | None = None) -> tuple[Release, ...]:
        """Return all releases that are planned or published, by dataset, vintage and version."""
        found = [r for r in self._find(dataset=dataset) if r.state is not ReleaseState.ABANDONED]
        return tuple(sorted(found, key=lambda release: (release.dataset, release.vintage, release.version)))

    def named(self, stem: str) -> tuple[Release, ...]:
        """Return the living releases, of whatever dataset, whose names are `stem` with a version."""
        with reading(self._engine) as connection:
            found = _read(
                connection,
                select(schema.release).where(
                    schema.release.c.name.startswith(f"{stem}_v", autoescape=True),
                    schema.release.c.state != ReleaseState.ABANDONED.value,
                ),
            )
        return tuple(release for release in found if release.name == f"{stem}_v{release.version}")

    def _find(
        self, *, dataset: str | None = None, vintage: Vintage | None = None, state: ReleaseState | None = None
    ) -> list[Release]:
        query = select(schema.release)
        if dataset is not None:
            query = query.where(schema.release.c.dataset == dataset)
        if vintage is not None:
            query = query.where(schema.release.c.vintage == str(vintage))
        if state is not None:
            query = query.where(schema.release.c.state == state.value)
        with reading(self._engine) as connection:
            return _read(connection, query)


def _write_artifacts(connection: Connection, release_id: int, artifacts: Iterable[Artifact]) -> None:
    for artifact in artifacts:
        connection.execute(
            delete(schema.artifact).where(
                schema.artifact.c.release_id == release_id, schema.artifact.c.name == artifact.name
            )
        )
        connection.execute(
            insert(schema.artifact).values(release_id=release_id, **{**vars(artifact), "role": artifact.role.value})
        )


def _read(connection: Connection, query: Select[Any]) -> list[Release]:
    rows = list(connection.execute(query).mappings())
    files: dict[int, list[Artifact]] = {row["id"]: [] for row in rows}
    artifact = schema.artifact
    for file in chain.from_iterable(
        connection.execute(select(artifact).where(artifact.c.release_id.in_(ids)).order_by(artifact.c.name)).mappings()
        for ids in chunked(files)
    ):
        files[file["release_id"]].append(
            Artifact(
                name=file["name"],
                role=ArtifactRole(file["role"]),
                size=file["size"],
                md5=file["md5"],
                sha256=file["sha256"],
                media_type=file["media_type"],
            )
        )
    return [
        Release(
            id=row["id"],
            dataset=row["dataset"],
            vintage=Vintage.parse(row["vintage"]),
            version=Version.read(row["version"]),
            name=row["name"],
            state=ReleaseState(row["state"]),
            key=row["key"],
            change=Change(Bump(row["bump"]), tuple(row["reasons"])),
            summary=DataSummary.from_json(row["summary"]),
            artifacts=tuple(files[row["id"]]),
            planned_at=row["planned_at"],
            published_at=row["published_at"],
            token=row["token"],
        )
        for row in rows
    ]


def _read_one(connection: Connection, query: Select[Any]) -> Release:
    found = _read(connection, query)
    if not found:
        raise UnknownNameError("The ledger has no such release", "List them with 'd4c releases'")
    return found[0]
