"""The assets that every definition becomes: their keys, order, partitions, and how they run."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.definitions_load_context import DefinitionsLoadContext
from dagster._core.definitions.reconstruct import ReconstructableRepository

from d4c_pipeline.chain.run import STEPS
from d4c_pipeline.orchestration import component
from d4c_pipeline.orchestration.assets import step_presentations
from d4c_pipeline.orchestration.build import build_definitions, definitions_of
from d4c_pipeline.orchestration.products import Product, of_dataset
from d4c_pipeline.processing.checks.run import CHECKS, checks_of
from d4c_pipeline.workspace.datasets import load_datasets
from d4c_pipeline_tests.support.samples import define

NAME = {"region": "ca", "source": "example", "dguid": "2021A000011124", "package": "d4c-datapkg-foundation"}
SHIPPED = {
    "geonames_populated_places_canada": "discovered",
    "natural_earth_countries": "discovered",
    "statcan_census_divisions_digital": ["2021"],
    "statcan_census_subdivisions_digital": ["2021"],
    "statcan_foreign_exchange_rates_daily": "discovered",
    "statcan_open_database_of_cultural_and_art_facilities": ["2020-10-02"],
    "statcan_provinces_territories_digital": ["2016", "2021"],
}
HOSTS = {
    **dict.fromkeys(SHIPPED, "www12.statcan.gc.ca"),
    "geonames_populated_places_canada": "download.geonames.org",
    "natural_earth_countries": "naciscdn.org",
    "statcan_foreign_exchange_rates_daily": "www150.statcan.gc.ca",
    "statcan_open_database_of_cultural_and_art_facilities": "www150.statcan.gc.ca",
}
FAMILY = "statcan_tables"
# name: (pool, kinds, asset checks), in the order in which each follows the one before
CHAIN = {
    "raw": ("fetch", {"source", "file"}, set()),
    "processed": ("process", {"duckdb", "parquet"}, None),
    "checksums": (None, {"sha256"}, set()),
    "doi": ("archive", {"doi"}, set()),
    "copies": (None, {"storage"}, {"every_store"}),
    "torrent": (None, {"torrent"}, set()),
    "stac_item": (None, {"json"}, set()),
    "deposit": ("archive", {"archive"}, {"archive_web_seed", "reviewed"}),
    "latest": (None, {"http"}, set()),
}
FIXITY_CHECKS = {"copies_intact", "archive_intact", "web_seeds_serve", "enough_copies", "audit_complete"}


@pytest.fixture(scope="module")
def shipped() -> dg.Definitions:
    return build_definitions()


def specs(definitions: dg.Definitions) -> dict[str, dg.AssetSpec]:
    return {spec.key.to_user_string(): spec for spec in definitions.resolve_all_asset_specs()}


def test_the_source_and_nine_assets_for_each_dataset_and_the_catalogue(shipped: dg.Definitions) -> None:
    expected = {f"{product}/{step}" for product in (*SHIPPED, FAMILY) for step in ("source", *CHAIN)}
    daily = {"retention", "fixity", "health", "needs_attention", "assessments"}
    assert set(specs(shipped)) == expected | {"catalogue", "portal"} | daily
    assert [dep.asset_key.to_user_string() for dep in specs(shipped)["portal"].deps] == ["catalogue"]


@pytest.mark.parametrize("dataset", SHIPPED)
def test_the_chain_of_a_dataset(shipped: dg.Definitions, dataset: str) -> None:
    graph = shipped.resolve_asset_graph()
    found = specs(shipped)
    upstream = [f"{dataset}/source"]
    for step, (pool, kinds, checks) in CHAIN.items():
        key = dg.AssetKey([dataset, step])
        spec = found[f"{dataset}/{step}"]
        assert [dep.asset_key.to_user_string() for dep in spec.deps] == upstream, step
        assert spec.group_name == dataset
        assert spec.kinds == kinds
        assert spec.tags["d4c/step"] == step
        assert graph.get(key).pools == ({f"fetch:{HOSTS[dataset]}" if pool == "fetch" else pool} if pool else set())
        due = {check.name for check in checks_of(load_datasets([])[dataset])} if checks is None else checks
        assert {check.name for check in graph.get_check_keys_for_assets({key})} == due
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
    assert {dep.asset_key.to_user_string() for dep in spec.deps} == {
        f"{product}/latest" for product in (*SHIPPED, FAMILY)
    }
    assert spec.partitions_def is None
    assert spec.automation_condition is not None
    sensor = shipped.resolve_sensor_def("catalogue_follows")
    assert sensor.default_status is dg.DefaultSensorStatus.RUNNING


def test_every_check_of_the_data_blocks_and_that_of_the_archive_does_not(shipped: dg.Definitions) -> None:
    checks = [spec for asset in shipped.resolve_asset_graph().assets_defs for spec in asset.check_specs]
    blocking = {spec.name: spec.blocking for spec in checks}
    health = ("dois_registered", "keywords_are_current", "nothing_stays_failed", "places_agree", "torrents_current")
    for name in ("archive_web_seed", "every_store", "reviewed", "as_wanted", "nothing_waits", *health, *FIXITY_CHECKS):
        assert blocking.pop(name) is False, name
    assert blocking["keys_identify_rows"] is True
    assert set(blocking) <= {check.name for check in CHECKS}


def test_the_daily_checks_run_with_health_every_morning_and_never_with_the_catalogue(shipped: dg.Definitions) -> None:
    schedule = shipped.resolve_schedule_def("check_health_daily")
    assert (schedule.cron_schedule, schedule.default_status) == ("30 5 * * *", dg.DefaultScheduleStatus.RUNNING)
    graph = shipped.resolve_asset_graph()
    assert graph.get_check_keys_for_assets({dg.AssetKey("catalogue")}) == set()
    job = shipped.resolve_job_def("check_health")
    assert job.asset_layer.selected_asset_keys == {dg.AssetKey("health")}
    assert {key.name for key in job.asset_layer.asset_graph.get_check_keys_for_assets({dg.AssetKey("health")})} == {
        "dois_registered",
        "keywords_are_current",
        "nothing_stays_failed",
        "places_agree",
        "torrents_current",
    }
    assert graph.get(dg.AssetKey("health")).automation_condition is None


def test_a_review_can_be_launched(shipped: dg.Definitions) -> None:
    assert shipped.resolve_job_def("review").description == "Approves or rejects a release that awaits review."


def test_copies_are_audited_every_night(shipped: dg.Definitions) -> None:
    schedule = shipped.resolve_schedule_def("audit_copies_daily")
    assert (schedule.cron_schedule, schedule.default_status) == ("40 2 * * *", dg.DefaultScheduleStatus.RUNNING)
    assert shipped.resolve_job_def("audit_copies").asset_layer.selected_asset_keys == {dg.AssetKey("fixity")}
    checks = shipped.resolve_asset_graph().get_check_keys_for_assets({dg.AssetKey("fixity")})
    assert {check.name for check in checks} == FIXITY_CHECKS


def test_a_family_has_a_partition_per_member(shipped: dg.Definitions) -> None:
    partitions = {spec.partitions_def for key, spec in specs(shipped).items() if key.startswith(f"{FAMILY}/")}
    (only,) = partitions
    assert isinstance(only, dg.DynamicPartitionsDefinition)
    assert only.name == "statcan_tables_members"


@pytest.mark.parametrize("product", [*SHIPPED, FAMILY])
def test_sensors_of_a_source_wait_for_an_operator_and_the_automation_does_not(
    shipped: dg.Definitions, product: str
) -> None:
    names = {sensor.name for sensor in shipped.sensors or () if sensor.name.endswith(f"_{product}")}
    discovered = product == FAMILY or SHIPPED[product] == "discovered"
    assert names == {f"observe_{product}"} | ({f"discover_{product}"} if discovered else set())
    for name in names:
        assert shipped.resolve_sensor_def(name).default_status is dg.DefaultSensorStatus.STOPPED
    for name in ("changes_are_published", "catalogue_follows", "runs_that_died", "dead_runs_are_ended"):
        assert shipped.resolve_sensor_def(name).default_status is dg.DefaultSensorStatus.RUNNING


def test_owners_and_rhythm_of_a_dataset_stand_on_its_assets(tmp_path: Path) -> None:
    define(tmp_path, publication={"owners": ["ana@example.ca", "team:geo"], "frequency": "P1M"})
    built = definitions_of(["places"], [tmp_path], spanning=False)
    assert built is not None
    found = specs(built)
    assert {tuple(found[f"places/{step}"].owners) for step in CHAIN} == {("ana@example.ca", "team:geo")}
    policies = {step: found[f"places/{step}"].freshness_policy for step in CHAIN}
    month = timedelta(days=31)
    assert policies.pop("latest") == dg.FreshnessPolicy.time_window(fail_window=2 * month, warn_window=month)
    assert set(policies.values()) == {None}


def test_an_asset_links_to_its_line_of_yaml(shipped: dg.Definitions) -> None:
    references = specs(shipped)["natural_earth_countries/raw"].metadata["dagster/code_references"]
    assert isinstance(references, dg.CodeReferencesMetadataValue)
    (file,) = [each for each in references.code_references if isinstance(each, dg.LocalFileCodeReference)]
    assert file.file_path.endswith("defs/natural_earth_countries/defs.yaml")


def test_a_run_worker_builds_the_product_of_its_run_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    define(tmp_path)
    define(tmp_path, "parks", name={**NAME, "theme": "parks"})
    monkeypatch.setenv("D4C_DEFS", str(tmp_path))
    made: list[str] = []
    chain_assets = component.chain_assets

    def counted(product: Product) -> list[dg.AssetsDefinition]:
        made.append(product.id)
        return chain_assets(product)

    monkeypatch.setattr(component, "chain_assets", counted)
    repository = ReconstructableRepository.for_module("d4c_pipeline.definitions", "defs")
    monkeypatch.setattr(DefinitionsLoadContext, "_instance", None)
    # A run of chosen assets asks for the job without its selection first, and never uses it.
    unselected = repository.get_reconstructable_job("__ASSET_JOB").get_definition()
    assert made == []
    job = repository.get_reconstructable_job("publish_places").get_definition()
    assert (made, len(job.nodes)) == (["places"], 9)
    keys = {dg.AssetKey(["parks", "raw"]), dg.AssetKey("catalogue")}
    subset = repository.get_reconstructable_job("__ASSET_JOB").get_subset(asset_selection=keys).get_definition()
    assert {node.name for node in subset.nodes} == {"parks__raw", "catalogue"}
    assert made == ["places", "parks"]
    repository.get_reconstructable_job("review").get_definition()
    assert made == ["places", "parks"]
    assert {"places__raw", "parks__latest", "catalogue"} <= {node.name for node in unselected.nodes}
    assert len(made) == 2 + 2 + len(SHIPPED) + 1


def test_the_steps_are_told_in_the_order_of_the_chain() -> None:
    assert tuple(step_presentations(of_dataset(next(iter(load_datasets([]).values()))))) == tuple(STEPS) == tuple(CHAIN)
