"""Columns planned before the first row: names, declared types and nulls, and metadata of fields."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.processing import TableProcessing
from d4c_pipeline.tables import narrow
from d4c_pipeline.tables.casting import cast
from d4c_pipeline.tables.columns import plan

MEANING = {"source": "GEO", "description_en": "Geography", "description_fr": "Géographie", "gdal": "no fact of ours"}


def processing(**declared: Any) -> TableProcessing:
    return TableProcessing.model_validate({"kind": "table", **declared})


def test_a_plan_works_batch_by_batch_and_drops_later_columns() -> None:
    schema = pa.schema([("CSDName", pa.string()), ("pop", pa.string()), ("y", pa.string())])
    declared = {"population": {"source": "pop", "type": "integer", "nulls": ["F"]}}
    planned = plan(schema, processing(columns=declared, key=["csd_name"]))
    assert planned.settled == {"population"}
    data = {"CSDName": ["Ottawa", "F"], "pop": ["7", "F"], "y": ["1.5", None], "__geometry__": [b"", b""]}
    out = planned.batch(pa.RecordBatch.from_pydict(data))
    assert out.schema.equals(planned.schema)
    assert out.to_pydict() == {"csd_name": ["Ottawa", "F"], "population": [7, None], "y": ["1.5", None]}
    evidence = narrow.Evidence(planned.schema, settled=planned.settled)
    evidence.observe(out)
    final = planned.narrowed(evidence.types())
    assert [column.type for column in final.columns] == ["string", "int64", "double"]
    assert narrow.cast(out, evidence.types()).schema.equals(final.schema)


def test_fields_bring_their_source_and_meaning_unless_declared() -> None:
    field = pa.field("geo_fr", pa.string(), metadata=MEANING)
    column = plan(pa.schema([field]), processing()).columns[0]
    assert (column.source, column.description_en, column.description_fr) == ("GEO", "Geography", "Géographie")
    declared = {"geo_fr": {"description": {"en": "Place", "fr": "Lieu"}}}
    column = plan(pa.schema([field]), processing(columns=declared)).columns[0]
    assert (column.source, column.description_fr) == ("GEO", "Lieu")
    # SQL drops the metadata of fields; the source's field of the same name still has it.
    after = plan(
        pa.schema([("geo_fr", pa.string()), ("n", pa.int64())]), processing(sql="t.sql"), origin=pa.schema([field])
    )
    assert [column.source for column in after.columns] == ["GEO", None]
    assert after.columns[0].description_fr == "Géographie"


def test_geometry_is_described_last_and_its_names_are_taken() -> None:
    planned = plan(pa.schema([("geometry", pa.string()), ("bbox", pa.string())]), processing(), geometry_type="binary")
    assert [column.name for column in planned.columns] == ["geometry_2", "bbox_2", "geometry"]
    assert planned.schema.names == ["geometry_2", "bbox_2"]


def test_declared_columns_must_exist() -> None:
    schema = pa.schema([("a", pa.string())])
    with pytest.raises(DataError, match="Declared column b is missing; the columns are a"):
        plan(schema, processing(columns={"b": {}}))
    with pytest.raises(DataError, match="Key column b is not among the columns: a"):
        plan(schema, processing(key=["b"]))
    with pytest.raises(DataError, match="Column a has values that are not of the declared type integer: 'x'"):
        plan(schema, processing(columns={"a": {"type": "integer"}})).batch(pa.RecordBatch.from_pydict({"a": ["x"]}))


@pytest.mark.parametrize("column", [pa.array(["7", None]), pa.array(["7", None]).dictionary_encode()])
def test_arrays_are_cast_as_chunked_arrays_are(column: pa.Array) -> None:
    assert cast(column, "integer", "c").to_pylist() == [7, None]
    assert cast(pa.chunked_array([column]), "integer", "c").to_pylist() == [7, None]
