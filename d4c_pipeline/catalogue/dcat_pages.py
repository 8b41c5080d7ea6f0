"""The catalogue as DCAT 3 in Hydra pages, which CKAN and udata harvest, and as the DCAT-US 3 profile.

A page has the newest releases of consecutive datasets. The ids of the datasets alone determine the cuts, and the first
dataset names its page. Sitemaps have pages in the same way. The form of a dataset belongs to `metadata.records.dcat`.
Source: https://www.hydra-cg.com/spec/latest/core/#collections
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from d4c_pipeline.metadata.published import PublishedMetadata
from d4c_pipeline.metadata.records.dcat import CONTEXT, dcat_dataset, language_node
from d4c_pipeline.metadata.records.dcat_us import PROFILE, dcat_us_dataset
from d4c_pipeline.metadata.records.documents import json_document, plain
from d4c_pipeline.metadata.site import Site

DCAT_ROOT = "catalogue/dcat.jsonld"
DCAT_US_ROOT = "catalogue/dcat-us.json"
Kind = Literal["dcat", "dcat-us", "sitemap"]
KINDS: tuple[Kind, ...] = ("dcat", "dcat-us", "sitemap")
# A new release rewrites the pages of its dataset. With 16 datasets of five vintages a page of DCAT has 0.5 MB. There is
# no most: a cut by number moves with every new dataset before it. The longest of 1,000 pages has about 110 datasets.
_DATASETS_PER_PAGE = 16  # on average
_TITLES = {"en": "Catalogue of published releases", "fr": "Catalogue des versions publiées"}
_DESCRIPTIONS = {
    "en": "The newest release of every dataset, with its files, DOI and licence.",
    "fr": "La version la plus récente de chaque jeu de données, avec ses fichiers, son DOI et sa licence.",
}


@dataclass(frozen=True)
class Page:
    """A page of the catalogue: its datasets, its address in a store, and those of the pages that it links.

    `next`: the following page of DCAT, None on the last. `others`: in the root of DCAT-US all other pages. A sitemap
    links none; the page without datasets has no sitemap.
    """

    kind: Kind
    datasets: tuple[str, ...]
    address: str
    next: str | None = None
    others: tuple[str, ...] = ()


def pages(datasets: Iterable[str], kind: Kind) -> tuple[Page, ...]:
    """Return the pages of one kind over these datasets; the first is the root, which exists without datasets too."""
    return tuple(page for page in all_pages(datasets) if page.kind == kind)


def all_pages(datasets: Iterable[str]) -> tuple[Page, ...]:
    """Return the pages of all kinds over these datasets, kind by kind."""
    ordered = sorted(set(datasets))
    # Of each dataset once: the ids of a million releases take longer to hash than to cut.
    begun: dict[Kind, list[int]] = {kind: [] for kind in KINDS}
    for place, dataset in enumerate(ordered):
        if (begins := begins_page(dataset)) is not None:
            begun[begins].append(place)
    return tuple(page for kind in KINDS for page in _pages_of(ordered, kind, begun[kind]))


def _pages_of(ordered: Sequence[str], kind: Kind, begun: Sequence[int]) -> tuple[Page, ...]:
    """Return the pages of a kind that the datasets at the places `begun` begin."""
    cuts = [0, *(place for place in begun if place), len(ordered)]
    runs = [ordered[start:end] for start, end in pairwise(cuts)]
    if kind == "sitemap":
        return tuple(Page(kind, tuple(run), f"catalogue/sitemap-pages/{run[0]}.xml") for run in runs if run)
    root, folder, suffix = (DCAT_ROOT, "dcat-pages", "jsonld") if kind == "dcat" else (DCAT_US_ROOT, "dcat-us", "json")
    addresses = [root, *(f"catalogue/{folder}/{run[0]}.{suffix}" for run in runs[1:])]
    found: list[Page] = []
    for number, run in enumerate(runs):
        following = addresses[number + 1] if kind == "dcat" and number + 1 < len(runs) else None
        others = tuple(addresses[1:]) if kind == "dcat-us" and not number else ()
        found.append(Page(kind, tuple(run), addresses[number], following, others))
    return tuple(found)


def begins_page(dataset: str) -> Kind | None:
    """Return the kind of page that a dataset begins, if any.

    A dataset begins pages of one kind only, so that the first release of a new dataset cuts no page of another kind.
    """
    digits = int.from_bytes(hashlib.sha256(dataset.encode()).digest()[:4]) % _DATASETS_PER_PAGE
    return KINDS[digits] if digits < len(KINDS) else None


def documents(published: Iterable[PublishedMetadata], site: Site) -> Iterator[tuple[str, bytes]]:
    """Yield every page: address in a store, bytes. `published`: the newest release of each product, in any order."""
    members: dict[str, list[PublishedMetadata]] = {}
    for release in published:
        members.setdefault(release.dataset, []).append(release)
    for kind in ("dcat", "dcat-us"):
        for page in pages(members, kind):
            yield page_document(page, [release for dataset in page.datasets for release in members[dataset]], site)


def page_document(page: Page, releases: Iterable[PublishedMetadata], site: Site) -> tuple[str, bytes]:
    """Return address and bytes of a page of DCAT or DCAT-US. `releases`: its datasets' newest, in any order."""
    newest_first = sorted(releases, key=lambda release: (release.vintage, release.version), reverse=True)
    ordered = sorted(newest_first, key=lambda release: release.dataset)
    form = _dcat if page.kind == "dcat" else _dcat_us
    return page.address, json_document(form(page, ordered, site))


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
        "@id": site.href(page.address, page.address),
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
                    {"@id": site.href(other, DCAT_US_ROOT), "@type": "Catalog", "dataset": []} for other in page.others
                ]
            }
            if page.others
            else {}
        ),
    }


def _tagged(texts: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"@value": text, "@language": language} for language, text in texts.items()]
