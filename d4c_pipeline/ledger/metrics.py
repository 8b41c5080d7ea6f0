"""Totals over the whole ledger, for monitoring: counted by the database, no row is read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine, distinct, func, or_, select

from d4c_pipeline.ledger import schema
from d4c_pipeline.ledger.database import reading
from d4c_pipeline.ledger.events import now
from d4c_pipeline.model.release import ReleaseState


@dataclass(frozen=True)
class Totals:
    """Totals at one moment. Sizes in bytes, times in seconds.

    `lag`: by subject, the time since the oldest change of its source that is not published yet; `due`: the number of
    such partitions. `retained`: the bytes of retained native files by dataset.
    """

    releases: dict[tuple[str, str], int]
    published_bytes: dict[str, int]
    published_at: dict[str, datetime]
    retained: dict[str, int]
    copies: dict[tuple[str, bool], tuple[int, int]]
    checks: dict[str, int]
    failures: dict[tuple[str, bool], int]
    builds: int
    runs: int
    due: dict[str, int]
    lag: dict[str, float]


class Metrics:
    """Totals of the ledger."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def totals(self) -> Totals:
        """Return the totals of now, in one transaction."""
        release, artifact, copy, seen = schema.release, schema.artifact, schema.copy, schema.observation
        published = release.c.state == ReleaseState.PUBLISHED.value
        unsettled = (seen.c.seen.is_not(None)) & or_(seen.c.settled.is_(None), seen.c.settled != seen.c.seen)
        with reading(self._engine) as connection:
            releases = connection.execute(
                select(release.c.dataset, release.c.state, func.count()).group_by(release.c.dataset, release.c.state)
            ).all()
            sizes = connection.execute(
                select(release.c.dataset, func.sum(artifact.c.size))
                .join(artifact, artifact.c.release_id == release.c.id)
                .where(published)
                .group_by(release.c.dataset)
            ).all()
            newest = connection.execute(
                select(release.c.dataset, func.max(release.c.published_at)).where(published).group_by(release.c.dataset)
            ).all()
            natives = connection.execute(
                select(schema.native_file.c.dataset, func.sum(schema.native_file.c.size)).group_by(
                    schema.native_file.c.dataset
                )
            ).all()
            copies = connection.execute(
                select(copy.c.store, copy.c.intact, func.count(), func.sum(copy.c.size)).group_by(
                    copy.c.store, copy.c.intact
                )
            ).all()
            checks = connection.execute(
                select(schema.check_result.c.verdict, func.count()).group_by(schema.check_result.c.verdict)
            ).all()
            failure = schema.failure
            failures = connection.execute(
                select(failure.c.subject, failure.c.transient, func.count()).group_by(
                    failure.c.subject, failure.c.transient
                )
            ).all()
            builds = connection.execute(
                select(func.count()).select_from(schema.build).where(schema.build.c.release_id.is_(None))
            ).scalar_one()
            runs = connection.execute(select(func.count(distinct(schema.active_run.c.run)))).scalar_one()
            due = connection.execute(
                select(seen.c.subject, func.count(), func.min(seen.c.changed_at))
                .where(unsettled)
                .group_by(seen.c.subject)
            ).all()
        moment = now()
        return Totals(
            releases={(row[0], row[1]): row[2] for row in releases},
            published_bytes={row[0]: int(row[1]) for row in sizes},
            published_at={row[0]: row[1] for row in newest},
            retained={row[0]: int(row[1]) for row in natives},
            copies={(row[0], bool(row[1])): (row[2], int(row[3])) for row in copies},
            checks={row[0]: row[1] for row in checks},
            failures={(row[0], bool(row[1])): row[2] for row in failures},
            builds=builds,
            runs=runs,
            due={row[0]: row[1] for row in due},
            lag={row[0]: max(0.0, (moment - row[2]).total_seconds()) for row in due if row[2] is not None},
        )
