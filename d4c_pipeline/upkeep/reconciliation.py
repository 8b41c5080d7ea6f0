"""Reconciliation: the archive, the stores and the catalogue compared with the ledger, after a restore or at any time.

Each difference comes with the command that mends it. Nothing is changed and no file is read in full: that is `fixity`.
"""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import pyarrow.parquet as pq

from d4c_pipeline.chain.adoption import unadopted
from d4c_pipeline.model.addresses import CATALOGUE_PARQUET
from d4c_pipeline.model.errors import D4CError, UnknownNameError
from d4c_pipeline.model.release import DepositState
from d4c_pipeline.upkeep.fixity import expected_copies
from d4c_pipeline.upkeep.inventory import drafts
from d4c_pipeline.upkeep.verification import compare_size
from d4c_pipeline.workspace.deployment import Deployment

_FROM_ARCHIVE = "d4c catalogue rebuild --from-archive"
_KEY = ("dataset", "vintage", "version")


class Difference(StrEnum):
    """The kind of a difference, in the order in which they are mended."""

    SILENT = "no answer"
    RECORD_UNKNOWN = "record unknown to the ledger"
    CATALOGUED_UNKNOWN = "release unknown to the ledger"
    RECORD_MISSING = "record missing in the archive"
    COPY_MISSING = "copies missing or of another size"
    DRAFT_UNKNOWN = "draft without owner"
    NOT_CATALOGUED = "release missing in the catalogue"


@dataclass(frozen=True)
class Differing:
    """A difference: its kind, the record, release or store, what was found, and the command that mends it."""

    kind: Difference
    subject: str
    detail: str
    command: str


def reconcile(deployment: Deployment) -> tuple[Differing, ...]:
    """Return all differences, in the order of `Difference`. An archive or store that does not answer is one."""
    order = list(Difference)
    found = [*_archive(deployment), *_stores(deployment), *_catalogue(deployment)]
    return tuple(sorted(found, key=lambda each: order.index(each.kind)))


def _archive(deployment: Deployment) -> Iterator[Differing]:
    archive = deployment.archive
    try:
        there = {listed.record_id for listed in archive.listed()}
        for listed in unadopted(deployment):
            detail = "published there after the backup, or by another home"
            yield Differing(Difference.RECORD_UNKNOWN, listed.doi, detail, _FROM_ARCHIVE)
        for draft in drafts(deployment).orphans:
            detail = "publish or delete it there, unless its release was planned after the backup: publishing finds it"
            yield Differing(Difference.DRAFT_UNKNOWN, draft.url or draft.record_id, detail, "d4c archive drafts")
    except D4CError as error:
        yield Differing(Difference.SILENT, archive.name, error.cause, "d4c doctor")
        return
    for deposit in deployment.ledger.deposits.all():
        if deposit.state is not DepositState.PUBLISHED or deposit.archive != archive.name:
            continue
        if deposit.record_id is not None and deposit.record_id not in there:
            release = deployment.ledger.releases.get(deposit.release_id)
            detail = f"{deposit.doi} is published by the ledger, and the archive does not list it"
            command = f"d4c archive forget {release.dataset}" if archive.test else f"d4c archive verify {deposit.doi}"
            yield Differing(Difference.RECORD_MISSING, release.name, detail, command)


def _stores(deployment: Deployment) -> Iterator[Differing]:
    copies = [copy for copy in expected_copies(deployment) if copy.kind.is_stored]
    for store in deployment.stores:
        here = [copy for copy in copies if copy.place == store.name]
        lost: dict[str, str] = {}
        try:
            for copy in here:
                found = compare_size(store, copy)
                if found.state.is_lost:
                    lost[copy.address] = found.detail
        except D4CError as error:
            yield Differing(Difference.SILENT, f"store {store.name}", error.cause, "d4c doctor")
            continue
        if lost:
            address, detail = next(iter(lost.items()))
            stated = f"{len(lost)} of {len(here)}, such as {address}: {detail}"
            # An audit takes a store that lost everything for an unmounted disk, until a person says otherwise.
            refill = len(lost) == len(here)
            command = f"d4c repair --refill {store.name}" if refill else "d4c verify, then d4c repair"
            yield Differing(Difference.COPY_MISSING, f"store {store.name}", stated, command)


def _catalogue(deployment: Deployment) -> Iterator[Differing]:
    published = {
        (each.dataset, str(each.vintage), str(each.version)) for each in deployment.ledger.releases.published()
    }
    store = deployment.primary
    try:
        content = store.read_bytes(CATALOGUE_PARQUET)
    except UnknownNameError:
        content = b""
    except D4CError as error:
        yield Differing(Difference.SILENT, f"store {store.name}", error.cause, "d4c doctor")
        return
    listed: set[tuple[str, ...]] = set()
    if content:
        columns = pq.read_table(io.BytesIO(content), columns=list(_KEY)).to_pydict()
        listed = set(zip(*(map(str, columns[name]) for name in _KEY), strict=True))
    for kind, differing, command in (
        (Difference.CATALOGUED_UNKNOWN, listed - published, _FROM_ARCHIVE),
        (Difference.NOT_CATALOGUED, published - listed, "d4c catalogue rebuild"),
    ):
        by_dataset = defaultdict[str, list[str]](list)
        for dataset, vintage, number in sorted(differing):
            by_dataset[dataset].append(f"{vintage} v{number}")
        for dataset, names in by_dataset.items():
            more = f" and {len(names) - 3} more" if names[3:] else ""
            yield Differing(kind, dataset, f"{', '.join(names[:3])}{more}", command)
