"""Two conversions by one side, in a process of its own: `python sides.py SIDE INPUT FILE OUT [ALONE...]`.

The first is that of a cold process, the second that of a warm worker; then each of `ALONE` (read, encode) is done twice
as well. What was measured goes to standard output as JSON. What the peers do is as close to ours as they allow: order,
repair, covering, compression and level.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

# ruff: noqa: PLC0415, S608 - each side pays for its own imports only; the SQL is over files made here

KEYS = {
    "points_csv": ["address_id"],
    "points_gpkg": ["address_id"],
    "buildings_gpkg": ["bldg_id"],
    "buildings_shp": ["bldg_id"],
    "boundaries_shp": ["dauid"],
    "wds": ["vector", "ref_date"],
}
# The peers keep the CRS of the source, so we do; `ours_4326` is what a dataset gets that declares nothing.
_SOURCE_CRS = {"buildings_gpkg": "EPSG:3347", "buildings_shp": "EPSG:3347"}
# Ours compresses attributes at level 1, geometry at 1 to 5, whichever pays; the others have one for all.
_LEVEL = 3
_GROUP = 10_240
_CORNERS = (("min", "X"), ("min", "Y"), ("max", "X"), ("max", "Y"))


def dataset(name: str, **more: Any) -> Any:
    """Return the declaration of an input."""
    from d4c_pipeline.model.dataset import Dataset

    processing: dict[str, Any] = {"kind": "table" if name == "wds" else "vector", "key": KEYS[name], **more}
    if name == "points_csv":
        # The peer makes geometry of these columns and leaves them out as well.
        processing |= {"longitude": "longitude", "latitude": "latitude", "drop": ["longitude", "latitude"]}
    both = {"en": "Benchmark", "fr": "Banc d'essai"}
    return Dataset.model_validate({
        "id": name, "title": both, "description": both, "license": "ogl-canada-2.0", "creators": [{"name": "Nobody"}],
        "name": {"region": "ca", "source": "bench", "dguid": "2021A000011124", "package": "d4c-datapkg-bench"},
        "vintages": ["2021"], "source": {"kind": "http", "urls": ["http://127.0.0.1/x"]}, "processing": processing,
    })  # fmt: skip


def ours(name: str, file: Path, out: Path, **more: Any) -> None:
    """What a build does but for the profile."""
    from d4c_pipeline.model.vintage import Vintage
    from d4c_pipeline.processing.build import convert
    from d4c_pipeline.sandbox import allocator

    allocator.keep_freed_memory()  # as the process of a build does
    declared = {"crs_out": _SOURCE_CRS[name]} if name in _SOURCE_CRS else {}
    work = _fresh(out.with_suffix(".work"))
    convert(dataset(name, **{**declared, **more}), Vintage.parse("2021"), [file], work / "data.parquet", inputs={})
    (work / "data.parquet").replace(out)
    shutil.rmtree(work)


def ours_4326(name: str, file: Path, out: Path) -> None:
    """The same with the default CRS."""
    ours(name, file, out, crs_out="EPSG:4326")


def read(name: str, file: Path, out: Path) -> None:
    """Half of the floor: unpacking and reading alone."""
    from d4c_pipeline.readers import delivery

    work = _fresh(out.with_suffix(".work"))
    for _ in delivery.read(dataset(name).processing, [file], work).batches:
        pass
    shutil.rmtree(work)


def encode(_: str, file: Path, out: Path) -> None:
    """The other half: the row groups of our file (given as `file`) encoded again, as many at a time as ours does."""
    from concurrent.futures import ThreadPoolExecutor
    from functools import partial

    import pyarrow.parquet as pq

    from d4c_pipeline.geoparquet import encode as ours_encode

    choice = ours_encode.choose(pq.ParquetFile(file).read_row_group(0))
    packed = [column for column, encoding in choice.encodings.items() if encoding == ours_encode.DICTIONARY]
    source = pq.ParquetFile(file, read_dictionary=packed)
    groups = [source.read_row_group(number) for number in range(source.num_row_groups)]
    began = time.perf_counter()
    with out.open("wb") as handle, ThreadPoolExecutor(os.cpu_count()) as pool:
        for part in pool.map(partial(ours_encode.encoded, choice=choice), groups):
            handle.write(part)
    global _own_seconds  # noqa: PLW0603 - reading the file is not part of it
    _own_seconds = time.perf_counter() - began


def gpio(name: str, file: Path, out: Path) -> None:
    """`gpio convert geoparquet`; a zip is unpacked first, since its reader does not take one."""
    from geoparquet_io.cli.main import cli

    out.unlink(missing_ok=True)
    columns = ["--lat-column", "latitude", "--lon-column", "longitude"] if name == "points_csv" else []
    with _Unpacked(file, out) as plain:
        cli.main(["convert", "geoparquet", str(plain), str(out), *columns], standalone_mode=False)


def duckdb(name: str, file: Path, out: Path) -> None:
    """DuckDB's COPY with order, repair, covering and metadata written out by hand."""
    from d4c_pipeline.tables import duckdb_engine

    spill = _fresh(out.with_suffix(".spill"))
    connection = duckdb_engine.connect(extensions=("spatial",), spill=spill)
    options = f"FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL {_LEVEL}, PARQUET_VERSION v2"
    with _Unpacked(file, out) as plain:
        if name == "wds":
            text = ", ".join(f"'{c}': 'VARCHAR'" for c in ("STATUS", "SYMBOL", "TERMINATED", "COORDINATE", "REF_DATE"))
            query = f"SELECT * FROM read_csv('{plain}', types={{{text}}}) ORDER BY VECTOR, REF_DATE"
            connection.execute(f"COPY ({query}) TO '{out}' ({options}, ROW_GROUP_SIZE 102400)")
        else:
            if name == "points_csv":
                point = "ST_Point(longitude, latitude) AS g"
                source = f"SELECT * EXCLUDE (longitude, latitude), {point} FROM read_csv('{plain}')"
            else:
                source = f"SELECT * EXCLUDE (geom), geom AS g FROM ST_Read('{plain}')"
            valid = "CASE WHEN ST_IsValid(g) THEN g ELSE ST_MakeValid(g) END"
            connection.execute(f"CREATE TEMP TABLE t AS SELECT * REPLACE ({valid} AS g) FROM ({source})")
            corners = ", ".join(f"'{axis.lower()}{end}': ST_{axis}{end.title()}(g)::FLOAT" for end, axis in _CORNERS)
            bbox = f"{{{corners}}}"
            geo = json.dumps({"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": {
                "encoding": "WKB", "geometry_types": [],
                "covering": {"bbox": {c: ["bbox", c] for c in ("xmin", "ymin", "xmax", "ymax")}}}}})  # fmt: skip
            order = "ST_Hilbert(g, (SELECT ST_Extent(ST_Extent_Agg(g)) FROM t))"
            connection.execute(
                f"COPY (SELECT * EXCLUDE (g), ST_AsWKB(g)::BLOB AS geometry, {bbox} AS bbox FROM t ORDER BY {order})"
                f" TO '{out}' ({options}, ROW_GROUP_SIZE {_GROUP}, KV_METADATA {{geo: '{geo}'}})"
            )
    connection.close()
    shutil.rmtree(spill)


