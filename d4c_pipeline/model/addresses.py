"""Addresses in a store: relative, with forward slashes, the same in every store.

Reading and writing them belongs to `stores`.
"""

from __future__ import annotations

from d4c_pipeline.model.naming import DatasetName, latest_stem
from d4c_pipeline.model.parts import MANIFEST_NAME, SUFFIX
from d4c_pipeline.model.version import Version
from d4c_pipeline.model.vintage import Vintage

CATALOGUE_PARQUET = "catalogue/stac.parquet"
CATALOGUE_ROOT = "catalogue/catalog.json"
FEED_RSS = "catalogue/torrents.rss"
FEED_ATOM = "catalogue/torrents.atom"
HIDDEN = "hidden/"
"""Below it lie the releases that nobody approved yet; no server may show it, and no name in it can be guessed."""


def raw_address(dataset: str, vintage: Vintage, sha256: str, file_name: str) -> str:
    """Where a retained native file lies: content-addressed, so an identical re-fetch stores nothing new."""
    return f"raw/{dataset}/{vintage}/{sha256[:12]}/{file_name}"


def release_address(dataset: str, vintage: Vintage, version: Version, file_name: str) -> str:
    """Where an artifact of a release lies: immutable, what web seeds point at."""
    return f"releases/{dataset}/{vintage}/v{version}/{file_name}"


def hidden_address(token: str, file_name: str) -> str:
    """Where an artifact lies until its release may be public. `token` is the plan's; errors and logs mask it."""
    return f"{HIDDEN}{token}/{file_name}"


def is_hidden(address: str) -> bool:
    """Whether what lies at `address` is not public yet."""
    return address.startswith(HIDDEN)


def latest_address(name: DatasetName, vintage: Vintage | None, suffix: str) -> str:
    """Where strictly the latest version is served; `vintage` is None for a rolling series, `suffix` has its dot."""
    return f"processed/{latest_stem(name, vintage)}{suffix}"


def latest_part_address(name: DatasetName, vintage: Vintage | None, part: str) -> str:
    """Where a part of the latest version is served, if its data lies in several files."""
    return latest_address(name, vintage, f"/{part}{SUFFIX}")


def latest_index_address(name: DatasetName, vintage: Vintage | None) -> str:
    """Where it is said which parts make up the latest version, and at which immutable addresses they lie."""
    return latest_address(name, vintage, f"/{MANIFEST_NAME}")


def torrent_address(data_file: str) -> str:
    """Where the torrent of a data artifact of that file name lies."""
    return f"torrents/{data_file.removesuffix(SUFFIX)}.torrent"


def snapshot_address(sha256: str) -> str:
    """Where a state of the catalogue lies for as long as its torrent is seeded: content-addressed, immutable."""
    return f"snapshots/catalogue-{sha256[:12]}{SUFFIX}"


def catalogue_item_address(dataset: str, vintage: Vintage, version: Version) -> str:
    """Where the static catalogue keeps a release's item."""
    return f"catalogue/{dataset}/{vintage}/{version}.json"


def catalogue_record_address(dataset: str, vintage: Vintage, version: Version, file_name: str) -> str:
    """Where the static catalogue keeps a record of a release: beside its item, in a folder of the version's name."""
    return f"catalogue/{dataset}/{vintage}/{version}/{file_name}"
