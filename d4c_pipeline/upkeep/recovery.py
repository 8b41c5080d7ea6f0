"""Recovery when the archive and the ledger differ: adopt or forget records, restart or merge a draft, make all again.

A command calls each function; afterwards `d4c publish` continues. `inventory` finds the differences.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import groupby

from d4c_pipeline.archives import deposit as deposits
from d4c_pipeline.archives.edits import LastSent
from d4c_pipeline.archives.port import Draft, Listed
from d4c_pipeline.chain.adoption import ArchivedRelease, adopt_published, adopt_records, is_of, unadopted
from d4c_pipeline.chain.archived_definitions import archived_definition
from d4c_pipeline.chain.catalogue import Catalogued, rebuild
from d4c_pipeline.chain.latest import switch
from d4c_pipeline.ledger import lease_keys
from d4c_pipeline.model.addresses import CATALOGUE_PARQUET
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import (
    DefinitionError,
    IntegrityError,
    NeedsPersonError,
    PermanentError,
    StorageError,
    UnknownNameError,
)
from d4c_pipeline.model.family import Family
from d4c_pipeline.model.naming import ReleaseName
from d4c_pipeline.model.release import DepositState, PlannedRelease, PublishedRelease
from d4c_pipeline.model.version import Version
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.watch.families import member
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline.workspace.placing import ForeignBytesError
from d4c_pipeline.workspace.progress import Progress, report

# A data file: the release's name, then the name of its part if there are several.
_DATA = re.compile(r"(?P<release>.+_v\d+\.\d+\.\d+(?:-[0-9a-z.]+)?)(?:_[^/]+)?\.parquet")


@dataclass(frozen=True)
class Adopted:
    """A release adopted from the archive."""

    release: str
    doi: str


@dataclass(frozen=True)
class LeftOut:
    """A record (its DOI) or release that the recovery could not restore, with the cause and the remedy."""

    record: str
    cause: str
    remedy: str


@dataclass(frozen=True)
class Recovered:
    """The adopted releases, the records without one, and the rebuilt catalogue.

    `catalogued` is None where a store's catalogue lists a release that is left out: it stays as it is.
    """

    adopted: tuple[Adopted, ...]
    left_out: tuple[LeftOut, ...]
    catalogued: Catalogued | None


@dataclass(frozen=True)
class _Lacking:
    """A record that the ledger lacks, with the release that its manifest names."""

    dataset: str
    vintage: Vintage
    version: Version
    listed: Listed


def adopt(deployment: Deployment, dataset: Dataset) -> tuple[Adopted, ...]:
    """Adopt every published release of a dataset that the ledger lacks, then switch to the newest.

    Raises what `adopt_published` raises.
    """
    found = [
        vintage
        for listed in deployment.archive.listed()
        for vintage in _vintages(listed.names)
        if is_of(listed, dataset, vintage)
    ]
    adopted: list[PublishedRelease] = []
    for vintage in sorted(set(found)):
        with deployment.working_on(dataset, vintage) as lease:
            new = adopt_published(deployment, dataset, vintage, lease)
        adopted += new
        if new:
            switch(deployment, dataset, vintage)
    if adopted:
        rebuild(deployment, [dataset])
    return _described(deployment, adopted)


def _described(deployment: Deployment, adopted: Iterable[PublishedRelease]) -> tuple[Adopted, ...]:
    deposits = deployment.ledger.deposits
    return tuple(Adopted(release.name, str((known := deposits.of(release)) and known.doi)) for release in adopted)


def from_archive(deployment: Deployment, declared: Mapping[str, Dataset], families: Sequence[Family] = ()) -> Recovered:
    """Make ledger, stores and catalogue again from the archive's records: adopt each release that the ledger lacks.

    Safe to repeat and to kill. A dataset is declared as in `declared`, a member as its family declares it, any other
    dataset as the code in its newest record does. A record that can't be adopted is reported in the result and
    prevents no other. Raises TransientError and StorageError, after which the next call continues.
    """
    left_out: list[LeftOut] = []
    adopted: list[PublishedRelease] = []
    known: dict[str, Dataset] = {**{each.id: each for each in deployment.ledger.declarations.all()}, **declared}
    for dataset_id, records in groupby(_lacking(deployment, left_out), key=lambda each: each.dataset):
        records = list(records)  # noqa: PLW2901 - read twice
        try:
            dataset = known.get(dataset_id) or _declaration(deployment, records[-1], families)
        except (PermanentError, NeedsPersonError) as error:
            left_out += [LeftOut(each.listed.doi, error.cause, error.remedy) for each in records]
            continue
        known[dataset_id] = dataset
        for each in records:
            report(Progress(dataset_id, str(each.vintage), "adopt"))
            try:
                with deployment.working_on(dataset, each.vintage) as lease:
                    adopted += adopt_records(deployment, dataset, [each.listed], lease, each.vintage)
            except StorageError:
                raise
            except (PermanentError, NeedsPersonError) as error:
                left_out.append(LeftOut(each.listed.doi, error.cause, error.remedy))
    for release in _newest(deployment, known):
        report(Progress(release.dataset, str(release.vintage), "latest"))
        try:
            switch(deployment, known[release.dataset], release.vintage)
        except (DefinitionError, IntegrityError) as error:
            left_out.append(LeftOut(release.name, error.cause, error.remedy))
    catalogued = None
    try:
        catalogued = rebuild(deployment, list(known.values()))
    except ForeignBytesError as error:
        if not left_out:  # otherwise the reason stands there
            raise
        left_out.append(LeftOut(CATALOGUE_PARQUET, error.cause, error.remedy))
    return Recovered(_described(deployment, adopted), tuple(left_out), catalogued)


def _lacking(deployment: Deployment, left_out: list[LeftOut]) -> list[_Lacking]:
    """Return the records that the ledger lacks, by dataset, vintage and version."""
    found: list[_Lacking] = []
    for listed in unadopted(deployment):
        try:
            record = ArchivedRelease(deployment, listed)
        except StorageError:
            raise
        except (PermanentError, NeedsPersonError) as error:
            left_out.append(LeftOut(listed.doi, error.cause, error.remedy))
            continue
        found.append(_Lacking(record.dataset, record.vintage, record.version, listed))
    return sorted(found, key=lambda each: (each.dataset, each.vintage, each.version))


def _declaration(deployment: Deployment, newest: _Lacking, families: Sequence[Family]) -> Dataset:
    for family in families:
        if (key := family.key_of(newest.dataset)) is not None:
            return member(deployment, family, key)
    record = ArchivedRelease(deployment, newest.listed)
    record.check()
    return archived_definition(record)


def _newest(deployment: Deployment, known: Mapping[str, Dataset]) -> Iterator[PublishedRelease]:
    """Yield a release of each product that `/processed/` serves."""
    products: dict[tuple[str, Vintage | None], PublishedRelease] = {}
    for release in deployment.ledger.releases.published():
        if (dataset := known.get(release.dataset)) is not None:
            products[release.dataset, None if dataset.series == "rolling" else release.vintage] = release
    yield from products.values()


def edits(deployment: Deployment, release: PlannedRelease) -> tuple[str, ...]:
    """Return the fields of a planned release's draft that people edited in the archive. Raises the archive's errors."""
    draft = _draft(deployment, release)
    last = LastSent.from_json(deployment.ledger.deposits.described(release))
    return last.edited(deployment.archive.described(draft), deployment.archive.own_fields)


def decide(deployment: Deployment, release: PlannedRelease, keep: str) -> None:
    """Record which side wins in draft fields that both sides changed: `archive` or `ours`."""
    if keep not in ("archive", "ours"):
        raise PermanentError(f"'{keep}' is neither 'archive' nor 'ours'", "Choose one of the two")
    with deployment.ledger.leases.hold(lease_keys.of_vintage(release.dataset, release.vintage)):
        last = LastSent.from_json(deployment.ledger.deposits.described(release))
        deployment.ledger.deposits.describe(release, vars(replace(last, decided=keep)))


def restart(deployment: Deployment, release: PlannedRelease) -> None:
    """Delete the draft of a planned release, so that the next run opens a new draft and reserves a DOI.

    Needed when the archive raised the quota, which a draft keeps from its creation, or was reset. Raises IntegrityError
    when the release is published.
    """
    with deployment.ledger.leases.hold(lease_keys.of_vintage(release.dataset, release.vintage)) as lease:
        deposits.abandon(deployment.ledger, deployment.archive, release, careful=False, lease=lease)
        if deployment.ledger.deposits.of(release) is not None:
            deployment.ledger.deposits.advance(release, DepositState.PLANNED)
            deployment.ledger.deposits.describe(release, vars(LastSent()))


def forget_lost(deployment: Deployment, dataset: str) -> tuple[str, ...]:
    """Remove from the ledger the records of a dataset that a test archive lost, and return their DOIs.

    The next version starts a new concept there. Raises UnknownNameError when the ledger has no published release of the
    dataset, PermanentError when the archive is not a test archive: it does not lose records.
    """
    archive, ledger = deployment.archive, deployment.ledger
    if not archive.test:
        raise PermanentError(
            f"'{archive.name}' is no test archive: what is published there does not vanish", "Ask its managers"
        )
    published = ledger.releases.published(dataset)
    if not published:
        raise UnknownNameError(f"No release of a dataset '{dataset}' is published", "See 'd4c releases'")
    lost: list[str] = []
    for release in published:
        deposit = ledger.deposits.of(release)
        if deposit is None or deposit.archive != archive.name or deposit.record_id is None:
            continue
        if archive.read(deposit.record_id) is None:
            ledger.deposits.advance(release, DepositState.PUBLISHED, record_id=None, files={})
            lost.append(str(deposit.doi))
    return tuple(lost)


def _draft(deployment: Deployment, release: PlannedRelease) -> Draft:
    deposit = deployment.ledger.deposits.of(release)
    draft = deployment.archive.draft(deposit.record_id) if deposit and deposit.record_id else None
    if draft is None:
        raise UnknownNameError(f"The archive has no draft of {release.name}", "See 'd4c archive drafts'")
    return draft


def _vintages(names: frozenset[str]) -> set[Vintage]:
    found: set[Vintage] = set()
    for name in filter(None, map(_DATA.fullmatch, names)):
        with suppress(PermanentError):  # another file with such a suffix
            found.add(ReleaseName.parse(name["release"]).vintage)
    return found
