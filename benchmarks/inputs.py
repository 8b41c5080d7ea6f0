"""The inputs of the benchmarks, made with a fixed seed into a cache folder; a made file is kept for the next run.

Nothing here is real data: shapes, text lengths and repetition are those of addresses, buildings, boundaries and a WDS
table. `scale` 1.0 is the size that the issue asks for. Measuring belongs to `measure`.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv
import pyogrio
import pyproj
import shapely

SEED = 20261118
POINTS, BUILDINGS, BOUNDARIES, VERTICES, WDS_ROWS = 1_500_000, 500_000, 5_000, 10_000_000, 10_000_000
# One building and one boundary in so many crosses itself.
BAD_BUILDING_EVERY, BAD_BOUNDARY_EVERY = 997, 40
LAMBERT = "EPSG:3347"

_CITIES = np.array(
    [(-79.38, 43.65, 0.25), (-73.57, 45.50, 0.2), (-123.12, 49.28, 0.12), (-114.07, 51.04, 0.12), (-75.70, 45.42, 0.1),
     (-113.49, 53.54, 0.1), (-71.21, 46.81, 0.04), (-97.14, 49.90, 0.04), (-63.57, 44.65, 0.02), (-52.71, 47.56, 0.01)]
)  # fmt: skip
_STREETS = ["Main", "Church", "Notre-Dame", "Saint-Jean", "Érables", "Maple", "Elm", "King", "Queen", "Victoria"]
_KINDS = ["St", "Ave", "Blvd", "Rd", "rue", "chemin", "Cres", "Dr"]


def make(folder: Path, names: list[str], scale: float) -> dict[str, Path]:
    """Make the inputs `names` (of MAKERS) under `folder`, at `scale`; return name -> file."""
    home = folder / f"scale-{scale:g}"
    home.mkdir(parents=True, exist_ok=True)
    return {name: _made(home, name, scale) for name in names}


def _made(home: Path, name: str, scale: float) -> Path:
    suffix, maker = MAKERS[name]
    target = home / f"{name}{suffix}"
    if not target.exists():
        # GDAL wants the right ending; a half-made file never gets the final name.
        making = home / f"making-{name}{suffix}"
        making.unlink(missing_ok=True)
        maker(making, scale)
        making.replace(target)
    return target


def _places(random: np.random.Generator, count: int) -> npt.NDArray[np.float64]:
    city = random.choice(len(_CITIES), count, p=_CITIES[:, 2] / _CITIES[:, 2].sum())
    return _CITIES[city, :2] + random.normal(0, 0.12, (count, 2)) * (1.4, 1.0)


def _addresses(scale: float) -> tuple[pa.Table, npt.NDArray[np.float64]]:
    random = np.random.default_rng(SEED)
    count = int(POINTS * scale)
    places = np.round(_places(random, count), 7)
    number = random.integers(1, 9999, count).astype(str)
    street = np.char.add(np.char.add(random.choice(_STREETS, count), " "), random.choice(_KINDS, count))
    letters = np.array(list("ABCEGHJKLMNPRSTVXY"))
    digits = np.array(list("0123456789"))
    codes = np.zeros(count, "<U6")
    for position in range(6):
        codes = np.char.add(codes, random.choice(digits if position % 2 else letters, count))
    table = pa.table({
        "address_id": pa.array(np.char.add("A", np.char.zfill(random.permutation(count).astype(str), 8))),
        "street_no": pa.array(number),
        "street": pa.array(street),
        "city": pa.array(random.choice(["Toronto", "Montréal", "Vancouver", "Calgary", "Québec", "Ottawa"], count)),
        "csduid": pa.array((random.integers(1_000_000, 1_004_000, count)).astype(str)),
        "postal_code": pa.array(codes),
    })  # fmt: skip
    return table, places


def _points_csv(path: Path, scale: float) -> None:
    table, places = _addresses(scale)
    table = table.append_column("longitude", pa.array(places[:, 0])).append_column("latitude", pa.array(places[:, 1]))
    pyarrow.csv.write_csv(table, path)


def _points_gpkg(path: Path, scale: float) -> None:
    table, places = _addresses(scale)
    _vector(path, table, shapely.points(places), "Point", "EPSG:4326")


def _buildings(scale: float) -> tuple[pa.Table, npt.NDArray[np.object_]]:
    random = np.random.default_rng(SEED + 1)
    count = int(BUILDINGS * scale)
    lambert = pyproj.Transformer.from_crs("EPSG:4326", LAMBERT, always_xy=True)
    centres = np.column_stack(lambert.transform(*_places(random, count).T))
    corners = random.choice([4, 6, 8, 12], count, p=[0.5, 0.2, 0.2, 0.1])
    width, depth = random.uniform(4, 12, count), random.uniform(3, 9, count)
    turn = random.uniform(0, np.pi, count)
    owner = np.repeat(np.arange(count), corners + 1)
    first = np.cumsum(corners + 1) - (corners + 1)
    nth = (np.arange(len(owner)) - first[owner]) % corners[owner]
    angle = 2 * np.pi * (nth + 0.5) / corners[owner]
    x, y = np.cos(angle) * width[owner], np.sin(angle) * depth[owner]
    # A bow tie: the second and third corner change places.
    bad = owner % BAD_BUILDING_EVERY == 7
    for at in np.flatnonzero(bad & (nth == 1)):
        x[[at, at + 1]], y[[at, at + 1]] = x[[at + 1, at]], y[[at + 1, at]]
    cos, sin = np.cos(turn[owner]), np.sin(turn[owner])
    ring = np.column_stack([x * cos - y * sin, x * sin + y * cos]) + centres[owner]
    shapes = shapely.polygons(shapely.linearrings(np.round(ring, 3), indices=owner))
    table = pa.table({
        "bldg_id": pa.array(random.permutation(count).astype(np.int32)),
        "height": pa.array(np.round(random.gamma(3, 2.5, count), 2)),
        "source": pa.array(random.choice(["lidar", "imagery", "municipal"], count)),
        "csduid": pa.array((random.integers(1_000_000, 1_004_000, count)).astype(str)),
        "acq_year": pa.array(random.integers(2012, 2024, count).astype(np.int32)),
    })  # fmt: skip
    return table, shapes


def _buildings_gpkg(path: Path, scale: float) -> None:
    table, shapes = _buildings(scale)
    _vector(path, table, shapes, "Polygon", LAMBERT)


def _buildings_zip(path: Path, scale: float) -> None:
    table, shapes = _buildings(scale)
    _zipped_shapefile(path, "buildings", table, shapes, "Polygon", LAMBERT)


def _boundaries_zip(path: Path, scale: float) -> None:
    random = np.random.default_rng(SEED + 2)
    count = max(20, int(BOUNDARIES * scale))
    vertices = int(VERTICES / BOUNDARIES)
    side = int(np.ceil(np.sqrt(count)))
    shapes: list[shapely.MultiPolygon] = []
    for n in range(count):
        centre = np.array([-140 + 85 * (n % side + 0.5) / side, 42 + 38 * (n // side + 0.5) / side])
        size = int(vertices * random.uniform(0.4, 1.6))
        islands = int(random.integers(1, 4))
        parts = []
        for island in range(islands):
            corners = max(8, size // islands)
            # A coast: a random walk around a circle, closed by taking its drift away.
            walk = np.cumsum(random.normal(0, 1, corners))
            walk -= np.linspace(0, walk[-1], corners)
            radius = 1 + 0.25 * walk / max(1.0, np.abs(walk).max())
            angle = np.linspace(0, 2 * np.pi, corners, endpoint=False)
            reach = np.array([85 / side, 38 / side]) * 0.11
            middle = centre + np.array([island * 0.29 - 0.29, 0.0]) * 85 / side
            ring = np.column_stack([np.cos(angle), np.sin(angle)]) * radius[:, None] * reach + middle
            if island == 0 and n % BAD_BOUNDARY_EVERY == 3:
                at = corners // 2
                ring[[at, at + 3]] = ring[[at + 3, at]]
            parts.append(shapely.Polygon(np.round(ring, 7)))
        shapes.append(shapely.MultiPolygon(parts))
    codes = [f"{35_000_000 + n}" for n in range(count)]
    table = pa.table({"dauid": codes, "dguid": [f"2021S0512{code}" for code in codes],
                      "landarea": np.round(random.gamma(2, 40, count), 4)})  # fmt: skip
    _zipped_shapefile(path, "boundaries", table, np.array(shapes, object), "MultiPolygon", "EPSG:4326")


def _wds_zip(path: Path, scale: float) -> None:
    # As StatCan orders it: by reference date, then by coordinate.
    random = np.random.default_rng(SEED + 3)
    count = int(WDS_ROWS * scale)
    series = max(100, min(40_000, count // 40))
    geos = 340
    series_no = np.arange(series)
    geo_no = series_no % geos
    dguids = np.array([f"2021A0003{4700 + n}" for n in range(geos)])[geo_no]
    names = np.array([f"Census division {n}, Québec / Quebec" for n in range(geos)])[geo_no]
    products = np.array([f"Product or service number {n}, seasonally adjusted" for n in range(118)])
    product = products[series_no // geos % 118]
    estimate = np.array(["Number of employees", "Average weekly earnings", "Sales"])[series_no % 3]
    vectors = np.char.add("v", (1_000_000 + random.permutation(series)).astype(str))
    coordinates = np.array([f"{g + 1}.{p + 1}.{e + 1}" for g, p, e in zip(
        geo_no, series_no // geos % 118, series_no % 3, strict=True)])  # fmt: skip
    fixed = {"GEO": names, "DGUID": dguids, "North American Industry Classification System (NAICS)": product,
             "Estimate": estimate}  # fmt: skip
    tail = {"VECTOR": vectors, "COORDINATE": coordinates}
    options = pyarrow.csv.WriteOptions(include_header=False)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=4) as archive:
        member = zipfile.ZipInfo("99100001.csv")
        member.compress_type = zipfile.ZIP_DEFLATED
        with archive.open(member, "w", force_zip64=True) as handle:
            head = ["REF_DATE", *fixed, "UOM", "UOM_ID", "SCALAR_FACTOR", "SCALAR_ID", *tail,
                    "VALUE", "STATUS", "SYMBOL", "TERMINATED", "DECIMALS"]  # fmt: skip
            handle.write(b"\xef\xbb\xbf" + (",".join(f'"{name}"' for name in head) + "\n").encode())
            written, month = 0, 0
            while written < count:
                rows = min(series, count - written)
                date = f"{1980 + month // 12}-{month % 12 + 1:02d}"
                hidden = random.random(rows) < 0.03
                block = pa.table({
                    "REF_DATE": pa.array([date] * rows),
                    **{name: pa.array(values[:rows]) for name, values in fixed.items()},
                    "UOM": pa.array(["Dollars"] * rows), "UOM_ID": pa.array(["81"] * rows),
                    "SCALAR_FACTOR": pa.array(["thousands"] * rows), "SCALAR_ID": pa.array(["3"] * rows),
                    **{name: pa.array(values[:rows]) for name, values in tail.items()},
                    "VALUE": pa.array(np.round(random.gamma(2, 500, rows), 1), mask=hidden),
                    "STATUS": pa.array(np.where(hidden, "x", ""), mask=~hidden),
                    "SYMBOL": pa.nulls(rows, pa.string()), "TERMINATED": pa.nulls(rows, pa.string()),
                    "DECIMALS": pa.array(["1"] * rows),
                })  # fmt: skip
                sink = pa.BufferOutputStream()
                pyarrow.csv.write_csv(block, sink, options)
                handle.write(sink.getvalue())
                written, month = written + rows, month + 1
        archive.writestr(zipfile.ZipInfo("99100001_MetaData.csv"), '"Cube Title","Product Id"\n"Made up","99100001"\n')


def _vector(path: Path, table: pa.Table, shapes: npt.NDArray[np.object_], kind: str, crs: str) -> None:
    wkb = pa.array(shapely.to_wkb(shapes), pa.binary())
    pyogrio.write_arrow(
        table.append_column("geom", wkb), path, layer=path.stem.removeprefix("making-"), geometry_name="geom",
        geometry_type=kind, crs=crs,
        **({"spatial_index": "YES"} if path.suffix == ".gpkg" else {"encoding": "UTF-8"}),
    )  # fmt: skip


def _zipped_shapefile(
    path: Path, name: str, table: pa.Table, shapes: npt.NDArray[np.object_], kind: str, crs: str
) -> None:
    loose = path.with_suffix(".parts")
    loose.mkdir()
    _vector(loose / f"{name}.shp", table, shapes, kind, crs)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=4) as archive:
        for part in sorted(loose.iterdir()):
            archive.write(part, part.name)
            part.unlink()
    loose.rmdir()


MAKERS: dict[str, tuple[str, Callable[[Path, float], None]]] = {
    "points_csv": (".csv", _points_csv),
    "points_gpkg": (".gpkg", _points_gpkg),
    "buildings_gpkg": (".gpkg", _buildings_gpkg),
    "buildings_shp": (".zip", _buildings_zip),
    "boundaries_shp": (".zip", _boundaries_zip),
    "wds": (".zip", _wds_zip),
}
