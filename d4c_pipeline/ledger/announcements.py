"""The published releases in the order of publication, with the facts that a feed states.

Here belong the queries; the selection of pages belongs to `chain`, their form to `catalogue.feeds`. A release is
published if and only if it has a time of publication; releases of the same time are ordered by name.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, func, select, text

from d4c_pipeline.ledger import schema
from d4c_pipeline.ledger.catalogue import LISTED, Identifiers, Listed, listed_from
from d4c_pipeline.ledger.database import chunked, reading
from d4c_pipeline.model.reasons import from_json
from d4c_pipeline.model.release import CHANGES, Change, Torrent
from d4c_pipeline.model.version import Bump

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


class Announcements:
    """Queries of the releases in the order of publication."""

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
