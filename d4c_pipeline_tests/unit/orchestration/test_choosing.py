"""The release that a person picks in the launchpad, and what the jobs `review` and `withdraw` ask for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from d4c_pipeline.model.errors import PermanentError, UnknownNameError
from d4c_pipeline.orchestration.build import build_definitions
from d4c_pipeline.orchestration.choosing import picked


def a_release(dataset: str, vintage: str, version: str) -> Any:
    name = f"{dataset}_{vintage}_v{version}"
    return SimpleNamespace(dataset=dataset, vintage=vintage, version=version, name=name)


def chosen(dataset: str | None, vintage: str = "", version: str = "") -> Any:
    return SimpleNamespace(
        dataset=None if dataset is None else SimpleNamespace(value=dataset), vintage=vintage, version=version
    )


FAMILY: Any = SimpleNamespace(
    id="tables", key_of=lambda dataset: dataset.rpartition("_")[2] if dataset.startswith("tables_") else None
)
RELEASES = [
    a_release("places", "2016", "1.0.0"),
    a_release("places", "2021", "1.0.0"),
    a_release("places", "2021", "1.1.0"),
    a_release("rates", "2021", "1.0.0"),
    a_release("tables_18100204", "2026-03", "0.1.0"),
]


def name(*words: str) -> str:
    return picked(chosen(*words), RELEASES, [FAMILY], what="awaits review").name


def test_a_dataset_names_its_only_release_and_a_family_that_of_its_member() -> None:
    assert name("rates") == "rates_2021_v1.0.0"
    assert name("tables") == "tables_18100204_2026-03_v0.1.0"


def test_vintage_and_version_tell_several_apart() -> None:
    assert name("places", "2016") == "places_2016_v1.0.0"
    assert name("places", "", "1.1.0") == "places_2021_v1.1.0"
    assert name("places", "2021", "1.0.0") == "places_2021_v1.0.0"
    with pytest.raises(
        PermanentError, match=r"2 releases of places are meant: places_2021_v1\.0\.0 \(2021 1\.0\.0\), "
    ):
        name("places", "2021")


def test_what_is_not_there_is_told_with_what_is() -> None:
    with pytest.raises(UnknownNameError, match=r"No release of places 1999 awaits review.*rates_2021_v1\.0\.0"):
        name("places", "1999")
    with pytest.raises(PermanentError, match=r"Neither a release nor a dataset is named\. What awaits review: places"):
        picked(chosen(None), RELEASES, [FAMILY], what="awaits review")


@pytest.mark.parametrize(("job", "op"), [("review", "decide"), ("withdraw", "decide_on_published")])
def test_the_launchpad_lists_the_datasets_and_asks_for_a_reason(job: str, op: str) -> None:
    definition = build_definitions().resolve_job_def(job)

    def accepts(**config: str) -> bool:
        given = {"decision": "approve" if job == "review" else "withdraw", **config}
        try:
            return dg.validate_run_config(definition, {"ops": {op: {"config": given}}}) is not None
        except dg.DagsterInvalidConfigError:
            return False

    assert accepts(dataset="natural_earth_countries", reason="looked at the map")
    assert accepts(dataset="statcan_tables", reason="looked at the map")  # a family
    assert accepts(release="by_its_name", reason="looked at the map")
    assert not accepts(dataset="no_such_dataset", reason="looked at the map")
    assert not accepts(dataset="natural_earth_countries")
