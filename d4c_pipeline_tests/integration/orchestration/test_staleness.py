"""A change of the SQL makes what was built with it out of date, and nothing else."""

from __future__ import annotations

import dagster as dg
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest

from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.orchestration.build import build_definitions
from d4c_pipeline.workspace import code_version
from d4c_pipeline.workspace.datasets import load_datasets
from d4c_pipeline_tests.integration.orchestration.conftest import Project
from d4c_pipeline_tests.support.samples import PLACES_URL, define, geojson

SQL = "SELECT * FROM source"


def statuses(project: Project) -> dict[str, StaleStatus]:
    """The status of the first three steps of 2021, as the UI shows it."""
    graph = build_definitions([project.definitions]).resolve_asset_graph()
    resolver = CachingStaleStatusResolver(project.instance, graph, LoadingContextForTest(project.instance))
    steps = ("raw", "processed", "checksums")
    return {step: resolver.get_status(dg.AssetKey(["places", step]), "2021") for step in steps}


def test_changed_sql_makes_the_build_out_of_date_and_the_fetch_stays_fresh(project: Project) -> None:
    define(project.definitions, sql=SQL)
    project.origin.put(PLACES_URL, geojson())
    assert project.materialize("places", "2021", "raw", "processed", "checksums").success
    assert set(statuses(project).values()) == {StaleStatus.FRESH}
    define(project.definitions, sql=f"{SQL} WHERE true")
    found = statuses(project)
    assert (found["raw"], found["processed"]) == (StaleStatus.FRESH, StaleStatus.STALE)
    assert project.materialize("places", "2021", "processed", "checksums").success
    assert set(statuses(project).values()) == {StaleStatus.FRESH}


def of_places(project: Project) -> tuple[str, str]:
    dataset: Dataset = load_datasets([project.definitions])["places"]
    return code_version.code_version_of_source(dataset), code_version.code_version_of_data(dataset)


def test_policy_and_checks_leave_the_version_and_the_source_changes_both(project: Project) -> None:
    define(project.definitions, sql=SQL)
    before = of_places(project)
    define(project.definitions, sql=SQL, checks={"totals": [{"rows": 200}]})
    assert of_places(project) == before
    define(project.definitions, sql=SQL, vintages=["2021", "2022"])
    assert of_places(project)[1] != before[1]
