"""Every fixture that the platform builds, in every format and by several requests: a subset against the whole file.

The expected rows come from geopandas and pandas over the whole release; results are read by other programs than those
that wrote them (`subsets.read`). Tests take a sample of `cases`, `benchmarks/subsets.py` all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas
import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.processing.build import build
from d4c_pipeline.services.subset import FORMATS
from d4c_pipeline_tests.support.declared import declaring
from d4c_pipeline_tests.support.subsets import Subsets, read

REQUESTS = ("box", "value", "nothing", "all")
_MOST_ROWS = 20_000  # of a request for all rows: each value is compared in Python


@dataclass(frozen=True)
class Native:
    """A native file: its path below the fixtures, how it is built, whether it has geometry, whether it is large."""

    path: str
    processing: dict[str, Any] = field(default_factory=dict[str, Any])
    kind: str = "vector"
    large: bool = False


_WDS: dict[str, Any] = {"key": ["vector", "ref_date"], "wds": {}}
_FACILITIES = {"longitude": "Longitude", "latitude": "Latitude", "nulls": [".."]}
NATIVES: dict[str, Native] = {
    "provinces": Native("01_statcan_provinces_2016/*.zip", {"key": ["pruid"]}),
    "boundaries": Native("02_statcan_nrn_boundaries/boundaries.zip"),
    "ridings": Native("03_geonb_ridings_2024/*.zip", {"key": ["dist_id"], "crs_out": "EPSG:3347"}),
    "ferries_gml": Native("04_nrn_qc_ferry/*", {"member": "*.gml", "nulls": ["None"]}),
    "ferries": Native("04_nrn_qc_ferry/*", {"member": "*.shp", "nulls": ["None"], "crs_out": "EPSG:3979"}),
    "stops": Native("05_ttc_stops/*.zip", {"key": ["feature_nu"]}),
    "addresses": Native("06_whiterock_addresses/*.zip", {"key": ["address_id"], "crs_out": "EPSG:32610"}),
    "facilities": Native("07_statcan_odcaf/*.csv", _FACILITIES),
    "facilities_table": Native("07_statcan_odcaf/*.csv", {"nulls": [".."]}, "table"),
    "wds_beds": Native("08_statcan_wds/10100001-eng.zip", {"nulls": [".."]}, "table"),
    "wds_prices": Native("08_statcan_wds/18100204*", _WDS, "table"),
    "wds_ports": Native("08_statcan_wds/23100216*", _WDS, "table", large=True),
    "wds_rates": Native("08_statcan_wds/33100036*", _WDS, "table", large=True),
    "electoral": Native("09_statcan_dbf_encodings/FED_CA_2023_EN.*", {"key": ["fed_num"]}, "table"),
    "divisions": Native("09_statcan_dbf_encodings/lcd_000b16a_e.*", {"key": ["cduid"]}, "table"),
    "subdivisions": Native("09_statcan_dbf_encodings/lcsd000b16a_e.*", {}, "table"),
    "sortation": Native("09_statcan_dbf_encodings/lfsa000b21a_e.*", {"key": ["dguid"]}, "table"),
    "packages": Native("10_ckan_open_canada/*.jsonl", {"key": ["id"]}, "table"),
    "tiles": Native("15_vancouver_parquet_index/*.parquet", {"key": ["name"], "geometry_column": "geom"}),
}


def released(fixtures: Path, name: str, folder: Path) -> Path:
    """Build a fixture in `folder` and return the data file of its release."""
    native = NATIVES[name]
    dataset = declaring(folder / "definition")(kind=native.kind, **native.processing)
    return build(dataset, Vintage.parse("2021"), sorted(fixtures.glob(native.path)), folder / "out").data


def cases(names: Sequence[str] = tuple(NATIVES)) -> Iterator[tuple[str, str, str]]:
    """Yield release, format and request of all cases that make sense."""
    for name in names:
        spatial = NATIVES[name].kind == "vector"
        for form, facts in FORMATS.items():
            for request in REQUESTS:
                if (spatial or not (facts.features or request == "box")) and not (
                    request == "all" and NATIVES[name].large
                ):
                    yield name, form, request


def sampled() -> list[tuple[str, str, str]]:
    """Return one format in seven of each small release by each request, so that every format meets every request."""
    small = [name for name, native in NATIVES.items() if not native.large]
    forms = list(FORMATS)
    return [
        (name, form, request)
        for name, form, request in cases(small)
        if (small.index(name) + forms.index(form) + 2 * REQUESTS.index(request)) % len(forms) == 0
    ]


@dataclass(frozen=True)
class Whole:
    """A release: its file, its rows as geopandas or pandas reads them, the types of its attributes."""

    data: Path
    frame: Any
    schema: pa.Schema
    spatial: bool

    @classmethod
    def of(cls, data: Path) -> Whole:
        """Read a release."""
        schema = pq.read_schema(data)
        spatial = b"geo" in (schema.metadata or {})
        frame = geopandas.read_parquet(data) if spatial else pq.read_table(data).to_pandas(date_as_object=True)
        return cls(data, frame, schema, spatial)

    def asked(self, request: str) -> tuple[dict[str, Any], Any]:
        """Return the inputs of a request and the rows that it has to give."""
        if request == "all":
            return {}, self.frame.head(_MOST_ROWS + 1)
        if request == "box":
            degrees = self.frame.geometry.dropna().to_crs(4326)
            west, south, east, north = (float(value) for value in degrees.total_bounds)
            width, height = (east - west) / 4, (north - south) / 4
            box = [round(side, 4) for side in (west + width, south + height, east - width, north - height)]
            edges = shapely.segmentize(shapely.box(box[0], box[1], box[2], box[3]), 0.001)
            area = geopandas.GeoSeries([edges], crs=4326).to_crs(self.frame.crs)
            return {"bbox": box}, self.frame[self.frame.intersects(area[0])]
        texts = [each.name for each in self.schema if pa.types.is_string(each.type) and each.name in self.frame]
        column = next(name for name in texts if self.frame[name].notna().any())
        value = self.frame[column].mode()[0] if request == "value" else "no row has this"
        quoted = value.replace("'", "''")
        return {"filter": f"\"{column}\" = '{quoted}'"}, self.frame[self.frame[column] == value]


def differences(subsets: Subsets, whole: Whole, form: str, request: str) -> list[str]:
    """Make a subset and return how it differs from the expected rows; nothing if it is right."""
    inputs, wanted = whole.asked(request)
    path = subsets.made(whole.data, format=form, **inputs)
    got = read(path, form)
    attributes = [name for name in whole.frame.columns if name not in ("geometry", "bbox")]
    if whole.spatial and form == "geojson":
        wanted = wanted.to_crs(4326)
    if form == "flatgeobuf":
        wanted = wanted[wanted.geometry.notna() & ~wanted.geometry.is_empty]
    if len(got) != len(wanted):
        return [f"{len(got)} rows, not {len(wanted)}"]
    columns = [name for name in got.columns if name not in ("geometry", "bbox")]
    if columns != attributes and not (form == "geojson" and not len(got)):  # its columns are those of its rows
        return [f"columns {columns}, not {attributes}"]
    if not len(got):
        return []
    rows = {name: [plain(value, whole.schema.field(name).type) for value in got[name]] for name in columns}
    expected = {name: [plain(value, whole.schema.field(name).type) for value in wanted[name]] for name in columns}
    if whole.spatial:
        rows["geometry"], expected["geometry"] = _places(got, form), _places(wanted, form)
    if form == "flatgeobuf":  # its index orders rows by place
        rows, expected = _ordered(rows), _ordered(expected)
    found: list[str] = []
    for name, values in expected.items():
        wrong = [place for place, pair in enumerate(zip(rows[name], values, strict=True)) if pair[0] != pair[1]]
        if wrong:
            first = wrong[0]
            found.append(f"{name}: {len(wrong)} rows, first {rows[name][first]!r}, not {values[first]!r}"[:300])
    return found


def _places(frame: Any, form: str) -> list[Any]:
    # Projected data comes to degrees on two ways; a nanodegree is a tenth of a millimetre.
    shapes = frame.geometry.array
    if form == "geojson":
        shapes = shapely.transform(shapes, lambda places: np.round(places, 8) + 0.0)
    return [None if shape is None or shape.is_empty else shape.wkt for shape in shapes]


def _ordered(rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
    order = sorted(zip(*rows.values(), strict=True), key=repr)
    return dict(zip(rows, map(list, zip(*order, strict=True)), strict=True))


def plain(value: Any, kind: pa.DataType) -> Any:
    """Return a value as a reader of any format gives it in one form: missing and empty texts are None."""
    if value is None or value is pandas.NaT or value is pandas.NA or value == "" or value != value:  # noqa: PLR0124
        return None
    if pa.types.is_boolean(kind):
        return str(value).lower() in ("true", "1", "1.0")
    if pa.types.is_integer(kind):
        return int(Decimal(str(value)))
    if pa.types.is_float32(kind):
        return float(np.float32(value))
    if pa.types.is_floating(kind):
        return float(value)
    if pa.types.is_decimal(kind):
        return Decimal(str(value)).normalize()
    if pa.types.is_date(kind):
        return value.isoformat()[:10] if isinstance(value, date) else str(value)[:10]
    if pa.types.is_timestamp(kind):
        moment = pandas.Timestamp(value)
        return (moment.tz_convert("UTC").tz_localize(None) if moment.tz else moment).floor("ms")
    return str(value)
