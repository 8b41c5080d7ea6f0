"""Reconciliation: archive, stores, catalogue, torrents and portal compared with the ledger, daily or after a restore.

Each difference comes with the command that mends it. Nothing is changed and no data file is read in full: that is
`fixity`. Files that nobody knows are found by `extra_files`.
"""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from d4c_pipeline.chain.adoption import unadopted
from d4c_pipeline.chain.catalogue_copies import lost_files
from d4c_pipeline.chain.versions import rank
from d4c_pipeline.model.addresses import CATALOGUE_PARQUET
from d4c_pipeline.model.errors import D4CError, UnknownNameError
from d4c_pipeline.model.release import DepositState, PublishedRelease
from d4c_pipeline.portal.state import NAME as STATE_NAME
from d4c_pipeline.portal.state import State
from d4c_pipeline.sources.dating import is_ahead
from d4c_pipeline.stores.port import Store
from d4c_pipeline.upkeep.extra_files import FROM_ARCHIVE, NATIVE, HeldTorrents, extra_files, held_torrents
from d4c_pipeline.upkeep.fixity import expected_copies
from d4c_pipeline.upkeep.inventory import drafts
from d4c_pipeline.upkeep.verification import compare_size
from d4c_pipeline.workspace.deployment import Deployment, portal_folder

_KEY = ("dataset", "vintage", "version")
_FACTS = ("doi", "withdrawn_reason", "sha256", "d4c:parts")


class Difference(StrEnum):
    """The kind of a difference, in the order in which they are mended."""

    SILENT = "no answer"
    RECORD_UNKNOWN = "record unknown to the ledger"
    CATALOGUED_UNKNOWN = "release unknown to the ledger"
    RECORD_MISSING = "record missing in the archive"
    COPY_MISSING = "copies missing or of another size"
    DRAFT_UNKNOWN = "draft without owner"
    NOT_CATALOGUED = "release missing in the catalogue"
    CATALOGUED_OTHERWISE = "release with other facts in the catalogue"
    CATALOGUE_FILES = "catalogue files missing or of another size"
    NOT_LATEST = "latest release not served"
    PAGES = "pages missing in the portal"
    PAGES_UNKNOWN = "pages of an unknown dataset"
    EXTRA = "files unknown to the ledger"
    NATIVE_UNKNOWN = "native files unknown to the ledger"
    TORRENT = "torrents missing or damaged"

    @property
    def is_note(self) -> bool:
        """Whether it may stay for good: no release lacks anything by it, and its command may not be able to mend it."""
        return self is Difference.NATIVE_UNKNOWN


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
    primary = deployment.primary
    silent: list[Differing] = []
    torrents = HeldTorrents({}, frozenset())
    try:
        torrents = held_torrents(deployment)  # one request each, so they are read once
    except D4CError as error:
        silent.append(Differing(Difference.SILENT, f"store {primary.name}", error.cause, "d4c doctor"))
    found = [
        *_archive(deployment),
        *_stores(deployment, torrents),
        *_catalogue(deployment),
        *(silent or _torrents(deployment, torrents)),
        *_latest(deployment),
        *_portal(deployment),
    ]
    return tuple(sorted(found, key=lambda each: order.index(each.kind)))


def _archive(deployment: Deployment) -> Iterator[Differing]:
    archive = deployment.archive
    try:
        there = {listed.record_id for listed in archive.listed()}
        for listed in unadopted(deployment):
            detail = "published there after the backup, or by another home"
            yield Differing(Difference.RECORD_UNKNOWN, listed.doi, detail, FROM_ARCHIVE)
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


def _stores(deployment: Deployment, torrents: HeldTorrents) -> Iterator[Differing]:
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
        try:
            extra = extra_files(deployment, store, torrents=torrents)
            lost_of_catalogue = lost_files(deployment, store)
            if store is deployment.primary:
                lost_of_catalogue.pop(CATALOGUE_PARQUET, None)  # `_catalogue` reads it
        except D4CError as error:
            yield Differing(Difference.SILENT, f"store {store.name}", error.cause, "d4c doctor")
            continue
        yield from _extra(store, extra)
        if lost_of_catalogue:
            address, detail = next(iter(lost_of_catalogue.items()))
            stated = f"{len(lost_of_catalogue)}, such as {address}: {detail}"
            command = "d4c catalogue rebuild --missing"
            yield Differing(Difference.CATALOGUE_FILES, f"store {store.name}", stated, command)
        if lost:
            address, detail = next(iter(lost.items()))
            stated = f"{len(lost)} of {len(here)}, such as {address}: {detail}"
            # An audit takes a store that lost everything for an unmounted disk, until a person says otherwise.
            refill = len(lost) == len(here)
            command = f"d4c repair --refill {store.name}" if refill else "d4c verify, then d4c repair"
            yield Differing(Difference.COPY_MISSING, f"store {store.name}", stated, command)


def _extra(store: Store, extra: Sequence[str]) -> Iterator[Differing]:
    """Yield the differences of files that the ledger does not know."""
    others = [address for address in extra if not address.startswith(NATIVE)]
    if others:
        yield Differing(
            Difference.EXTRA,
            f"store {store.name}",
            f"{_some(others)}: left by a killed process or put by hand. If another home publishes into this store, "
            "they may be its files: leave them",
            f"d4c reconcile --set-aside {store.name}",
        )
    by_vintage = defaultdict[tuple[str, str], list[str]](list)
    for address in extra:
        if address not in others:
            _, dataset, vintage, *_ = *address.split("/"), "", ""
            by_vintage[dataset, vintage].append(address)
    for (dataset, vintage), addresses in by_vintage.items():
        detail = (
            f"{_some(addresses)}: of a release adopted from the archive, or of a fetch that was killed. Publishing "
            "records those that the source still serves; the others stay unknown, which harms nothing"
        )
        yield Differing(
            Difference.NATIVE_UNKNOWN, f"store {store.name}", detail, f"d4c publish {dataset} --vintage {vintage}"
        )