def geopandas(name: str, file: Path, out: Path) -> None:
    """Geopandas with pyogrio."""
    import geopandas as gpd
    import pandas as pd

    with _Unpacked(file, out) as plain:
        if name == "points_csv":
            table = pd.read_csv(plain, dtype={"csduid": str})
            points = gpd.points_from_xy(table.pop("longitude"), table.pop("latitude"))
            frame = gpd.GeoDataFrame(table, geometry=points, crs=4326)
        else:
            frame = gpd.read_file(plain, use_arrow=True)
    bad = ~frame.geometry.is_valid
    if bad.any():
        frame.loc[bad, frame.geometry.name] = frame.geometry[bad].make_valid(method="structure", keep_collapsed=False)
    frame = frame.iloc[frame.geometry.hilbert_distance().argsort(kind="stable")]
    frame.to_parquet(
        out, index=False, compression="zstd", compression_level=_LEVEL, row_group_size=_GROUP, schema_version="1.1.0",
        write_covering_bbox=True,
    )  # fmt: skip


def polars(name: str, file: Path, out: Path) -> None:
    """Polars, for the table."""
    import polars as pl

    assert name == "wds"
    text = dict.fromkeys(["STATUS", "SYMBOL", "TERMINATED", "COORDINATE"], pl.String)
    with _Unpacked(file, out) as plain:
        frame = pl.read_csv(plain, schema_overrides=text, infer_schema_length=10_000).sort(["VECTOR", "REF_DATE"])
        frame.write_parquet(out, compression="zstd", compression_level=_LEVEL, row_group_size=100_000)


