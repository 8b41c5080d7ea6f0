"""Workbooks, JSON in both of its forms, and census layouts through whole builds."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.processing.build import build
from d4c_pipeline_tests.integration.readers.test_reading_tables import workbook

Declare = Callable[..., Dataset]
VINTAGE = Vintage.parse("2021")


def test_a_workbook_becomes_a_sorted_table(declare: Declare, tmp_path: Path) -> None:
    sheets = {
        "notes": [["Table of parks"]],
        "Données": [
            ["Park ID", "Nom", "Opened", "Area (ha)", "Code"],
            [2, "Forillon", dt.date(1970, 6, 8), 244.8, "007"],
            [1, "Mont-Tremblant", dt.date(1981, 1, 12), None, ".."],
        ],
    }
    native = workbook(tmp_path / "parks.xlsx", sheets)
    dataset = declare(kind="table", key=["park_id"], layer="Donn*", nulls=[".."])
    done = build(dataset, VINTAGE, [native], tmp_path / "out")
    assert pq.read_table(done.data).to_pylist() == [
        {"park_id": 1, "nom": "Mont-Tremblant", "opened": dt.date(1981, 1, 12), "area_ha": None, "code": None},
        {"park_id": 2, "nom": "Forillon", "opened": dt.date(1970, 6, 8), "area_ha": 244.8, "code": "007"},
    ]
    assert [column.source for column in done.summary.columns][:2] == ["Park ID", "Nom"]


@pytest.mark.parametrize("name", ["rows.json", "rows.ndjson"])
def test_json_in_both_forms_gives_the_same_bytes_of_rows(declare: Declare, tmp_path: Path, name: str) -> None:
    objects = [
        '{"id": 2, "name": "Montréal", "tags": ["é"]}',
        '{"id": 1, "name": null, "tags": null, "share": 0.5}',
    ]
    text = "[" + ", ".join(objects) + "]" if name.endswith(".json") else "\n".join(objects)
    (tmp_path / name).write_text(text, "utf-8")
    done = build(declare(kind="table", key=["id"]), VINTAGE, [tmp_path / name], tmp_path / "out")
    assert pq.read_table(done.data).to_pylist() == [
        {"id": 1, "name": None, "tags": None, "share": 0.5},
        {"id": 2, "name": "Montréal", "tags": '["é"]', "share": None},
    ]


def test_json_lines_of_open_canada_are_built(fixtures: Path, declare: Declare, tmp_path: Path) -> None:
    shutil.copy(fixtures / "10_ckan_open_canada" / "statcan_daily_2017_packages.jsonl", tmp_path)
    native = tmp_path / "statcan_daily_2017_packages.jsonl"
    done = build(declare(kind="table", key=["id"]), VINTAGE, [native], tmp_path / "out")
    assert (done.summary.rows, done.summary.report["key_duplicates"]) == (4, 0)
    assert {"title_translated", "num_resources"} <= {column.name for column in done.summary.columns}


def test_a_semi_wide_census_table(declare: Declare, tmp_path: Path) -> None:
    text = (
        'REF_DATE,GEO,DGUID,"Gender (3): Total - Gender [1]",Symbols,"Gender (3): Men+ [2]",Symbols\n'
        "2021,Québec,2021A000224,8501833,,4200000,r\n2021,Canada,2021A000011124,36991981,,x,\n"
    )
    (tmp_path / "98100001.csv").write_text(text, "utf-8")
    dataset = declare(kind="table", census={"layout": "semi_wide"}, key=["dguid"])
    done = build(dataset, VINTAGE, [tmp_path / "98100001.csv"], tmp_path / "out")
    canada, quebec = pq.read_table(done.data).to_pylist()
    assert (canada["total_gender"], canada["men"], canada["men_symbol"]) == (36_991_981.0, None, "x")
    assert (quebec["geo"], quebec["men"], quebec["men_symbol"], quebec["total_gender_symbol"]) == (
        "Québec", 4_200_000.0, "r", None,
    )  # fmt: skip
    assert done.summary.report["census"] == {"null_values": 1, "null_values_without_symbol": 0}
