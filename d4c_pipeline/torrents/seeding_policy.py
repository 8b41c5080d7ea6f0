"""Seedable files, and the choice of files to fetch by a policy.

Listing the files (from the ledger or a catalogue) belongs to `upkeep.seedable`, seeding to `seeder.py`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from d4c_pipeline.model.seeding import FetchPolicy


@dataclass(frozen=True)
class Seedable:
    """A file that can be seeded. `size` in bytes; `copies`: the number of known copies.

    `dataset` is empty for the catalogue itself, `vintage` if the list does not state it. `torrent`: the `.torrent`,
    else `torrent_urls`: its addresses; `magnet` identifies it for peers. `path`: the complete, verified file on this
    machine, None without one.
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
    vintage: str = ""


def chosen(
    seedable: Iterable[Seedable], policy: FetchPolicy, *, held: Collection[str] = (), seeder: str = ""
) -> tuple[Seedable, ...]:
    """Return the files to fetch by `policy`, in the order of priority. Files on this machine are excluded.

    Files with the fewest copies come first; among equals files in `held` (info hashes already fetched), then an order
    that differs for every `seeder`, so that volunteers keep different files. With a budget, a file is chosen if it fits
    into the remaining budget.
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
