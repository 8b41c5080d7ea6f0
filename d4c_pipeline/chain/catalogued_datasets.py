"""A dataset in the catalogue: its rows and documents, recomputed from the ledger for changed releases.

Here belong the items to compute, and the documents of a dataset and of its releases. The order of versions belongs to
`versions`, the documents over all datasets to `site_pages`, row groups, stores and the lease to `catalogue`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from typing import Any

import pyarrow as pa

from d4c_pipeline.catalogue import dataset_pages, feeds, records_parquet
from d4c_pipeline.catalogue.arrow_schema import CHANGES, entries_of, rows_of, rows_of_dataset
from d4c_pipeline.catalogue.item_assets import Addresses
from d4c_pipeline.catalogue.item_links import Line
from d4c_pipeline.catalogue.stac_geoparquet import dataset_file
from d4c_pipeline.catalogue.stac_item import finalise_item, item_bytes
from d4c_pipeline.catalogue.static_stac import collection, documents
from d4c_pipeline.chain.catalogued_facts import AT_ONCE, FactsReader
from d4c_pipeline.chain.published import Making, announced, deposited, site_of
from d4c_pipeline.chain.versions import newest_of
from d4c_pipeline.ledger.announcements import Notice
from d4c_pipeline.ledger.catalogue import Facts, Identifiers, Listed, Stamp
from d4c_pipeline.metadata.published import TONGUES, ListedRelease, PublishedMetadata
from d4c_pipeline.metadata.published_json import dumped
from d4c_pipeline.metadata.records.registry import RecordFormat, record_documents, static_formats
from d4c_pipeline.model.addresses import (
    CATALOGUE_PARQUET,
    catalogue_collection_address,
    catalogue_items_address,
    release_address,
)
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.declared import Bilingual
from d4c_pipeline.model.errors import D4CError, IntegrityError, PermanentError
from d4c_pipeline.model.reasons import from_json
from d4c_pipeline.model.release import Change
from d4c_pipeline.model.version import Bump
from d4c_pipeline.portal.words import Words
from d4c_pipeline.workspace.deployment import Deployment

_LISTED = tuple(each.name for each in fields(ListedRelease))


@dataclass
class Piece:
    """A recomputed dataset: its rows for the file of all datasets, its documents, its title in both languages.

    `records`: its rows for the file of all records. `stamps`: when the records of releases changed, where that is new.
    `computed`: the recomputed releases by id; `added`: those among them that were not in the catalogue. `faulty`: the
    releases whose records can't be made, each with the error.
    """

    dataset: str
    rows: pa.Table
    records: pa.Table
    title: Bilingual
    documents: dict[str, bytes] = field(default_factory=dict[str, bytes])
    computed: set[int] = field(default_factory=set[int])
    added: set[int] = field(default_factory=set[int])
    faulty: dict[int, D4CError] = field(default_factory=dict[int, D4CError])
    stamps: dict[int, Stamp] = field(default_factory=dict[int, Stamp])


@dataclass(frozen=True)
class Before:
    """The catalogued rows of a dataset in both files, None to compute all of them; `now`: the time of new stamps."""

    now: datetime
    rows: pa.Table | None = None
    records: pa.Table | None = None


def computed(
    deployment: Deployment,
    reader: FactsReader,
    dataset: Dataset | None,
    listed: Sequence[Listed],
    changed: Collection[int],
    before: Before,
) -> Iterator[Piece | dict[str, bytes]]:
    """Yield the documents of a dataset's releases in batches, and last the piece with its rows.

    `changed`: the releases whose facts changed; the neighbouring versions change with them. Raises PermanentError or
    IntegrityError when a release can't be catalogued. A release whose records can't be made is catalogued without them.
    """
    if dataset is None:
        raise IntegrityError(f"The ledger has no declaration of {listed[0].dataset}", rerun="checksums")
    return _Computation(deployment, reader, dataset, listed, before).run(changed)


class _Computation:
    """The computation of one dataset."""

    def __init__(
        self,
        deployment: Deployment,
        reader: FactsReader,
        dataset: Dataset,
        listed: Sequence[Listed],
        before: Before,
    ) -> None:
        self._deployment, self._reader, self._dataset = deployment, reader, dataset
        self._before, self._before_records, self._now = before.rows, before.records, before.now
        self._ordered = sorted(listed, key=lambda entry: (entry.vintage, entry.version))
        self._making = Making(deployment, dataset, listed)
        self._lines = self._making.lines
        self._newest = newest_of(self._ordered, self._lines)
        self._known: dict[str, int] = {} if before.rows is None else _places(before.rows)
        self._announced: dict[int, ListedRelease] = {}
        self._described: PublishedMetadata | None = None
        self._faulty: dict[int, D4CError] = {}
        self._unrecorded: dict[int, PublishedMetadata] = {}
        self._stamps: dict[int, Stamp] = {}

    def run(self, changed: Collection[int]) -> Iterator[Piece | dict[str, bytes]]:
        """Yield what `computed` yields."""
        base_url = self._deployment.settings.store_url
        wanted = self._wanted(changed)
        tables: list[pa.Table] = []
        recorded: list[pa.Table] = []
        last: Mapping[str, Any] = {}
        pending = [entry for entry in self._ordered if entry.id in wanted]
        for start in range(0, len(pending), AT_ONCE):
            some = pending[start : start + AT_ONCE]
            facts = self._reader.of(some)
            named = {number for entry in some for number in self._making.named(entry)}
            identifiers = self._deployment.ledger.catalogue.identifiers(named)
            found: dict[str, bytes] = {}
            items: list[dict[str, Any]] = []
            for entry in some:
                records = self._records(entry, facts[entry.id], identifiers)
                forms = static_formats() if records else ()
                item = _item(self._deployment, facts[entry.id], self._lines[entry.id], forms)
                found |= records | documents(item, base_url)
                items.append(item)
                if entry is self._newest:
                    last = item
            tables.append(rows_of(items, CATALOGUE_PARQUET, base_url))
            recorded.append(self._recorded())
            yield found
        fresh = [entry.name for entry in pending]
        rows = _merged(self._ordered, tables, fresh, self._before)
        added = {entry.id for entry in self._ordered if entry.name not in self._known}
        pages = dict(self._pages(rows)) | dict(self._feeds(added, wanted))
        document = collection(
            self._dataset.id,
            entries_of(rows),
            last,
            self._dataset,
            base_url,
            (each for each in dataset_pages.links(self._dataset.id) if each[0] in pages),
        )
        table = rows if base_url else rows_of_dataset(rows, self._dataset.id)
        yield Piece(
            self._dataset.id,
            rows,
            _merged(self._ordered, recorded, fresh, self._before_records),
            Bilingual.model_construct(en=document["title"], fr=document.get("d4c:title_fr", document["title"])),
            pages
            | {
                catalogue_items_address(self._dataset.id): dataset_file(table, document),
                catalogue_collection_address(self._dataset.id): item_bytes(document),
            },
            computed=wanted,
            added=added,
            faulty=self._faulty,
            stamps=self._stamps,
        )

    def _wanted(self, changed: Collection[int]) -> set[int]:
        """Return the releases to compute: new and changed ones, their neighbours, and the newest."""
        lines = self._lines
        wanted = {self._newest.id} | {entry.id for entry in self._ordered if entry.name not in self._known}
        for number in set(changed) & lines.keys() if self._before is not None else lines.keys():
            wanted |= {number, *(other.id for other in _neighbours(lines[number]))}
        # Their successor may be further away than a neighbour's.
        return wanted | {entry.id for entry in self._ordered if entry.withdrawn is not None}

    def _records(self, entry: Listed, facts: Facts, identifiers: Mapping[int, Identifiers]) -> dict[str, bytes]:
        """Return the static records of a release, all or none."""
        try:
            published = self._making.of(entry, facts, identifiers)
            # A feed of many releases needs few of their facts.
            self._announced[entry.id] = ListedRelease(**{name: getattr(published, name) for name in _LISTED})
            if entry is self._newest:
                self._described = published
            written = dict(record_documents(published))
            self._unrecorded[entry.id] = published
            return written
        except PermanentError as error:
            deposited(facts)  # a release without a DOI has no item either
            self._faulty[entry.id] = error
            return {}

    def _recorded(self) -> pa.Table:
        """Return the rows of the releases whose records were made since the last call, for the file of all records."""
        made, self._unrecorded = self._unrecorded, {}
        stamps = self._deployment.ledger.catalogue.stamps(made)
        rows: list[dict[str, Any]] = []
        for number, published in made.items():
            # Only its neighbours change with a release, so no record states the newest of all versions.
            facts = dumped(replace(published, line=replace(published.line, newest=None)))
            stamp = Stamp(hashlib.sha256(facts).hexdigest(), self._now)
            known = stamps.get(number)
            if known is not None and known.sha256 == stamp.sha256:
                stamp = known
            else:
                self._stamps[number] = stamp
            rows.append(records_parquet.row(published, self._dataset.name.package, facts, stamp.modified_at))
        return records_parquet.rows_of(rows)

    def _pages(self, rows: pa.Table) -> Iterator[tuple[str, bytes]]:
        """Yield the list of versions and the README, which describe the newest release."""
        if self._described is not None:
            newest_first = list(_listed_of(rows, self._ordered, self._described.title))[::-1]
            yield from dataset_pages.documents(self._described, newest_first, site_of(self._deployment))

    def _feeds(self, added: Collection[int], wanted: Collection[int]) -> Iterator[tuple[str, bytes]]:
        """Yield the feeds, and the pages of their archives with new or recomputed releases."""
        site, dataset = site_of(self._deployment), self._dataset.id
        order = sorted(self._ordered, key=lambda entry: (entry.published_at, entry.name))
        archived = feeds.archived(len(order), len(order) - feeds.since_full(len(order)))
        planned = [_coming(each) for each in self._deployment.ledger.announcements.notices(dataset)]
        yield from feeds.current(self._entries(order[-feeds.PAGE :]), archived, site, dataset=dataset, planned=planned)
        for page in feed_pages(order, added, wanted):
            entries = self._entries(order[page * feeds.ARCHIVED : (page + 1) * feeds.ARCHIVED])
            yield from feeds.archive_page(page, entries, archived, site, dataset=dataset)

    def _entries(self, releases: Sequence[Listed]) -> list[ListedRelease]:
        missing = [entry.id for entry in releases if entry.id not in self._announced]
        for number, found in self._deployment.ledger.announcements.announced(missing).items():
            self._announced[number] = announced(found)
        return [self._announced[entry.id] for entry in releases]


def _coming(notice: Notice) -> feeds.Coming:
    """Return an announced release with its breaking changes in words."""
    return feeds.Coming(
        name=notice.release,
        vintage=notice.vintage,
        version=notice.version,
        due=notice.due,
        breaks={language: tuple(map(Words.of(language).reason, notice.breaks)) for language in TONGUES},
        announced_at=notice.announced_at,
        updated_at=notice.updated_at,
    )


def feed_pages(order: Sequence[Listed], added: Collection[int], changed: Collection[int]) -> list[int]:
    """Return the archive pages to write: those with changed releases, and all from the first new release on.

    With a new release the last full page too, which may have waited for it.
    """
    places = {entry.id: place for place, entry in enumerate(order)}
    total = len(order) // feeds.ARCHIVED
    first = min((places[number] // feeds.ARCHIVED for number in added), default=total)
    pages = {places[number] // feeds.ARCHIVED for number in changed}
    if added:
        first = min(first, max(total - 1, 0))
    return sorted(page for page in pages | set(range(first, total)) if page < total)


def _listed_of(rows: pa.Table, ordered: Sequence[Listed], title: Bilingual) -> Iterator[ListedRelease]:
    """Yield the releases of a dataset from its rows, which are in the order of `ordered`, for its list of versions."""
    names = ["doi", "d4c:test_doi", "concept_doi", "rows", "bytes", "is_latest", "d4c:change", CHANGES]
    columns = (rows.column(name).to_pylist() for name in names)
    for entry, doi, test, concept, count, size, latest, change, changes in zip(ordered, *columns, strict=True):
        yield ListedRelease(
            dataset=entry.dataset,
            vintage=entry.vintage,
            version=entry.version,
            name=entry.name,
            title=title,
            doi=doi,
            test_doi=test,
            concept_doi=concept,
            published_at=entry.published_at,
            rows=count,
            bytes=size,
            latest=latest,
            change=Change(Bump[change.upper()], from_json(changes or ())),
            withdrawn=entry.withdrawn,
        )


def _places(rows: pa.Table) -> dict[str, int]:
    return {name: place for place, name in enumerate(rows.column("id").to_pylist())}


def _neighbours(line: Line) -> Iterator[Listed]:
    for other in (line.predecessor, line.successor):
        if isinstance(other, Listed):
            yield other


def _merged(
    ordered: Sequence[Listed], tables: Sequence[pa.Table], fresh: Collection[str], before: pa.Table | None
) -> pa.Table:
    """Return the rows of a dataset in order: recomputed rows, else the previous rows of releases not in `fresh`."""
    if before is None and len(tables) == 1:
        return tables[0]
    together = pa.concat_tables([*tables, *([] if before is None else [before])])
    recomputed = sum(table.num_rows for table in tables)
    known = set(fresh)
    names = enumerate(together.column("id").to_pylist())
    places = {name: place for place, name in names if place < recomputed or name not in known}
    wanted = [places[entry.name] for entry in ordered if entry.name in places]
    return together.take(pa.array(wanted, pa.int64())).combine_chunks().select(together.schema.names)


def _item(deployment: Deployment, facts: Facts, line: Line, records: Iterable[RecordFormat]) -> dict[str, Any]:
    release = facts.release
    if facts.item is None:
        raise IntegrityError(
            f"The ledger has no catalogue item of the published release {release.name}", rerun="stac_item"
        )
    deposit = deposited(facts)
    places = {
        artifact.name: release_address(release.dataset, release.vintage, release.version, artifact.name)
        for artifact in release.artifacts
    }
    primary, *mirrors = deployment.stores
    addresses = Addresses(
        {name: primary.url(place) for name, place in places.items()},
        {
            name: [store.url(place) for store in mirrors if (name, store.name) in facts.copies]
            for name, place in places.items()
        },
        {name: primary.url(torrent.address) for name, torrent in facts.torrents.items()},
    )
    return finalise_item(facts.item, release, deposit, facts.torrents, addresses=addresses, line=line, records=records)
