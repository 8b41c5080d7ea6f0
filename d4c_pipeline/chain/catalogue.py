"""`catalogue`: updates the STAC GeoParquet and the catalogue's documents from the ledger, only where they changed.

Here belongs the shared rebuild. `catalogue_copies` has the Parquet files that grow, `catalogued_datasets` computes rows
and documents of a dataset, `site_pages` the documents over all datasets, `catalogue_documents` puts them into stores.
The deposited item is immutable; the catalogue's item is computed from the current facts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from d4c_pipeline.catalogue.grouped_file import Growing
from d4c_pipeline.chain import versions
from d4c_pipeline.chain.catalogue_copies import CatalogueCopies, forget_lost
from d4c_pipeline.chain.catalogue_documents import Documents
from d4c_pipeline.chain.catalogue_memory import LeftOut, Memory, WithoutRecords
from d4c_pipeline.chain.catalogued_datasets import Before, Piece, computed
from d4c_pipeline.chain.catalogued_facts import FactsReader
from d4c_pipeline.chain.published import declared as declaration_of
from d4c_pipeline.chain.published import site_of
from d4c_pipeline.chain.site_pages import FOLDERS, SitePages, Touched
from d4c_pipeline.files.disk import storage_errors
from d4c_pipeline.ledger import lease_keys
from d4c_pipeline.ledger.catalogue import CataloguedDataset, Listed, Stamp
from d4c_pipeline.metadata.records.registry import static_formats
from d4c_pipeline.model.addresses import CATALOGUE_PARQUET, CATALOGUE_ROOT
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import BusyError, IntegrityError, PermanentError
from d4c_pipeline.stores.port import Store
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline.workspace.other_homes import refuse_unknown_releases
from d4c_pipeline.workspace.progress import Progress, report

# The form of rows and documents; a new number makes the next rebuild complete.
_FORM = 12
_POLL_SECONDS = 1.0
_MOST_WAITS = 6 * 3600


@dataclass(frozen=True)
class Catalogued:
    """The number of releases and datasets in the catalogue, its address, and the datasets and records it lacks."""

    releases: int
    datasets: int
    address: str
    url: str
    left_out: tuple[LeftOut, ...] = ()
    without_records: tuple[WithoutRecords, ...] = ()


def rebuild(
    deployment: Deployment, declared: Sequence[Dataset] = (), *, complete: bool = False, missing: bool = False
) -> Catalogued:
    """Bring the catalogue of all published releases up to date in every reachable store.

    Only changed rows and documents are computed and put. A rebuild that begins after this call, in any process,
    satisfies the call; the caller waits for it. `declared` are the datasets with a definition; the ledger has the last
    declaration of all others. `complete`: every row and document is computed and put again. `missing`: the stores are
    listed, and what they lost is put again. Raises ForeignBytesError when the primary store's catalogue lists releases
    that this ledger does not know.
    """
    report(Progress("all datasets", "", "catalogue"))
    state = deployment.ledger.catalogue
    ticket = state.request()
    for _ in range(_MOST_WAITS):
        with ExitStack() as held:
            try:
                held.enter_context(deployment.ledger.leases.hold(lease_keys.CATALOGUE, wait=_POLL_SECONDS))
            except BusyError:
                done = state.state()
                if not (complete or missing) and done is not None and done.satisfied >= ticket:
                    return _result(deployment, done.result)
                continue
            done = state.state()
            if not (complete or missing) and done is not None and done.satisfied >= ticket:
                return _result(deployment, done.result)
            if complete:
                state.forget_form()
                for store in deployment.stores:
                    state.forget_documents(store.name)
            elif missing:
                deployment.spreading.everywhere(lambda store: forget_lost(deployment, store))
            return _Rebuild(deployment, declared).run()
    raise BusyError("Another process rebuilds the catalogue for hours", "Run again when it is done")


def become_due(deployment: Deployment) -> set[str]:
    """Return the datasets with a vintage that was in the future at the last rebuild and no longer is."""
    state = deployment.ledger.catalogue.state()
    memory = Memory.of({} if state is None else state.result)
    return memory.due_at(versions.present())


def _result(deployment: Deployment, result: Mapping[str, Any]) -> Catalogued:
    memory = Memory.of(result)
    url = deployment.primary.url(CATALOGUE_PARQUET)
    faulty = tuple(memory.faulty.values())
    return Catalogued(result["releases"], result["datasets"], CATALOGUE_PARQUET, url, tuple(memory.left_out), faulty)


class _Rebuild:
    """One rebuild, under the lease on the catalogue."""

    def __init__(self, deployment: Deployment, declared: Sequence[Dataset]) -> None:
        self._deployment, self._state = deployment, deployment.ledger.catalogue
        self._declared = {dataset.id: dataset for dataset in declared}
        self._entries: list[CataloguedDataset] = []
        self._documents, self._reader = Documents(deployment), FactsReader(deployment, self._declared)
        state = self._state.state()
        self._memory = Memory.of({} if state is None else state.result)
        self._now = Memory(faulty=dict(self._memory.faulty), due=dict(self._memory.due), stale=set(self._memory.stale))
        self._touched = Touched(complete=False)
        self._anew: set[str] = set()
        self._copies = CatalogueCopies(deployment)
        self._stamps: dict[int, Stamp] = {}
        self._started_at = datetime.now(UTC).replace(microsecond=0)

    def run(self) -> Catalogued:
        """Compute and put the changed rows and documents, and record the catalogued datasets."""
        number = self._state.requested()
        with storage_errors("write the catalogue"):
            self._copies.remove_parts()
        changes, before = self._state.changes(), self._state.datasets()
        complete = self._touched.complete = not self._is_known(changing=bool(changes))
        if complete:
            refuse_unknown_releases(self._deployment, self._deployment.stores[:1])
            self._state.forget_form()  # after a kill from here on, the next rebuild is complete too
            self._now = Memory(stale=set(self._memory.stale))
        due = self._memory.due_at(versions.present())
        self._anew = self._redeclared(before) | due | self._memory.again
        retried = {entry.dataset for entry in self._memory.left_out}
        dirty = self._state.datasets_of(changes) | self._anew | retried
        if complete or dirty or not self._copies.identity():
            self._write(dirty, changes, complete=complete)
            self._documents.flush()
        catalogued = {entry.dataset for entry in self._entries}
        gone = (before.keys() if complete else dirty & before.keys()) - catalogued
        self._state.record_datasets(self._entries, gone)
        written = {entry.dataset: entry for entry in self._entries}
        now = dict(sorted(each for each in (before | written).items() if each[0] not in gone))
        site = self._pages(before, now, dirty, gone)
        self._finish(site, now, has_new_dataset=not catalogued <= before.keys())
        self._state.record_stamps(self._stamps)  # after the file is in the stores: no stamp is older than its record
        missed = bool(self._deployment.spreading.missed)
        if missed:
            self._now.again, self._now.pages = self._anew | gone, site.written
        else:
            self._now.stale = set()
        result = self._now.to_json() | {
            "releases": sum(entry.releases for entry in now.values()),
            "datasets": len(now),
        }
        faulty = {entry.dataset for entry in self._now.left_out}
        again = {entry.id for group in self._state.listed(faulty) for entry in group} if faulty else set[int]()
        if not missed:  # a mirror that was unreachable gets these documents with the next rebuild
            self._state.forget_changes({release: mark for release, mark in changes.items() if release not in again})
        form = "" if complete and missed else self._form()
        self._state.satisfy(number, form=form, local=self._copies.identity(), result=result)
        return _result(self._deployment, result)

    def _pages(
        self,
        before: Mapping[str, CataloguedDataset],
        now: Mapping[str, CataloguedDataset],
        dirty: Collection[str],
        gone: Collection[str],
    ) -> SitePages:
        """Put the changed pages over all datasets, which no other document of the catalogue needs."""
        touched = self._touched
        touched.datasets |= {*dirty, *gone, *self._memory.pages}
        touched.faulty = set(self._now.faulty)
        for listed in self._state.listed(gone) if gone and not touched.complete else ():
            touched.releases |= {entry.id: entry for entry in listed}
        for dataset in gone:
            self._now.due.pop(dataset, None)
            self._now.stale |= self._documents.under(f"catalogue/{dataset}")
        site = SitePages(self._deployment, self._reader, before, now, touched)
        written: set[str] = set()
        for documents in site.batches():
            self._documents.add(documents)
            written |= documents.keys()
        self._documents.flush()
        self._now.stale = (self._now.stale - written) | site.gone()
        if touched.complete:
            self._now.stale |= {each for folder in FOLDERS for each in self._documents.under(folder)} - written
        return site

    def _finish(self, site: SitePages, now: Mapping[str, CataloguedDataset], *, has_new_dataset: bool) -> None:
        """Put the file of all datasets and the roots, and remove the documents that are no longer part of it."""
        kept = self._copies.keep(empty=not now)
        roots = site.roots("" if self._touched.complete else self._known_root())

        def put(store: Store) -> None:
            # The roots come last, so that every link in them leads to an existing file.
            self._copies.put(store, kept, complete=self._touched.complete)
            self._documents.put(roots, store)

        # An unreachable mirror keeps its complete older catalogue until a later rebuild.
        self._deployment.spreading.everywhere(put)
        # The first release of a dataset puts the most documents, so its rebuild leaves deletions to the next one.
        complete = self._touched.complete
        self._copies.remove_superseded(kept, complete=complete, deferring=has_new_dataset and not complete)
        self._now.root = self._memory.root
        if CATALOGUE_ROOT in roots:
            self._now.root = (site.root_of, hashlib.sha256(roots[CATALOGUE_ROOT]).hexdigest())
        self._now.stale -= roots.keys()
        self._documents.remove(self._now.stale)

    def _known_root(self) -> str:
        """Return of what the `catalog.json` of the last rebuild was made; "" unless every store has that document."""
        made_of, digest = self._memory.root
        held = (self._state.documents(store.name, [CATALOGUE_ROOT]) for store in self._deployment.stores)
        return made_of if all(each.get(CATALOGUE_ROOT) == digest for each in held) else ""

    def _write(self, dirty: Collection[str], changes: Mapping[int, int], *, complete: bool) -> None:
        """Write STAC file and records: recompute the datasets of `dirty`, or all; keep the row groups of the others."""
        with self._copies.writing(complete=complete) as (stac, records):
            listed = self._state.listed(None if complete else dirty)
            for each in self._reader.ahead(listed) if complete else listed:
                self._replace(stac, records, each, changes)

    def _replace(self, stac: Growing, records: Growing, listed: Sequence[Listed], changes: Mapping[int, int]) -> None:
        dataset = listed[0].dataset
        before = Before(self._started_at, stac.before(dataset), records.before(dataset))
        piece = self._piece(listed, changes, Before(self._started_at) if dataset in self._anew else before)
        if piece is not None:
            stac.put(dataset, piece.rows)
            records.put(dataset, piece.records)

    def _piece(self, listed: Sequence[Listed], changes: Mapping[int, int], before: Before) -> Piece | None:
        """Compute a dataset, put its documents and return its rows; None when the dataset is left out."""
        written: set[str] = set()
        for found in self._computed(listed, changes, before):
            documents = found.documents if isinstance(found, Piece) else found
            self._documents.add(documents)
            written |= documents.keys()
            self._now.stale -= documents.keys()
            if isinstance(found, Piece):
                self._record(found, listed, written, complete=before.rows is None)
                return found
        return None

    def _computed(
        self, listed: Sequence[Listed], changes: Mapping[int, int], before: Before
    ) -> Iterator[Piece | dict[str, bytes]]:
        dataset_id = listed[0].dataset
        dataset = self._reader.dataset(dataset_id)
        try:
            yield from computed(self._deployment, self._reader, dataset, listed, changes.keys(), before)
        except (PermanentError, IntegrityError) as error:
            # One faulty dataset must not remove the others from the catalogue.
            self._now.left_out.append(LeftOut(dataset_id, error.cause, error.remedy))

    def _record(self, piece: Piece, listed: Sequence[Listed], written: Collection[str], *, complete: bool) -> None:
        """Record a computed dataset: what it is, what changed in it, and which documents are stale."""
        dataset = declaration_of(self._reader, piece.dataset)
        self._entries.append(
            CataloguedDataset(piece.dataset, piece.title.en, piece.title.fr, piece.rows.num_rows, _words(dataset))
        )
        entries = {entry.id: entry for entry in listed}
        if not self._touched.complete:  # else everything is touched
            self._touched.releases |= {number: entries[number] for number in piece.computed}
            self._touched.added |= {number: entries[number] for number in piece.added}
        self._stamps |= piece.stamps
        for number in piece.computed:
            self._now.faulty.pop(number, None)
        for number, error in piece.faulty.items():
            name = entries[number].name
            self._now.faulty[number] = WithoutRecords(piece.dataset, name, error.cause, error.remedy)
        self._now.due.pop(piece.dataset, None)
        if (moment := versions.becomes_due(dataset, listed)) is not None:
            self._now.due[piece.dataset] = moment
        if complete:
            self._now.stale |= self._documents.under(f"catalogue/{piece.dataset}") - set(written)
            return
        for number in piece.faulty:
            entry = entries[number]
            folder = f"catalogue/{entry.dataset}/{entry.vintage}/{entry.version}"
            self._now.stale |= self._documents.under(folder)

    def _redeclared(self, before: Mapping[str, CataloguedDataset]) -> set[str]:
        """Return the datasets whose definition differs from the catalogued one, and record it.

        So the next rebuild gives the same bytes without the definitions.
        """
        found: set[str] = set()
        for dataset in self._declared.values():
            if dataset.id in before and before[dataset.id].words != _words(dataset):
                self._deployment.ledger.declarations.record(dataset)
                found.add(dataset.id)
        return found

    def _is_known(self, *, changing: bool) -> bool:
        """Return whether this machine and every store still have the catalogue of the last rebuild."""
        state = self._state.state()
        if state is None or state.form != self._form() or state.local != self._copies.identity():
            return False
        return self._copies.are_known(changing=changing)

    def _form(self) -> str:
        stores = [[store.name, store.url("catalogue")] for store in self._deployment.stores]
        settings = self._deployment.settings
        formats = [form.file_name for form in static_formats()]
        facts = [_FORM, stores, settings.store_url, formats, vars(site_of(self._deployment))]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _words(dataset: Dataset) -> str:
    """Return a digest of the definition, without the parts that no document of the catalogue states."""
    stated = dataset.model_dump_json(exclude={"processing", "noticing", "outputs", "checks"})
    return hashlib.sha256(stated.encode()).hexdigest()


def latest_declarations(deployment: Deployment, declared: Sequence[Dataset]) -> dict[str, Dataset]:
    """Return the datasets by id: as `declared`, else as last recorded in the ledger."""
    return {dataset.id: dataset for dataset in (*deployment.ledger.declarations.all(), *declared)}
