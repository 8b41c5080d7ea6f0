"""Recognises the kind of a source by its address, and declares it as the YAML does. Sends no request.

Reading the documents of a recognised source belongs to `drafting`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from d4c_pipeline.drafting.facts import Facts, Found
from d4c_pipeline.model.errors import PermanentError

_TABLE = re.compile(r"(\d{2})-?(\d{2})-?(\d{4})(?:-?01)?")
_TABLE_FILE = re.compile(r"/n1/(?:tbl|en/tbl|fr/tbl)/csv/(\d{8})-(eng|fra)\.zip")
_STATCAN = "www150.statcan.gc.ca"
_LAYER = re.compile(r"(?P<layer>https?://.+/(?:FeatureServer|MapServer)/\d+)/?(?:query)?/?", re.IGNORECASE)
_SERVICE = re.compile(r"https?://.+/(?:FeatureServer|MapServer)/?", re.IGNORECASE)
_PACKAGE = re.compile(
    r"(?P<portal>https?://.+?)(?:/(?:en|fr))?/(?:dataset|ensemble)/(?P<package>[\w.-]+)(?:/resource/(?P<resource>[\w-]+))?/?"
)
_ACTION = re.compile(r"(?P<portal>https?://.+?)/api/(?:3/)?action/package_show")
_BUCKET_HOST = re.compile(r"(?P<bucket>[a-z0-9][a-z0-9.-]+)\.s3(?:[.-](?P<region>[a-z]{2}-[a-z]+-\d))?\.amazonaws\.com")
_BUCKET_PATH = re.compile(r"s3(?:[.-](?P<region>[a-z]{2}-[a-z]+-\d))?\.amazonaws\.com")
# Files of one format that lie side by side and are read together.
_SIDE_BY_SIDE = (".shp", ".dbf", ".gml", ".tab", ".mif")


@dataclass(frozen=True)
class Recognised:
    """A source as the YAML declares it, with the evidence. `kind`: of the declaration, or `document` for a local file.

    `document`: the local file of a record about data. `resource`: the id of the CKAN resource that the address names.
    """

    kind: str
    declared: dict[str, Any]
    evidence: str
    document: Path | None = None
    resource: str | None = None
    facts: Facts = field(default_factory=dict[str, Found])


def recognise(source: str | Path) -> Recognised:
    """Return the source at an address: http(s), `s3://bucket/prefix`, the number of a table, a file or a folder.

    Raises PermanentError for anything else, and for an ArcGIS service without the number of a layer.
    """
    text = str(source).strip()
    if isinstance(source, str):
        if (table := _TABLE.fullmatch(text)) is not None and not Path(text).exists():
            return _table("".join(table.groups()), f"{text} is a number of a table of Statistics Canada")
        if text.startswith("s3://"):
            bucket, _, prefix = text.removeprefix("s3://").partition("/")
            return _bucket(bucket, prefix, None, "an s3:// address")
        if re.match(r"https?://", text):
            return _web(text)
        if re.match(r"[a-z][a-z0-9+.-]*://", text, re.IGNORECASE):
            raise PermanentError(f"'{text}' is neither http(s) nor s3", "Give an http(s) address, s3://..., or a file")
    return _local(Path(source).expanduser().absolute())


def _web(url: str) -> Recognised:
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    if host == _STATCAN:
        if (file := _TABLE_FILE.fullmatch(parts.path)) is not None:
            return _table(file[1], "the address of a full table of the Web Data Service")
        if (number := re.search(r"(?:pid=|getCubeMetadata/|getFullTableDownloadCSV/)(\d{8})", url)) is not None:
            return _table(number[1], "the address names a table (pid)")
    if (layer := _LAYER.fullmatch(url.partition("?")[0])) is not None:
        address = layer["layer"]
        return Recognised("arcgis", {"kind": "arcgis", "layer": address}, "an address of a layer of an ArcGIS server")
    if _SERVICE.fullmatch(url.partition("?")[0]) is not None:
        raise PermanentError(
            f"{url} is an ArcGIS service with several layers", "Add the number of a layer: .../FeatureServer/0"
        )
    if (action := _ACTION.match(url)) is not None and (name := re.search(r"[?&]id=([\w.-]+)", url)) is not None:
        return _package(action["portal"], name[1], None, "an address of CKAN's package_show")
    if (page := _PACKAGE.fullmatch(url.partition("?")[0])) is not None:
        return _package(page["portal"], page["package"], page["resource"], "an address of a dataset of a CKAN portal")
    if (bucket := _BUCKET_HOST.fullmatch(host)) is not None and parts.path.endswith("/"):
        return _bucket(bucket["bucket"], unquote(parts.path.lstrip("/")), bucket["region"], "a bucket's address")
    if (named := _BUCKET_PATH.fullmatch(host)) is not None and parts.path.endswith("/"):
        name, _, prefix = unquote(parts.path.lstrip("/")).partition("/")
        return _bucket(name, prefix, named["region"], "a bucket's address")
    return Recognised(
        "http", {"kind": "http", "urls": [url.replace("{", "{{").replace("}", "}}")]}, "an address of a file"
    )


def _table(number: str, why: str) -> Recognised:
    return Recognised("statcan_table", {"kind": "statcan_table", "table": number[:8]}, why)


def _package(portal: str, package: str, resource: str | None, why: str) -> Recognised:
    declared = {"kind": "ckan", "portal": portal, "package": package}
    page = {"source.homepage": Found(f"{portal}/dataset/{package}", "page of the package")}
    return Recognised("ckan", declared, why, resource=resource, facts=page)


def _bucket(bucket: str, prefix: str, region: str | None, why: str) -> Recognised:
    declared = {"kind": "s3", "bucket": bucket, "prefix": prefix, **({"region": region} if region else {})}
    return Recognised("s3", declared, why)


def _local(path: Path) -> Recognised:
    if path.is_dir():
        return Recognised("folder", {"kind": "folder", "path": _escaped(str(path))}, "a folder of this machine")
    if not path.is_file():
        raise PermanentError(f"There is no file {path}", "Give an http(s) address, s3://..., a file or a folder")
    if path.suffix.lower() in (".xml", ".json"):
        # `drafting` reads it in the sandbox, and takes it for data if it is no record.
        return Recognised("document", _folder(path), "a file of this machine", document=path)
    return Recognised("folder", _folder(path), "a file of this machine")


def _folder(path: Path) -> dict[str, Any]:
    pattern = f"{path.stem}.*" if path.suffix.lower() in _SIDE_BY_SIDE else path.name
    # A name with a bracket would be a pattern of fnmatch.
    pattern = re.sub(r"([\[?])", r"[\1]", pattern)
    return {"kind": "folder", "path": _escaped(str(path.parent)), "pattern": pattern}


def _escaped(path: str) -> str:
    return path.replace("{", "{{").replace("}", "}}")
