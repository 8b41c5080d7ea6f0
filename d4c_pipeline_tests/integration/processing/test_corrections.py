"""Corrections of source values: applied before everything else, and refused when the source has changed under them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from d4c_pipeline.metadata.readme import readme
from d4c_pipeline.model.corrections import Correction
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.processing.build import build
from d4c_pipeline_tests.support.releases import PROVINCES, a_deposit, a_release

Declare = Callable[..., Dataset]
VINTAGE = Vintage.parse("2021")
WHY = {"en": "A digit is missing.", "fr": "Il manque un chiffre."}


def correction(**changes: Any) -> dict[str, Any]:
    stated = {"where": {"code": "35"}, "column": "people", "old": 1422, "new": 14223, "why": WHY}
    return {**stated, "reported": date(2026, 11, 28), **changes}


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A CSV of three provinces, one with a wrong number, one without a name."""
    path = tmp_path / "provinces.csv"
    path.write_text(
        "code,name,people,since\n24,Québec,8501,1867-07-01\n35,Ontario,1422,1867-07-01\n59,,5000,1871-07-20\n"
    )
    return path


def built(declare: Declare, native: Path, tmp_path: Path, *corrections: dict[str, Any], **more: Any) -> list[Any]:
    dataset = declare(kind="table", key=["code"], corrections=list(corrections), **more)
    done = build(dataset, VINTAGE, [native], tmp_path / "out")
    return pq.read_table(done.data).to_pylist()


def test_values_are_corrected_before_nulls_types_and_sql(declare: Declare, table: Path, tmp_path: Path) -> None:
    rows = built(
        declare,
        table,
        tmp_path,
        correction(),
        correction(where={"name": None}, column="name", old=None, new="British Columbia"),
        correction(where={"code": 24}, column="people", old=8501, new=None),
        correction(where={"since": "1867-07-01"}, column="since", old=date(1867, 7, 1), new="1867-07-02", rows=2),
        sql_text="SELECT code, name, people::INT + 1 AS people, since FROM source",
    )
    assert [tuple(row.values()) for row in rows] == [
        ("24", "Québec", None, date(1867, 7, 2)),
        ("35", "Ontario", 14224, date(1867, 7, 2)),
        ("59", "British Columbia", 5001, date(1871, 7, 20)),
    ]


def test_typed_columns_and_features_are_corrected_by_value(declare: Declare, tmp_path: Path) -> None:
    native = tmp_path / "typed.parquet"
    columns = {
        "code": pa.array([24, 35], pa.int16()),
        "share": pa.array([0.5, 0.25]),
        "kind": pa.array(["a", "b"]).dictionary_encode(),
        "open": pa.array([True, None]),
    }
    pq.write_table(pa.table(columns), native)
    rows = built(
        declare,
        native,
        tmp_path,
        correction(where={"code": 35, "kind": "b"}, column="share", old=0.25, new=0.5),
        correction(where={"code": 35}, column="kind", old="b", new="c"),
        correction(where={"open": True}, column="open", old=True, new=False),
    )
    assert [tuple(row.values()) for row in rows] == [(24, 0.5, "a", False), (35, 0.5, "c", None)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"old": 1500}, "has '1422' now, not '1500'. Compare the source"),
        ({"old": 1423, "new": 1422}, "The source has corrected it: remove the correction"),
        ({"old": None}, "it has '1422' now, not null"),
        ({"where": {"code": "36"}}, "people of code '36' selects 0 rows of the source, not 1"),
        ({"where": {"since": "1867-07-01"}}, "The source changed"),
        ({"where": {"code": "35"}, "rows": 2}, "selects 1 rows of the source, not 2"),
        ({"column": "population"}, "missing columns: population; there are code, name, people, since"),
    ],
)
def test_a_source_that_changed_stops_the_build(
    declare: Declare, table: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError) as caught:
        built(declare, table, tmp_path, correction(**changes))
    assert message in caught.value.sentence("run it again")
    assert not list((tmp_path / "out").glob("*.parquet"))


def test_two_corrections_of_a_value_and_a_value_of_another_type_are_refused(
    declare: Declare, table: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="Two corrections have the same value: people of name 'Ontario'"):
        built(declare, table, tmp_path, correction(), correction(where={"name": "Ontario"}))
    native = tmp_path / "typed.parquet"
    pq.write_table(pa.table({"code": pa.array([35]), "people": pa.array([1422])}), native)
    with pytest.raises(DataError, match="'many', which is no value of the type int64"):
        built(declare, native, tmp_path, correction(new="many"))


def test_a_correction_applies_to_its_vintages_and_enters_the_parameters(
    declare: Declare, table: Path, tmp_path: Path
) -> None:
    assert built(declare, table, tmp_path, correction(vintages=[2016]))[1]["people"] == 1422
    dataset = declare(kind="table", corrections=[correction()])
    done = build(dataset, VINTAGE, [table], tmp_path / "out")
    assert done.parameters["processing"]["corrections"][0]["new"] == "14223"
    assert done.summary.report["corrections"] == ["people of code '35'"]
    without = build(declare(kind="table"), VINTAGE, [table], tmp_path / "without")
    assert "corrections" not in without.parameters["processing"]


def test_the_readme_states_each_correction_in_both_languages() -> None:
    stated = (Correction.model_validate(correction()), Correction.model_validate(correction(reported=None, new=None)))
    processing = PROVINCES.processing.model_copy(update={"corrections": stated})
    dataset = PROVINCES.model_copy(update={"processing": processing})
    release = a_release(PROVINCES, "2021", "1.0.0")
    text = readme(dataset, release, replace(a_deposit(release)), {}).decode()
    assert "- `people` where `code` = `35`: `1422` at the source, `14223` here. A digit is missing. Reported" in text
    assert "to the source on 2026-11-28." in text
    assert "`1422` à la source, null ici. Il manque un chiffre. Non signalé à la source." in text
    assert "Corrections" not in readme(PROVINCES, release, a_deposit(release), {}).decode()


def test_a_correction_needs_its_reason_and_what_selects_it() -> None:
    for broken in ({"where": {}}, {"why": None}, {"rows": 0}, {"vintages": ["yesterday"]}):
        with pytest.raises(ValidationError):
            Correction.model_validate(correction(**broken))
    with pytest.raises(ValidationError, match="reported"):
        Correction.model_validate({key: value for key, value in correction().items() if key != "reported"})