def pyarrow(name: str, file: Path, out: Path) -> None:
    """Arrow's own CSV reader, for the table."""
    import pyarrow as arrow
    import pyarrow.csv
    import pyarrow.parquet as pq

    assert name == "wds"
    text = dict.fromkeys(["STATUS", "SYMBOL", "TERMINATED", "COORDINATE", "REF_DATE"], arrow.string())
    with _Unpacked(file, out) as plain:
        options = arrow.csv.ConvertOptions(column_types=text, strings_can_be_null=True)
        table = arrow.csv.read_csv(plain, convert_options=options)
        table = table.sort_by([("VECTOR", "ascending"), ("REF_DATE", "ascending")])
        pq.write_table(table, out, compression="zstd", compression_level=_LEVEL, row_group_size=100_000)


class _Unpacked:
    """The file that a peer can read: what is in a zip, unpacked beside `out` and removed again."""

    def __init__(self, file: Path, out: Path) -> None:
        self._file = file
        self._folder = out.with_suffix(".unpacked")

    def __enter__(self) -> Path:
        if self._file.suffix != ".zip":
            return self._file
        _fresh(self._folder)
        with zipfile.ZipFile(self._file) as archive:
            archive.extractall(self._folder)
        found = [p for p in sorted(self._folder.iterdir()) if p.suffix in (".shp", ".csv") and "MetaData" not in p.name]
        return found[0]

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)


def _fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


SIDES: dict[str, Callable[[str, Path, Path], None]] = {
    side.__name__: side for side in (ours, ours_4326, read, encode, gpio, duckdb, geopandas, polars, pyarrow)
}
_own_seconds: float | None = None


def main() -> None:
    side, name, file, out, *alone = sys.argv[1:]
    SIDES[side](name, Path(file), Path(out))
    # The kernel's own count for a child begins with what its parent had: the process asks for its own.
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text("ascii").splitlines())
    times = os.times()
    said = {
        "done": time.time(),
        "cpu": times.user + times.system,
        "peak_mb": int(status["VmHWM"].split()[0]) / 1024,
        "warm": _seconds(side, name, Path(file), Path(out)),
    }
    for part in alone:
        source, target = (Path(out), Path(f"{out}.{part}")) if part == "encode" else (Path(file), Path(f"{out}.{part}"))
        SIDES[part](name, source, target)
        said[part] = _seconds(part, name, source, target)
    print(json.dumps(said))


def _seconds(side: str, name: str, file: Path, out: Path) -> float:
    global _own_seconds  # noqa: PLW0603 - said by a side that does something before what is to be measured
    _own_seconds = None
    began = time.perf_counter()
    SIDES[side](name, file, out)
    return time.perf_counter() - began if _own_seconds is None else _own_seconds


if __name__ == "__main__":
    main()
