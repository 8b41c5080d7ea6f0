"""Coverage: the number of complete copies of each release by the last audit, and the releases with too few."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum, auto

from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.family import Family
from d4c_pipeline.model.fixity import CopyKind, CopyState
from d4c_pipeline.model.publication import Publication
from d4c_pipeline.model.release import PublishedRelease
from d4c_pipeline.upkeep.fixity import expected_copies
from d4c_pipeline.workspace.deployment import Deployment

_PLACES = (CopyKind.RELEASE, CopyKind.ARCHIVE)


class Mend(Enum):
    """The action that gives a release its missing copies."""

    REPAIR = auto()
    VERIFY = auto()
    PUSH = auto()
    ADD_PLACE = auto()


@dataclass(frozen=True)
class Shortfall:
    """A published release with fewer complete copies than required; `places` hold one. `mend` is what helps first."""

    dataset: str
    release: str
    places: tuple[str, ...]
    wanted: int
    mend: Mend

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
    states: dict[int | None, set[CopyState]] = {}
    for copy in expected_copies(deployment, datasets):
        state = known[copy.key].state if copy.key in known else CopyState.INTACT
        if copy.kind in _PLACES and copy.place in usable:
            states.setdefault(copy.release_id, set()).add(state)
            if state is CopyState.INTACT:
                has.setdefault((copy.release_id, copy.place), set()).add(copy.name)
    published = deployment.ledger.releases.published()
    newest = {release.dataset: release.id for release in sorted(published, key=lambda release: release.published_at)}
    found: list[Shortfall] = []
    for release in published:
        if datasets is not None and release.dataset not in datasets:
            continue
        names = {artifact.name for artifact in release.artifacts}
        places = tuple(sorted(place for place in usable if names <= has.get((release.id, place), set())))
        publication = _publication(declared, release)
        number = publication.copies or deployment.settings.copies
        if len(places) < number:
            # A mirror that keeps a few releases certainly keeps the newest.
            pushable = {
                store.name
                for store in deployment.stores[1:]
                if publication.keeps(store.name) is None or newest[release.dataset] == release.id
            }
            mend = _mend(states.get(release.id, set()), pushable.difference(places))
            found.append(Shortfall(release.dataset, release.name, places, number, mend))
    return tuple(found)


def _publication(declared: Collection[Dataset | Family], release: PublishedRelease) -> Publication:
    """Return the current declaration for a release; the defaults if its dataset is declared no more."""
    for each in declared:
        if isinstance(each, Family):
            if each.key_of(release.dataset) is not None:
                return each.sample.publication
        elif each.id == release.dataset:
            return each.publication
    return Publication()


def _mend(states: Collection[CopyState], pushable: Collection[str]) -> Mend:
    """Return what helps first. `states`: of the release's copies; `pushable`: mirrors without a complete copy."""
    if any(state.is_lost for state in states):
        return Mend.REPAIR
    if CopyState.UNREACHABLE in states:
        return Mend.VERIFY
    return Mend.PUSH if pushable else Mend.ADD_PLACE
