"""Records torrents that the seeder can't seed as failures of their partition, until it seeds them.

The seeder has no run, so nothing else records that a published file is unreadable or damaged where peers ask for it.
Failures of steps belong to `watch.failures`.
"""

from __future__ import annotations

from collections.abc import Iterable

from d4c_pipeline.model.errors import IntegrityError, StorageError
from d4c_pipeline.model.partition import Partition
from d4c_pipeline.torrents.seeding_policy import Seedable
from d4c_pipeline.torrents.seeding_status import SeederStatus, TorrentStatus
from d4c_pipeline.watch.failures import SEED
from d4c_pipeline.workspace.datasets import load_families
from d4c_pipeline.workspace.deployment import Deployment


class SeedingFailures:
    """The failures of one seeder in the ledger of its deployment."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._known: dict[Partition, str] = {}
        """The cause of each partition as the ledger has it; empty while all of its files are seeded."""

    def record(self, seedable: Iterable[Seedable], status: SeederStatus) -> None:
        """Record the partitions with a failed or damaged torrent, and settle those whose files are all seeded.

        Only changes are written. A torrent that is fetched, checked, or no longer offered, changes nothing.
        """
        states = {torrent.info_hash: torrent for torrent in status.torrents}
        causes: dict[tuple[str, str], list[str]] = {}
        kinds: dict[tuple[str, str], type[Exception]] = {}
        for entry in seedable:
            torrent = states.get(entry.info_hash)
            if torrent is None or not entry.vintage or torrent.state in ("fetching", "checking"):
                continue
            key = entry.dataset, entry.vintage
            found = causes.setdefault(key, [])
            if torrent.state != "seeding":
                found.append(_cause(torrent))
                kinds.setdefault(key, IntegrityError if torrent.state == "damaged" else StorageError)
        for key, found in causes.items():
            self._settle_or_record(*key, "; ".join(sorted(found)), kinds.get(key, IntegrityError))

    def _settle_or_record(self, dataset: str, vintage: str, cause: str, kind: type[Exception]) -> None:
        known = Partition(dataset, vintage)
        if self._known.get(known) == cause:
            return
        partition, failures = self._partition(dataset, vintage), self._deployment.ledger.failures
        if cause:
            failures.record(
                partition.subject,
                partition.key,
                SEED,
                kind=kind.__name__,
                transient=False,
                cause=cause,
                remedy=f"Run 'd4c verify {dataset} --full', then 'd4c repair {dataset}'; the seeder goes on by itself",
            )
        else:
            failures.settle(partition.subject, partition.key, SEED)
        self._known[known] = cause

    def _partition(self, dataset: str, vintage: str) -> Partition:
        """Return the partition of a release: of its dataset, or of the family that it is a member of."""
        for family in load_families(self._deployment.settings.definitions).values():
            key = family.key_of(dataset)
            if key is not None and self._deployment.ledger.members.of(family.id, key) is not None:
                return Partition(family.id, key)
        return Partition(dataset, vintage)


def _cause(torrent: TorrentStatus) -> str:
    if torrent.state == "damaged":
        return f"The seeder does not serve {torrent.name}: the local file differs from its torrent"
    return f"The seeder does not serve {torrent.name}: {torrent.problem}"
