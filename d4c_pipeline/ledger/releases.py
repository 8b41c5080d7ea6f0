"""Releases and their artifacts: planned, published or abandoned."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from secrets import token_hex
from typing import Any

from sqlalchemy import Connection, Engine, RowMapping, Select, delete, insert, select, update
from sqlalchemy.exc import IntegrityError as ConstraintViolated

from d4c_pipeline.ledger import schema
from d4c_pipeline.ledger.changes import mark_changed
from d4c_pipeline.ledger.database import chunked, reading
from d4c_pipeline.ledger.events import ANNOUNCED, append, now
from d4c_pipeline.model import reasons
from d4c_pipeline.model.errors import BusyError, IntegrityError, UnknownNameError
from d4c_pipeline.model.release import (
    AbandonedRelease,
    Artifact,
    ArtifactRole,
    Change,
    DataSummary,
    LivingRelease,
    PlannedRelease,
    PublishedRelease,
    Release,
    ReleaseState,
    Withdrawal,
)
from d4c_pipeline.model.version import Bump, Version
from d4c_pipeline.model.vintage import Vintage

_OF_ARTIFACT = tuple(Artifact.__dataclass_fields__)
_TOKEN_BYTES = 16  # 128 bits can't be guessed


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
    ) -> PlannedRelease:
        """Record a planned release with its present artifacts.

        Raises BusyError when another process planned a release of the vintage, or took the version.
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
                        reasons=reasons.to_json(change.differences),
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
                return _planned(_read_row(connection, release_id))
        except ConstraintViolated as error:
            raise BusyError(
                f"Another process planned a release of {dataset} {vintage} meanwhile",
                "Run again: the run continues from there",
            ) from error

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
        published_at: datetime | None = None,
    ) -> PublishedRelease:
        """Record a release that an archive has published, or return it if the ledger has it already.

        `published_at`: when the archive published it, `planned_at` for an archive that does not state it.
        Raises BusyError if another release has the version.
        """
        known = next((release for release in self.published(dataset, vintage) if release.key == key), None)
        if known is not None:
            return known
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
                        reasons=reasons.to_json(change.differences),
                        summary=summary.to_json(),
                        planned_at=planned_at,
                        published_at=published_at or planned_at,
                    )
                    .returning(schema.release.c.id)
                ).scalar_one()
                _write_artifacts(connection, release_id, artifacts)
                mark_changed(connection, release_id)
                append(
                    connection,
                    "release adopted",
                    dataset=dataset,
                    vintage=str(vintage),
                    release_id=release_id,
                    version=str(version),
                )
                return _published(_read_row(connection, release_id))
        except ConstraintViolated as error:
            raise BusyError(
                f"The ledger has another release {name}, which another process may have planned meanwhile", "Run again"
            ) from error

    def add_artifacts(self, release: PlannedRelease, artifacts: Sequence[Artifact]) -> PlannedRelease:
        """Add artifacts that follow from the plan (torrent, catalogue item), or replace artifacts with the same names.

        Raises IntegrityError when another process published or abandoned the release.
        """
        with self._engine.begin() as connection:
            current = _read_row(connection, release.id)
            if not isinstance(current, PlannedRelease):
                raise IntegrityError(
                    f"Release {release.name} is {current.state}, its files can't change",
                    "A published release is immutable: publish a new version",
                )
            known = {artifact.name: artifact for artifact in current.artifacts}
            _write_artifacts(
                connection, release.id, [artifact for artifact in artifacts if known.get(artifact.name) != artifact]
            )
            return _planned(_read_row(connection, release.id))

    def mark_published(self, release: PlannedRelease, at: datetime | None = None) -> PublishedRelease:
        """Record that a release is published and supersedes its predecessor; a no-op if the ledger has it published.

        `at`: when the archive published it (time-zone aware), now by default. Raises IntegrityError for an abandoned
        release.
        """
        before = self.newest_published(release.dataset, release.vintage)
        with self._engine.begin() as connection:
            changed = connection.execute(
                update(schema.release)
                .where(schema.release.c.id == release.id, schema.release.c.state == ReleaseState.PLANNED.value)
                .values(state=ReleaseState.PUBLISHED.value, published_at=at or now())
            ).rowcount
            if changed:
                mark_changed(connection, release.id)
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
            return _published(_read_row(connection, release.id))

    def abandon(self, release: PlannedRelease, why: str) -> None:
        """Abandon a plan and forget its copies, which the caller has deleted before."""
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
            event = schema.event.c
            announced = select(event.id).where(
                event.dataset == release.dataset, event.release_id == release.id, event.kind == ANNOUNCED
            )
            if connection.execute(announced.limit(1)).first() is not None:
                mark_changed(connection, release.id)  # the feeds no longer announce it
            append(
                connection,
                "release abandoned",
                dataset=release.dataset,
                vintage=str(release.vintage),
                release_id=release.id,
                why=why,
            )

    def get(self, release_id: int) -> Release:
        """Return a release by the ledger's id. Raises UnknownNameError for an unknown id."""
        with reading(self._engine) as connection:
            return _read_row(connection, release_id)

    def identified(self, identifier: str) -> Release:
        """Return the newest release with an `identifier`. Raises UnknownNameError for an unknown identifier."""
        key = identifier.rpartition(":")[2]
        with reading(self._engine) as connection:
            return _read_single(
                connection,
                select(schema.release).where(schema.release.c.key == key).order_by(schema.release.c.id.desc()).limit(1),
            )

    def planned(self, dataset: str, vintage: Vintage) -> PlannedRelease | None:
        """Return the planned release of a vintage; a vintage has at most one."""
        found = self._find(ReleaseState.PLANNED, dataset=dataset, vintage=vintage)
        return _planned(found[0]) if found else None

    def newest_published(self, dataset: str, vintage: Vintage) -> PublishedRelease | None:
        """Return the published release of a vintage with the highest version, also a withdrawn one."""
        return max(self.published(dataset, vintage), key=lambda release: release.version, default=None)

    def newest_standing(self, dataset: str, vintage: Vintage) -> PublishedRelease | None:
        """Return the published release of a vintage with the highest version that is not withdrawn."""
        standing = (release for release in self.published(dataset, vintage) if release.withdrawn is None)
        return max(standing, key=lambda release: release.version, default=None)

    def newest_before(self, dataset: str, vintage: Vintage) -> PublishedRelease | None:
        """Return the newest release that stands of the newest vintage before `vintage`; None without one."""
        release = schema.release.c
        with reading(self._engine) as connection:
            query = select(release.vintage).distinct().where(
                release.dataset == dataset,
                release.state == ReleaseState.PUBLISHED.value,
                release.withdrawn_at.is_(None),
            )  # fmt: skip
            known = [Vintage.parse(text) for (text,) in connection.execute(query)]
        newest = max((each for each in known if each < vintage), default=None)
        if newest is None:
            return None
        return self.newest_standing(dataset, newest)

    def published(self, dataset: str | None = None, vintage: Vintage | None = None) -> tuple[PublishedRelease, ...]:
        """Return all published releases, also the withdrawn ones, by dataset, vintage and version."""
        found = map(_published, self._find(ReleaseState.PUBLISHED, dataset=dataset, vintage=vintage))
        return tuple(sorted(found, key=lambda release: (release.dataset, release.vintage, release.version)))

    def living(self, dataset: str | None = None) -> tuple[LivingRelease, ...]:
        """Return all planned and published releases, by dataset, vintage and version."""
        found = _living(self._find(ReleaseState.PLANNED, ReleaseState.PUBLISHED, dataset=dataset))
        return tuple(sorted(found, key=lambda release: (release.dataset, release.vintage, release.version)))

    def named(self, stem: str) -> tuple[LivingRelease, ...]:
        """Return the planned and published releases of all datasets whose names are `stem` with a version."""
        with reading(self._engine) as connection:
            found = read_releases(
                connection,
                select(schema.release).where(
                    schema.release.c.name.startswith(f"{stem}_v", autoescape=True),
                    schema.release.c.state != ReleaseState.ABANDONED.value,
                ),
            )
        return tuple(release for release in _living(found) if release.name == f"{stem}_v{release.version}")

    def _find(self, *states: ReleaseState, dataset: str | None = None, vintage: Vintage | None = None) -> list[Release]:
        query = select(schema.release).where(schema.release.c.state.in_([state.value for state in states]))
        if dataset is not None:
            query = query.where(schema.release.c.dataset == dataset)
        if vintage is not None:
            query = query.where(schema.release.c.vintage == str(vintage))
        with reading(self._engine) as connection:
            return read_releases(connection, query)


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


