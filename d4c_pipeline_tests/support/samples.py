"""A small dataset that tests change at will, and the origin that serves it: its definition, its data, its faults."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any
from urllib.parse import urlsplit

from d4c_pipeline.commands.demo import FolderHandler
from d4c_pipeline_tests.support.declarations import declaration, write_definition

HOST = "https://data.example.ca"
PLACES_URL = f"{HOST}/places_2021.geojson"
DAY = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)
# Names with letters outside ASCII and one of two scripts; populations of the Census of 2021.
PLACES: tuple[tuple[int, str, int, float, float], ...] = (
    (1, "Québec", 549459, -71.208, 46.813),
    (2, "Trois-Rivières", 139163, -72.543, 46.343),
    (3, "Iqaluit / ᐃᖃᓗᐃᑦ", 7429, -68.519, 63.747),
    (4, "Vancouver", 662248, -123.12, 49.28),
)


def geojson(places: Iterable[tuple[int, str, int, float, float]] = PLACES) -> bytes:
    """The places as GeoJSON."""
    features = [
        {
            "type": "Feature",
            "properties": {"id": number, "name": name, "population": population},
            "geometry": {"type": "Point", "coordinates": [longitude, latitude]},
        }
        for number, name, population, longitude, latitude in places
    ]
    return json.dumps({"type": "FeatureCollection", "features": features}, ensure_ascii=False).encode()


def declared(dataset_id: str = "places", **changes: Any) -> dict[str, Any]:
    """The attributes of a valid definition; `changes` replace whole fields, None leaves one out."""
    return declaration(
        dataset_id,
        **{
            "name": {"source": "example", "package": "d4c-datapkg-foundation"},
            "title": {"en": "Places", "fr": "Lieux"},
            "description": {"en": "A few places.", "fr": "Quelques lieux."},
            "creators": [{"name": "Example"}],
            "series": "editions",
            "source": {"kind": "http", "urls": [f"{HOST}/{dataset_id}_{{vintage}}.geojson"]},
            "processing": {"kind": "vector", "key": ["id"]},
            "publication": {"policy": "automatic", "stage": "beta", "initial_version": "0.1.0"},
            # Of three places, every change is a large one; the thresholds have tests of their own.
            "checks": {"skip": ["rows_against_previous", "bounds_against_previous"]},
            **changes,
        },
    )


def define(folder: Path, dataset_id: str = "places", *, sql: str | None = None, **changes: Any) -> Path:
    """Write a definition (with `sql` as its transform.sql) below `folder` and return the YAML file."""
    attributes = declared(dataset_id, **changes)
    home = folder / dataset_id
    home.mkdir(parents=True, exist_ok=True)
    if sql is not None:
        (home / "transform.sql").write_text(sql, "utf-8")
        attributes["processing"] = {**attributes["processing"], "sql": "transform.sql"}
    return write_definition(home / "defs.yaml", attributes)


def corrected() -> bytes:
    """The places with another number for Iqaluit: a PATCH."""
    return geojson((*place[:2], 7430, *place[3:]) if place[0] == 3 else place for place in PLACES)


class Origin:
    """Servers on this machine that answer for public hosts: what is put under a URL is served under its path.

    `truncated` holds paths whose answers end early, `codes` paths that are answered with a status of their own, `held`
    paths whose answers wait for an event.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.truncated: set[str] = set()
        self.codes: dict[str, int] = {}
        self.held: dict[str, Event] = {}
        self.asked: list[str] = []
        self._servers = ExitStack()
        self._origins: dict[str, str] = {}

    @property
    def map(self) -> str:
        """The value of D4C_ORIGIN_MAP."""
        return ",".join(f"{old}={new}" for old, new in self._origins.items())

    @property
    def origins(self) -> Mapping[str, str]:
        return self._origins

    def put(self, url: str, content: bytes | Path, modified: datetime = DAY) -> Path:
        """Serve `content` at `url` from now on; `modified` becomes its Last-Modified."""
        parts = urlsplit(url)
        self.host(f"{parts.scheme}://{parts.netloc}")
        path = self.folder / parts.netloc / parts.path.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.read_bytes() if isinstance(content, Path) else content)
        os.utime(path, (modified.timestamp(),) * 2)
        return path

    def remove(self, url: str) -> None:
        parts = urlsplit(url)
        (self.folder / parts.netloc / parts.path.lstrip("/")).unlink()

    def host(self, origin: str) -> None:
        """Answer for an origin, with 404 as long as nothing is put there."""
        if origin in self._origins:
            return
        folder = self.folder / urlsplit(origin).netloc
        folder.mkdir(parents=True, exist_ok=True)
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, self, folder))
        server.daemon_threads = True
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        self._servers.callback(server.server_close)
        self._servers.callback(thread.join)
        self._servers.callback(server.shutdown)
        self._origins[origin] = f"http://127.0.0.1:{server.server_port}"

    def close(self) -> None:
        self._servers.close()


class _Handler(FolderHandler):
    def __init__(self, origin: Origin, folder: Path, *args: Any) -> None:
        self._origin = origin
        super().__init__(folder, *args)

    def _answer(self, *, send_body: bool) -> None:
        self._origin.asked.append(f"{self.command} {self.path}")
        if self.path in self._origin.held:
            self._origin.held[self.path].wait(60)
        code = self._origin.codes.get(self.path)
        if code is not None:
            self.send_error(code)
            return
        super()._answer(send_body=send_body)

    def _send(self, path: Path, first: int, left: int) -> None:
        if self.path in self._origin.truncated:
            super()._send(path, first, left // 2)
            self.close_connection = True
            return
        super()._send(path, first, left)
