"""What feeds state: the published releases in the order of publication, and planned breaking changes with their dates.

Here belong the queries; the selection of pages belongs to `chain`, their form to `catalogue.feeds`. A release is
published if and only if it has a time of publication; releases of the same time are ordered by name. A planned
breaking change is announced by an event; when to announce one belongs to `review.policy`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Engine, func, select, text

from d4c_pipeline.ledger import schema
from d4c_pipeline.ledger.catalogue import LISTED, Identifiers, Listed, listed_from
from d4c_pipeline.ledger.changes import mark_changed
from d4c_pipeline.ledger.database import chunked, reading
from d4c_pipeline.ledger.events import ANNOUNCED, append
from d4c_pipeline.model.reasons import Reason, from_json, to_json
from d4c_pipeline.model.release import CHANGES, Change, PlannedRelease, ReleaseState, Torrent
from d4c_pipeline.model.version import Bump, Version
from d4c_pipeline.model.vintage import Vintage

_OF_TORRENT = tuple(Torrent.__dataclass_fields__)


@dataclass(frozen=True)
class Announced:
    """A published release with the facts that a feed states.

    `titles` are those of its item, in English and French. `counts`: its changed rows, see `release.CHANGES`. `data`:
    name and size of the data files. `torrents`: data file -> its torrent with the size of the archived `.torrent`.
    """

    listed: Listed
    titles: tuple[str | None, str | None]
    change: Change
    rows: int
    counts: dict[str, Any] | None
    archive: str
    archive_url: str | None
    identifiers: Identifiers
    data: dict[str, int]
    torrents: dict[str, tuple[Torrent, int | None]]


@dataclass(frozen=True)
class Notice:
    """A planned release that breaks what readers use, as announced.

    `due`: the day (UTC) from which it is published. `breaks`: the breaking differences. `announced_at`: the first
    announcement of this version; `updated_at`: the newest that differs.
    """

    dataset: str
    vintage: Vintage
    version: Version
    release: str
    release_id: int
    due: date
    breaks: tuple[Reason, ...]
    announced_at: datetime
    updated_at: datetime


class Announcements:
    """Queries of the releases in the order of publication, and the announcements of planned ones."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def published(self) -> int:
        """Return the number of published releases."""
        table = schema.release
        with reading(self._engine) as connection:
            return connection.execute(select(func.count(table.c.published_at))).scalar_one()

    def in_order(self, start: int, count: int, dataset: str | None = None) -> tuple[int, ...]:
        """Return `count` published releases from place `start` (from 0) on in the order of publication."""
        table = schema.release
        query = select(table.c.id).where(table.c.published_at.is_not(None))
        if dataset is not None:
            query = query.where(table.c.dataset == dataset, text("release.state <> 'abandoned'"))
        with reading(self._engine) as connection:
            ordered = query.order_by(table.c.published_at, table.c.name).offset(start).limit(count)
            return tuple(connection.execute(ordered).scalars())

    def place(self, release: Listed) -> int:
        """Return the place of a release (from 0) in the order of publication."""
        table = schema.release
        before = (table.c.published_at < release.published_at) | (
            (table.c.published_at == release.published_at) & (table.c.name < release.name)
        )
        with reading(self._engine) as connection:
            return connection.execute(select(func.count()).select_from(table).where(before)).scalar_one()

    def announced(self, releases: Collection[int]) -> dict[int, Announced]:
        """Return the facts of published releases for feeds, by id."""
        table, deposit, item = schema.release, schema.deposit, schema.stac_item
        artifact, torrent = schema.artifact, schema.torrent
        properties = item.c.item["properties"]
        query = (
            select(
                *LISTED,
                table.c.bump,
                table.c.reasons,
                table.c.summary["rows"].as_integer(),
                table.c.summary["report"][CHANGES].as_json(),
                deposit.c.archive,
                deposit.c.url,
                deposit.c.doi,
                deposit.c.concept_doi,
                deposit.c.test,
                properties["title"].as_string(),
                properties["d4c:title_fr"].as_string(),
            )
            .join(deposit, deposit.c.release_id == table.c.id)
            .join(item, item.c.release_id == table.c.id, isouter=True)
        )
        data: dict[int, dict[str, int]] = {}
        written: dict[int, dict[str, int]] = {}
        torrents: dict[int, dict[str, tuple[Torrent, int | None]]] = {}
        found: dict[int, Announced] = {}
        with reading(self._engine) as connection:
            for some in chunked(releases):
                files = select(artifact.c.release_id, artifact.c.name, artifact.c.size, artifact.c.role).where(
                    artifact.c.release_id.in_(some), artifact.c.role.in_(("data", "torrent"))
                )
                for number, name, size, role in connection.execute(files.order_by(artifact.c.name)):
                    (data if role == "data" else written).setdefault(number, {})[name] = size
                seeded = select(torrent.c.release_id, torrent.c.artifact, *(torrent.c[name] for name in _OF_TORRENT))
                seeded = seeded.where(torrent.c.release_id.in_(some)).order_by(torrent.c.artifact)
                for number, name, *values in connection.execute(seeded):
                    made = Torrent(**dict(zip(_OF_TORRENT, values, strict=True)))
                    size = written.get(number, {}).get(f"{name}.torrent")
                    torrents.setdefault(number, {})[name] = made, size
                for row in connection.execute(query.where(table.c.id.in_(some), table.c.published_at.is_not(None))):
                    bump, reasons, rows, counts, archive, url, doi, concept_doi, test, *titles = row[len(LISTED) :]
                    found[row[0]] = Announced(
                        listed=listed_from(row),
                        change=Change(Bump(bump), from_json(reasons)),
                        rows=rows,
                        counts=counts,
                        archive=archive,
                        archive_url=url,
                        identifiers=Identifiers(doi, concept_doi, test),
                        titles=(titles[0], titles[1]),
                        data=data.get(row[0], {}),
                        torrents=torrents.get(row[0], {}),
                    )
        return found

    def announce(self, release: PlannedRelease, due: date, breaks: Sequence[Reason]) -> None:
        """Announce that a planned release is published from the day `due` on, and what it breaks.

        The caller holds the lease on the vintage. The release is marked as changed in the same transaction, so that the
        next rebuild of the catalogue writes the announcement even if this process dies.
        """
        with self._engine.begin() as connection:
            append(
                connection,
                ANNOUNCED,
                dataset=release.dataset,
                vintage=str(release.vintage),
                release_id=release.id,
                release=release.name,
                version=str(release.version),
                due=due.isoformat(),
                breaks=to_json(breaks),
            )
            mark_changed(connection, release.id)

    def notice(self, release: PlannedRelease) -> Notice | None:
        """Return the announcement of a planned release or of an earlier build of its version; None without one."""
        found = [each for each in self.notices(release.dataset) if each.vintage == release.vintage]
        return found[0] if found else None

    def notices(self, dataset: str) -> tuple[Notice, ...]:
        """Return the announcements of the planned releases of a dataset, by vintage.

        A published or abandoned release has none, unless the next build of its vintage has the same version.
        """
        table, event = schema.release, schema.event
        planned = select(table.c.vintage, table.c.version).where(
            table.c.dataset == dataset, table.c.state == ReleaseState.PLANNED.value
        )
        announced = (
            select(event)
            .where(event.c.dataset == dataset, event.c.kind == ANNOUNCED, event.c.vintage.is_not(None))
            .order_by(event.c.id)
        )
        found: dict[tuple[str, str], Notice] = {}
        with reading(self._engine) as connection:
            standing = {tuple(row) for row in connection.execute(planned)}
            for row in connection.execute(announced).mappings() if standing else ():
                detail = row["detail"]
                key = row["vintage"], detail["version"]
                if key not in standing:
                    continue
                known = found.get(key)
                due, breaks = date.fromisoformat(detail["due"]), from_json(detail["breaks"])
                # A new build that breaks the same on the same day is no news for readers.
                same = known is not None and (known.due, known.breaks) == (due, breaks)
                found[key] = Notice(
                    dataset=dataset,
                    vintage=Vintage.parse(row["vintage"]),
                    version=Version.read(detail["version"]),
                    release=detail["release"],
                    release_id=row["release_id"],
                    due=due,
                    breaks=breaks,
                    announced_at=row["at"] if known is None else known.announced_at,
                    updated_at=known.updated_at if known is not None and same else row["at"],
                )
        return tuple(sorted(found.values(), key=lambda each: each.vintage))