def _catalogue(deployment: Deployment) -> Iterator[Differing]:
    ledger = deployment.ledger
    deposits = {each.release_id: each for each in ledger.deposits.all()}
    published: dict[tuple[str, ...], tuple[Any, ...]] = {
        (each.dataset, str(each.vintage), str(each.version)): (
            deposit.doi if (deposit := deposits.get(each.id)) else None,
            each.withdrawn.reason if each.withdrawn else None,
            sorted(file.sha256 for file in each.data_files),
        )
        for each in ledger.releases.published()
    }
    store = deployment.primary
    try:
        content = store.read_bytes(CATALOGUE_PARQUET)
    except UnknownNameError:
        content = b""
    except D4CError as error:
        yield Differing(Difference.SILENT, f"store {store.name}", error.cause, "d4c doctor")
        return
    listed = _listed(content)
    otherwise = {key for key in listed.keys() & published.keys() if listed[key] != published[key]}
    for kind, differing, command in (
        (Difference.CATALOGUED_UNKNOWN, listed.keys() - published.keys(), FROM_ARCHIVE),
        (Difference.NOT_CATALOGUED, published.keys() - listed.keys(), "d4c catalogue rebuild"),
        (Difference.CATALOGUED_OTHERWISE, otherwise, "d4c catalogue rebuild"),
    ):
        by_dataset = defaultdict[str, list[str]](list)
        for dataset, vintage, number in sorted(differing):
            by_dataset[dataset].append(f"{vintage} v{number}")
        for dataset, names in by_dataset.items():
            yield Differing(kind, dataset, _some(names), command)


def _listed(content: bytes) -> dict[tuple[str, ...], tuple[Any, ...]]:
    """Return the key -> facts of the releases in a catalogue; none of a damaged one, or one of an earlier form."""
    try:
        file = pq.ParquetFile(io.BytesIO(content))
        if not {*_KEY, *_FACTS} <= set(file.schema_arrow.names):
            return {}
        rows: list[dict[str, Any]] = file.read(columns=[*_KEY, *_FACTS]).to_pylist()
    except (pa.ArrowException, OSError):  # empty and truncated files too; a rebuild replaces the file
        return {}
    return {
        tuple(str(row[name]) for name in _KEY): (
            row["doi"],
            row["withdrawn_reason"],
            sorted(str(part.get("sha256")) for part in row["d4c:parts"] or ()) or [row["sha256"]],
        )
        for row in rows
    }


def _torrents(deployment: Deployment, held: HeldTorrents) -> Iterator[Differing]:
    """Find the torrents that the primary store lacks or holds damaged; others in their place are extra files."""
    ledger, store = deployment.ledger, deployment.primary
    wrong: list[str] = []
    for release in ledger.releases.published():
        torrents = ledger.publications.torrents(release)
        for file in release.data_files:
            torrent = torrents.get(file.name)
            if torrent is None:
                wrong.append(f"{file.name}: the ledger has no torrent")
            elif torrent.address in held.missing:
                wrong.append(f"{torrent.address}: missing")
            # A torrent published after the reading has no entry.
            elif held.info_hashes.get(torrent.address, "") is None:
                wrong.append(f"{torrent.address}: no torrent")
    if wrong:
        yield Differing(Difference.TORRENT, f"store {store.name}", _some(wrong), "d4c torrents reissue")


def _latest(deployment: Deployment) -> Iterator[Differing]:
    """Find the datasets whose newest release that stands, in the order of `versions`, is not served at `/processed/`.

    A rolling series serves no other release, and editions serve one release of each vintage.
    """
    ledger = deployment.ledger
    served = set(ledger.publications.latest().values())
    standing = defaultdict[str, list[PublishedRelease]](list)
    for release in ledger.releases.published():  # by vintage and version
        if release.withdrawn is None:
            standing[release.dataset].append(release)
    # The declaration decides about vintages in the future alone.
    ahead = [dataset for dataset, releases in standing.items() if is_ahead(releases[-1].vintage.start)]
    declared = ledger.declarations.of_many(ahead)
    for dataset, releases in standing.items():
        known = declared.get(dataset)
        release = max(releases, key=partial(rank, known)) if known is not None else releases[-1]
        if release.id not in served:
            yield Differing(
                Difference.NOT_LATEST,
                release.dataset,
                f"/processed/ does not serve {release.name}",
                f"d4c publish {release.dataset} --vintage {release.vintage}",
            )


def _portal(deployment: Deployment) -> Iterator[Differing]:
    published = {release.dataset for release in deployment.ledger.releases.published()}
    folder = portal_folder(deployment.settings.home)
    if not (folder / STATE_NAME).is_file():
        if published:
            yield Differing(Difference.PAGES, "portal", "it was not built in this home", "d4c portal build")
        return
    with State(folder) as state:
        built = set(state.marks())
        lost = [
            file for dataset in sorted({*built, ""}) for file in state.pages(dataset) if not (folder / file).exists()
        ]
    if missing := sorted(published - built):
        yield Differing(Difference.PAGES, "portal", _some(missing), "d4c portal build")
    if lost:
        command = f"rm {folder / STATE_NAME}, then d4c portal build"
        yield Differing(Difference.PAGES, "portal", f"{_some(lost)} were built and are gone", command)
    if unknown := sorted(built - published):
        yield Differing(Difference.PAGES_UNKNOWN, "portal", _some(unknown), "d4c portal build")


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if names[3:] else ""
    return f"{', '.join(names[:3])}{more}"
