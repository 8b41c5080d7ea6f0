"""Areas that are seen to be right without a geometry: the checks find the same as with one for each row."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely

from d4c_pipeline.geometry import rings
from d4c_pipeline.processing.checks.features import Features

NAN = float("nan")
with np.errstate(invalid="ignore"):
    NOT_A_NUMBER = shapely.Polygon([(0, 0), (1, 0), (NAN, 1), (0, 0)])
SQUARE = shapely.box(-75, 45, -74, 46, ccw=True)
SHAPES = {
    "square": SQUARE,
    "clockwise": shapely.box(-75, 45, -74, 46, ccw=False),
    "concave": shapely.Polygon([(0, 0), (4, 0), (4, 1), (1, 1), (1, 4), (0, 4)]),
    "bowtie": shapely.Polygon([(0, 0), (2, 2), (2, 0), (0, 2)]),
    "flat": shapely.Polygon([(0, 0), (1, 1), (2, 2), (0, 0)]),
    "with a hole": shapely.Polygon(SQUARE.exterior, [shapely.box(-74.6, 45.4, -74.4, 45.6).exterior.reverse()]),
    "with a wrong hole": shapely.Polygon(
        shapely.box(0, 0, 9, 9, ccw=True).exterior, [shapely.box(1, 1, 2, 2, ccw=True).exterior]
    ),
    "multi": shapely.MultiPolygon([SQUARE, shapely.box(0, 0, 1, 1, ccw=True)]),
    "not a number": NOT_A_NUMBER,
    "point": shapely.Point(3, 4),
    "empty": shapely.Polygon(),
    "null": None,
}


def found(tmp_path: Path, names: list[str]) -> Features:
    geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": {"encoding": "WKB"}}}
    wkb = pa.array(shapely.to_wkb(np.array([SHAPES[name] for name in names])), pa.binary())
    table = pa.table({"name": names, "geometry": wkb}).replace_schema_metadata({"geo": json.dumps(geo)})
    pq.write_table(table, tmp_path / "data.parquet", row_group_size=7)
    return Features.read(tmp_path / "data.parquet", ("name",), None)


def test_faults_are_found_among_many_that_have_none(tmp_path: Path) -> None:
    names = ["square", "concave"] * 20 + [name for name in SHAPES if name not in ("square", "concave")] + ["square"] * 9
    features = found(tmp_path, names)
    assert (features.rows, features.nulls) == (len(names), 1)
    assert dict(features.types) == {"Polygon": 56, "MultiPolygon": 1, "Point": 1}
    assert features.bounds == (-75.0, 0.0, 9.0, 46.0)
    assert sorted(example["name"] for example in features.invalid.examples) == ["bowtie", "flat", "not a number"]
    wrong = {example["name"] for example in features.clockwise.examples}
    assert {"clockwise", "with a wrong hole"} <= wrong
    assert not wrong & {"square", "concave", "with a hole", "multi"}
    assert [example["name"] for example in features.empty.examples] == ["empty"]
    assert "Self-intersection" in next(
        example["reason"] for example in features.invalid.examples if example["name"] == "bowtie"
    )


@pytest.mark.parametrize("name", SHAPES)
def test_a_glance_says_what_every_geometry_would(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    quick = found(tmp_path, ["square", name, "concave"])
    monkeypatch.setattr(rings, "read", lambda _: None)
    assert found(tmp_path, ["square", name, "concave"]) == quick
