"""The datasets of the portal: the ledger's mark of each, and what its declaration says of its page.

What a declaration says is kept in the portal's state, so that a build reads changed declarations only: 10,000 take 3 s.
The facts of releases belong to `portal`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import asdict, dataclass, replace
from datetime import date
from typing import Any

from d4c_pipeline.ledger.events import now
from d4c_pipeline.model.completeness import completeness_of
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.frequency import expected, freshness
from d4c_pipeline.model.publication import Reuse
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.portal.facts import DatasetFacts, RelatedDataset
from d4c_pipeline.portal.related import Comparable, related_datasets
from d4c_pipeline.portal.state import State
from d4c_pipeline.workspace.deployment import Deployment

_AT_ONCE = 200  # a validated declaration takes some 40 kB


@dataclass(frozen=True)
class RecordedDataset:
    """A dataset with the ledger's mark of its facts and what its declaration says of its page.

    `declared`: the declaration where it is not the ledger's; `digest`: of the declaration, None without one. `today`
    decides on the freshness.
    """

    name: str
    recorded: str
    today: date
    declared: Dataset | None = None
    digest: str | None = None
    frequency: str | None = None
    reuses: tuple[Reuse, ...] = ()
    related: tuple[RelatedDataset, ...] = ()
    completeness: float | None = None

    def mark(self, vintage: Vintage | None) -> str:
        """Return the mark of all facts; `vintage`: the newest, None before the first build."""
        if self.digest is None or vintage is None:
            return self.recorded
        text = f"{self.recorded} {self.digest} {self.facts(vintage)!r}"
        return hashlib.sha256(text.encode()).hexdigest()

    def facts(self, vintage: Vintage) -> DatasetFacts:
        """Return the facts of the dataset beside its releases; `vintage`: the newest."""
        rhythm, end = self.frequency, vintage.end.date()
        return DatasetFacts(
            frequency=rhythm,
            expected=expected(rhythm, end) if rhythm else None,
            freshness=freshness(rhythm, end, self.today) if rhythm else None,
            reuses=self.reuses,
            related=self.related,
            completeness=self.completeness,
        )


@dataclass(frozen=True)
class _Stated:
    """What a declaration says of its page. `digest`: of the whole declaration."""

    digest: str
    frequency: str | None
    reuses: tuple[Reuse, ...]
    compared: Comparable
    completeness: float | None

    @classmethod
    def of(cls, dataset: Dataset) -> _Stated:
        digest = hashlib.sha256(dataset.model_dump_json().encode()).hexdigest()
        return cls(
            digest,
            dataset.publication.frequency,
            dataset.publication.reuses,
            Comparable.of(dataset),
            completeness_of(dataset).score,
        )

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> _Stated:
        compared = value["compared"]
        return cls(
            value["digest"],
            value["frequency"],
            tuple(Reuse.model_validate(each) for each in value["reuses"]),
            Comparable((compared["title"][0], compared["title"][1]), compared["facts"]),
            value.get("completeness"),  # kept by a version without it
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "digest": self.digest,
            "frequency": self.frequency,
            "reuses": [each.model_dump(mode="json") for each in self.reuses],
            "compared": asdict(self.compared),
            "completeness": self.completeness,
        }


def recorded(
    deployment: Deployment, state: State, form: str, declared: Sequence[Dataset] = ()
) -> dict[str, RecordedDataset]:
    """Return the datasets with releases by name, as `declared`, else as last recorded in the ledger.

    `form`: of the pages' code; with another form every declaration is read again.
    """
    today = now().date()
    marks = deployment.ledger.page_marks.all()
    own = {dataset.id: dataset for dataset in declared if dataset.id in marks}
    stated = dict(_remembered(deployment, state, form, marks.keys() - own.keys()))
    stated |= {name: _Stated.of(dataset) for name, dataset in own.items()}
    related = related_datasets({name: stated[name].compared for name in marks if name in stated})
    found: dict[str, RecordedDataset] = {}
    for name, mark in marks.items():
        each, found[name] = stated.get(name), RecordedDataset(name, mark, today)
        if each is not None:
            found[name] = replace(
                found[name],
                declared=own.get(name),
                digest=each.digest,
                frequency=each.frequency,
                reuses=each.reuses,
                related=related.get(name, ()),
                completeness=each.completeness,
            )
    return found


def _remembered(deployment: Deployment, state: State, form: str, names: Set[str]) -> Iterator[tuple[str, _Stated]]:
    """Yield what the ledger's declarations of `names` say; changed ones are read, few at once, and kept in `state`."""
    kept = state.declarations()
    marks = {name: f"{form} {mark}" for name, mark in deployment.ledger.declarations.marks().items() if name in names}
    changed: list[str] = []
    for name, mark in marks.items():
        if name in kept and kept[name][0] == mark:
            yield name, _Stated.from_json(kept[name][1])
        else:
            changed.append(name)
    for start in range(0, len(changed), _AT_ONCE):
        some = changed[start : start + _AT_ONCE]
        read = {name: _Stated.of(each) for name, each in deployment.ledger.declarations.of_many(some).items()}
        state.keep_declarations({name: (marks[name], each.to_json()) for name, each in read.items()})
        yield from read.items()
