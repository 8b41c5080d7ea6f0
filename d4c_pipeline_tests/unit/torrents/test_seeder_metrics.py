"""What Prometheus is told of a seeder: whatever keeps peers from it is a problem, not only what there is to seed."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from d4c_pipeline.torrents.seeding_status import SeederStatus, _Numbers

EMPTY: dict[str, Any] = {"str": "", "int": 0, "float": 0.0, "bool": False}


def status(**changes: Any) -> SeederStatus:
    values = {field.name: EMPTY.get(str(field.type), ()) for field in fields(SeederStatus)}
    return SeederStatus(**values | changes)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({}, 0.0),
        ({"problem": "The ledger can't be read"}, 1.0),
        # The address is not this machine's: it seeds, and nobody can connect.
        ({"deaf": "The seeder does not listen (192.0.2.7:18213: Cannot assign requested address)"}, 1.0),
    ],
)
def test_a_seeder_that_nobody_can_reach_has_a_problem(changes: dict[str, str], problem: float) -> None:
    told = {metric.name: metric.samples for metric in _Numbers(lambda: status(**changes)).collect()}
    (sample,) = told["d4c_seeder_problem"]
    assert sample.value == problem