def read_releases(connection: Connection, query: Select[Any]) -> list[Release]:
    """Return the releases that `query` of the table `release` selects, with their artifacts."""
    rows = list(connection.execute(query).mappings())
    files: dict[int, list[Artifact]] = {row["id"]: [] for row in rows}
    artifact = schema.artifact
    columns = [artifact.c[name] for name in ("release_id", *_OF_ARTIFACT)]
    for ids in chunked(files):
        query_of_files = select(*columns).where(artifact.c.release_id.in_(ids)).order_by(artifact.c.name)
        for number, *facts in connection.execute(query_of_files):
            stated: dict[str, Any] = dict(zip(_OF_ARTIFACT, facts, strict=True))
            stated["role"] = ArtifactRole(stated["role"])
            files[number].append(Artifact(**stated))
    return [_release(row, tuple(files[row["id"]])) for row in rows]


def _release(row: RowMapping, artifacts: tuple[Artifact, ...]) -> Release:
    facts: dict[str, Any] = {
        "id": row["id"],
        "dataset": row["dataset"],
        "vintage": Vintage.parse(row["vintage"]),
        "version": Version.read(row["version"]),
        "name": row["name"],
        "key": row["key"],
        "change": Change(Bump(row["bump"]), reasons.from_json(row["reasons"])),
        "summary": DataSummary.from_json(row["summary"]),
        "artifacts": artifacts,
        "planned_at": row["planned_at"],
        "token": row["token"],
    }
    match ReleaseState(row["state"]):
        case ReleaseState.PLANNED:
            return PlannedRelease(**facts)
        case ReleaseState.PUBLISHED:
            withdrawn = withdrawal_from(row["withdrawn_at"], row["withdrawn_reason"])
            return PublishedRelease(**facts, published_at=row["published_at"], withdrawn=withdrawn)
        case ReleaseState.ABANDONED:
            return AbandonedRelease(**facts)


def withdrawal_from(at: datetime | None, reason: str | None) -> Withdrawal | None:
    """Return the withdrawal in the columns of a release; None while it stands."""
    return None if at is None or reason is None else Withdrawal(at, reason)


def _read_row(connection: Connection, release_id: int) -> Release:
    return _read_single(connection, select(schema.release).where(schema.release.c.id == release_id))


def _read_single(connection: Connection, query: Select[Any]) -> Release:
    found = read_releases(connection, query)
    if not found:
        raise UnknownNameError("The ledger has no such release", "List them with 'd4c releases'")
    return found[0]


def _planned(release: Release) -> PlannedRelease:
    if not isinstance(release, PlannedRelease):
        raise IntegrityError(f"Release {release.name} is {release.state}, not planned", "Run again to see its state")
    return release


def _published(release: Release) -> PublishedRelease:
    if not isinstance(release, PublishedRelease):
        raise IntegrityError(
            f"Release {release.name} is {release.state} and can't be published", "Run again: a new one is planned"
        )
    return release


def _living(found: Iterable[Release]) -> list[LivingRelease]:
    return [release for release in found if isinstance(release, PlannedRelease | PublishedRelease)]
