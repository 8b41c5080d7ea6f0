"""The facts of releases and declarations of datasets for the catalogue, read from the ledger in few queries.

Here belong the size of a read and the check of names. The queries belong to `ledger.catalogue`, the items to
`catalogued_datasets`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from d4c_pipeline.ledger.catalogue import Facts, Listed
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import PermanentError
from d4c_pipeline.workspace.deployment import Deployment

AT_ONCE = 250
"""Releases in memory with all their facts, about 40 kB each."""


class FactsReader:
    """Reads the facts of releases and the declarations of datasets; those of many small datasets in one read.

    `declared`: the datasets with a definition, by id.
    """

    def __init__(self, deployment: Deployment, declared: Mapping[str, Dataset]) -> None:
        self._state, self._declarations = deployment.ledger.catalogue, deployment.ledger.declarations
        self._declared, self._recorded = declared, dict[str, Dataset]()
        self._mirrors = [store.name for store in deployment.stores[1:]]
        self._facts: dict[int, Facts] = {}
        self._owners: dict[str, str] = {}

    def ahead(self, datasets: Iterable[list[Listed]]) -> Iterator[list[Listed]]:
        """Yield the releases of each dataset, and read the facts of several datasets in one read."""
        waiting: list[list[Listed]] = []
        for listed in datasets:
            if waiting and sum(map(len, waiting)) + len(listed) > AT_ONCE:
                yield from self._read(waiting)
                waiting = []
            waiting.append(listed)
        yield from self._read(waiting)

    def dataset(self, dataset: str) -> Dataset | None:
        """Return a dataset as declared, else as last recorded in the ledger."""
        return self._declared.get(dataset) or self._recorded.get(dataset) or self._declarations.of(dataset)

    def of(self, releases: Sequence[Listed]) -> dict[int, Facts]:
        """Return the facts of at most `AT_ONCE` releases by id.

        Raises PermanentError when a release has the name of a release of another dataset.
        """
        if not all(entry.id in self._facts for entry in releases):
            self._load(releases)
        for entry in releases:
            if (owner := self._owners.get(entry.name, entry.dataset)) != entry.dataset:
                raise PermanentError(
                    f"The release {entry.name} of {entry.dataset} has the name of one of {owner}",
                    f"Give {entry.dataset} naming parts of its own, then publish it again",
                )
        return {entry.id: self._facts[entry.id] for entry in releases}

    def _read(self, datasets: Sequence[list[Listed]]) -> Iterator[list[Listed]]:
        if len(datasets) > 1:
            self._load([entry for listed in datasets for entry in listed])
            names = [listed[0].dataset for listed in datasets]
            self._recorded = self._declarations.of_many(name for name in names if name not in self._declared)
        yield from datasets

    def _load(self, releases: Sequence[Listed]) -> None:
        self._facts = self._state.facts([entry.id for entry in releases], self._mirrors)
        self._owners = self._state.owners([entry.name for entry in releases])
