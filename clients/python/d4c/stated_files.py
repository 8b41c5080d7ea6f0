"""The files that a row of the catalogue states: names, sizes, sha256, addresses, and their folder in every store.

Fetching and verifying them belongs to `cache`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from d4c.cache import File
from d4c.errors import UPDATE, FormError, IntegrityError

_MULTIHASH = "1220"
_SAFE = re.compile(r"(?!\.)[\w.+-]+")


def files_of(row: Mapping[str, Any]) -> tuple[File, ...]:
    """Return the data files of a row, in the order of the catalogue. Raises FormError when it does not state them."""
    if row["d4c:parts"]:
        found = [
            File(_name(part["href"]), part["size"], part["sha256"], (part["href"],), part["name"])
            for part in row["d4c:parts"]
        ]
    else:
        asset = row["assets"].get("data")
        found = [asset_file(asset)] if asset else []
        if found and row["sha256"] != found[0].sha256:
            raise IntegrityError(
                f"The catalogue states two sha256 for {row['dataset']} {row['vintage']} v{row['version']}",
                "Tell the publisher, and give another mirror",
            )
    stated = {_name(url) for url in row["data_urls"] or ()}
    if not found or stated != {file.name for file in found} or not all(is_stated(file) for file in found):
        raise FormError(f"The catalogue does not state the files of {row['dataset']} v{row['version']}", UPDATE)
    return tuple(found)


def hashes_of(row: Mapping[str, Any]) -> set[str]:
    """Return the sha256 of every file of a row."""
    parts = {part["sha256"] for part in row["d4c:parts"] or ()}
    assets = {
        asset["file:checksum"].removeprefix(_MULTIHASH)
        for asset in row["assets"].values()
        if asset and asset["file:checksum"]
    }
    return {row["sha256"], *parts, *assets}


def asset_file(asset: Mapping[str, Any]) -> File:
    """Return the file of an asset, with its addresses at the publisher, in mirrors and at the archive."""
    alternates = [each["href"] for each in (asset.get("alternate") or {}).values() if each]
    checksum = asset["file:checksum"] or ""
    digest = checksum.removeprefix(_MULTIHASH) if checksum.startswith(_MULTIHASH) else ""
    return File(_name(asset["href"]), asset["file:size"], digest, (asset["href"], *alternates))


def folder_of(row: Mapping[str, Any]) -> str:
    """Return the folder of a release in every store. Raises FormError for names that lead elsewhere."""
    segments = row["dataset"], row["vintage"], f"v{row['version']}"
    if not all(_SAFE.fullmatch(each) for each in segments):
        raise FormError(f"The catalogue has names that are no folders: {segments}", UPDATE)
    return "/".join(("releases", *segments))


def is_stated(file: File) -> bool:
    """Return whether name, size and sha256 are such as a file has."""
    return bool(_SAFE.fullmatch(file.name) and file.size is not None and re.fullmatch(r"[0-9a-f]{64}", file.sha256))


def _name(href: str) -> str:
    return href.partition("?")[0].rpartition("/")[2]


def bytes_of(row: Mapping[str, Any]) -> list[tuple[str, int, str]]:
    """Return name, size and sha256 of the data files of a row, sorted."""
    return sorted((file.name, file.size, file.sha256) for file in files_of(row))
