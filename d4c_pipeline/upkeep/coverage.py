"""Coverage: the number of complete copies of each release by the last audit, and the releases with too few."""

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
    """A published release with fewer complete copies than required; `places` hold one."""

    dataset: str
    release: str
    places: tuple[str, ...]
    wanted: int

    @property
    def detail(self) -> str:
        """The copies in words, without the release."""
        where = f" ({', '.join(self.places)})" if self.places else ""
        return f"{len(self.places)} of {self.wanted} copies verified{where}"

    def __str__(self) -> str:
        return f"{self.release}: {self.detail}"


def shortfalls(
    deployment: Deployment, declared: Collection[Dataset | Family], datasets: Collection[str] | None = None
) -> tuple[Shortfall, ...]:
    """Return the releases of `datasets` (all by default) with fewer complete copies than required.

    A store or archive counts if it should hold every file of the release and the last audit found none lost there; an
    unreachable store or archive does not count. `declared`: the current datasets and families, which may require a
    different number than the deployment.
    """
    known = deployment.ledger.fixity.known()
    usable = {*(store.name for store in deployment.stores), deployment.archive.name}
    has: dict[tuple[int | None, str], set[str]] = {}
    for copy in expected_copies(deployment, datasets):
        intact = copy.key not in known or known[copy.key].state is CopyState.INTACT
        if copy.kind in _PLACES and copy.place in usable and intact:
            has.setdefault((copy.release_id, copy.place), set()).add(copy.name)
    wanted = {dataset.id: dataset.publication.copies for dataset in declared if isinstance(dataset, Dataset)}
    families = [family for family in declared if isinstance(family, Family)]
    found: list[Shortfall] = []
    for release in deployment.ledger.releases.published():
        if datasets is not None and release.dataset not in datasets:
            continue
        names = {artifact.name for artifact in release.artifacts}
        places = tuple(sorted(place for place in usable if names <= has.get((release.id, place), set())))
        of_family = (
            family.sample.publication.copies for family in families if family.key_of(release.dataset) is not None
        )
        number = wanted.get(release.dataset) or next(of_family, None) or deployment.settings.copies
        if len(places) < number:
            found.append(Shortfall(release.dataset, release.name, places, number))
    return tuple(found)
