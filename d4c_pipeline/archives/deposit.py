"""The deposit of a release in an archive: `planned -> draft_open -> doi_reserved -> files_synced -> verified ->
(awaiting_review) -> publishing -> published`, over the ledger and any archive.

Every step compares ledger and archive first and does only the missing work, so a crash at any point and another run end
in exactly one published record. The caller supplies metadata and files.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Unpack

from d4c_pipeline.archives import deposit_errors
from d4c_pipeline.archives.deposit_files import RecordFiles
from d4c_pipeline.archives.edits import LastSent, merge
from d4c_pipeline.archives.port import (
    Archive,
    Draft,
    PublishedRecord,
    conflict,
    several_drafts,
)
from d4c_pipeline.ledger import Ledger, lease_keys
from d4c_pipeline.ledger.leases import Lease
from d4c_pipeline.ledger.publications import DepositFacts
from d4c_pipeline.metadata.record import RecordMetadata
from d4c_pipeline.model.errors import (
    AwaitingReviewError,
    BusyError,
    IntegrityError,
    NeedsPersonError,
    PermanentError,
    TransientError,
    UnknownNameError,
)
from d4c_pipeline.model.release import Deposit, DepositState, PlannedRelease, PublishedRelease, Release

_NO_RECORD: DepositFacts = {
    "record_id": None,
    "concept_id": None,
    "doi": None,
    "concept_doi": None,
    "url": None,
    "files": {},
}


def reserve(
    ledger: Ledger,
    archive: Archive,
    release: PlannedRelease,
    metadata: RecordMetadata,
    *,
    previous: Deposit | None = None,
    joining: str | None = None,
    lease: Lease | None = None,
) -> Deposit:
    """Open a draft for a release and reserve its DOI. `abandon` undoes it.

    `previous` is the published deposit of the vintage's newest release, None for a first release, which becomes a new
    version of the archive's record `joining` if that is given. `lease` is the caller's lease on the vintage; without
    it, this function takes one. Raises NeedsPersonError if the archive has several drafts of the release or a foreign
    draft in its concept, and the archive's errors.
    """
    if metadata.identifier != release.identifier:
        raise ValueError(f"the metadata belong to {metadata.identifier}, not to {release.identifier}")
    if previous is not None and previous.state is not DepositState.PUBLISHED:
        raise ValueError(f"the previous deposit is {previous.state}, a new version requires a published deposit")
    with _held(ledger, release, lease) as held:
        current = _current(ledger, release)
        if isinstance(current, PublishedRelease):
            return published_deposit(ledger, archive, current)
        return _Depositing(ledger, archive, current, held).reserve(metadata, previous, joining)


def complete(
    ledger: Ledger,
    archive: Archive,
    release: PlannedRelease,
    files: Mapping[str, Path],
    metadata: RecordMetadata,
    *,
    approval: Callable[[], None] | None = None,
    lease: Lease | None = None,
) -> Deposit:
    """Upload the files (artifact name -> staged file) of a release to its draft, verify them there, publish.

    The record holds exactly the artifacts that the ledger has for the release. `approval` is called once all files are
    verified in the draft (earlier for an archive that reads our stores, where a release in review is not public), and
    makes the release public. If it raises AwaitingReviewError, the deposit waits as `awaiting_review`, and a later run
    calls it again. Raises that error, PermanentError if no DOI is reserved (or the archive lost the draft with its DOI:
    artifacts name the DOI, so they must be built again), IntegrityError if bytes differ from the ledger's, and the
    archive's errors.
    """
    if metadata.identifier != release.identifier:
        raise ValueError(f"the metadata belong to {metadata.identifier}, not to {release.identifier}")
    with _held(ledger, release, lease) as held:
        current = _current(ledger, release)
        if isinstance(current, PublishedRelease):
            return published_deposit(ledger, archive, current)
        return _Depositing(ledger, archive, current, held).complete(files, metadata, approval)


def abandon(
    ledger: Ledger, archive: Archive, release: PlannedRelease, *, careful: bool = True, lease: Lease | None = None
) -> None:
    """Delete the draft of a release that a newer build replaces. Raises IntegrityError if it is already published.

    `careful`: raises NeedsPersonError if people edited the draft's metadata at the archive.
    """
    with _held(ledger, release, lease) as held:
        current = ledger.releases.get(release.id)
        if isinstance(current, PublishedRelease):
            raise deposit_errors.is_published(current, published_deposit(ledger, archive, current).doi)
        if isinstance(current, PlannedRelease):
            _Depositing(ledger, archive, current, held).abandon(careful=careful)


def published_deposit(ledger: Ledger, archive: Archive, release: PublishedRelease) -> Deposit:
    """Return the deposit of a published release, which no call changes any more.

    Raises NeedsPersonError when another archive published the release, or the ledger has no deposit of it.
    """
    deposit = ledger.deposits.of(release)
    if deposit is None:
        raise NeedsPersonError(
            f"The ledger has no deposit of the published release {release.name}",
            f"Run 'd4c archive adopt {release.dataset}', which takes over what the archive has published",
        )
    return _of_archive(archive, release, deposit)


def _current(ledger: Ledger, release: PlannedRelease) -> PlannedRelease | PublishedRelease:
    """Return a release as the ledger has it now, under the lease: with its later artifacts, or published."""
    current = ledger.releases.get(release.id)
    if not isinstance(current, PlannedRelease | PublishedRelease):
        raise PermanentError(f"Release {release.name} was abandoned", "Run again: it plans a new release")
    return current


def _of_archive(archive: Archive, release: Release, deposit: Deposit) -> Deposit:
    if deposit.archive != archive.name:
        raise NeedsPersonError(
            f"The deposit of {release.name} is in archive '{deposit.archive}', not '{archive.name}'",
            "Configure that archive to complete or abandon the deposit",
        )
    return deposit


@contextmanager
def _held(ledger: Ledger, release: PlannedRelease, lease: Lease | None) -> Generator[Lease, None, None]:
    if lease is not None:
        yield lease
        return
    with ledger.leases.hold(lease_keys.of_vintage(release.dataset, release.vintage)) as own:
        yield own


class _Depositing:
    """One run over one deposit, under its lease."""

    def __init__(self, ledger: Ledger, archive: Archive, release: PlannedRelease, lease: Lease) -> None:
        self._ledger, self._archive, self._lease = ledger, archive, lease
        self._release = release
        self._files = RecordFiles(archive, release)

    def reserve(self, metadata: RecordMetadata, previous: Deposit | None, joining: str | None) -> Deposit:
        deposit = self._open_deposit()
        if deposit.state is DepositState.PUBLISHED:
            return deposit
        found = self._locate(deposit) or self._open_draft(deposit, metadata, previous, joining)
        if isinstance(found, PublishedRecord):
            return self._record_published(found)
        if deposit.state.rank >= DepositState.DOI_RESERVED.rank and found.doi is not None and found.doi == deposit.doi:
            return deposit
        return self._reserve_doi(self._describe(found, metadata))

    def complete(
        self, files: Mapping[str, Path], metadata: RecordMetadata, approval: Callable[[], None] | None
    ) -> Deposit:
        deposit = self._open_deposit()
        if deposit.state is DepositState.PUBLISHED:
            return deposit
        self._files.check_staged(files)
        found = self._locate(deposit)
        if isinstance(found, PublishedRecord):
            return self._record_published(found, exact=True)
        if found is None or found.doi is None or found.doi != deposit.doi:
            raise self._lost(deposit, found)
        draft = self._describe(found, metadata)
        if approval is not None and self._archive.reads_stores:
            self._ask(approval)
        self._files.sync(draft, files, importing=self._repeats_files())
        self._reach(DepositState.FILES_SYNCED)
        self._files.check(draft.record_id, self._archive.list_files(draft))
        self._reach(DepositState.VERIFIED)
        if approval is not None and not self._archive.reads_stores:
            self._ask(approval)
        return self._publish(draft)

    def abandon(self, *, careful: bool) -> None:
        deposit = self._ledger.deposits.of(self._release)
        if deposit is None:
            return
        self._await_search(_of_archive(self._archive, self._release, deposit))
        found = self._locate(deposit) or self._archive.find_published(self._release.identifier)
        if isinstance(found, PublishedRecord):
            self._record_published(found)
            raise deposit_errors.is_published(self._release, found.doi)
        if careful and isinstance(found, Draft):
            self._refuse_edited(found)
        # Also drafts of a crash between the creation of a draft and the record of its id.
        for draft in (*([found] if found else []), *self._archive.find_drafts(self._release.identifier)):
            self._archive.discard(draft)
        self._advance(DepositState.ABANDONED, **_NO_RECORD)

    def _refuse_edited(self, draft: Draft) -> None:
        last = LastSent.from_json(self._ledger.deposits.described(self._release))
        edited = last.edited(self._archive.described(draft), self._archive.own_fields)
        if edited and last.decided != "ours":
            raise deposit_errors.edited(self._release, draft, edited)

    # Steps

    def _open_deposit(self) -> Deposit:
        opened = self._ledger.deposits.open(self._release, self._archive.name, test=self._archive.test)
        return _of_archive(self._archive, self._release, opened)

    def _locate(self, deposit: Deposit) -> Draft | PublishedRecord | None:
        """Return the ledger's record as the archive has it: a draft, published, or None if gone."""
        if deposit.record_id is None:
            return None
        if deposit.state is DepositState.PUBLISHING:
            record = self._archive.read(deposit.record_id)
            if record is not None:
                return record
        # In this order: a draft may become a record in between, but not the reverse.
        return self._archive.draft(deposit.record_id) or self._archive.read(deposit.record_id)

    def _open_draft(
        self, deposit: Deposit, metadata: RecordMetadata, previous: Deposit | None, joining: str | None
    ) -> Draft | PublishedRecord:
        """Adopt the draft or record of an earlier run, or open a draft. Its id goes to the ledger at once."""
        identifier = self._release.identifier
        self._await_search(deposit)
        own = self._archive.find_drafts(identifier)
        record = self._archive.find_published(identifier)  # after the drafts: see `_locate`
        if record is not None:
            return record
        if len(own) > 1:
            raise several_drafts(self._release.name, own)
        draft_requested = deposit.state is DepositState.DRAFT_OPEN and deposit.record_id is None
        later = None if previous is None or previous.archive != self._archive.name else previous.record_id
        later = later or (joining if previous is None else None)
        there_before = not own and later is not None and self._archive.has_open_version(later)
        if there_before and later is not None and not draft_requested:
            # Before the ledger records our request for a draft: the next run must not mistake this draft for ours.
            raise deposit_errors.foreign_draft(self._release, self._archive.new_version(later))
        self._lease.renew()
        self._advance(DepositState.DRAFT_OPEN, **_NO_RECORD)
        if own:
            draft = own[0]
        elif later is not None:
            draft = self._open_version(later, previous, there_before=there_before)
        else:
            draft = self._create_draft(metadata)
        self._advance(DepositState.DRAFT_OPEN, **{**_facts_of(draft), "doi": None, "files": {}})
        return draft

    def _create_draft(self, metadata: RecordMetadata) -> Draft:
        draft = self._archive.create_draft(metadata)
        try:
            self._lease.renew()
        except BusyError:
            # The call outlived the lease: another worker has the release by now, with its own draft.
            self._archive.discard(draft)
            raise
        return draft

    def _open_version(self, record_id: str, previous: Deposit | None, *, there_before: bool) -> Draft:
        """Open the next version of a record. `there_before`: a draft is open that an earlier run requested.

        Its metadata start as a copy of the previous version, with the changes of curators.
        """
        try:
            draft = self._archive.new_version(record_id)
        except UnknownNameError as error:
            raise deposit_errors.record_gone(self._archive, self._release, error.cause) from error
        # A new draft carries the identifier of the previous version, and no files.
        before = None if previous is None else self._ledger.releases.get(previous.release_id).identifier
        foreign = draft.identifier not in (None, self._release.identifier, before) and not self._is_published(draft)
        if foreign or (there_before and self._archive.list_files(draft)):
            raise deposit_errors.foreign_draft(self._release, draft)
        if previous is not None:
            known = LastSent.from_json(self._ledger.deposits.described(self._ledger.releases.get(previous.release_id)))
            self._ledger.deposits.describe(self._release, vars(LastSent(known.sent, known.base, known.kept)))
        return draft

    def _is_published(self, draft: Draft) -> bool:
        """Return whether the identifier of a new version belongs to a published record, its origin."""
        return self._archive.find_published(str(draft.identifier)) is not None

    def _await_search(self, deposit: Deposit) -> None:
        """Wait until a search finds the draft that an earlier run requested before it died without the id."""
        if deposit.state is DepositState.DRAFT_OPEN and deposit.record_id is None:
            time.sleep(self._archive.search_lag)

    def _describe(self, draft: Draft, metadata: RecordMetadata) -> Draft:
        """Send the metadata, except for fields that people changed at the archive since the last request.

        Raises NeedsPersonError with the fields that both sides changed.
        """
        deposits, ours = self._ledger.deposits, self._archive.spelled(metadata)
        last = LastSent.from_json(deposits.described(self._release))
        merged = merge(last, self._archive.described(draft), ours, own=self._archive.own_fields)
        if merged.conflicts:
            raise conflict(self._release.name, draft, merged.conflicts)
        if merged.keep:
            deposits.note_edits(self._release, merged.keep)
        deposits.describe(self._release, vars(replace(last, pending={**ours, **merged.keep})))
        described = self._archive.put_metadata(draft, metadata, keep=merged.keep)
        deposits.describe(self._release, vars(last.after(ours, self._archive.described(described), merged)))
        return described

    def _reserve_doi(self, draft: Draft) -> Deposit:
        reserved = self._archive.reserve_doi(draft)
        return self._advance(DepositState.DOI_RESERVED, **_facts_of(reserved))

    def _repeats_files(self) -> bool:
        """Return whether the previous version has any of the release's files under the same name."""
        before = self._ledger.releases.newest_published(self._release.dataset, self._release.vintage)
        ours = {(artifact.name, artifact.sha256) for artifact in self._release.artifacts}
        return before is not None and any((artifact.name, artifact.sha256) in ours for artifact in before.artifacts)

    def _ask(self, approval: Callable[[], None]) -> None:
        try:
            approval()
        except AwaitingReviewError:
            self._advance(DepositState.AWAITING_REVIEW)
            raise

    def _publish(self, draft: Draft) -> Deposit:
        self._advance(DepositState.PUBLISHING)
        self._lease.renew()  # a process that lost its lease stops here: the next call can't be undone
        published = self._archive.publish(draft)
        record = self._archive.read(published.record_id)
        if record is None:
            raise TransientError(f"The archive does not show record {draft.record_id} yet", "Run again in a while")
        return self._record_published(record, exact=True)

    def _record_published(self, record: PublishedRecord, *, exact: bool = False) -> Deposit:
        """Record a published record in the ledger, after a check of its files."""
        self._files.check(record.record_id, record.files, exact=exact)
        known = self._ledger.deposits.of(self._release)
        if known is not None and known.doi not in (None, record.doi):
            raise IntegrityError(
                f"Record {record.record_id} is published as {record.doi}, but its files state the reserved {known.doi}",
                "Publish a new version, whose files state its own DOI",
            )
        addresses = {file.name: self._archive.file_url(record.record_id, file.name) for file in record.files}
        files = {name: address for name, address in addresses.items() if address is not None}
        return self._advance(DepositState.PUBLISHED, **{**_facts_of(record), "files": files})

    # Shared by the steps

    def _advance(self, state: DepositState, **facts: Unpack[DepositFacts]) -> Deposit:
        return self._ledger.deposits.advance(self._release, state, **facts)

    def _reach(self, state: DepositState) -> None:
        """Advance to a state; a deposit in a later state stays there."""
        known = self._ledger.deposits.of(self._release)
        if known is None or known.state.rank < state.rank:
            self._advance(state)

    def _lost(self, deposit: Deposit, draft: Draft | None) -> PermanentError:
        """Return the error for a deposit without a usable draft, and reset it so that `reserve` opens another draft."""
        if deposit.record_id is not None and draft is None:
            self._advance(DepositState.PLANNED, **_NO_RECORD)
            cause = f"The archive no longer has the draft {deposit.record_id} of {self._release.name}"
        else:
            cause = f"Release {self._release.name} has no reserved DOI"
        return PermanentError(
            cause,
            f"Run 'd4c publish {self._release.dataset} --vintage {self._release.vintage}': it reserves a DOI "
            "and rebuilds the files that state it",
        )


def _facts_of(found: Draft | PublishedRecord) -> DepositFacts:
    return {
        "record_id": found.record_id,
        "concept_id": found.concept_id,
        "doi": found.doi,
        "concept_doi": found.concept_doi,
        "url": found.url,
    }
