"""What tests have done in the process of a build: called there by name, so that it stands in a module of its own."""

from __future__ import annotations

import faulthandler
import os
import sqlite3
import struct
import subprocess
import time
import warnings
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from d4c_pipeline.geometry.stream import UnfitError
from d4c_pipeline.model.errors import SourceError
from d4c_pipeline.processing import apart
from d4c_pipeline.sandbox import activity

# The genuine one, whatever a test puts in its place in its own process.
make = apart.make


def nested(levels: int) -> bytes:
    """The WKB of a GeometryCollection in a GeometryCollection in..., in whose innermost there is nothing."""
    return struct.pack("<BII", 1, 7, 1) * levels + struct.pack("<BII", 1, 7, 0)


def endless_geopackage(path: Path) -> None:
    """Write a GeoPackage whose one layer is a view that never ends."""
    with closing(sqlite3.connect(path)) as database, database:
        database.executescript("""
            PRAGMA application_id = 1196444487; PRAGMA user_version = 10300;
            CREATE TABLE gpkg_spatial_ref_sys (srs_name TEXT, srs_id INTEGER PRIMARY KEY, organization TEXT,
                organization_coordsys_id INTEGER, definition TEXT, description TEXT);
            INSERT INTO gpkg_spatial_ref_sys VALUES ('WGS 84', 4326, 'EPSG', 4326, 'GEOGCS["WGS 84",DATUM["WGS_1984",'
                || 'SPHEROID["WGS 84",6378137,298.257223563]],PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433],'
                || 'AUTHORITY["EPSG","4326"]]', '');
            CREATE TABLE gpkg_contents (table_name TEXT PRIMARY KEY, data_type TEXT, identifier TEXT, description TEXT,
                last_change TEXT, min_x REAL, min_y REAL, max_x REAL, max_y REAL, srs_id INTEGER);
            INSERT INTO gpkg_contents VALUES ('places', 'features', 'places', '', '2024-01-01T00:00:00.000Z',
                -80, 40, -70, 50, 4326);
            CREATE TABLE gpkg_geometry_columns (table_name TEXT, column_name TEXT, geometry_type_name TEXT,
                srs_id INTEGER, z INTEGER, m INTEGER);
            INSERT INTO gpkg_geometry_columns VALUES ('places', 'geom', 'POINT', 4326, 0, 0);
            CREATE VIEW places AS WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n)
                SELECT id, CAST(NULL AS BLOB) AS geom FROM n WHERE id < 0;
        """)


def environment() -> dict[str, str]:
    return dict(os.environ)


def read_text(path: Path) -> str:
    return path.read_bytes().decode("utf-8", "replace")


def write_text(path: Path) -> None:
    path.write_text("written", "utf-8")


def connect(port: int) -> None:
    import socket

    socket.create_connection(("127.0.0.1", port), 5).close()


def descriptors() -> list[str]:
    return [str(Path(f"/proc/self/fd/{number}").readlink()) for number in range(3, 256) if _is_open(number)]


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def send_signal(pid: int) -> None:
    os.kill(pid, 15)


def parse_wkb(levels: int) -> str:
    """Have GEOS parse nested collections, as a reader without a limit does."""
    import shapely

    activity.now("reading deep.wkb")
    return str(shapely.from_wkb(nested(levels)).geom_type)


def eat() -> None:
    activity.now("reading rows.csv")
    eaten = []
    while True:
        eaten.append(b"x" * (16 << 20))


def read_vector(path: Path) -> int:
    from d4c_pipeline.tables.gdal import pyogrio

    activity.now(f"reading {path.name}")
    return pyogrio.read_arrow(path)[1].num_rows


def refuse() -> None:
    raise SourceError("The file https://ana:hunter2@a.ca/x is a page", "Correct the address")


def refuse_a_row() -> None:
    raise UnfitError("Row 7 can't be used", "Drop it", np.array([7]))


def run_short() -> None:
    raise MemoryError


def stumble() -> None:
    {}["absent"]


def speak() -> int:
    import sys

    warnings.warn("a remark of a library", RuntimeWarning, stacklevel=1)
    sys.stderr.write("api_key=aB3dE6gH9jK2mN5p\n")
    os.write(1, b"out of C\n")
    return 1


def leave_behind(into: Path) -> None:
    """Start a program in a session of its own, as kernels are, say its pid, and never come back."""
    started = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    (into / "pids").write_text(f"{os.getpid()} {os.getppid()} {started.pid}", "utf-8")
    (into / "pids").rename(into / "started")
    time.sleep(1000)


def _patched(there: str, replaced: Callable[..., Any], *arguments: Any) -> dict[str, Any]:
    from unittest import mock

    with mock.patch(there, replaced):
        return make(*arguments)


def make_with_a_reader_that_crashes(*arguments: Any) -> dict[str, Any]:
    def crash(*_: Any) -> Any:
        faulthandler._sigsegv()  # type: ignore[attr-defined]

    return _patched("d4c_pipeline.geometry.cleaning.clean", crash, *arguments)


def make_without_end(*arguments: Any) -> dict[str, Any]:
    def endless(*_: Any) -> Any:
        time.sleep(1000)

    return _patched("d4c_pipeline.geometry.cleaning.clean", endless, *arguments)


def make_greedily(*arguments: Any) -> dict[str, Any]:
    return _patched("d4c_pipeline.geometry.cleaning.clean", lambda *_: eat(), *arguments)


def make_and_name_a_link(*arguments: Any) -> dict[str, Any]:
    answer, into = make(*arguments), arguments[3]
    (into / "profile.json").unlink()
    (into / "profile.json").symlink_to("/etc/passwd")
    return answer


def make_with_another_gdal(*arguments: Any) -> dict[str, Any]:
    """Other bytes of the same wishes, as another GDAL would write them."""
    from d4c_pipeline.processing.derived import desktop

    original = desktop.write_geopackage

    def by_another_gdal(path: Path, *more: Any, **named: Any) -> int:
        rows = original(path, *more, **named)
        path.write_bytes(path.read_bytes() + bytes(4096))
        return rows

    return _patched("d4c_pipeline.processing.derived.desktop.write_geopackage", by_another_gdal, *arguments)
