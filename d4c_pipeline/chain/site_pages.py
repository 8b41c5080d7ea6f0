"""The catalogue's documents over all datasets, recomputed only where a changed release stands in them.

Here belongs the selection: which pages of feeds, DCAT and sitemaps, and which releases in them. The form of a document
belongs to `catalogue`, the documents of a dataset to `catalogued_datasets`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice

from d4c_pipeline.catalogue import dcat_pages, feeds, site_documents
from d4c_pipeline.catalogue.dcat_pages import Page
from d4c_pipeline.catalogue.stac_item import item_bytes
from d4c_pipeline.catalogue.static_stac import catalog
from d4c_pipeline.chain.catalogued_facts import FactsReader
from d4c_pipeline.chain.published import Making, announced, declared, published_of, site_of
from d4c_pipeline.ledger.catalogue import CataloguedDataset, Listed
from d4c_pipeline.metadata.published import ListedRelease, PublishedMetadata, Tongue
from d4c_pipeline.model.addresses import CATALOGUE_ROOT, FEED_RSS
from d4c_pipeline.model.declared import Bilingual
from d4c_pipeline.workspace.deployment import Deployment

FOLDERS = ("catalogue/dcat-pages", "catalogue/dcat-us", "catalogue/sitemap-pages")
"""The folders of documents over all datasets; no dataset is called so."""
# A place in the order of publication takes some 10 ms among a million releases; all of them together, two seconds.
_MOST_PLACES = 100


@dataclass
class Touched:
    """What changed since the last rebuild: the datasets, and by id the releases and those that are new in the feeds.

    `complete`: everything is computed. `faulty`: the ids of all releases without records.
    """

    complete: bool
    datasets: set[str] = field(default_factory=set[str])
    releases: dict[int, Listed] = field(default_factory=dict[int, Listed])
    added: dict[int, Listed] = field(default_factory=dict[int, Listed])
    faulty: set[int] = field(default_factory=set[int])


class SitePages:
    """The documents over all datasets. `before`, `now`: the catalogued datasets by id, in order."""

    def __init__(
        self,
        deployment: Deployment,
        reader: FactsReader,
        before: Mapping[str, CataloguedDataset],
        now: Mapping[str, CataloguedDataset],
        touched: Touched,
    ) -> None:
        self._deployment, self._reader, self._before, self._now = deployment, reader, before, now
        self._touched, self._site = touched, site_of(deployment)
        self._laid = _pages(now)
        self._known = self._laid if before.keys() == now.keys() else _pages(before)
        self._described = dict[str, list[PublishedMetadata]]()
        self._named = dict[str, list[Listed]]()
        self.written: set[str] = set()  # the first datasets of written pages
        self.root_of = ""  # after `roots`: a digest of what `catalog.json` is made of

    def gone(self) -> set[str]:
        """Return the addresses of pages that existed before and no longer do."""
        return _addresses(self._known, self._before) - _addresses(self._laid, self._now)

    def batches(self) -> Iterator[dict[str, bytes]]:
        """Yield the changed pages of archives, DCAT and sitemaps by address."""
        yield from self._archive()
        yield from self._pages()

    def roots(self, known: str = "") -> dict[str, bytes]:
        """Return the documents that link all others, by address.

        `known`: `root_of` of the `catalog.json` that every store has. It is made again only if `root_of` is another
        now: the links to all datasets are megabytes, and seldom change.
        """
        return dict(self._roots(known))

    def _archive(self) -> Iterator[dict[str, bytes]]:
        total = self._deployment.ledger.announcements.published()
        archived = self._archived(total)
        for page in self._archive_pages(total):
            entries = self._announced(page * feeds.ARCHIVED, feeds.ARCHIVED)
            yield dict(feeds.archive_page(page, entries, archived, self._site))

    def _archived(self, total: int) -> dict[Tongue, int]:
        start, ledger = feeds.since_full(total), self._deployment.ledger.announcements
        since = ledger.announced(ledger.in_order(start, feeds.ARCHIVED)) if start < total else {}
        return feeds.archived(total, sum(feeds.may_archive(each.listed.dataset) for each in since.values()))

    def _archive_pages(self, total: int) -> list[int]:
        full, touched = total // feeds.ARCHIVED, self._touched
        if touched.complete or len(touched.releases) + len(touched.added) > _MOST_PLACES:
            return list(range(full))
        place = self._deployment.ledger.announcements.place
        first = min((place(entry) // feeds.ARCHIVED for entry in touched.added.values()), default=full)
        pages = {place(entry) // feeds.ARCHIVED for entry in touched.releases.values()}
        # The last full page may have waited for a release after it, the page before it for the next full page. Both may
        # also have been filled by a release of a dataset that the catalogue leaves out.
        waiting = range(full - 2, full)
        return sorted(page for page in pages | {*waiting, *range(first, full)} if 0 <= page < full)

    def _announced(self, start: int, count: int) -> list[ListedRelease]:
        """Return the catalogued ones of `count` releases from a place in the order of publication on."""
        ledger = self._deployment.ledger.announcements
        ids = ledger.in_order(start, count)
        found = ledger.announced(ids)
        return [announced(found[number]) for number in ids if found[number].listed.dataset in self._now]

    def _pages(self) -> Iterator[dict[str, bytes]]:
        known = set(self._known)
        reached = dict.fromkeys(dcat_pages.KINDS, "")
        # In the order of their last datasets, few datasets wait for the pages of other kinds.
        for page in sorted(self._laid, key=lambda page: page.datasets[-1:]):
            is_touched = not self._touched.datasets.isdisjoint(page.datasets)
            if self._touched.complete or is_touched or page not in known:
                self.written |= set(page.datasets[:1])
                yield dict(self._page(page))
            reached[page.kind] = max(page.datasets, default="")
            for read in (self._described, self._named):
                for dataset in [each for each in read if each <= min(reached.values())]:
                    del read[dataset]

    def _page(self, page: Page) -> Iterator[tuple[str, bytes]]:
        self._describe(page)
        if page.kind == "sitemap":
            named = [entry for dataset in page.datasets for entry in self._named.get(dataset, ())]
            yield from site_documents.sitemap(page, named, self._site)
            return
        described = [release for dataset in page.datasets for release in self._described.get(dataset, ())]
        yield dcat_pages.page_document(page, described, self._site)

    def _describe(self, page: Page) -> None:
        """Read the releases of a page's datasets, and the metadata of their newest unless the page is a sitemap."""
        is_sitemap = page.kind == "sitemap"
        missing = [
            dataset for dataset in page.datasets if dataset not in (self._named if is_sitemap else self._described)
        ]
        newest: list[tuple[Making, Listed]] = []
        for listed in self._deployment.ledger.catalogue.listed(missing) if missing else ():
            dataset = listed[0].dataset
            making = Making(self._deployment, declared(self._reader, dataset), listed)
            described = [entry for entry in listed if entry.id not in self._touched.faulty]
            self._named[dataset] = described
            if not is_sitemap:
                self._described[dataset] = []
                newest += [(making, entry) for entry in described if making.lines[entry.id].latest]
        for release in published_of(self._deployment, self._reader, newest):
            self._described[release.dataset].append(release)

    def _roots(self, known: str) -> Iterator[tuple[str, bytes]]:
        total = self._deployment.ledger.announcements.published()
        newest = self._announced(max(total - feeds.PAGE, 0), feeds.PAGE)
        archived = self._archived(total)
        yield from feeds.current(newest, archived, self._site)
        reached = self._deployment.primary.url(FEED_RSS).removesuffix(f"/{FEED_RSS}")
        yield from feeds.torrents(newest, archived, replace(self._site, base_url=reached))
        yield from site_documents.sitemap_index(
            [page for page in self._laid if page.kind == "sitemap"],
            {entry.dataset: entry.releases for entry in self._now.values()},
            self._site,
        )
        first = {
            entry.dataset: Bilingual.model_construct(en=entry.title, fr=entry.title_fr)
            for entry in islice(self._now.values(), site_documents.MOST_LISTED)
        }
        yield site_documents.LLMS, site_documents.llms(first, len(self._now), self._site)
        english = {entry.dataset: entry.title for entry in self._now.values()}
        links = [each for each in site_documents.links() if newest or each[1] not in (feeds.ATOM, feeds.JSON_FEED)]
        self.root_of = hashlib.sha256(json.dumps([english, self._site.base_url, links]).encode()).hexdigest()
        if self.root_of != known:
            yield CATALOGUE_ROOT, item_bytes(catalog(english, self._site.base_url, links))


def _pages(datasets: Collection[str]) -> list[Page]:
    return list(dcat_pages.all_pages(datasets))


def _addresses(laid: Collection[Page], datasets: Mapping[str, CataloguedDataset]) -> set[str]:
    found: set[str] = set()
    for page in laid:
        if page.kind == "sitemap":
            releases = sum(datasets[dataset].releases for dataset in page.datasets)
            found |= set(site_documents.sitemap_addresses(page, releases))
        else:
            found.add(page.address)
    return found
