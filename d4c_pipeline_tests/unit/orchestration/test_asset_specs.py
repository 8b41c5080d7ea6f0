"""The assets that every definition becomes: their keys, order, partitions, and how they run."""

from __future__ import annotations

import warnings
from pathlib import Path

import dagster as dg
import pytest

from d4c_pipeline import definitions as front_door
from d4c_pipeline.chain.datasets import load_datasets
from d4c_pipeline.orchestration.build import build_definitions
from d4c_pipeline.orchestration.resources import DeploymentResource
from d4c_pipeline_tests.end_to_end.samples import define

SHIPPED = {
    "geonames_populated_places_canada": "discovered",
    "natural_earth_countries": "discovered",
    "statcan_census_divisions_digital": ["2021"],
    "statcan_census_subdivisions_digital": ["2021"],
    "statcan_foreign_exchange_rates_daily": "discovered",
    "statcan_open_database_of_cultural_and_art_facilities": ["2020-10-02"],
    "statcan_provinces_territories_digital": ["2016", "2021"],
}
# name: (pool, kinds, asset checks), in the order in which each follows the one before
CHAIN = {
    "raw": ("fetch", {"source", "file"}, set()),
    "processed": ("process", {"duckdb", "parquet"}, {"keys_identify_rows"}),
    "checksums": (None, set(), set()),
    "doi": ("archive", set(), set()),
    "copies": (None, set(), set()),
    "torrent": (None, set(), set()),
    "stac_item": (None, {"json"}, set()),
    "deposit": ("archive", set(), {"archive_web_seed"}),
    "latest": (None, set(), set()),
}


@pytest.fixture(scope="module")
def shipped() -> dg.Definitions:
    return build_definitions()


def specs(definitions: dg.Definitions) -> dict[str, dg.AssetSpec]:
    return {spec.key.to_user_string(): spec for spec in definitions.resolve_all_asset_specs()}


def test_nine_assets_for_each_dataset_and_the_catalogue(shipped: dg.Definitions) -> None:
    expected = {f"{dataset}/{step}" for dataset in SHIPPED for step in CHAIN} | {"catalogue"}
    assert set(specs(shipped)) == expected


@pytest.mark.parametrize("dataset", SHIPPED)
def test_the_chain_of_a_dataset(shipped: dg.Definitions, dataset: str) -> None:
    graph = shipped.resolve_asset_graph()
    found = specs(shipped)
    upstream: list[str] = []
    for step, (pool, kinds, checks) in CHAIN.items():
        key = dg.AssetKey([dataset, step])
        spec = found[f"{dataset}/{step}"]
        assert [dep.asset_key.to_user_string() for dep in spec.deps] == upstream, step
        assert spec.group_name == dataset
        assert spec.kinds == kinds
        assert spec.tags["d4c/step"] == step
        assert graph.get(key).pools == ({pool} if pool else set())
        assert {check.name for check in graph.get_check_keys_for_assets({key})} == checks
        definition = shipped.resolve_assets_def(key)
        assert isinstance(definition.node_def, dg.OpDefinition)
        # Dagster's own policy would try a bug again, and go on with a run that was interrupted.
        assert definition.node_def.retry_policy is None
        upstream = [f"{dataset}/{step}"]


@pytest.mark.parametrize("dataset", SHIPPED)
def test_partitions_are_the_vintages(shipped: dg.Definitions, dataset: str) -> None:
    partitions = {spec.partitions_def for key, spec in specs(shipped).items() if key.startswith(f"{dataset}/")}
    (only,) = partitions
    if SHIPPED[dataset] == "discovered":
        assert isinstance(only, dg.DynamicPartitionsDefinition)
        assert only.name == f"{dataset}_vintages"
    else:
        assert isinstance(only, dg.StaticPartitionsDefinition)
        assert only.get_partition_keys() == SHIPPED[dataset]


def test_the_catalogue_is_downstream_of_every_latest_and_follows_by_itself(shipped: dg.Definitions) -> None:
    spec = specs(shipped)["catalogue"]
    assert {dep.asset_key.to_user_string() for dep in spec.deps} == {f"{dataset}/latest" for dataset in SHIPPED}
    assert spec.partitions_def is None
    assert spec.automation_condition is not None
    sensor = shipped.resolve_sensor_def("catalogue_follows")
    assert sensor.default_status is dg.DefaultSensorStatus.RUNNING


def test_only_the_duplicate_key_check_blocks(shipped: dg.Definitions) -> None:
    checks = [spec for asset in shipped.resolve_asset_graph().assets_defs for spec in asset.check_specs]
    assert len(checks) == 2 * len(SHIPPED)
    blocking = {spec.name: spec.blocking for spec in checks}
    assert blocking == {"keys_identify_rows": True, "archive_web_seed": False}


def test_a_job_publishes_each_dataset(shipped: dg.Definitions) -> None:
    job = shipped.resolve_job_def("publish_statcan_provinces_territories_digital")
    assert job.partitions_def == dg.StaticPartitionsDefinition(["2016", "2021"])
    assert {node.name for node in job.nodes} == {f"statcan_provinces_territories_digital__{step}" for step in CHAIN}


def test_the_version_can_be_raised_but_not_named(shipped: dg.Definitions) -> None:
    asset = shipped.resolve_assets_def(dg.AssetKey(["natural_earth_countries", "checksums"]))
    fields = asset.op.config_schema.config_type.fields  # pyright: ignore[reportAttributeAccessIssue, reportOptionalMemberAccess]
    assert set(fields) == {"at_least"}
    assert fields["at_least"].default_value == "NONE"
    assert {value.config_value for value in fields["at_least"].config_type.enum_values} == {
        "NONE",
        "PATCH",
        "MINOR",
        "MAJOR",
    }


def test_an_operators_folder_adds_to_the_shipped_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    define(tmp_path / "mine", vintages=["2021", "2022-05"])
    define(tmp_path / "theirs" / "deeper", "stops")
    monkeypatch.setenv("D4C_DEFS", f"{tmp_path / 'mine'}:{tmp_path / 'theirs'}")
    found = specs(front_door.defs())
    assert {key.partition("/")[0] for key in found} == {*SHIPPED, "places", "stops", "catalogue"}
    partitions = found["places/raw"].partitions_def
    assert partitions is not None
    assert partitions.get_partition_keys() == ["2021", "2022-05"]
    assert {"places/latest", "stops/latest"} <= {dep.asset_key.to_user_string() for dep in found["catalogue"].deps}
    reference = found["places/raw"].metadata["dagster/code_references"].code_references[0]
    assert Path(reference.file_path) == tmp_path / "mine" / "places" / "defs.yaml"


def test_what_dagster_reads_is_what_the_command_line_reads(tmp_path: Path) -> None:
    define(tmp_path, vintages=[2021, "2022"])
    folders = {key.partition("/")[0] for key in specs(build_definitions([tmp_path]))} - {"catalogue"}
    assert folders == set(load_datasets([tmp_path]))


def test_a_resource_can_be_replaced(tmp_path: Path) -> None:
    mine = DeploymentResource(home=str(tmp_path), retries=False)
    resources = build_definitions(resources={"deployment": mine}).resources or {}
    assert resources["deployment"] is mine


def test_loading_says_nothing_to_the_log() -> None:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        build_definitions().resolve_asset_graph()
    assert [str(warning.message) for warning in said if warning.category is dg.BetaWarning] == []
    assert [str(warning.message) for warning in said if "d4c_pipeline" in warning.filename] == []
