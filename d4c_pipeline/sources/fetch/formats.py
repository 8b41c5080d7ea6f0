"""The suffix of a native file whose address does not state its format (`/exports/csv?lang=fr`, `/getfile.php`).

A declared format decides, else Content-Disposition, address, content type and bytes. A name with a format never
changes, nor does the name of an archive, which readers recognise by its bytes. Reading formats belongs to `readers`.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from email.message import Message
from pathlib import Path, PurePosixPath
from urllib.parse import unquote_plus, urlsplit

from d4c_pipeline.files import magic

_MARKUP = frozenset({".gml", ".kml"})
_JSON = frozenset({".json", ".geojson", ".jsonl", ".ndjson", ".geojsonl", ".geojsons"})
_TEXT = frozenset({".csv", ".tsv", ".txt"})
_WORDS = {
    "geojson": ".geojson", "ndjson": ".ndjson", "jsonl": ".jsonl", "json": ".json", "gml": ".gml", "kml": ".kml",
    "csv": ".csv", "tsv": ".tsv", "txt": ".txt", "geojsonl": ".geojsonl", "geojsonseq": ".geojsonl", "gml3": ".gml",
}  # fmt: skip
_TYPES = {
    "text/csv": ".csv",
    "application/csv": ".csv",
    "text/tab-separated-values": ".tsv",
    "application/geo+json": ".geojson",
    "application/vnd.geo+json": ".geojson",
    "application/geo+json-seq": ".geojsonl",
    "application/x-ndjson": ".ndjson",
    "application/jsonlines": ".jsonl",
    "application/json": ".json",
    "application/gml+xml": ".gml",
    "application/vnd.google-earth.kml+xml": ".kml",
}
# Suffixes of scripts, which state nothing about the response.
_SCRIPTS = frozenset({
    ".php", ".asp", ".aspx", ".ashx", ".asmx", ".axd", ".jsp", ".jspx", ".do", ".action", ".cgi", ".pl", ".py", ".cfm",
    ".svc", ".dll", ".exe", ".api", ".ows", ".wfs",
})  # fmt: skip
_PEEK = 1 << 16
_QUERY = re.compile(r"(?:^|[&;])(?:[a-z_]*format|f|type|file_?name|file|name|filetype|accept)=([^&]+)", re.IGNORECASE)
_KML = re.compile(r"<(?:\w+:)?kml\b", re.IGNORECASE)
_GML = re.compile(r"<(?:\w+:)?FeatureCollection\b|opengis\.net/gml", re.IGNORECASE)
_FEATURES = re.compile(r'"type"\s*:\s*"FeatureCollection"')
_FEATURE = re.compile(r'"type"\s*:\s*"Feature"')


def with_format(name: str, declared: str | None) -> str:
    """Return `name` with the suffix of a declared format (`csv`), unless it has that already."""
    if declared is None or name.lower().endswith(f".{declared}"):
        return name
    return f"{name}.{declared}"


def arrived_name(name: str, path: Path, url: str, *, disposition: str | None, content_type: str | None) -> str:
    """Return the name of the file at `path`, fetched from `url`: `name`, or `name` with a suffix.

    `disposition`, `content_type`: the headers of the response.
    """
    plain, _, parameter = name.partition(";")  # of a path such as `stops.csv;jsessionid=1`
    suffix = PurePosixPath(plain).suffix.lower()
    if suffix and suffix not in _SCRIPTS and not suffix[1:].isdigit():
        known = suffix in _TEXT | _MARKUP | _JSON or parameter.lower().startswith("jsessionid")
        return plain if parameter and known else name
    with path.open("rb") as file:
        start = file.read(_PEEK)
    packed = ""
    if start.startswith(magic.GZIP):  # the content of a gzip decides its name
        start, packed = _unzipped(start), ".gz"
    found = _of_binary(path, start)
    if found is None:
        found = _of_text(start, url, (disposition or "").replace(".gz", ""), content_type)
    return f"{plain}{found}{packed}" if found else name


def _of_binary(path: Path, start: bytes) -> str | None:
    """Return the suffix of a binary format, "" for an archive, None for text."""
    if start.startswith(magic.ZIP):
        return _of_zip(path)
    if start.startswith((magic.SEVEN_ZIP, magic.ANY_ZIP)) or magic.is_tar(start):
        return ""
    return next((suffix for beginning, suffix in magic.SUFFIXES.items() if start.startswith(beginning)), None)


def _unzipped(start: bytes) -> bytes:
    try:
        return zlib.decompressobj(16 + zlib.MAX_WBITS).decompress(start, _PEEK)
    except zlib.error:
        return start


def _of_zip(path: Path) -> str:
    """Return the suffix of a workbook, "" for any other zip."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
            if "mimetype" in names and archive.read("mimetype").strip().endswith(b"opendocument.spreadsheet"):
                return ".ods"
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError):
        return ""  # unpacking reports the defect
    if "[Content_Types].xml" not in names:
        return ""
    return ".xlsb" if "xl/workbook.bin" in names else ".xlsx" if "xl/workbook.xml" in names else ""


def _of_text(start: bytes, url: str, disposition: str | None, content_type: str | None) -> str | None:
    text = _decoded(start).lstrip("\ufeff \t\r\n")
    family = _MARKUP if text.startswith("<") else _JSON if text[:1] in ("{", "[", "\x1e") else _TEXT
    of_bytes = _of_bytes(text, family)
    media_type = (content_type or "").partition(";")[0].strip().lower()
    for candidate in (_of_disposition(disposition), *_of_query(url), _TYPES.get(media_type)):
        if candidate is not None and candidate in family:
            # The bytes are more specific than `.json`.
            return of_bytes if candidate == ".json" and of_bytes is not None else candidate
    return of_bytes


def _of_bytes(text: str, family: frozenset[str]) -> str | None:
    if family is _MARKUP:
        return ".kml" if _KML.search(text[:4096]) else ".gml" if _GML.search(text[:4096]) else None
    if family is _JSON:
        if text.startswith("\x1e"):
            return ".geojsonl"
        lines = text.splitlines()
        if len(lines) > 1 and lines[0].startswith("{") and lines[0].rstrip().endswith("}") and lines[1][:1] == "{":
            return ".geojsonl" if _FEATURE.search(lines[0]) else ".ndjson"
        return ".geojson" if _FEATURES.search(text) else ".json"
    lines = [line for line in text.splitlines()[:-1][:20] or text.splitlines() if line.strip()]
    for mark, suffix in (("\t", ".tsv"), (",", ".csv"), (";", ".csv"), ("|", ".csv")):
        if lines and all(mark in line for line in lines):
            return suffix
    return None


def _of_disposition(disposition: str | None) -> str | None:
    """Return the suffix of the file name in a Content-Disposition (RFC 6266, both forms)."""
    if not disposition:
        return None
    message = Message()
    message["Content-Disposition"] = disposition
    name = message.get_filename() or ""
    return PurePosixPath(unquote_plus(name)).suffix.lower() or None


def _of_query(url: str) -> list[str | None]:
    """Return the suffixes in the parameters of an address: `format=csv`, `file=stops.csv`."""
    values = (unquote_plus(each).strip().lower() for each in _QUERY.findall(urlsplit(url).query))
    return [_WORDS.get(each) or PurePosixPath(each).suffix or _TYPES.get(each) for each in values]


def _decoded(start: bytes) -> str:
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return start.decode("utf-16", errors="replace")
    return start.decode("utf-8", errors="replace")
