"""A mark per dataset over all facts that its pages show: a digest that changes when one of them does.

A few grouped queries over all releases, so that a build of the portal finds what changed without reading the facts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Engine, Select, case, func, select

from d4c_pipeline.ledger import schema
from d4c_pipeline.ledger.database import reading
from d4c_pipeline.model.fixity import CopyKind, CopyState
from d4c_pipeline.model.release import ReleaseState


class PageMarks:
    """The marks of datasets."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def all(self) -> dict[str, str]:
        """Return dataset -> mark for each dataset with a published release, sorted by dataset."""
        found: dict[str, list[str]] = {}
        with reading(self._engine) as connection:
            for number, query in enumerate(_queries()):
                for dataset, *facts in connection.execute(query):
                    if number == 0:
                        found[dataset] = [repr(facts)]
                    elif dataset in found:
                        found[dataset].append(f"{number} {facts!r}")
        return {name: hashlib.sha256("\n".join(facts).encode()).hexdigest() for name, facts in sorted(found.items())}


def _queries() -> Sequence[Select[Any]]:
    """The first query decides which datasets there are; each has the dataset as its first column."""
    release, deposit, copy, torrent = schema.release, schema.deposit, schema.copy, schema.torrent
    fixity = schema.fixity
    check, override, described = schema.check_result, schema.check_override, schema.source_description
    observed, native, latest = schema.observation, schema.native_file, schema.latest
    published = release.c.state == ReleaseState.PUBLISHED.value
    intact = func.sum(case((copy.c.intact, 1), else_=0))

    def of_releases(table: Any, *facts: Any) -> Select[Any]:
        joined = table.join(release, table.c.release_id == release.c.id)
        return select(release.c.dataset, *facts).select_from(joined).where(published).group_by(release.c.dataset)

    return (
        select(
            release.c.dataset,
            func.count(),
            func.max(release.c.id),
            func.max(release.c.published_at),
            func.count(release.c.withdrawn_at),
            func.max(release.c.withdrawn_at),
            func.max(release.c.withdrawn_reason),
        )
        .where(published)
        .group_by(release.c.dataset),
        of_releases(deposit, func.count(), func.max(deposit.c.updated_at)),
        # The day, not the time: a run of an unchanged dataset verifies its copies.
        of_releases(
            copy, func.count(), intact, func.min(func.date(copy.c.verified_at)), func.max(func.date(copy.c.verified_at))
        ),
        of_releases(
            fixity,
            func.sum(case((fixity.c.state == CopyState.INTACT.value, 1), else_=0)),
            # The day, not the time: an audit reads the files of a release one after another.
            func.min(func.date(fixity.c.read_at)),
        ).where(fixity.c.kind == CopyKind.ARCHIVE.value),
        of_releases(torrent, func.count(), func.max(torrent.c.info_hash), func.min(torrent.c.info_hash)),
        of_releases(latest, func.count(), func.max(latest.c.release_id)),
        select(check.c.dataset, func.count(), func.max(check.c.checked_at)).group_by(check.c.dataset),
        select(override.c.dataset, func.count(), func.max(override.c.at)).group_by(override.c.dataset),
        select(described.c.dataset, func.count(), func.max(described.c.said_at)).group_by(described.c.dataset),
        select(native.c.dataset, func.count(), func.max(native.c.id)).group_by(native.c.dataset),
        select(
            observed.c.subject,
            # The day, not the time: a source is checked several times a day.
            func.max(func.date(observed.c.seen_at)),
            func.max(observed.c.changed_at),
            func.sum(case((observed.c.seen != observed.c.settled, 1), else_=0)),
        ).group_by(observed.c.subject),
    )
