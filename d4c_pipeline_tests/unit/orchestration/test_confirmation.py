"""One click that starts thousands of runs asks first: the second click is the answer."""

from __future__ import annotations

from typing import Any

import pytest

from d4c_pipeline.orchestration.confirmation import MOST_UNASKED, Confirmations

MUTATION = "mutation LaunchPartitionBackfill($p: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $p) }"


def launch(count: int) -> dict[str, Any]:
    keys = [str(10_000_000 + number) for number in range(count)]
    return {"query": MUTATION, "variables": {"p": {"partitionNames": keys, "tags": []}}}


def test_8000_partitions_are_started_by_the_second_launch_of_the_same() -> None:
    time = [0.0]
    asking = Confirmations(lambda: time[0])
    answer = asking.question("ana", launch(8000))
    assert answer is not None
    error = answer["data"]["launchPartitionBackfill"]
    assert error["__typename"] == "PythonError"
    assert error["message"].startswith("This starts 8,000 runs. Nothing has been started.")
    assert asking.question("ben", launch(8000)) is not None, "another person"
    assert asking.question("ana", launch(7999)) is not None, "another selection"
    assert asking.question("ana", launch(8000)) is None
    assert asking.question("ana", launch(8000)) is not None, "a confirmation counts once"
    time[0] += 301
    assert asking.question("ana", launch(8000)) is not None, "too late"


@pytest.mark.parametrize(
    "selected",
    [
        {"allPartitions": True},
        {"partitionsByAssets": [{"assetKey": {"path": ["a"]}, "partitions": {"range": {"start": "1", "end": "9"}}}]},
        {"partitionsByAssets": [{"partitions": {"ranges": [{"start": "1", "end": "9"}]}}]},
    ],
    ids=["all", "range", "ranges"],
)
def test_partitions_that_are_not_named_one_by_one_are_confirmed_too(selected: dict[str, Any]) -> None:
    asking = Confirmations()
    request = {"query": MUTATION, "variables": {"p": selected}}
    answer = asking.question("ana", request)
    assert answer is not None
    assert "a run for each partition of a whole range" in answer["data"]["launchPartitionBackfill"]["message"]
    assert asking.question("ana", request) is None
    unused = {"allPartitions": False, "partitionsByAssets": None, "partitionNames": ["2021"]}
    assert asking.question("ana", {"query": MUTATION, "variables": {"p": unused}}) is None


def test_a_backfill_of_a_usual_size_and_other_requests_pass() -> None:
    asking = Confirmations()
    assert asking.question("ana", launch(MOST_UNASKED)) is None
    assert asking.question("ana", {"query": "{ version }", "variables": launch(8000)["variables"]}) is None
