"""The way of a release into an archive: `planned -> draft_open -> doi_reserved -> files_synced -> verified ->
(awaiting_review) -> publishing -> published`, over the ledger and any archive.

Every step looks at both sides first and does only what is missing, so that a crash anywhere and a run again end in
exactly one published record. Which metadata and files make up a release is decided by the caller.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Unpack

from d4c_pipeline.archives.deposit_files import RecordFiles
from d4c_pipeline.archives.edits import LastSent, merge
from d4c_pipeline.archives.port import (
    Archive,
    Draft,
    PublishedRecord,
    conflict,
    draft_names,
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
from d4c_pipeline.model.release import Deposit, DepositState, Release, ReleaseState

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
    release: Release,
    metadata: RecordMetadata,
    *,
    previous: Deposit | None = None,
    joining: str | None = None,
    lease: Lease | None = None,
) -> Deposit:
    """Open a draft for a release and reserve its DOI; undoable by `abandon`.

    `previous` is the published deposit of the vintage's newest release, None for a first one; such a one becomes a new
    version of the archive's record `joining`, where that is given. `lease` is the one
    that the caller holds on the vintage; without it, one is taken here. Raises NeedsPersonError when the archive has
    several drafts of the release or a foreign one in its concept, and what the archive raises.
    """
    if metadata.identifier != release.identifier:
        raise ValueError(f"the metadata are those of {metadata.identifier}, not of {release.identifier}")
    if previous is not None and previous.state is not DepositState.PUBLISHED:
        raise ValueError(f"the previous deposit is {previous.state}, a new version needs a published one")
    with _held(ledger, release, lease) as held:
        return _Depositing(ledger, archive, release, held).reserve(metadata, previous, joining)


def complete(
    ledger: Ledger,
    archive: Archive,
    release: Release,
    files: Mapping[str, Path],
    metadata: RecordMetadata,
    *,
    approval: Callable[[], None] | None = None,
    lease: Lease | None = None,
) -> Deposit:
    """Bring the files (artifact name -> staged file) of a release into its draft, verify them there, publish.

    The record holds exactly the artifacts that the ledger has for the release. `approval` is asked when everything
    stands verified in the draft (of an archive that reads our stores, before that: what waits is not public there), and
    makes the release public; when it raises AwaitingReviewError, the deposit waits as `awaiting_review`, and a
    later run asks again and goes on. Raises that error, PermanentError when no DOI is reserved (or the archive lost the
    draft, which takes its DOI with it: artifacts name the DOI, so they have to be built again), IntegrityError when
    bytes differ from the ledger's, and what the archive raises.
    """
    if metadata.identifier != release.identifier:
        raise ValueError(f"the metadata are those of {metadata.identifier}, not of {release.identifier}")
    with _held(ledger, release, lease) as held:
        return _Depositing(ledger, archive, release, held).complete(files, metadata, approval)


def abandon(
    ledger: Ledger, archive: Archive, release: Release, *, careful: bool = True, lease: Lease | None = None
) -> None:
    """Delete the draft of a release that was overtaken. Raises IntegrityError when it is published already.

    `careful`: raises NeedsPersonError when people edited the draft's metadata at the archive.
    """
    with _held(ledger, release, lease) as held:
        _Depositing(ledger, archive, release, held).abandon(careful=careful)


@contextmanager
def _held(ledger: Ledger, release: Release, lease: Lease | None) -> Generator[Lease, None, None]:
    if lease is not None:
        yield lease
        return
    with ledger.leases.hold(lease_keys.of_vintage(release.dataset, release.vintage)) as own:
        yield own


class _Depositing:
    """One run over one deposit, its lease held."""

    def __init__(self, ledger: Ledger, archive: Archive, release: Release, lease: Lease) -> None:
        self._ledger, self._archive, self._lease = ledger, archive, lease
        self._release = ledger.releases.get(release.id)  # artifacts may have been added since the caller's look
        self._files = RecordFiles(archive, self._release)

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
        self._await_search(self._check_archive(deposit))
        found = self._locate(deposit) or self._archive.find_published(self._release.identifier)
        if isinstance(found, PublishedRecord):
            self._record_published(found)
            raise IntegrityError(
                f"Release {self._release.name} is published as {found.doi} and can't be abandoned",
                "Publish a new version",
            )
        if careful and isinstance(found, Draft):
            self._refuse_edited(found)
        # Also what a crash left behind between the creation of a draft and the note of its id.
        for draft in (*([found] if found else []), *self._archive.find_drafts(self._release.identifier)):
            self._archive.discard(draft)
        self._advance(DepositState.ABANDONED, **_NO_RECORD)

    def _refuse_edited(self, draft: Draft) -> None:
        last = LastSent.from_json(self._ledger.deposits.described(self._release))
        edited = last.edited(self._archive.described(draft), self._archive.own_fields)
        if edited and last.decided != "ours":
            raise NeedsPersonError(
                f"The draft of {self._release.name} was edited at the archive ({draft_names([draft])}: "
                f"{', '.join(edited)}), and a newer build takes its place",
                "Put into the dataset's YAML what shall stay, say so with 'd4c archive edits "
                f"{self._release.name} --keep ours', then run again",
            )

    # Steps

    def _open_deposit(self) -> Deposit:
        if self._release.state is ReleaseState.ABANDONED:
            raise PermanentError(f"Release {self._release.name} was abandoned", "Run again: a new one is planned")
        return self._check_archive(
            self._ledger.deposits.open(self._release, self._archive.name, test=self._archive.test)
        )

    def _check_archive(self, deposit: Deposit) -> Deposit:
        if deposit.archive != self._archive.name:
            raise NeedsPersonError(
                f"Release {self._release.name} was begun in archive '{deposit.archive}', not '{self._archive.name}'",
                "Complete or abandon it with that archive configured",
            )
        return deposit

    def _locate(self, deposit: Deposit) -> Draft | PublishedRecord | None:
        """Find what became of the record that the ledger knows: still a draft, published, or gone."""
        if deposit.record_id is None:
            return None
        if deposit.state is DepositState.PUBLISHING:
            record = self._archive.read(deposit.record_id)
            if record is not None:
                return record
        # In this order: a draft may become a record in between, never the other way.
        return self._archive.draft(deposit.record_id) or self._archive.read(deposit.record_id)

    def _open_draft(
        self, deposit: Deposit, metadata: RecordMetadata, previous: Deposit | None, joining: str | None
    ) -> Draft | PublishedRecord:
        """Adopt what an earlier run left behind, or open a draft; its id goes to the ledger at once."""
        identifier = self._release.identifier
        self._await_search(deposit)
        own = self._archive.find_drafts(identifier)
        record = self._archive.find_published(identifier)  # after the drafts: see `_locate`
        if record is not None:
            return record
        if len(own) > 1:
            raise several_drafts(self._release.name, own)
        asked = deposit.state is DepositState.DRAFT_OPEN and deposit.record_id is None
        later = None if previous is None or previous.archive != self._archive.name else previous.record_id
        later = later or (joining if previous is None else None)
        there_before = not own and later is not None and self._archive.has_open_version(later)
        if there_before and later is not None and not asked:
            # Before it is written down that we asked for a draft: the next run must not take this one for ours.
            raise self._foreign_draft(self._archive.new_version(later))
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
            # The call took so long that another worker has the release by now, with a draft of its own.
            self._archive.discard(draft)
            raise
        return draft

    def _open_version(self, record_id: str, previous: Deposit | None, *, there_before: bool) -> Draft:
        """Open the next version of a record. `there_before`: a draft is open, for which a run of ours had asked.

        What it says begins as a copy of the version before, with what curators changed there.
        """
        try:
            draft = self._archive.new_version(record_id)
        except UnknownNameError as error:
            raise self._record_gone(error.cause) from error
        # One that was just opened carries the identifier of the version before it, and no file yet.
        before = None if previous is None else self._ledger.releases.get(previous.release_id).identifier
        foreign = draft.identifier not in (None, self._release.identifier, before) and not self._is_published(draft)
        if foreign or (there_before and self._archive.list_files(draft)):
            raise self._foreign_draft(draft)
        if previous is not None:
            known = LastSent.from_json(self._ledger.deposits.described(self._ledger.releases.get(previous.release_id)))
            self._ledger.deposits.describe(self._release, vars(LastSent(known.sent, known.base, known.kept)))
        return draft

    def _foreign_draft(self, draft: Draft) -> NeedsPersonError:
        return NeedsPersonError(
            f"The concept of {self._release.name} has a foreign draft open: {draft_names([draft])}",
            "Publish or delete that draft at the archive, then run again",
        )

    def _is_published(self, draft: Draft) -> bool:
        """Whether the identifier that a new version carries is that of a record, which it was copied from."""
        return self._archive.find_published(str(draft.identifier)) is not None

    def _await_search(self, deposit: Deposit) -> None:
        """Wait until a search finds the draft that an earlier run asked for, where it died before it learnt the id."""
        if deposit.state is DepositState.DRAFT_OPEN and deposit.record_id is None:
            time.sleep(self._archive.search_lag)

    def _describe(self, draft: Draft, metadata: RecordMetadata) -> Draft:
        """Send the metadata, but for what people changed at the archive since they were sent last.

        Raises NeedsPersonError naming the fields that both sides changed.
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
        """Whether the version before has any of the release's files, under the same name."""
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
        self._lease.renew()  # a process that lost its lease stops here: nothing undoes the next call
        published = self._archive.publish(draft)
        record = self._archive.read(published.record_id)
        if record is None:
            raise TransientError(f"The archive does not show record {draft.record_id} yet", "Run again in a while")
        return self._record_published(record, exact=True)

    def _record_published(self, record: PublishedRecord, *, exact: bool = False) -> Deposit:
        """Note what a published record says, after a look at its files."""
        self._files.check(record.record_id, record.files, exact=exact)
        known = self._ledger.deposits.of(self._release)
        if known is not None and known.doi not in (None, record.doi):
            raise IntegrityError(
                f"Record {record.record_id} is published as {record.doi}, and its files name the reserved {known.doi}",
                "Publish a new version, whose files name its own DOI",
            )
        addresses = {file.name: self._archive.file_url(record.record_id, file.name) for file in record.files}
        files = {name: address for name, address in addresses.items() if address is not None}
        return self._advance(DepositState.PUBLISHED, **{**_facts_of(record), "files": files})

    # What the steps share

    def _advance(self, state: DepositState, **facts: Unpack[DepositFacts]) -> Deposit:
        return self._ledger.deposits.advance(self._release, state, **facts)

    def _reach(self, state: DepositState) -> None:
        """Move forward to a state; a deposit that was further before stays where it is."""
        known = self._ledger.deposits.of(self._release)
        if known is None or known.state.rank < state.rank:
            self._advance(state)

    def _record_gone(self, cause: str) -> PermanentError:
        """Explain that the record of the version before is not at the archive any more."""
        if self._archive.test:
            return PermanentError(
                cause,
                "If the test archive was reset, have the ledger forget what is gone there: "
                f"'d4c archive forget {self._release.dataset}'",
            )
        return PermanentError(
            cause, "Compare D4C_ARCHIVE_URL with where it was published, and ask the archive's managers"
        )

    def _lost(self, deposit: Deposit, draft: Draft | None) -> PermanentError:
        """Explain a deposit without a usable draft, and put it back so that `reserve` opens a new one."""
        if deposit.record_id is not None and draft is None:
            self._advance(DepositState.PLANNED, **_NO_RECORD)
            cause = f"The archive has no draft {deposit.record_id} of {self._release.name} any more"
        else:
            cause = f"Release {self._release.name} has no reserved DOI"
        return PermanentError(
            cause,
            f"Run 'd4c publish {self._release.dataset} --vintage {self._release.vintage}': it reserves one "
            "and makes anew what names it",
        )


def _facts_of(found: Draft | PublishedRecord) -> DepositFacts:
    return {
        "record_id": found.record_id,
        "concept_id": found.concept_id,
        "doi": found.doi,
        "concept_doi": found.concept_doi,
        "url": found.url,
    }
