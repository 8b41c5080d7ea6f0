"""The catalogue as DCAT 3 in Hydra pages, which CKAN and udata harvest, and as the DCAT-US 3 profile.

A page has the newest releases of consecutive datasets. The ids of the datasets alone determine the cuts, and the first
dataset names its page: a new dataset changes one page, seldom its links. Sitemaps have the same cuts. The form of a
dataset belongs to `metadata.records.dcat`.
Source: https://www.hydra-cg.com/spec/latest/core/#collections
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from d4c_pipeline.metadata.published import PublishedMetadata
from d4c_pipeline.metadata.records.dcat import CONTEXT, dcat_dataset, language_node
from d4c_pipeline.metadata.records.dcat_us import PROFILE, dcat_us_dataset
from d4c_pipeline.metadata.records.documents import json_document, plain
from d4c_pipeline.metadata.site import Site

DCAT_ROOT = "catalogue/dcat.jsonld"
DCAT_US_ROOT = "catalogue/dcat-us.json"
# A new release rewrites the page of its dataset. With 16 datasets of five vintages a page has 0.5 MB.
_DATASETS_PER_PAGE = 16  # on average
_MOST = 50  # with any ids
_TITLES = {"en": "Catalogue of published releases", "fr": "Catalogue des versions publiées"}
_DESCRIPTIONS = {
    "en": "The newest release of every dataset, with its files, DOI and licence.",
    "fr": "La version la plus récente de chaque jeu de données, avec ses fichiers, son DOI et sa licence.",
}


@dataclass(frozen=True)
class Page:
    """A page of the catalogue: its datasets, its addresses in a store, and those of the pages that it links.

    `us_others`: in the root of DCAT-US the addresses of all other pages, else empty.
    """

    datasets: tuple[str, ...]
    address: str
    next: str | None
    us_address: str
    us_others: tuple[str, ...] = ()


def pages(datasets: Iterable[str]) -> tuple[Page, ...]:
    """Return the pages of a catalogue of these datasets; the first is the root, which exists without datasets too."""
    runs: list[list[str]] = [[]]
    for dataset in sorted(set(datasets)):
        if runs[-1] and (len(runs[-1]) == _MOST or _begins_page(dataset)):
            runs.append([])
        runs[-1].append(dataset)
    addresses = [DCAT_ROOT, *(f"catalogue/dcat-pages/{run[0]}.jsonld" for run in runs[1:])]
    us_addresses = [DCAT_US_ROOT, *(f"catalogue/dcat-us/{run[0]}.json" for run in runs[1:])]
    return tuple(
        Page(
            tuple(run),
            addresses[number],
            addresses[number + 1] if number + 1 < len(runs) else None,
            us_addresses[number],
            () if number else tuple(us_addresses[1:]),
        )
        for number, run in enumerate(runs)
    )


def documents(published: Iterable[PublishedMetadata], site: Site) -> Iterator[tuple[str, bytes]]:
    """Yield every page: address in a store, bytes. `published`: the newest release of each product, in any order."""
    members: dict[str, list[PublishedMetadata]] = {}
    for release in published:
        members.setdefault(release.dataset, []).append(release)
    for page in pages(members):
        yield from page_documents(page, [release for dataset in page.datasets for release in members[dataset]], site)


def page_documents(page: Page, releases: Iterable[PublishedMetadata], site: Site) -> Iterator[tuple[str, bytes]]:
    """Yield one page in both forms. `releases`: the newest releases of its datasets, in any order."""
    newest_first = sorted(releases, key=lambda release: (release.vintage, release.version), reverse=True)
    ordered = sorted(newest_first, key=lambda release: release.dataset)
    yield page.address, json_document(_dcat(page, ordered, site))
    yield page.us_address, json_document(_dcat_us(page, ordered, site))


def _dcat(page: Page, releases: Sequence[PublishedMetadata], site: Site) -> dict[str, Any]:
    catalogue = site.href(DCAT_ROOT, page.address) + "#catalogue"
    own = site.href(page.address, page.address)
    view: dict[str, Any] = {
        "@id": own,
        "@type": ["hydra:PartialCollectionView", "hydra:PagedCollection"],
        "hydra:first": {"@id": site.href(DCAT_ROOT, page.address)},
    }
    # Both vocabularies of Hydra: CKAN reads either, older versions of udata only the second. A link to the last page
    # would change every page with a new one.
    if page.next is not None:
        following = {"@id": site.href(page.next, page.address)}
        view |= {"hydra:next": following, "hydra:nextPage": following}
    return {
        "@context": CONTEXT,
        "@graph": [
            view,
            {
                "@id": catalogue,
                "@type": "dcat:Catalog",
                "dct:title": _tagged(_TITLES),
                "dct:description": _tagged(_DESCRIPTIONS),
                "dct:publisher": {"@type": "foaf:Agent", "foaf:name": plain(site.publisher)},
                "dct:language": [language_node(code) for code in ("eng", "fra")],
                "dcat:dataset": [dcat_dataset(release) for release in releases],
            },
        ],
    }


def _dcat_us(page: Page, releases: Sequence[PublishedMetadata], site: Site) -> dict[str, Any]:
    return {
        "@id": site.href(page.us_address, page.us_address),
        "@type": "Catalog",
        "conformsTo": {"@id": PROFILE, "@type": "Standard", "title": "DCAT-US 3.0"},
        "title": _TITLES["en"],
        "titleMap": {"fr": _TITLES["fr"]},
        "description": _DESCRIPTIONS["en"],
        "descriptionMap": {"fr": _DESCRIPTIONS["fr"]},
        "language": ["en", "fr"],
        "publisher": {"@type": "Organization", "name": plain(site.publisher)},
        "dataset": [dcat_us_dataset(release) for release in releases],
        **(
            {
                "catalog": [
                    {"@id": site.href(other, DCAT_US_ROOT), "@type": "Catalog", "dataset": []}
                    for other in page.us_others
                ]
            }
            if page.us_others
            else {}
        ),
    }


def _tagged(texts: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"@value": text, "@language": language} for language, text in texts.items()]


def _begins_page(dataset: str) -> bool:
    return int.from_bytes(hashlib.sha256(dataset.encode()).digest()[:4]) % _DATASETS_PER_PAGE == 0
