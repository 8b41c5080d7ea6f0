"""Esri JSON: tables, labels of coded values and subtypes, moments in UTC, numbers that GDAL would truncate."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.processing import Processing, TableProcessing, VectorProcessing
from d4c_pipeline.readers import delivery

TABLE, VECTOR = TableProcessing(kind="table"), VectorProcessing(kind="vector")
KINDS = {
    "type": "codedValue",
    "name": "kinds",
    "codedValues": [{"name": "Park", "code": 1}, {"name": "Pool", "code": 2}],
}
Row = dict[str, Any]


def field(name: str, kind: str, **more: Any) -> Row:
    return {"name": name, "type": f"esriFieldType{kind}", "alias": name, **more}


def read(
    folder: Path, fields: list[Row], rows: list[Row], processing: Processing = TABLE, **head: Any
) -> tuple[Any, Row]:
    shape = {"geometryType": "esriGeometryPoint", "spatialReference": {"wkid": 4326}}
    document = {**(shape if processing is VECTOR else {"fieldAliases": {}}), "objectIdFieldName": "OBJECTID", **head}
    geometry = {"geometry": {"x": 1, "y": 2}} if processing is VECTOR else {}
    features = [{"attributes": row, **geometry} for row in rows]
    (folder / "layer.json").write_text(json.dumps({**document, "fields": fields, "features": features}))
    work = folder / "work"
    work.mkdir()
    native = delivery.read(processing, [folder / "layer.json"], work)
    return native.collect()[0], native.report


@pytest.mark.parametrize("processing", [TABLE, VECTOR])
def test_a_column_of_labels_follows_its_codes(tmp_path: Path, processing: Processing) -> None:
    fields = [
        field("OBJECTID", "OID"),
        field("kind", "Integer", domain=KINDS),
        field("name", "String"),
        field("state", "String", domain={**KINDS, "codedValues": [{"name": "open", "code": "open"}]}),
        field("depth", "Double", domain={"type": "range", "range": [0, 9]}),
        field(
            "grade",
            "Double",
            domain={**KINDS, "codedValues": [{"name": "good", "code": 1.5}, {"name": "best", "code": 2}]},
        ),
    ]
    rows = [
        {"OBJECTID": 1, "kind": 2, "name": "a", "state": "open", "depth": 1.0, "grade": 2.0},
        {"OBJECTID": 2, "kind": 9, "name": "b", "state": "open", "depth": 1.0, "grade": 1.5},
        {"OBJECTID": 3, "kind": None, "name": "c", "state": None, "depth": None, "grade": None},
    ]
    table, report = read(tmp_path, fields, rows, processing)
    assert table.column_names == ["OBJECTID", "kind", "kind_label", "name", "state", "depth", "grade", "grade_label"]
    assert table.column("kind").to_pylist() == [2, 9, None]
    assert table.column("kind_label").to_pylist() == ["Pool", None, None]
    assert table.column("grade_label").to_pylist() == ["best", "good", None]
    assert report["labels"] == {"kind": "kind_label", "grade": "grade_label"}
    assert report["codes_without_label"] == {"kind": 1}


def test_subtypes_have_labels_and_are_labelled(tmp_path: Path) -> None:
    other = {**KINDS, "codedValues": [{"name": "Ski hill", "code": 1}]}
    types = [
        {"id": 10, "name": "summer", "domains": {"kind": {"type": "inherited"}}},
        {"id": 20, "name": "winter", "domains": {"kind": other}},
    ]
    fields = [field("OBJECTID", "OID"), field("season", "SmallInteger"), field("kind", "Integer", domain=KINDS)]
    rows = [
        {"OBJECTID": 1, "season": 10, "kind": 1},
        {"OBJECTID": 2, "season": 20, "kind": 1},
        {"OBJECTID": 3, "season": None, "kind": 1},
    ]
    table, _ = read(tmp_path, fields, rows, types=types, typeIdField="season")
    assert table.column("season_label").to_pylist() == ["summer", "winter", None]
    assert table.column("kind_label").to_pylist() == ["Park", "Ski hill", "Park"]


def test_a_label_does_not_take_the_name_of_a_column(tmp_path: Path) -> None:
    fields = [field("OBJECTID", "OID"), field("kind", "Integer", domain=KINDS), field("kind_label", "String")]
    table, report = read(tmp_path, fields, [{"OBJECTID": 1, "kind": 1, "kind_label": "own"}])
    assert len(set(table.column_names)) == 4
    assert table.column(report["labels"]["kind"]).to_pylist() == ["Park"]


@pytest.mark.parametrize(("head", "zone"), [({}, UTC), ({"datesInUnknownTimezone": True}, None)])
def test_moments_are_utc_unless_their_zone_is_unknown(tmp_path: Path, head: Row, zone: Any) -> None:
    fields = [
        field("OBJECTID", "OID"),
        field("at", "Date"),
        field("day", "DateOnly"),
        field("zoned", "TimestampOffset"),
    ]
    row = {"OBJECTID": 1, "at": 1714865400123, "day": "2024-05-04", "zoned": "2024-05-04T19:30:00-04:00"}
    table, _ = read(tmp_path, fields, [row, {**row, "OBJECTID": 2, "at": -2208988800000}], **head)
    assert table.column("at").to_pylist() == [
        datetime(2024, 5, 4, 23, 30, 0, 123000, zone),
        datetime(1900, 1, 1, tzinfo=zone),
    ]
    assert str(table.column("day").to_pylist()[0]) == "2024-05-04"
    assert table.column("zoned").to_pylist()[0] == "2024-05-04T19:30:00-04:00"


@pytest.mark.parametrize("processing", [TABLE, VECTOR])
def test_numbers_beyond_32_bits_are_unchanged(tmp_path: Path, processing: Processing) -> None:
    fields = [field("OBJECTID", "OID"), field("n", "Integer"), field("big", "BigInteger"), field("at", "Date")]
    rows = [
        {"OBJECTID": 2**53 + 1, "n": 5_000_000_000, "big": 2**62 + 1, "at": 1714865400123},
        {"OBJECTID": 2**53, "n": -3_000_000_000, "big": None, "at": None},
    ]
    table, report = read(tmp_path, fields, rows, processing)
    assert table.column("OBJECTID").to_pylist() == [2**53 + 1, 2**53]
    assert table.column("n").to_pylist() == [5_000_000_000, -3_000_000_000]
    assert table.column("big").to_pylist() == [2**62 + 1, None]
    assert report["read_as_64_bits"] == ["OBJECTID", "n"]
    assert [path.name for path in tmp_path.rglob(".d4c-*")] == []


def test_a_number_beyond_64_bits_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"Column n of layer\.json has a number of more than 64 bits \(98765432109876543210\)"
    ):
        read(tmp_path, [field("OBJECTID", "OID"), field("n", "Integer")], [{"OBJECTID": 1, "n": 98765432109876543210}])


def test_a_usual_layer_keeps_its_types(tmp_path: Path) -> None:
    fields = [field("OBJECTID", "OID"), field("n", "Integer"), field("text", "String")]
    table, report = read(tmp_path, fields, [{"OBJECTID": 1, "n": 2, "text": '"n": 5000000000'}], VECTOR)
    assert [str(kind) for kind in table.schema.types] == ["int32", "int32", "string"]
    assert "labels" not in report
