"""The order of a dataset's releases: the version to use, its neighbours, and the vintage before it.

The one ordering of versions belongs here; the switch of `/processed/`, the catalogue and the records use it.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import partial

from d4c_pipeline.catalogue.item_links import Line
from d4c_pipeline.ledger.catalogue import Listed
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.release import PublishedRelease
from d4c_pipeline.model.version import Version
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.sources.dating import TOLERANCE, is_ahead


def rank(dataset: Dataset, release: PublishedRelease | Listed) -> tuple[bool, Vintage, Version]:
    """Return the sort key of a release among the releases of its dataset; the newest sorts last.

    A discovered vintage in the future comes from a server's wrong clock and sorts first.
    """
    return not _is_doubted(dataset, release.vintage), release.vintage, release.version


def versions(dataset: Dataset, listed: Iterable[Listed]) -> dict[int, Line]:
    """Return the place of each release among the versions of its product, by the ledger's id.

    The neighbours are releases that stand. A withdrawn release is never the version to use; its successor is the next
    release that stands.
    """
    rolling = dataset.series == "rolling"
    products: defaultdict[str, list[Listed]] = defaultdict(list)
    for entry in listed:
        products["" if rolling else str(entry.vintage)].append(entry)
    lines: dict[int, Line] = {}
    for product in products.values():
        product.sort(key=partial(rank, dataset))
        standing = [entry for entry in product if entry.withdrawn is None]
        place = 0  # the number of standing releases before the entry
        for entry in product:
            after = place + (entry.withdrawn is None)
            lines[entry.id] = Line(
                latest=entry.withdrawn is None and after == len(standing),
                rolling=rolling,
                predecessor=standing[place - 1] if place else None,
                successor=standing[after] if after < len(standing) else None,
                newest=standing[-1] if standing else product[-1],
            )
            place = after
    return lines


def newest_of(ordered: Sequence[Listed], lines: dict[int, Line]) -> Listed:
    """Return the newest release of a dataset: the last that is the version to use. `ordered`: by vintage, version."""
    return next((entry for entry in reversed(ordered) if lines[entry.id].latest), ordered[-1])


def becomes_due(dataset: Dataset, listed: Iterable[Listed]) -> datetime | None:
    """Return the moment at which the order changes by itself: the first vintage in the future is no longer doubted."""
    ahead = [entry.vintage.start - TOLERANCE for entry in listed if _is_doubted(dataset, entry.vintage)]
    return min(ahead, default=None)


def earlier_vintages(listed: Iterable[Listed]) -> dict[int, Listed]:
    """Return, for each release, the newest version of the previous vintage at the time of its publication, by id.

    A later publication changes no answer, like the relation in the archive's record, which is written at that time.
    """
    vintages: list[Vintage] = []
    newest: dict[Vintage, Listed] = {}
    found: dict[int, Listed] = {}
    for entry in sorted(listed, key=lambda entry: (entry.published_at, entry.vintage, entry.version)):
        place = bisect_left(vintages, entry.vintage)
        if place:
            found[entry.id] = newest[vintages[place - 1]]
        known = newest.get(entry.vintage)
        if known is None:
            insort(vintages, entry.vintage)
        if known is None or known.version < entry.version:
            newest[entry.vintage] = entry
    return found


def present() -> datetime:
    """Return the present time, which decides which vintages are in the future."""
    return datetime.now(UTC)


def _is_doubted(dataset: Dataset, vintage: Vintage) -> bool:
    return dataset.fixed_vintages is None and is_ahead(vintage.start, present())
