"""The documents over all datasets: DCAT pages, feeds, `llms.txt` and the sitemap, with the documents of each dataset.

`documents` builds all of them from the given releases. Each group also has its own function, for a caller that knows
the changes. `chain` selects the releases and replaces the documents in the stores.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from itertools import groupby, islice
from typing import Protocol
from xml.etree import ElementTree as Xml

from d4c_pipeline.catalogue import dataset_pages, dcat_pages, feeds
from d4c_pipeline.catalogue.dataset_pages import markdown
from d4c_pipeline.catalogue.dcat_pages import Page
from d4c_pipeline.catalogue.item_links import Versioned
from d4c_pipeline.metadata.published import PublishedMetadata
from d4c_pipeline.metadata.site import Site
from d4c_pipeline.model.addresses import (
    CATALOGUE_PARQUET,
    CATALOGUE_ROOT,
    catalogue_readme_address,
    catalogue_record_address,
)
from d4c_pipeline.model.declared import Bilingual

LLMS = "llms.txt"
SITEMAP = "sitemap.xml"
"""At the root of a store: a sitemap may name addresses below its own folder only."""
_SITEMAP_XML = "http://www.sitemaps.org/schemas/sitemap/0.9"
_MOST_URLS = 50_000  # the protocol's limit per sitemap
MOST_LISTED = 1_000  # datasets in llms.txt, which readers load completely


class Dated(Versioned, Protocol):
    """A release with the time of its publication."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def published_at(self) -> datetime: ...  # noqa: D102


def documents(published: Iterable[PublishedMetadata], site: Site) -> Iterator[tuple[str, bytes]]:
    """Yield every document of the site and of each dataset: address in a store, bytes.

    `published`: all published releases, in any order. The same releases give the same bytes.
    """
    ordered = sorted(published, key=lambda release: (release.dataset, release.vintage, release.version))
    titles: dict[str, Bilingual] = {}
    counts: dict[str, int] = {}
    for dataset, group in groupby(ordered, key=lambda release: release.dataset):
        own = list(group)
        newest = next((release for release in reversed(own) if release.latest), own[-1])
        titles[dataset], counts[dataset] = newest.title, len(own)
        yield from dataset_pages.documents(newest, own[::-1], site)
        yield from feeds.documents(own, site, dataset=dataset)
    yield from feeds.documents(ordered, site)
    yield from dcat_pages.documents((release for release in ordered if release.latest), site)
    laid = dcat_pages.pages(titles, "sitemap")
    for page in laid:
        yield from sitemap(page, [release for release in ordered if release.dataset in page.datasets], site)
    yield from sitemap_index(laid, counts, site)
    yield LLMS, llms(titles, len(titles), site)


def links() -> Iterator[tuple[str, str, str]]:
    """Yield the documents over all datasets for the links of the root: address, media type, title."""
    yield dcat_pages.DCAT_ROOT, "application/ld+json", "DCAT 3"
    yield dcat_pages.DCAT_US_ROOT, "application/json", "DCAT-US 3"
    for address, media_type, language in feeds.links():
        yield address, media_type, feeds.title(language, media_type)


