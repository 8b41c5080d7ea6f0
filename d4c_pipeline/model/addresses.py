"""Addresses in a store: relative, with forward slashes, and equal in every store.

Reading and writing files belongs to `stores`.
"""

from __future__ import annotations

import re
from functools import lru_cache

from d4c_pipeline.model.naming import DatasetName, latest_stem
from d4c_pipeline.model.parts import MANIFEST_NAME, SUFFIX
from d4c_pipeline.model.version import Version
from d4c_pipeline.model.vintage import Vintage

CATALOGUE_PARQUET = "catalogue/stac.parquet"
RECORDS_MANIFEST = "catalogue/records.json"
"""The list of the parts of the records' facts; `catalogue.record_parts` has its form."""
RECORD_PARTS = "catalogue/record-parts"
"""The folder of the parts. No dataset has that id: ids have no hyphen."""
RECORDS_PARQUET = "catalogue/records.parquet"
"""The facts of all records in one file, as catalogues of an earlier form have them; a rebuild removes it."""
CATALOGUE_ROOT = "catalogue/catalog.json"
FEED_RSS = "catalogue/torrents.rss"
FEED_ATOM = "catalogue/torrents.atom"
HIDDEN = "hidden/"
"""Prefix of unapproved releases. No server may list it, and nobody can guess a name below it."""
WORK = f"{HIDDEN}work/"
"""Prefix of builds on their way from one step to the next; as private as an unapproved release."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def is_file_name(name: str) -> bool:
    """Return whether `name` names a file within any folder: no path, no leading dot, no control character."""
    return bool(name) and not name.startswith(".") and not {"/", "\\"} & set(name) and not _CONTROL.search(name)


@lru_cache(maxsize=4_096)  # the records and links of a release need the same paths some 50 times
def relative_path(address: str, document: str) -> str:
    """Return the path of `address` relative to the folder of `document`; both are addresses of files."""
    path, folder = address.split("/"), document.split("/")[:-1]
    shared = 0
    while shared < min(len(path) - 1, len(folder)) and path[shared] == folder[shared]:
        shared += 1
    return "../" * (len(folder) - shared) + "/".join(path[shared:])


def raw_address(dataset: str, vintage: Vintage, sha256: str, file_name: str) -> str:
    """Return the content address of a retained native file; fetching equal bytes again stores nothing new."""
    return f"raw/{dataset}/{vintage}/{sha256[:12]}/{file_name}"


def release_address(dataset: str, vintage: Vintage, version: Version, file_name: str) -> str:
    """Return the immutable address of an artifact of a release, which web seeds point at."""
    return f"releases/{dataset}/{vintage}/v{version}/{file_name}"


def hidden_address(token: str, file_name: str) -> str:
    """Return the address of an artifact of an unapproved release. Errors and logs mask `token`, the plan's token."""
    return f"{HIDDEN}{token}/{file_name}"


def work_folder(dataset: str, vintage: Vintage) -> str:
    """Return the prefix of the files of a vintage that steps pass on."""
    return f"{WORK}{dataset}/{vintage}/"


def work_address(dataset: str, vintage: Vintage, sha256: str, file_name: str) -> str:
    """Return the content address of a file that one step leaves for the next, whichever home runs it."""
    return f"{work_folder(dataset, vintage)}{sha256}/{file_name}"


def is_hidden(address: str) -> bool:
    """Return whether `address` is a hidden address."""
    return address.startswith(HIDDEN)


def latest_address(name: DatasetName, vintage: Vintage | None, suffix: str) -> str:
    """Return the address of the latest version; `vintage` is None for a rolling series, `suffix` includes the dot."""
    return f"processed/{latest_stem(name, vintage)}{suffix}"


def latest_part_address(name: DatasetName, vintage: Vintage | None, part: str) -> str:
    """Return the address of a part of the latest version, for partitioned data."""
    return latest_address(name, vintage, f"/{part}{SUFFIX}")


def latest_index_address(name: DatasetName, vintage: Vintage | None) -> str:
    """Return the address of the index of the latest version's parts, with the immutable address of each."""
    return latest_address(name, vintage, f"/{MANIFEST_NAME}")


def withdrawn_address(address: str) -> str:
    """Return the address of the text that says why the latest address `address` serves nothing any more."""
    return f"{address}.withdrawn.txt"


def torrent_address(data_file: str) -> str:
    """Return the address of the torrent of a data artifact."""
    return f"torrents/{data_file.removesuffix(SUFFIX)}.torrent"


def snapshot_address(sha256: str) -> str:
    """Return the immutable content address of a catalogue snapshot, which is kept while its torrent is seeded."""
    return f"snapshots/catalogue-{sha256[:12]}{SUFFIX}"


def record_part_address(sha256: str) -> str:
    """Return the address of a part of the records' facts: its content decides, so a new part replaces no other."""
    return f"{RECORD_PARTS}/{sha256[:16]}{SUFFIX}"


def catalogue_item_address(dataset: str, vintage: Vintage, version: Version) -> str:
    """Return the address of a release's item in the static catalogue."""
    return f"catalogue/{dataset}/{vintage}/{version}.json"


def catalogue_record_address(dataset: str, vintage: Vintage, version: Version, file_name: str) -> str:
    """Return the address of a record of a release in the static catalogue: in a folder named after the version."""
    return f"catalogue/{dataset}/{vintage}/{version}/{file_name}"


def catalogue_latest_address(dataset: str, vintage: Vintage | None) -> str:
    """Return the address of the latest item in the static catalogue; `vintage` is None for a rolling series."""
    return f"catalogue/{dataset}/{vintage}/latest.json" if vintage else f"catalogue/{dataset}/latest.json"


def catalogue_items_address(dataset: str) -> str:
    """Return the address of the STAC GeoParquet file of a dataset's items."""
    return f"catalogue/{dataset}/items.parquet"


def catalogue_collection_address(dataset: str) -> str:
    """Return the address of a dataset's collection in the static catalogue."""
    return f"catalogue/{dataset}/collection.json"


def catalogue_versions_address(dataset: str) -> str:
    """Return the address of the list of a dataset's releases in the static catalogue."""
    return f"catalogue/{dataset}/versions.json"


def catalogue_readme_address(dataset: str) -> str:
    """Return the address of a dataset's README in the static catalogue."""
    return f"catalogue/{dataset}/README.md"
