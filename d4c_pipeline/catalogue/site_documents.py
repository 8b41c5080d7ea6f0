"""The documents over all datasets: DCAT pages, feeds, `llms.txt` and the sitemap, with the documents of each dataset.

`documents` builds all of them from the given releases. Each group also has its own function, for a caller that knows
the changes. `chain` selects the releases and replaces the documents in the stores.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from xml.etree import ElementTree as Xml

from d4c_pipeline.catalogue import dataset_pages, dcat_pages, feeds
from d4c_pipeline.catalogue.dataset_pages import markdown, readme_address
from d4c_pipeline.metadata.published import ListedRelease, PublishedMetadata
from d4c_pipeline.metadata.site import Site
from d4c_pipeline.model.addresses import CATALOGUE_PARQUET, CATALOGUE_ROOT

LLMS = "llms.txt"
SITEMAP = "sitemap.xml"
"""At the root of a store: a sitemap may name addresses below its own folder only."""
_SITEMAP_XML = "http://www.sitemaps.org/schemas/sitemap/0.9"
_MOST_URLS = 50_000  # the protocol's limit per sitemap
_MOST_LISTED = 1_000  # datasets in llms.txt, which readers load completely


def documents(published: Iterable[PublishedMetadata], site: Site) -> Iterator[tuple[str, bytes]]:
    """Yield every document of the site and of each dataset: address in a store, bytes.

    `published`: all published releases, in any order. The same releases give the same bytes.
    """
    ordered = sorted(published, key=lambda release: (release.dataset, release.vintage, release.version))
    newest: list[PublishedMetadata] = []
    for _, group in groupby(ordered, key=lambda release: release.dataset):
        own = list(group)
        newest.append(next((release for release in reversed(own) if release.latest), own[-1]))
        yield from dataset_pages.documents(newest[-1], own, site)
    yield from feeds.documents(ordered, site)
    yield from dcat_pages.documents((release for release in ordered if release.latest), site)
    yield from sitemap(ordered, site)
    yield LLMS, llms(newest, site)


def llms(newest: Sequence[ListedRelease], site: Site) -> bytes:
    """Return `llms.txt`: the site for language models. `newest`: a release of each dataset, sorted by dataset.

    Source: https://llmstxt.org
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
        f"- [Feed]({site.href(feeds.Feed('releases', 'en', '').address('.json'), LLMS)}): new releases",
        f"- [Fil]({site.href(feeds.Feed('releases', 'fr', '').address('.json'), LLMS)}) : nouvelles versions",
        "",
        "## Datasets",
        "",
    ]
    for release in newest[:_MOST_LISTED]:
        french = f" / {markdown(release.title.fr)}" if release.title.fr != release.title.en else ""
        href = site.href(readme_address(release.dataset), LLMS)
        lines.append(f"- [{markdown(release.title.en)}]({href}): {release.vintage}, v{release.version}{french}")
    if len(newest) > _MOST_LISTED:
        lines += ["", f"{len(newest) - _MOST_LISTED} more datasets are in the catalogue."]
    return ("\n".join(lines) + "\n").encode()


def sitemap(released: Iterable[ListedRelease], site: Site) -> Iterator[tuple[str, bytes]]:
    """Yield the index and its sitemaps, cut between datasets like the DCAT pages.

    A sitemap names the portal's pages, or without a portal the schema.org documents. Its addresses are absolute, so a
    store without a public address has no sitemap. Source: https://www.sitemaps.org/protocol.html
    """
    if site.base_url is None:
        return
    ordered = sorted(released, key=lambda release: (release.dataset, release.vintage, release.version))
    members = {dataset: list(group) for dataset, group in groupby(ordered, key=lambda release: release.dataset)}
    index = Xml.Element("sitemapindex", xmlns=_SITEMAP_XML)
    for page in dcat_pages.pages(members):
        releases = [release for dataset in page.datasets for release in members[dataset]]
        for number, start in enumerate(range(0, len(releases), _MOST_URLS)):
            part = releases[start : start + _MOST_URLS]
            address = f"catalogue/sitemaps/{page.datasets[0]}{f'.{number}' if number else ''}.xml"
            root = Xml.Element("urlset", xmlns=_SITEMAP_XML)
            for release in part:
                _location(root, "url", _page(release, site), release)
            _location(
                index, "sitemap", site.href(address, SITEMAP), max(part, key=lambda release: release.published_at)
            )
            yield address, _xml(root)
    yield SITEMAP, _xml(index)


def _page(release: ListedRelease, site: Site) -> str:
    page = site.page(release.dataset, release.vintage, release.version)
    # The protocol allows only pages of the sitemap's own host.
    if page is not None and site.base_url is not None and page.startswith(site.base_url.rstrip("/") + "/"):
        return page
    return site.href(release.record_address("schema.jsonld"), SITEMAP)


def _location(parent: Xml.Element, tag: str, url: str, release: ListedRelease) -> None:
    entry = Xml.SubElement(parent, tag)
    Xml.SubElement(entry, "loc").text = url
    Xml.SubElement(entry, "lastmod").text = f"{release.published_at:%Y-%m-%dT%H:%M:%SZ}"


def _xml(root: Xml.Element) -> bytes:
    Xml.indent(root)
    return Xml.tostring(root, "utf-8", xml_declaration=True) + b"\n"
