"""The recorded form of reasons: codes that never change, and the sentences of releases before codes."""

from __future__ import annotations

import json
from dataclasses import fields

import pytest

from d4c_pipeline.model import differences, reasons
from d4c_pipeline.model.reasons import Reason

SAMPLES: tuple[Reason, ...] = (
    differences.NothingPublished(),
    differences.ColumnRemoved("a, e.g. key 3"),
    differences.ColumnRenamed("a", "b c"),
    differences.ColumnRetyped("a", "int32", "double"),
    differences.ColumnAdded("név"),
    differences.CrsChanged(None, "EPSG:3347"),
    differences.GeometryTypesChanged(("Point", "Polygon"), ()),
    differences.KeyChanged((), ("a", "b")),
    differences.RowsRemoved(1, "a=1, b=x"),
    differences.RowsAdded(1234),
    differences.RowsReplaced(3, 4),
    differences.ValuesChanged("population", 12, None),
    differences.ValuesChanged("population", 1, "id=3"),
    differences.PartitionChanged("by province", 13),
    differences.PartitionChanged(None, 1),
    differences.DerivedFileAdded(".gpkg"),
    differences.DerivedFileRemoved(".fgb"),
    differences.DerivedFileOptionsChanged(".pmtiles"),
    differences.BumpRaised("MINOR"),
    differences.Adopted("zenodo"),
    differences.Stated("coverage grew"),
)


def test_every_code_is_tried() -> None:
    assert {reasons.code_of(each) for each in SAMPLES} == reasons.CODES.keys()


def test_what_is_recorded_is_read_back() -> None:
    recorded = json.loads(json.dumps(reasons.to_json(SAMPLES)))
    assert reasons.from_json(recorded) == SAMPLES
    assert reasons.from_json(reasons.to_item(SAMPLES)) == SAMPLES
    assert reasons.to_item(SAMPLES)[4] == {"code": "column_added", "arguments": '{"name": "név"}'}
    assert recorded[8] == {"code": "rows_removed", "arguments": {"count": 1, "example": "a=1, b=x"}}


def test_a_sentence_of_a_release_before_codes_is_recognized() -> None:
    assert reasons.from_json([str(each) for each in SAMPLES]) == SAMPLES
    assert reasons.of_sentence(".gpkg is made as well") == differences.DerivedFileAdded(".gpkg")


def test_an_item_of_a_later_version_keeps_its_sentences() -> None:
    properties = {"d4c:change_reasons": ["column a added"], "d4c:changes": [{"code": "new", "arguments": {}}]}
    assert reasons.stated_in(properties) == (differences.ColumnAdded("a"),)
    with pytest.raises(ValueError, match="new"):
        reasons.from_json(properties["d4c:changes"])


def test_the_names_of_arguments_are_published() -> None:
    names = {code: [field.name for field in fields(kind)] for code, kind in reasons.CODES.items()}
    assert names["column_retyped"] == ["name", "before", "now"]
    assert names["rows_added"] == ["count", "example", "earlier_stay"]
    assert names["values_changed"] == ["column", "count", "example"]
