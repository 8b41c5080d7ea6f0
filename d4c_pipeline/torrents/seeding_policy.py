"""What a seeder is offered, and which of it a policy makes it fetch.

Where the offers come from (the ledger, a catalogue) belongs to the chain; adding them to a session to `seeding`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from d4c_pipeline.model.seeding import FetchPolicy


@dataclass(frozen=True)
class Seedable:
    """A file that can be seeded. `size` in bytes; `copies`: how many places are known to hold it.

    `dataset` is empty for the catalogue itself. `torrent`: the `.torrent`, else `torrent_urls`: where it can be had;
    `magnet` says the same to whoever has peers. `path`: where the whole, verified file lies on this machine, None when
    nowhere.
    """

    info_hash: str
    name: str
    dataset: str
    size: int
    copies: int
    magnet: str
    torrent: bytes | None = None
    torrent_urls: tuple[str, ...] = ()
    path: Path | None = None


def chosen(
    seedable: Iterable[Seedable], policy: FetchPolicy, *, held: Collection[str] = (), seeder: str = ""
) -> tuple[Seedable, ...]:
    """Return the offers without a local file that the policy wants fetched, the most wanted first.

    Those with the fewest copies come first; among equals those in `held` (info hashes that were fetched already), then
    an order that is another one for every `seeder`, so that volunteers don't all keep the same. With a budget, each is
    taken that still fits into what the ones before it leave.
    """
    absent = [entry for entry in seedable if entry.path is None]
    wanted = [entry for entry in absent if entry.dataset and (policy.everything or entry.dataset in policy.datasets)]

    def rank(entry: Seedable) -> tuple[int, bool, str]:
        lot = hashlib.sha256(f"{seeder} {entry.info_hash}".encode()).hexdigest()
        return entry.copies, entry.info_hash not in held, lot

    taken = [entry for entry in absent if not entry.dataset]
    left = policy.budget
    for entry in sorted(wanted, key=rank):
        if left is not None:
            if entry.size > left:
                continue
            left -= entry.size
        taken.append(entry)
    return tuple(taken)
