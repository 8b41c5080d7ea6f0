"""Which datasets are related: those with the same theme, keys, provider or region, the nearest in common facts first.

Computed from declarations alone. A dataset is compared only with its neighbours by id among the datasets that share a
fact, so that 10,000 datasets take a second, and a new dataset changes the lists of its neighbours only.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from d4c_pipeline.metadata.records.documents import plain
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.portal.facts import RelatedDataset

MOST = 4
_NEAR = 4  # neighbours on each side, per fact
_WEIGHTS = {"theme": 4, "keys": 3, "provider": 2, "region": 1}
_STRONG = {"theme", "keys"}
# Keys that say nothing of what the rows are.
_COMMON_KEYS = (("id",), ("fid",), ("objectid",))


@dataclass(frozen=True)
class Comparable:
    """What of a declaration is compared and shown. `title`: English, French; `facts`: kind -> value."""

    title: tuple[str, str]
    facts: Mapping[str, str]

    @classmethod
    def of(cls, dataset: Dataset) -> Comparable:
        """Return what of `dataset` is compared."""
        return cls((plain(dataset.title.en), plain(dataset.title.fr)), _facts(dataset))


def related_datasets(datasets: Mapping[str, Comparable]) -> dict[str, tuple[RelatedDataset, ...]]:
    """Return dataset -> at most `MOST` related datasets; one needs a common theme, common keys, or two common facts."""
    facts = {name: dataset.facts for name, dataset in datasets.items()}
    sharing: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name in sorted(facts):
        for fact in facts[name].items():
            sharing[fact].append(name)
    found: dict[str, tuple[RelatedDataset, ...]] = {}
    for name, own in facts.items():
        near: set[str] = set()
        for fact in own.items():
            group = sharing[fact]
            place = bisect_left(group, name)
            near.update(group[max(0, place - _NEAR) : place + _NEAR + 1])
        near.discard(name)
        ranked: list[tuple[int, str, tuple[str, ...]]] = []
        for other in near:
            shared = tuple(kind for kind, value in own.items() if facts[other].get(kind) == value)
            if len(shared) > 1 or not _STRONG.isdisjoint(shared):
                ranked.append((-sum(_WEIGHTS[kind] for kind in shared), other, shared))
        ranked.sort()
        found[name] = tuple(
            RelatedDataset(dataset=other, title=datasets[other].title, shared=shared)
            for _, other, shared in ranked[:MOST]
        )
    return found


def _facts(dataset: Dataset) -> dict[str, str]:
    parties = [*dataset.providers, *dataset.creators]
    key = tuple(name.lower() for name in dataset.processing.key)
    stated = {
        "theme": dataset.name.theme and f"{dataset.name.package} {dataset.name.theme}",
        "keys": "" if key in _COMMON_KEYS else ", ".join(key),
        "provider": plain(parties[0].name),
        "region": dataset.name.region,
    }
    return {kind: value for kind, value in stated.items() if value}
