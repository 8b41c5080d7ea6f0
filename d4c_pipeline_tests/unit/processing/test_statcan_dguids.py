"""DGUID columns: derived from codes, judged by form and by a gazetteer, reported and never dropped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from pydantic import ValidationError

from d4c_pipeline.model.dguid import is_well_formed_dguid
from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.processing import Dguid
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.processing.statcan import dguids

VINTAGE = Vintage.parse("2021-06")


def run(
    columns: dict[str, Any], *declared: dict[str, Any], **options: Any
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    batch = pa.RecordBatch.from_pydict(columns)
    step = dguids.Step(batch.schema, [Dguid.model_validate(each) for each in declared], VINTAGE, **options)
    out = step.batch(batch)
    assert out.schema.equals(step.schema)
    return out.to_pylist(), step.report


def test_a_dguid_is_derived_from_a_code() -> None:
    rows, report = run({"PRUID": ["24", None, "35 "]}, {"from": "pruid", "type": "A", "schema": "0002"})
    assert [row["dguid"] for row in rows] == ["2021A000224", None, "2021A000235"]
    assert report == {"dguid": {"values": 2, "nulls": 1, "malformed": 0}}


def test_codes_that_came_as_numbers_get_their_zeros_back() -> None:
    declared = {"from": "er", "type": "S", "schema": "0500", "width": 4, "vintage": 2016, "column": "er_dguid"}
    rows, _ = run({"er": pa.array([1010.0, 910.0, None])}, declared)
    assert [row["er_dguid"] for row in rows] == ["2016S05001010", "2016S05000910", None]


def test_malformed_ones_are_counted_with_examples_and_kept() -> None:
    values = ["2021A000235", "2021A00023", "2021A00023", "x", None, "2021A5"]
    rows, report = run({"DGUID": values}, {"column": "dguid"})
    assert [row["DGUID"] for row in rows] == values
    assert report["DGUID"] == {
        "values": 5, "nulls": 1, "malformed": 3, "malformed_examples": ["2021A00023", "x"],
    }  # fmt: skip


def test_the_gazetteer_of_2021_knows_its_own(fixtures: Path) -> None:
    known = dguids.gazetteer(fixtures / "13_dguid_names_2021" / "geographies.sql")
    assert len(known) == 42_438
    assert {dguid for dguid in known if not is_well_formed_dguid(dguid)} == set()
    assert {"2021A000011124", "2021A5", "2021A00053520005"} <= known


@pytest.mark.parametrize("suffix", ["csv", "parquet", "sql"])
def test_unknown_ones_are_told_from_malformed_ones(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"known.{suffix}"
    if suffix == "parquet":
        pq.write_table(pa.table({"DGUID": ["2021A000235", None], "name": ["Ontario", ""]}), path)
    else:
        path.write_text(
            "name,dguid\nOntario,2021A000235\n"
            if suffix == "csv"
            else "INSERT INTO g VALUES(1,'2021A000235','O''x');\n"
        )
    declared = {"column": "dguid", "gazetteer": path.name}
    _, report = run({"dguid": ["2021A000235", "2021A000299", "oops"]}, declared, folder=tmp_path)
    assert report["dguid"] == {
        "values": 3, "nulls": 0, "malformed": 1, "malformed_examples": ["oops"], "unknown": 1,
        "unknown_examples": ["2021A000299"],
    }  # fmt: skip
    _, report = run({"dguid": ["2021A000235"]}, {"column": "dguid", "gazetteer": "places"}, inputs={"places": path})
    assert report["dguid"]["unknown"] == 0


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    derived = {"from": "pruid", "type": "A", "schema": "0002"}
    with pytest.raises(DataError, match=r"processing\.dguids names a missing column: pruid; there are name"):
        run({"name": ["x"]}, derived)
    with pytest.raises(DataError, match="The DGUID column dguid to derive already exists"):
        run({"PRUID": ["10"], "DGUID": ["x"]}, derived)
    with pytest.raises(DataError, match=r"gazetteer none\.csv is neither an input nor a file"):
        run({"dguid": ["x"]}, {"gazetteer": "none.csv"}, folder=tmp_path)
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match=r"gazetteer other\.csv has no column dguid"):
        run({"dguid": ["x"]}, {"gazetteer": "other.csv"}, folder=tmp_path)
    (tmp_path / "broken.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"gazetteer broken\.parquet can't be read"):
        run({"dguid": ["x"]}, {"gazetteer": "broken.parquet"}, folder=tmp_path)
    (tmp_path / "empty.sql").write_text("-- nothing\n")
    with pytest.raises(DataError, match=r"gazetteer empty\.sql has no DGUIDs"):
        run({"dguid": ["x"]}, {"gazetteer": "empty.sql"}, folder=tmp_path)
    with pytest.raises(ValidationError, match="a derived DGUID wants from, type and schema"):
        Dguid.model_validate({"from": "pruid"})


@settings(deadline=None)
@given(
    st.lists(st.one_of(st.none(), st.integers(10, 62).map(str), st.text(max_size=4)), min_size=1, max_size=20),
    st.integers(1, 20),
)
def test_every_row_is_kept_and_judged_once_however_it_is_cut(codes: list[str | None], cut: int) -> None:
    whole = pa.RecordBatch.from_pydict({"pruid": pa.array(codes, pa.string())})
    declared = [Dguid.model_validate({"from": "pruid", "type": "A", "schema": "0002"})]
    step = dguids.Step(whole.schema, declared, VINTAGE)
    out = [step.batch(whole.slice(start, cut)) for start in range(0, len(codes), cut)]
    derived = [value for batch in out for value in batch.column("dguid").to_pylist()]
    assert [value for batch in out for value in batch.column("pruid").to_pylist()] == codes
    assert derived == [f"2021A0002{code.strip()}" if code and code.strip() else None for code in codes]
    report = step.report["dguid"]
    assert report["values"] + report["nulls"] == len(codes)
    assert report["malformed"] == sum(value is not None and not is_well_formed_dguid(value) for value in derived)
