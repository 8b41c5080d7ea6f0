"""In how many places each release lies, by what the last audit found there, and where that is fewer than wanted."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.family import Family
from d4c_pipeline.model.fixity import CopyKind, CopyState
from d4c_pipeline.upkeep.fixity import expected_copies
from d4c_pipeline.workspace.deployment import Deployment

_PLACES = (CopyKind.RELEASE, CopyKind.ARCHIVE)


@dataclass(frozen=True)
class Shortfall:
    """A published release that lies whole in fewer places than wanted; `places` are those where it does."""

    dataset: str
    release: str
    places: tuple[str, ...]
    wanted: int

    def __str__(self) -> str:
        where = f"{len(self.places)} ({', '.join(self.places)})" if self.places else "none"
        return f"{self.release}: whole in {where} of {self.wanted} places"


def shortfalls(
    deployment: Deployment, declared: Collection[Dataset | Family], datasets: Collection[str] | None = None
) -> tuple[Shortfall, ...]:
    """Return the releases of `datasets` (all by default) that lie whole in fewer places than wanted.

    A place counts that should have every file of the release and of which nothing else is known: one that could not
    be asked does not. `declared`: datasets and families as declared now, which may want another number than
    the deployment.
    """
    known = deployment.ledger.fixity.known()
    usable = {*(store.name for store in deployment.stores), deployment.archive.name}
    has: dict[tuple[int | None, str], set[str]] = {}
    for copy in expected_copies(deployment, datasets):
        whole = copy.key not in known or known[copy.key].state is CopyState.INTACT
        if copy.kind in _PLACES and copy.place in usable and whole:
            has.setdefault((copy.release_id, copy.place), set()).add(copy.name)
    wanted = {one.id: one.publication.copies for one in declared if isinstance(one, Dataset)}
    families = [one for one in declared if isinstance(one, Family)]
    found: list[Shortfall] = []
    for release in deployment.ledger.releases.published():
        if datasets is not None and release.dataset not in datasets:
            continue
        names = {artifact.name for artifact in release.artifacts}
        places = tuple(sorted(place for place in usable if names <= has.get((release.id, place), set())))
        of_family = (one.sample.publication.copies for one in families if one.key_of(release.dataset) is not None)
        number = wanted.get(release.dataset) or next(of_family, None) or deployment.settings.copies
        if len(places) < number:
            found.append(Shortfall(release.dataset, release.name, places, number))
    return tuple(found)
