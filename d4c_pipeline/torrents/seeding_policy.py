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
class Offer:
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
    offers: Iterable[Offer], policy: FetchPolicy, *, held: Collection[str] = (), seeder: str = ""
) -> tuple[Offer, ...]:
    """Return the offers without a local file that the policy wants fetched, the most wanted first.

    Those with the fewest copies come first; among equals those in `held` (info hashes that were fetched already), then
    an order that is another one for every `seeder`, so that volunteers don't all keep the same. With a budget, each is
    taken that still fits into what the ones before it leave.
    """
    absent = [offer for offer in offers if offer.path is None]
    wanted = [offer for offer in absent if offer.dataset and (policy.everything or offer.dataset in policy.datasets)]

    def rank(offer: Offer) -> tuple[int, bool, str]:
        lot = hashlib.sha256(f"{seeder} {offer.info_hash}".encode()).hexdigest()
        return offer.copies, offer.info_hash not in held, lot

    taken = [offer for offer in absent if not offer.dataset]
    left = policy.budget
    for offer in sorted(wanted, key=rank):
        if left is not None:
            if offer.size > left:
                continue
            left -= offer.size
        taken.append(offer)
    return tuple(taken)
