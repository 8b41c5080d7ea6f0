"""GeoPackages that compute their rows, or whose pages lead back into themselves."""

# ruff: noqa: E501 - bytes are made in one expression where that is the clearest

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import geopandas
import numpy as np
import shapely

from d4c_pipeline_tests.hostile.attack import Attack

_POINT = struct.pack("<BIdd", 1, 1, -75.0, 45.0)
_CLEAR = ("",)
_ENDLESS = ("an endless view without rows",)  # what has rows may be refused for their size too


def attacks() -> Iterator[Attack]:
    """Yield the attacks."""
    views = {
        "an endless view": "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x AS fid, x AS a, (SELECT geom FROM t) AS geom FROM n",
        "an endless view without rows": "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x AS fid, x AS a, (SELECT geom FROM t) AS geom FROM n WHERE x < 0",
        "a view of a table by itself": "SELECT a.fid, a.a, a.geom FROM t a, t b, t c, t d, t e, t f",
        "a view of big blobs": "SELECT fid, hex(zeroblob(400000000)) AS a, geom FROM t",
        "a view of big texts": "SELECT fid, printf('%.*c', 900000000, 'x') AS a, geom FROM t",
        "a view of a big geometry": "SELECT fid, a, zeroblob(900000000) AS geom FROM t",
        "a view of a view of a view": "SELECT * FROM v2",
    }
    for name, sql in views.items():
        for kind in ("vector", "table"):
            yield Attack(
                f"{name} ({kind})",
                "a.gpkg",
                lambda p, s=sql: view(p, s),
                ("D4C_READ_SECONDS",)
                if name in _ENDLESS
                else ("D4C_READ", "can't be read", "several times", "circularly"),
                kind,
                {"layer": "v"},
            )
    yield Attack(
        "a table of a view", "a.gpkg", lambda p: view(p, views["an endless view"]), (), "vector", {"layer": "t"}
    )
    yield Attack("a column that is generated", "a.gpkg", generated, ("D4C_READ", "can't be read"), "vector")
    yield Attack("a blob of 500 MB", "a.gpkg", lambda p: blob(p, 500_000_000), (), "vector")
    yield Attack("a virtual table", "a.gpkg", virtual, (), "vector", {"layer": "v"})
    yield Attack("a tree that leads to one page", "a.gpkg", tree, (), "vector")
    yield Attack("2,000 columns", "a.gpkg", wide, (), "vector")
    yield Attack("3,000 layers", "a.gpkg", layers, (), "vector")
    for seed in range(24):
        yield Attack(f"damaged GeoPackage {seed}", "a.gpkg", lambda p, s=seed: broken(p, s), (), "vector")


def package(path: Path, rows: int = 20) -> None:
    frame = geopandas.GeoDataFrame({"a": range(rows)}, geometry=shapely.points(np.arange(rows) % 90, 45.0), crs=4326)
    frame.to_file(path, layer="t", driver="GPKG", engine="pyogrio", SPATIAL_INDEX="NO")


def view(path: Path, sql: str) -> None:
    """A GeoPackage with a layer `v` that is a view."""
    package(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"CREATE VIEW v2 AS SELECT * FROM {'v' if 'v2' in sql else 't'}")
        connection.execute(f"CREATE VIEW v AS {sql}")
        _register(connection, "v")


def _register(connection: sqlite3.Connection, name: str) -> None:
    connection.execute(
        "INSERT INTO gpkg_contents (table_name, data_type, identifier, min_x, min_y, max_x, max_y, srs_id)"
        " VALUES (?, 'features', ?, 0, 0, 90, 90, 4326)",
        (name, name),
    )
    connection.execute("INSERT INTO gpkg_geometry_columns VALUES (?, 'geom', 'POINT', 4326, 0, 0)", (name,))


def generated(path: Path) -> None:
    package(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("ALTER TABLE t ADD COLUMN g TEXT GENERATED ALWAYS AS (hex(zeroblob(400000000))) VIRTUAL")


def blob(path: Path, size: int) -> None:
    package(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("ALTER TABLE t ADD COLUMN b BLOB")
        connection.execute("UPDATE t SET b = zeroblob(?) WHERE fid = 3", (size,))


def virtual(path: Path) -> None:
    package(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE VIRTUAL TABLE v USING fts5(a, geom)")
        _register(connection, "v")


def tree(path: Path) -> None:
    """The table's root page leads to pages that lead to one another's children, 340 ways each, six deep."""
    package(path, 20_000)
    with closing(sqlite3.connect(path)) as connection:
        root = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 't'").fetchone()[0]
        size = connection.execute("PRAGMA page_size").fetchone()[0]
    data = bytearray(path.read_bytes())

    def at(page: int) -> int:
        return (page - 1) * size

    head = at(root)
    assert data[head] == 5, "an interior page"
    (right,) = struct.unpack_from(">I", data, head + 8)
    pages = [root]
    for _ in range(5):
        pages.append(len(data) // size + 1)
        data += bytes(size)
    for level, page in enumerate(pages):
        child = pages[level + 1] if level + 1 < len(pages) else right
        cells = 340
        start = at(page)
        struct.pack_into(">BHHHBI", data, start, 5, 0, cells, size - cells * 5, 0, child)
        for cell in range(cells):
            place = size - (cell + 1) * 5
            struct.pack_into(">H", data, start + 12 + 2 * cell, place)
            struct.pack_into(">IB", data, start + place, child, min(cell, 127))
    struct.pack_into(">I", data, 28, len(data) // size)
    path.write_bytes(data)


def wide(path: Path) -> None:
    package(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        names = ", ".join(f"c{n} INTEGER" for n in range(1990))
        connection.execute(f"CREATE TABLE w (fid INTEGER PRIMARY KEY, geom POINT, {names})")
        connection.execute("INSERT INTO w (fid, geom) SELECT fid, geom FROM t")
        connection.execute("DELETE FROM gpkg_contents")
        connection.execute("DELETE FROM gpkg_geometry_columns")
        _register(connection, "w")


def layers(path: Path) -> None:
    package(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        for number in range(3000):
            connection.execute(f"CREATE TABLE l{number} (fid INTEGER PRIMARY KEY, geom POINT, a INTEGER)")
            _register(connection, f"l{number}")


def broken(path: Path, seed: int) -> None:
    package(path, 2000)
    data, random = bytearray(path.read_bytes()), np.random.default_rng(seed)
    for at in random.integers(100, len(data), 30 if seed % 2 else 300):
        data[at] = int(random.integers(256))
    path.write_bytes(data)
