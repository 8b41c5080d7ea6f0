"""The links of an item: to records, the licence, the source, its collection, and other versions.

The relations and their target addresses belong here. Assets belong to `item_assets`, the documents of the static tree
to `static_stac`.
https://github.com/stac-extensions/version, https://www.iana.org/assignments/link-relations
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from d4c_pipeline.catalogue.item_assets import Addresses
from d4c_pipeline.metadata.records.registry import RecordFormat
from d4c_pipeline.model.addresses import (
    CATALOGUE_ROOT,
    catalogue_collection_address,
    catalogue_item_address,
    catalogue_latest_address,
    catalogue_record_address,
    relative_path,
)
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.release import ArtifactRole, Deposit, Release
from d4c_pipeline.model.version import Version
from d4c_pipeline.model.vintage import Vintage

HTML = "text/html"
JSON = "application/json"
GEOJSON = "application/geo+json"
_RESOLVER = "https://doi.org/"
_RECORD_TITLE = "Record at the archive"
_SOURCE_TITLE = "Source of the data"
_TEXT_OF = ": its text"
# Relations that the catalogue computes itself; other relations of a deposited item stay.
_COMPUTED = frozenset({"root", "parent", "self", "collection", "item", "child", "via", "cite-as"}) | frozenset(
    {"predecessor-version", "successor-version", "latest-version", "canonical", "alternate", "describedby"}
)


class Versioned(Protocol):
    """A release, by the parts of its address."""

    @property
    def dataset(self) -> str: ...  # noqa: D102
    @property
    def vintage(self) -> Vintage: ...  # noqa: D102
    @property
    def version(self) -> Version: ...  # noqa: D102


@dataclass(frozen=True)
class Line:
    """The place of a release among the versions of its product; a rolling series is one product.

    `predecessor` and `successor` are its neighbours, None at the ends. `latest`: the release is the version to use;
    `newest` is that version.
    """

    latest: bool
    rolling: bool = False
    predecessor: Versioned | None = None
    successor: Versioned | None = None
    newest: Versioned | None = None


def deposited_links(
    dataset: Dataset, release: Release, deposit: Deposit, asset_urls: Mapping[str, str], base_url: str | None
) -> list[dict[str, Any]]:
    """Return the links of an item before publication, without the links that the catalogue adds."""
    up = base_url.rstrip("/") if base_url else "../../../.."
    terms = dataset.terms
    links = [
        link("collection", f"{up}/catalogue/{dataset.id}/collection.json", JSON),
        link("license", terms.url, HTML, terms.title),
    ]
    text = release.artifact(ArtifactRole.LICENCE)
    if text is not None:
        links.append(link("license", asset_urls[text.name], text.media_type, terms.title + _TEXT_OF))
    if deposit.url:
        links.append(_record(deposit, deposit.url))
    if dataset.source.homepage:
        links.append(link("derived_from", dataset.source.homepage, HTML, _SOURCE_TITLE))
    return links


def final_links(
    item: Mapping[str, Any],
    release: Release,
    deposit: Deposit,
    line: Line,
    addresses: Addresses,
    records: Iterable[RecordFormat] = (),
) -> list[dict[str, Any]]:
    """Return the links of the catalogue's item; links within the static tree are relative to the item's address.

    `records`: the formats of the records that lie in the static tree.
    """
    own = catalogue_item_address(release.dataset, release.vintage, release.version)
    collection = catalogue_collection_address(release.dataset)
    links = [
        link("root", placed(CATALOGUE_ROOT, own), JSON),
        link("parent", placed(collection, own), JSON),
        link("collection", placed(collection, own), JSON),
    ]
    if deposit.doi and not deposit.test:
        links.append(link("cite-as", _RESOLVER + deposit.doi))
    text = release.artifact(ArtifactRole.LICENCE)
    for kept in item["links"]:
        if kept["rel"] in _COMPUTED:
            continue
        if text is not None and kept["rel"] == "license" and str(kept.get("title", "")).endswith(_TEXT_OF):
            kept = {**kept, "href": addresses.of(text.name)}  # noqa: PLW2901 - the same link, of today's store
        links.append(dict(kept))
    if deposit.url:
        links.append(_record(deposit, deposit.url))
    for relation, other in (("predecessor-version", line.predecessor), ("successor-version", line.successor)):
        if other is not None:
            address = catalogue_item_address(other.dataset, other.vintage, other.version)
            links.append(link(relation, placed(address, own), GEOJSON, _version_title(other)))
    for form in records:
        address = catalogue_record_address(release.dataset, release.vintage, release.version, form.file_name)
        links.append(link(form.relation, placed(address, own), form.media_type, form.title))
    if not line.latest:
        latest = catalogue_latest_address(release.dataset, None if line.rolling else release.vintage)
        links.append(link("latest-version", placed(latest, own), GEOJSON, "The version to use"))
    return links


def links_elsewhere(item: Mapping[str, Any], address: str, base_url: str | None) -> list[dict[str, Any]]:
    """Return the links of an item in the document or file at `address` of a store, with `self`.

    Links within the store are absolute with `base_url`, its public address, else relative to `address`. `self` is the
    item's own document.
    """
    properties = item["properties"]
    own = f"catalogue/{item['collection']}/{properties['d4c:vintage']}/{properties['version']}.json"
    folder = own.split("/")[:-1]
    links = [link("self", placed(own, address, base_url), GEOJSON)]
    for each in item["links"]:
        if each["rel"] == "self":
            continue
        href = each["href"]
        if href.startswith(("./", "../")):
            href = placed(_resolved(href, folder), address, base_url)
        links.append({**each, "href": href})
    return links


def _resolved(href: str, folder: Sequence[str]) -> str:
    """Return the address of a relative `href` in a document in `folder`."""
    steps = href.removeprefix("./").split("/")
    up = steps.count("..")
    return "/".join([*folder[: len(folder) - up], *steps[up:]])


def link(relation: str, href: str, media_type: str | None = None, title: str | None = None) -> dict[str, Any]:
    """Return a STAC link."""
    stated = {"rel": relation, "href": href, "type": media_type, "title": title}
    return {name: value for name, value in stated.items() if value is not None}


def placed(target: str, source: str, base_url: str | None = None) -> str:
    """Return the href from the address `source` to `target`: absolute with `base_url`, else relative."""
    if base_url:
        return f"{base_url.rstrip('/')}/{target}"
    href = relative_path(target, source)
    return href if href.startswith("../") else f"./{href}"


def _version_title(release: Versioned) -> str:
    return f"{release.vintage}, v{release.version}"


def _record(deposit: Deposit, url: str) -> dict[str, Any]:
    """Return the link to the record: a page of a repository, or the JSON of the local archive."""
    return link("via", url, JSON if url.endswith(".json") else HTML, f"{_RECORD_TITLE} ({deposit.archive})")
