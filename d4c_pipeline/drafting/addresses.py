"""Chooses the data among the files that a document lists: by format, then by language, then the first.

The other files are notes of the draft, so that a person may choose again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from d4c_pipeline.drafting import recognise
from d4c_pipeline.model.errors import PermanentError

# Formats that the platform reads, those that keep most first: types, CRS and names survive in them.
_FORMATS = (
    "gpkg", "geopackage", "fgb", "parquet", "geoparquet", "geojson", "fgdb", "fgdb/gdb", "gdb", "shp", "shapefile",
    "gml", "csv", "kml", "kmz", "xlsx", "xls", "ods", "json", "esri rest", "arcgis geoservices rest api", "zip",
)  # fmt: skip
_NOT_DATA = ("guide", "supporting document", "document complémentaire", "web_service", "service web", "application")


@dataclass(frozen=True)
class Choice:
    """The chosen file with the evidence, None if no listed file is one that the platform reads; and the others."""

    chosen: Mapping[str, str] | None
    evidence: str
    others: tuple[str, ...] = field(default=())


def choose(listed: Sequence[Mapping[str, str]]) -> Choice:
    """Choose among `{url, format, language, name}`, English before French."""
    usable = [each for each in listed if _rank(each) < len(_FORMATS) and each.get("kind", "") not in _NOT_DATA]
    if not usable:
        forms = sorted({each["format"] for each in listed if each["format"]})
        return Choice(None, f"no listed file is data in a format that is read ({', '.join(forms) or 'none is stated'})")
    best = min(usable, key=lambda each: (_rank(each), each["language"] == "fr"))
    alike = [each for each in usable if _rank(each) == _rank(best)]
    which = "the only" if len(alike) == 1 else f"the first of {len(alike)}"
    others = tuple(_words(each) for each in listed if each is not best)
    form = f"the format {best['format'].upper()}" if best["format"] else "a layer or a suffix that is read"
    return Choice(best, f"{which} with {form} of {len(listed)} listed files", others)


def _words(each: Mapping[str, str]) -> str:
    known = " ".join(filter(None, (each["format"], each["language"], each["name"])))
    return f"{known}: {each['url']}" if known else each["url"]


def declared(chosen: Mapping[str, str]) -> dict[str, Any]:
    """Return the declaration of a chosen file. Raises PermanentError for an ArcGIS service without a layer."""
    return recognise.recognise(chosen["url"]).declared


def _rank(each: Mapping[str, str]) -> int:
    url = each["url"]
    if urlsplit(url).path.endswith("/") or not url.startswith(("http://", "https://")):
        return len(_FORMATS)  # a folder of an FTP server over http: a page, not a file
    form = each["format"].casefold()
    if form in ("esri rest", "arcgis geoservices rest api") or "/rest/services/" in url:
        try:
            is_layer = recognise.recognise(url).kind == "arcgis"
        except PermanentError:
            return len(_FORMATS)
        return _FORMATS.index("esri rest") if is_layer else len(_FORMATS)
    if not form:
        form = urlsplit(url).path.rpartition(".")[2].casefold()
    return _FORMATS.index(form) if form in _FORMATS else len(_FORMATS)
