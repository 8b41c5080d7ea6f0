"""Related datasets: the facts in common, their order, and that a new dataset changes few lists."""

from __future__ import annotations

from typing import Any

from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.portal.related import MOST, Comparable, related_datasets
from d4c_pipeline_tests.support.declarations import a_dataset


def declared(name: str, theme: str, key: list[str], provider: str, region: str = "ca", **more: Any) -> Dataset:
    return a_dataset(
        name,
        name={"theme": theme, "region": region},
        providers=[{"name": provider}],
        processing={"kind": "table", "key": key},
        **more,
    )


def test_common_theme_and_keys_come_first_and_one_weak_fact_is_not_enough() -> None:
    datasets = [
        declared("museums", "culture", ["museum"], "A"),
        declared("galleries", "culture", ["gallery"], "B", "ca-qc"),
        declared("visits", "tourism", ["MUSEUM"], "C", "ca-on"),
        declared("roads", "transport", ["id"], "A"),
        declared("weather", "climate", ["id"], "D"),
    ]
    found = related_datasets({each.id: Comparable.of(each) for each in datasets})
    assert [(each.dataset, each.shared) for each in found["museums"]] == [
        ("galleries", ("theme",)),
        ("roads", ("provider", "region")),
        ("visits", ("keys",)),
    ]
    # The key `id` says nothing, and a region alone does not relate.
    assert found["weather"] == ()


def test_a_new_dataset_changes_the_lists_of_its_neighbours_only() -> None:
    many = {name: Comparable.of(declared(name, "t", ["k"], "A")) for name in (f"d{number:03}" for number in range(200))}
    before = related_datasets(many)
    after = related_datasets(many | {"d100b": Comparable.of(declared("d100b", "t", ["k"], "A"))})
    changed = [name for name, own in before.items() if after[name] != own]
    assert all(len(own) == MOST for own in before.values())
    assert changed == ["d101", "d102", "d103", "d104"]
