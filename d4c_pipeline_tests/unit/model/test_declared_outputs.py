"""What a dataset may ask for beside its data, and what it may not."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.outputs import Outputs
from d4c_pipeline_tests.support.declarations import a_dataset


def declared(kind: str, outputs: dict[str, Any]) -> Dataset:
    return a_dataset(processing={"kind": kind}, outputs=outputs)


def test_nothing_is_asked_for_by_default() -> None:
    assert Outputs() == Outputs(tiles=None, desktop=(), style=None, csv=False, thumbnail=False)


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ({"style": "style.qml"}, "list 'geopackage' under desktop"),
        ({"desktop": ["geopackage"], "style": "../style.qml"}, r"name a \.qml file in the dataset's own folder"),
        ({"desktop": ["geopackage"], "style": "/etc/style.qml"}, r"name a \.qml file in the dataset's own folder"),
        ({"desktop": ["geopackage"], "style": "style.sld"}, r"name a \.qml file in the dataset's own folder"),
        ({"desktop": ["geopackage", "geopackage"]}, "a format is listed twice"),
        ({"desktop": ["shapefile"]}, "'geopackage' or 'flatgeobuf'"),
        ({"tiles": {"min_zoom": 9, "max_zoom": 8}}, "max_zoom is smaller than min_zoom"),
        ({"tiles": {"max_zoom": 30}}, "less than or equal to 22"),
        ({"tile": {}}, "Extra inputs are not permitted"),
    ],
)
def test_what_makes_no_sense_is_refused(outputs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        declared("vector", outputs)


@pytest.mark.parametrize(
    "outputs",
    [
        {"tiles": {}},
        {"thumbnail": True},
        {"desktop": ["flatgeobuf"]},
        {"desktop": ["geopackage"], "style": "style.qml"},
    ],
)
def test_a_table_has_no_geometry_to_show(outputs: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="can't be made of a table, which has no geometry"):
        declared("table", outputs)
    assert declared("vector", outputs).outputs == Outputs.model_validate(outputs)


def test_a_table_may_become_a_geopackage_and_a_csv() -> None:
    assert declared("table", {"csv": True, "desktop": ["geopackage"]}).outputs.csv


def test_a_partition_says_how_large_a_file_may_be_and_how_it_is_cut() -> None:
    by_column = declared("vector", {"partition": {"by": "pruid"}}).outputs.partition
    assert by_column is not None
    assert (by_column.over, by_column.spatial, by_column.words) == (1000.0, False, "by pruid")
    spatial = declared("vector", {"partition": {"by": "spatial", "over": 300}}).outputs.partition
    assert spatial is not None
    assert (spatial.part_megabytes, spatial.words) == (150.0, "by location into parts of about 150 MB")
    always = declared("vector", {"partition": {"by": "spatial", "over": 0, "part": 0.5}}).outputs.partition
    assert always is not None
    assert always.part_megabytes == 0.5


@pytest.mark.parametrize(
    ("partition", "message"),
    [
        ({"by": "pruid", "part": 5}, "a column's values decide how large its parts are"),
        ({"by": "geometry"}, "write 'spatial' to cut by location"),
        ({"by": "spatial", "part": 0}, "greater than 0"),
        ({"by": "pruid", "over": -1}, "greater than or equal to 0"),
        ({"over": 5}, "Field required"),
    ],
)
def test_a_partition_that_can_not_be_is_refused(partition: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        declared("vector", {"partition": partition})


def test_a_table_is_not_cut_by_location() -> None:
    with pytest.raises(ValidationError, match=r"outputs: partition by spatial can't be made of a table"):
        declared("table", {"partition": {"by": "spatial"}})