def llms(titles: Mapping[str, Bilingual], count: int, site: Site) -> bytes:
    """Return `llms.txt`: the site for language models.

    `titles`: those of the first `MOST_LISTED` of `count` datasets by id, sorted; more are not listed.

    It names no version, so that a release of a known dataset does not change it. Source: https://llmstxt.org
    """
    table = site.href(CATALOGUE_PARQUET, LLMS)
    lines = [
        f"# {markdown(site.publisher)}",
        "",
        "> Open data as GeoParquet and Parquet. Every release has a version, a DOI, checksums and a torrent.",
        "> Données ouvertes en GeoParquet et Parquet : versions, DOI, sommes de contrôle et torrents.",
        "",
        "One table has all releases. DuckDB reads it over HTTP:",
        "",
        "```sql",
        f"SELECT dataset, vintage, version, title, data_urls FROM '{table}' WHERE is_latest;",  # noqa: S608 - shown
        "```",
        "",
        "## Catalogue",
        "",
        f"- [STAC catalogue]({site.href(CATALOGUE_ROOT, LLMS)}): collections and items as JSON",
        f"- [STAC GeoParquet]({table}): every release as a row",
        f"- [DCAT 3]({site.href(dcat_pages.DCAT_ROOT, LLMS)}): datasets as JSON-LD",
        f"- [Feed]({site.href(feeds.Feed('releases', 'en').address('.json'), LLMS)}): new releases",
        f"- [Fil]({site.href(feeds.Feed('releases', 'fr').address('.json'), LLMS)}) : nouvelles versions",
        "",
        "## Datasets",
        "",
    ]
    for dataset, title in islice(titles.items(), MOST_LISTED):
        french = f" / {markdown(title.fr)}" if title.fr != title.en else ""
        lines.append(f"- [{markdown(title.en)}{french}]({site.href(catalogue_readme_address(dataset), LLMS)})")
    if count > MOST_LISTED:
        lines += ["", f"{count - MOST_LISTED} more datasets are in the catalogue."]
    return ("\n".join(lines) + "\n").encode()


def sitemap_index(laid: Iterable[Page], releases: Mapping[str, int], site: Site) -> Iterator[tuple[str, bytes]]:
    """Yield the index of the sitemaps. `releases`: the number of releases of each dataset.

    Addresses in sitemaps are absolute, so a store without a public address has none. The index states no dates, so that
    a release of a known dataset changes one sitemap only. Source: https://www.sitemaps.org/protocol.html
    """
    if site.base_url is None:
        return
    index = Xml.Element("sitemapindex", xmlns=_SITEMAP_XML)
    for page in laid:
        for address in sitemap_addresses(page, sum(releases[dataset] for dataset in page.datasets)):
            Xml.SubElement(Xml.SubElement(index, "sitemap"), "loc").text = site.href(address, SITEMAP)
    yield SITEMAP, _xml(index)


def sitemap_addresses(page: Page, releases: int) -> list[str]:
    """Return the addresses of the sitemaps of a page of datasets with so many releases, 50,000 in each."""
    first = page.address.removesuffix(".xml")
    return [f"{first}{f'.{part}' if part else ''}.xml" for part in range(-(-releases // _MOST_URLS))]


def sitemap(page: Page, releases: Iterable[Dated], site: Site) -> Iterator[tuple[str, bytes]]:
    """Yield the sitemaps of the datasets of a page: the portal's pages, without a portal the schema.org documents.

    `releases`: those of its datasets, in any order.
    """
    if site.base_url is None:
        return
    ordered = sorted(releases, key=lambda release: (release.dataset, release.vintage, release.version))
    for part, address in enumerate(sitemap_addresses(page, len(ordered))):
        root = Xml.Element("urlset", xmlns=_SITEMAP_XML)
        for release in ordered[part * _MOST_URLS : (part + 1) * _MOST_URLS]:
            entry = Xml.SubElement(root, "url")
            Xml.SubElement(entry, "loc").text = _page(release, site)
            Xml.SubElement(entry, "lastmod").text = f"{release.published_at:%Y-%m-%dT%H:%M:%SZ}"
        yield address, _xml(root)


def _page(release: Dated, site: Site) -> str:
    page = site.page(release.dataset, release.vintage, release.version)
    # The protocol allows only pages of the sitemap's own host.
    if page is not None and site.base_url is not None and page.startswith(site.base_url.rstrip("/") + "/"):
        return page
    return site.href(
        catalogue_record_address(release.dataset, release.vintage, release.version, "schema.jsonld"), SITEMAP
    )


def _xml(root: Xml.Element) -> bytes:
    Xml.indent(root)
    return Xml.tostring(root, "utf-8", xml_declaration=True) + b"\n"
