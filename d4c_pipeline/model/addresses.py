"""Addresses in a store: relative, with forward slashes, the same in every store.

Reading and writing them belongs to `distribution`.
"""

from __future__ import annotations

from d4c_pipeline.model.naming import DatasetName, ReleaseName, latest_stem
from d4c_pipeline.model.version import Version
from d4c_pipeline.model.vintage import Vintage

CATALOGUE_PARQUET = "catalogue/stac.parquet"
CATALOGUE_ROOT = "catalogue/catalog.json"


def raw_address(dataset: str, vintage: Vintage, sha256: str, file_name: str) -> str:
    """Where a retained native file lies: content-addressed, so an identical re-fetch stores nothing new."""
    return f"raw/{dataset}/{vintage}/{sha256[:12]}/{file_name}"


def release_address(dataset: str, vintage: Vintage, version: Version, file_name: str) -> str:
    """Where an artifact of a release lies: immutable, what web seeds point at."""
    return f"releases/{dataset}/{vintage}/v{version}/{file_name}"


def latest_address(name: DatasetName, vintage: Vintage | None, suffix: str) -> str:
    """Where strictly the latest version is served; `vintage` is None for a rolling series, `suffix` has its dot."""
    return f"processed/{latest_stem(name, vintage)}{suffix}"


def torrent_address(name: ReleaseName) -> str:
    """Where the torrent of a release's data artifact lies."""
    return f"torrents/{name}.torrent"


def catalogue_item_address(dataset: str, vintage: Vintage, version: Version) -> str:
    """Where the static catalogue keeps a release's item."""
    return f"catalogue/{dataset}/{vintage}/{version}.json"
