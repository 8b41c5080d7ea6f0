"""Bulk reads for the catalogue, and its state: changed releases, documents in stores, shared rebuilds.

Read transactions wait for no writer and block none. The documents themselves belong to `catalogue`, their selection to
`chain.catalogue`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Engine, delete, func, insert, select, text, update

from d4c_pipeline.ledger import schema
from d4c_pipeline.ledger.database import chunked, reading, upsert
from d4c_pipeline.ledger.publications import deposit_from
from d4c_pipeline.ledger.releases import read_releases, withdrawal_from
from d4c_pipeline.model.release import Deposit, PublishedRelease, ReleaseState, Torrent, Withdrawal
from d4c_pipeline.model.version import Version
from d4c_pipeline.model.vintage import Vintage

_OF_TORRENT = tuple(Torrent.__dataclass_fields__)
_FETCHED = 2_000  # rows per fetch
LISTED = tuple(
    schema.release.c[name]
    for name in (
        "id",
        "dataset",
        "vintage",
        "version",
        "name",
        "published_at",
        "withdrawn_at",
        "withdrawn_reason",
    )
)
"""The columns of `listed_from`."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A published release, by the facts that order it among the versions of its product."""

    id: int
    dataset: str
    vintage: Vintage
    version: Version
    name: str
    published_at: datetime
    withdrawn: Withdrawal | None = None


@dataclass(frozen=True)
class Facts:
    """All facts of a published release for the catalogue. `copies`: (artifact, mirror) of intact copies."""

    release: PublishedRelease
    deposit: Deposit | None
    item: dict[str, Any] | None
    torrents: dict[str, Torrent]
    copies: frozenset[tuple[str, str]]


@dataclass(frozen=True)
class Identifiers:
    """The DOI of a release and the DOI of all its versions; `test` DOIs never resolve."""

    doi: str | None
    concept_doi: str | None
    test: bool


@dataclass(frozen=True)
class Catalogue:
    """The state of the catalogue. `form`: a digest of settings and form; `result`: the outcome of the last rebuild."""

    form: str
    local: str
    satisfied: int
    result: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Stamp:
    """The sha256 of the facts in the records of a release, and when they changed last (UTC, to the second)."""

    sha256: str
    modified_at: datetime


class CataloguedDataset(NamedTuple):
    """A dataset in the catalogue: its titles, its number of releases, and a digest of its definition.

    Every rebuild reads all of them: a tuple is made in a third of the time of a frozen dataclass.
    """

    dataset: str
    title: str
    title_fr: str
    releases: int
    words: str


