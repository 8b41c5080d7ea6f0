"""The naming rule of output columns."""

from __future__ import annotations

import re

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from d4c_pipeline.model.processing import TableProcessing
from d4c_pipeline.tables.columns import plan
from d4c_pipeline.tables.names import snake_case, unique_snake_case


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("PRUID", "pruid"),
        ("Feature Nu", "feature_nu"),
        ("CSDName", "csd_name"),
        ("CDuid", "cduid"),
        ("MHn_Intensity", "mhn_intensity"),
        ("landArea", "land_area"),
        ("Pop2021Total", "pop2021_total"),
        ("REF_DATE", "ref_date"),
        ("Type of currency", "type_of_currency"),
        ("Québec (km²)", "quebec_km2"),
        ("Œuvre d'art", "oeuvre_d_art"),
        ("  __x--y  ", "x_y"),
        ("2021", "c_2021"),
        ("统计", "column"),
        ("统计 (n)", "n"),
        ("ᐊᑎᖅ", "atiq"),
        ("ᓄᓇᓖᑦ ᐊᑎᖏᑦ", "nonaliit_atingit"),
        ("Население", "naselenie"),
        ("Ελλάδα", "ellada"),
        ("🚗", "automobile"),
        ("🌳🏠", "deciduous_tree_house_building"),
        ("%", "percent_sign"),
        ("#", "number_sign"),
        ("---", "column"),
        ("", "column"),
    ],
)
def test_names_follow_the_rule(source: str, expected: str) -> None:
    assert snake_case(source) == expected


@given(st.text(max_size=40))
def test_any_text_becomes_an_identifier_and_stays_it(source: str) -> None:
    name = snake_case(source)
    assert re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name)
    assert snake_case(name) == name


@given(st.lists(st.one_of(st.text(max_size=4), st.sampled_from(["a", "A", "a_2", "A-2", "bbox"])), max_size=12))
def test_output_names_are_unique_and_none_is_reserved(sources: list[str]) -> None:
    names = unique_snake_case(sources, taken=("geometry", "bbox"))
    assert len(names) == len(sources)
    assert len({*names, "geometry", "bbox"}) == len(names) + 2


def test_names_without_spellable_characters_are_numbered_by_their_place() -> None:
    assert unique_snake_case(["a", "统计", "", "省"]) == ["a", "column_2", "column_3", "column_4"]
    planned = plan(
        pa.schema([("省", pa.string()), ("a", pa.string()), ("统计", pa.string())]),
        TableProcessing.model_validate({"kind": "table", "columns": {"a": {}}}),
    )
    assert [(column.name, column.source) for column in planned.columns] == [
        ("column_1", "省"), ("a", "a"), ("column_3", "统计"),
    ]  # fmt: skip


def test_equal_names_are_numbered_and_real_names_stay() -> None:
    assert unique_snake_case(["a", "A", "a_2", "A "]) == ["a", "a_3", "a_2", "a_4"]


def test_a_column_may_not_take_the_name_of_geometry_or_covering() -> None:
    assert unique_snake_case(["geometry", "BBOX"], taken=("geometry", "bbox")) == ["geometry_2", "bbox_2"]
