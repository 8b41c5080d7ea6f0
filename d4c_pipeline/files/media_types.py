"""The media type of a file by its name, from one table: the same in a store, at an archive and in a STAC asset.

The system's tables are not used: they differ between machines and lack Parquet.
Sources: IANA's registry; https://pmtiles.io and OGC for the formats of their own.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

PARQUET = "application/vnd.apache.parquet"
GEOJSON = "application/geo+json"
JSON = "application/json"
TORRENT = "application/x-bittorrent"
TEXT = "text/plain"
UNKNOWN = "application/octet-stream"

BY_SUFFIX = {
    ".parquet": PARQUET,
    ".json": JSON,
    ".geojson": GEOJSON,
    ".torrent": TORRENT,
    ".txt": TEXT,
    ".md": "text/markdown",
    ".md5": TEXT,
    ".sha256": TEXT,
    ".csv": "text/csv",
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".wasm": "application/wasm",
    ".xml": "application/xml",
    ".atom": "application/atom+xml",
    ".rss": "application/rss+xml",
    ".zip": "application/zip",
    ".gz": "application/gzip",
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".svg": "image/svg+xml",
    ".webp": "image/webp",
    ".ico": "image/vnd.microsoft.icon",
    ".woff2": "font/woff2",
    ".gpkg": "application/geopackage+sqlite3",
    ".fgb": "application/vnd.flatgeobuf",
    ".pmtiles": "application/vnd.pmtiles",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
}
# A STAC item: `item.json`, `<stem>.item.json`, `<stem>.stac.json`, or in the static catalogue `<version>.json`.
ITEM = r"(?:(?:[^/]*[._-])?(?:item|stac)\.json|\d+\.\d+\.\d+(?:[-+][0-9A-Za-z.+-]+)?\.json)"
# Text files without a suffix: lists of checksums, and the text of a licence.
NAMES_OF_TEXT = r"(?:[^/]*[._-])?(?:checksums|md5sums|sha256sums|license)"
_ITEM = re.compile(ITEM)
_NAMES_OF_TEXT = re.compile(NAMES_OF_TEXT, re.IGNORECASE)


def media_type(name: str) -> str:
    """Return the media type of a file name or address; `application/octet-stream` for unknown suffixes."""
    last = PurePosixPath(name).name
    if _ITEM.fullmatch(last):
        return GEOJSON
    if _NAMES_OF_TEXT.fullmatch(last):
        return TEXT
    return BY_SUFFIX.get(PurePosixPath(last).suffix.lower(), UNKNOWN)