class CatalogueState:
    """Queries of the catalogue."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def request(self) -> int:
        """Record a request for a rebuild that begins after it; return the number of the request."""
        table = schema.catalogue_state
        with self._engine.begin() as connection:
            number = connection.execute(select(table.c.requested).where(table.c.id == 1)).scalar()
            if number is None:
                connection.execute(insert(table).values(id=1, requested=1, satisfied=0, form="", local="", result={}))
                return 1
            connection.execute(update(table).where(table.c.id == 1).values(requested=table.c.requested + 1))
            return connection.execute(select(table.c.requested).where(table.c.id == 1)).scalar_one()

    def requested(self) -> int:
        """Return the number of the newest request; a rebuild that begins now satisfies all requests up to it."""
        table = schema.catalogue_state
        with reading(self._engine) as connection:
            return connection.execute(select(table.c.requested).where(table.c.id == 1)).scalar() or 0

    def state(self) -> Catalogue | None:
        """Return the state after the last rebuild, None before the first."""
        table = schema.catalogue_state
        with reading(self._engine) as connection:
            row = connection.execute(select(table).where(table.c.id == 1)).mappings().first()
        return None if row is None else Catalogue(row["form"], row["local"], row["satisfied"], row["result"])

    def satisfy(self, number: int, *, form: str, local: str, result: Mapping[str, Any]) -> None:
        """Record the end of a rebuild, which satisfies the requests up to `number`."""
        table = schema.catalogue_state
        values = {"satisfied": number, "form": form, "local": local, "result": dict(result)}
        with self._engine.begin() as connection:
            connection.execute(update(table).where(table.c.id == 1).values(**values))

    def record_stale(self, addresses: Collection[str]) -> None:
        """Record addresses to remove in the result of the last rebuild, because the present one may be interrupted."""
        table = schema.catalogue_state
        with self._engine.begin() as connection:
            result: dict[str, Any] = connection.execute(select(table.c.result).where(table.c.id == 1)).scalar_one()
            stale = sorted({*result.get("stale", ()), *addresses})
            connection.execute(update(table).where(table.c.id == 1).values(result=result | {"stale": stale}))

    def forget_form(self) -> None:
        """Make the next rebuild a full rebuild, because the present rebuild may be interrupted."""
        with self._engine.begin() as connection:
            connection.execute(update(schema.catalogue_state).values(form="", local=""))

    def changes(self) -> dict[int, int]:
        """Return the releases that changed since they were catalogued, each with the mark of its last change."""
        table = schema.catalogue_change
        with reading(self._engine) as connection:
            return {row.release_id: row.mark for row in connection.execute(select(table))}

    def forget_changes(self, seen: Mapping[int, int]) -> None:
        """Delete changes that are in the catalogue now; a release that changed again meanwhile keeps its mark."""
        table = schema.catalogue_change
        with self._engine.begin() as connection:
            for some in chunked(seen.items()):
                for release_id, mark in some:
                    connection.execute(delete(table).where(table.c.release_id == release_id, table.c.mark == mark))

    def datasets_of(self, releases: Collection[int]) -> set[str]:
        """Return the ids of the datasets of releases."""
        table, found = schema.release, set[str]()
        with reading(self._engine) as connection:
            for some in chunked(releases):
                found |= set(connection.execute(select(table.c.dataset).where(table.c.id.in_(some))).scalars())
        return found

    def listed(self, datasets: Collection[str] | None = None) -> Iterator[list[Listed]]:
        """Yield the published releases of each dataset, by its id; of all datasets by default."""
        table = schema.release
        # The second condition is that of the index of a dataset's versions, without which every query reads the table.
        query = select(*LISTED).where(
            table.c.state == ReleaseState.PUBLISHED.value, text("release.state <> 'abandoned'")
        )
        if datasets is None:
            yield from self._grouped([query])
        else:
            yield from self._grouped(query.where(table.c.dataset == dataset) for dataset in sorted(datasets))

    def _grouped(self, queries: Iterable[Any]) -> Iterator[list[Listed]]:
        table = schema.release
        with reading(self._engine) as connection:
            group: list[Listed] = []
            for query in queries:
                ordered = query.order_by(table.c.dataset, table.c.id).execution_options(yield_per=_FETCHED)
                for row in connection.execute(ordered):
                    entry = listed_from(row)
                    if group and group[-1].dataset != entry.dataset:
                        yield group
                        group = []
                    group.append(entry)
            if group:
                yield group

    def facts(self, releases: Iterable[int], mirrors: Collection[str] = ()) -> dict[int, Facts]:
        """Return the facts of releases, by id, with the copies in `mirrors`.

        The caller requests as many as fit into memory.
        """
        torrents: dict[int, dict[str, Torrent]] = {}
        copies: dict[int, set[tuple[str, str]]] = {}
        deposits: dict[int, Deposit] = {}
        items: dict[int, dict[str, Any]] = {}
        found: list[PublishedRelease] = []
        copy, torrent, item = schema.copy, schema.torrent, schema.stac_item
        with reading(self._engine) as connection:
            for some in chunked(releases):
                read = read_releases(connection, select(schema.release).where(schema.release.c.id.in_(some)))
                found += [release for release in read if isinstance(release, PublishedRelease)]
                of_deposits = select(schema.deposit).where(schema.deposit.c.release_id.in_(some))
                for row in connection.execute(of_deposits).mappings():
                    deposits[row["release_id"]] = deposit_from(row)
                of_items = select(item.c.release_id, item.c.item).where(item.c.release_id.in_(some))
                items |= {row.release_id: row.item for row in connection.execute(of_items)}
                held = select(copy.c.release_id, copy.c.artifact, copy.c.store).where(
                    copy.c.release_id.in_(some), copy.c.store.in_(mirrors), copy.c.intact
                )
                for number, artifact, store in connection.execute(held) if mirrors else ():
                    copies.setdefault(number, set()).add((artifact, store))
                of_torrents = select(
                    torrent.c.release_id, torrent.c.artifact, *(torrent.c[name] for name in _OF_TORRENT)
                ).where(torrent.c.release_id.in_(some))
                for number, artifact, *values in connection.execute(of_torrents.order_by(torrent.c.artifact)):
                    found_torrent = Torrent(**dict(zip(_OF_TORRENT, values, strict=True)))
                    seeds = tuple(found_torrent.web_seeds)
                    torrents.setdefault(number, {})[artifact] = replace(found_torrent, web_seeds=seeds)
        return {
            release.id: Facts(
                release,
                deposits.get(release.id),
                items.get(release.id),
                torrents.get(release.id, {}),
                frozenset(copies.get(release.id, ())),
            )
            for release in found
        }

    def identifiers(self, releases: Collection[int]) -> dict[int, Identifiers]:
        """Return the DOIs of releases by id."""
        table = schema.deposit
        found: dict[int, Identifiers] = {}
        with reading(self._engine) as connection:
            for some in chunked(releases):
                query = select(table.c.release_id, table.c.doi, table.c.concept_doi, table.c.test)
                for row in connection.execute(query.where(table.c.release_id.in_(some))):
                    found[row[0]] = Identifiers(*row[1:])
        return found

    def stamps(self, releases: Collection[int]) -> dict[int, Stamp]:
        """Return the stamps of releases with a record, by id."""
        table = schema.catalogue_record
        found: dict[int, Stamp] = {}
        with reading(self._engine) as connection:
            for some in chunked(releases):
                query = select(table.c.release_id, table.c.sha256, table.c.modified_at)
                for number, *stamp in connection.execute(query.where(table.c.release_id.in_(some))):
                    found[number] = Stamp(*stamp)
        return found

    def record_stamps(self, stamps: Mapping[int, Stamp]) -> None:
        """Record the stamps of releases, by id."""
        rows = [
            {"release_id": number, "sha256": stamp.sha256, "modified_at": stamp.modified_at}
            for number, stamp in stamps.items()
        ]
        with self._engine.begin() as connection:
            upsert(connection, schema.catalogue_record, rows)

    def last_published_at(self) -> datetime | None:
        """Return the time of the last publication."""
        with reading(self._engine) as connection:
            return connection.execute(select(func.max(schema.release.c.published_at))).scalar()

    def owners(self, names: Collection[str]) -> dict[str, str]:
        """Return, for release names, the first dataset by id that published a release with that name."""
        table = schema.release
        found: dict[str, str] = {}
        with reading(self._engine) as connection:
            for some in chunked(names):
                query = select(table.c.name, func.min(table.c.dataset)).where(
                    table.c.name.in_(some), table.c.state == ReleaseState.PUBLISHED.value
                )
                found |= {row[0]: row[1] for row in connection.execute(query.group_by(table.c.name))}
        return found

    def documents(self, store: str, addresses: Collection[str]) -> dict[str, str]:
        """Return the sha256 of the documents that a store holds, for the known addresses among `addresses`."""
        table = schema.catalogue_document
        found: dict[str, str] = {}
        with reading(self._engine) as connection:
            for some in chunked(addresses):
                query = select(table.c.address, table.c.sha256).where(table.c.store == store, table.c.address.in_(some))
                found |= {row[0]: row[1] for row in connection.execute(query)}
        return found

    def tags(self, store: str, addresses: Collection[str]) -> dict[str, str | None]:
        """Return the store's tags of the documents that it holds (None: unknown), for the known addresses."""
        table = schema.catalogue_document
        found: dict[str, str | None] = {}
        with reading(self._engine) as connection:
            for some in chunked(addresses):
                query = select(table.c.address, table.c.etag).where(table.c.store == store, table.c.address.in_(some))
                found |= {row[0]: row[1] for row in connection.execute(query)}
        return found

    def documents_under(self, store: str, folder: str) -> set[str]:
        """Return the addresses of the known documents of a store below a folder."""
        table, prefix = schema.catalogue_document, f"{folder}/"
        with reading(self._engine) as connection:
            # The range of the prefix, in the order of bytes: "0" follows "/". SQLite uses the primary key.
            embedded = connection.dialect.name == "sqlite"
            address = table.c.address if embedded else table.c.address.collate("C")
            query = select(table.c.address).where(table.c.store == store, address > prefix, address < f"{folder}0")
            return set(connection.execute(query).scalars())

    def intend_removal(self, store: str, addresses: Collection[str]) -> None:
        """Record that documents are about to be deleted: known until they are forgotten, but with no bytes.

        After a kill before or after the deletion, equal bytes are put again, and the next removal finds the address.
        """
        table = schema.catalogue_document
        with self._engine.begin() as connection:
            for some in chunked(addresses):
                here = (table.c.store == store) & table.c.address.in_(some)
                connection.execute(update(table).where(here).values(sha256="", etag=None))

    def forget_addresses(self, store: str, addresses: Collection[str]) -> None:
        """Forget documents that a store no longer holds."""
        table = schema.catalogue_document
        with self._engine.begin() as connection:
            for some in chunked(addresses):
                connection.execute(delete(table).where(table.c.store == store, table.c.address.in_(some)))

    def remember(self, store: str, documents: Mapping[str, str], tags: Mapping[str, str | None]) -> None:
        """Record the sha256 of documents that a store holds now, and the store's tags of them, by address."""
        rows = [
            {"store": store, "address": address, "sha256": sha256, "etag": tags.get(address)}
            for address, sha256 in documents.items()
        ]
        with self._engine.begin() as connection:
            upsert(connection, schema.catalogue_document, rows)

    def forget_documents(self, store: str) -> None:
        """Delete all documents of a store, because it may hold others."""
        table = schema.catalogue_document
        with self._engine.begin() as connection:
            connection.execute(delete(table).where(table.c.store == store))

    def datasets(self) -> dict[str, CataloguedDataset]:
        """Return the datasets in the catalogue, by id in order."""
        table = schema.catalogue_dataset
        with reading(self._engine) as connection:
            columns = (table.c[name] for name in CataloguedDataset._fields)
            found = sorted(map(CataloguedDataset._make, connection.execute(select(*columns)).all()))
        return {entry.dataset: entry for entry in found}

    def record_datasets(self, entries: Iterable[CataloguedDataset], gone: Iterable[str] = ()) -> None:
        """Record the datasets in the catalogue now; `gone` are no longer in it."""
        table = schema.catalogue_dataset
        with self._engine.begin() as connection:
            upsert(connection, table, [entry._asdict() for entry in entries])
            for some in chunked(gone):
                connection.execute(delete(table).where(table.c.dataset.in_(some)))


def listed_from(row: Sequence[Any]) -> Listed:
    """Return a release from a row that begins with the columns `LISTED`."""
    withdrawn = withdrawal_from(row[6], row[7])
    return Listed(row[0], row[1], Vintage.parse(row[2]), Version.read(row[3]), row[4], row[5], withdrawn)
