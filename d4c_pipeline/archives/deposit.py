"""The way of a release into an archive: `planned -> draft_open -> doi_reserved -> files_synced -> verified ->
publishing -> published`, over the ledger and any archive.

Every step looks at both sides first and does only what is missing, so that a crash anywhere and a run again end in
exactly one published record. Which metadata and files make up a release is decided by the caller.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

from d4c_pipeline.archives.metadata import RecordMetadata
from d4c_pipeline.archives.port import Archive, Draft, PublishedRecord, RemoteFile, check_files
from d4c_pipeline.ledger import Ledger
from d4c_pipeline.ledger.leases import Lease
from d4c_pipeline.model.errors import IntegrityError, NeedsPersonError, PermanentError, StorageError, TransientError
from d4c_pipeline.model.release import Artifact, Deposit, DepositState, Release, ReleaseState


def reserve(
    ledger: Ledger,
    archive: Archive,
    release: Release,
    metadata: RecordMetadata,
    *,
    previous: Deposit | None = None,
    lease: Lease | None = None,
) -> Deposit:
    """Open a draft for a release and reserve its DOI; undoable by `abandon`.

    `previous` is the published deposit of the vintage's newest release, None for a first one. `lease` is the one
    that the caller holds on the vintage; without it, one is taken here. Raises NeedsPersonError when the archive has
    several drafts of the release or a foreign one in its concept, and what the archive raises.
    """
    if metadata.identifier != release.identifier:
        raise ValueError(f"the metadata are those of {metadata.identifier}, not of {release.identifier}")
    if previous is not None and previous.state is not DepositState.PUBLISHED:
        raise ValueError(f"the previous deposit is {previous.state}, a new version needs a published one")
    with _held(ledger, release, lease) as held:
        return _Depositing(ledger, archive, release, held).reserve(metadata, previous)


def complete(
    ledger: Ledger,
    archive: Archive,
    release: Release,
    files: Mapping[str, Path],
    metadata: RecordMetadata,
    *,
    lease: Lease | None = None,
) -> Deposit:
    """Bring the files (artifact name -> staged file) of a release into its draft, verify them there, publish.

    The record holds exactly the artifacts that the ledger has for the release. Raises PermanentError when no DOI is
    reserved (or the archive lost the draft, which takes its DOI with it: the DOI stands in artifacts, so they have to
    be made anew), IntegrityError when bytes differ from the ledger's, and what the archive raises.
    """
    if metadata.identifier != release.identifier:
        raise ValueError(f"the metadata are those of {metadata.identifier}, not of {release.identifier}")
    with _held(ledger, release, lease) as held:
        return _Depositing(ledger, archive, release, held).complete(files, metadata)


def abandon(ledger: Ledger, archive: Archive, release: Release, *, lease: Lease | None = None) -> None:
    """Delete the draft of a release that was overtaken. Raises IntegrityError when it is published already."""
    with _held(ledger, release, lease) as held:
        _Depositing(ledger, archive, release, held).abandon()


@contextmanager
def _held(ledger: Ledger, release: Release, lease: Lease | None) -> Generator[Lease, None, None]:
    if lease is not None:
        yield lease
        return
    with ledger.leases.hold(f"deposit:{release.dataset}:{release.vintage}") as own:
        yield own


class _Depositing:
    """One run over one deposit, its lease held."""

    def __init__(self, ledger: Ledger, archive: Archive, release: Release, lease: Lease) -> None:
        self._ledger, self._archive, self._lease = ledger, archive, lease
        self._release = ledger.releases.get(release.id)  # artifacts may have been added since the caller's look

    def reserve(self, metadata: RecordMetadata, previous: Deposit | None) -> Deposit:
        deposit = self._open_deposit()
        if deposit.state is DepositState.PUBLISHED:
            return deposit
        found = self._locate(deposit) or self._open_draft(metadata, previous)
        if isinstance(found, PublishedRecord):
            return self._record_published(found, self._artifacts())
        if deposit.state.rank >= DepositState.DOI_RESERVED.rank and found.doi is not None and found.doi == deposit.doi:
            return deposit
        return self._reserve_doi(self._archive.put_metadata(found, metadata))

    def complete(self, files: Mapping[str, Path], metadata: RecordMetadata) -> Deposit:
        deposit = self._open_deposit()
        if deposit.state is DepositState.PUBLISHED:
            return deposit
        artifacts = self._check_staged(files)
        found = self._locate(deposit)
        if isinstance(found, PublishedRecord):
            return self._record_published(found, artifacts, exact=True)
        if found is None or found.doi is None or found.doi != deposit.doi:
            raise self._lost(deposit, found)
        draft = self._archive.put_metadata(found, metadata)
        self._sync_files(draft, files, artifacts)
        self._verify(draft, artifacts)
        return self._publish(draft, artifacts)

    def abandon(self) -> None:
        deposit = self._ledger.deposits.of(self._release)
        if deposit is None:
            return
        found = self._locate(self._check_archive(deposit)) or self._archive.find_published(self._release.identifier)
        if isinstance(found, PublishedRecord):
            self._record_published(found, self._artifacts())
            raise IntegrityError(
                f"Release {self._release.name} is published as {found.doi} and can't be abandoned",
                "Publish a new version",
            )
        # Also what a crash left behind between the creation of a draft and the note of its id.
        for draft in (*([found] if found else []), *self._archive.find_drafts(self._release.identifier)):
            self._archive.discard(draft)
        self._advance(
            DepositState.ABANDONED, record_id=None, concept_id=None, doi=None, concept_doi=None, url=None, files={}
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

    def _open_draft(self, metadata: RecordMetadata, previous: Deposit | None) -> Draft | PublishedRecord:
        """Adopt what an earlier run left behind, or open a draft; its id goes to the ledger at once."""
        identifier = self._release.identifier
        own = self._archive.find_drafts(identifier)
        record = self._archive.find_published(identifier)  # after the drafts: see `_locate`
        if record is not None:
            return record
        if len(own) > 1:
            raise NeedsPersonError(
                f"The archive has {len(own)} drafts of {self._release.name}: {_ids(own)}",
                "Delete all but one of them there, then run again",
            )
        self._lease.renew()
        if own:
            draft = own[0]
        elif previous is not None and previous.archive == self._archive.name and previous.record_id is not None:
            draft = self._open_version(previous.record_id)
        else:
            draft = self._archive.create_draft(metadata)
        self._advance(
            DepositState.DRAFT_OPEN,
            record_id=draft.record_id,
            concept_id=draft.concept_id,
            doi=None,
            concept_doi=draft.concept_doi,
            url=draft.url,
            files={},
        )
        return draft

    def _open_version(self, record_id: str) -> Draft:
        draft = self._archive.new_version(record_id)
        # One that was just opened carries the identifier of the version before it, which is published.
        left_over = draft.identifier not in (None, self._release.identifier)
        if left_over and self._archive.find_published(str(draft.identifier)) is None:
            raise NeedsPersonError(
                f"The concept of {self._release.name} has a foreign draft open: {_ids([draft])}",
                "Publish or delete that draft at the archive, then run again",
            )
        return draft

    def _reserve_doi(self, draft: Draft) -> Deposit:
        reserved = self._archive.reserve_doi(draft)
        return self._advance(
            DepositState.DOI_RESERVED,
            record_id=reserved.record_id,
            concept_id=reserved.concept_id,
            doi=reserved.doi,
            concept_doi=reserved.concept_doi,
            url=reserved.url,
        )

    def _check_staged(self, files: Mapping[str, Path]) -> dict[str, Artifact]:
        """Judge everything that can be judged before a call: names, sizes, limits, the staged files."""
        artifacts = self._artifacts()
        if set(files) != set(artifacts):
            missing, unknown = sorted(set(artifacts) - set(files)), sorted(set(files) - set(artifacts))
            raise PermanentError(
                f"The files for {self._release.name} are not its artifacts "
                f"(missing: {', '.join(missing) or 'none'}; unknown: {', '.join(unknown) or 'none'})",
                "Run again from the assets that make them",
            )
        check_files({name: artifact.size for name, artifact in artifacts.items()})
        for name, path in files.items():
            try:
                size = path.stat().st_size
            except OSError as error:
                raise StorageError(f"The staged file {path} can't be read: {error.strerror}", "Run again") from error
            if size != artifacts[name].size:
                raise self._staged_differs(name)
        return artifacts

    def _sync_files(self, draft: Draft, files: Mapping[str, Path], artifacts: Mapping[str, Artifact]) -> None:
        """Delete what is not ours or differs, upload what is missing: only differing bytes travel."""
        there = {file.name: file for file in self._archive.list_files(draft)}
        for name in sorted(there):
            if name not in artifacts or not _same(there[name], artifacts[name]):
                self._archive.delete_file(draft, name)
                del there[name]
        for name in sorted(set(artifacts) - set(there)):
            arrived = self._archive.upload(draft, name, files[name])
            if not _same(arrived, artifacts[name]):
                self._archive.delete_file(draft, name)
                if _md5(files[name]) != artifacts[name].md5:
                    raise self._staged_differs(name)
                raise TransientError(f"The file {name} did not arrive whole at {self._archive.name}", "Run again")
        self._advance(DepositState.FILES_SYNCED)

    def _verify(self, draft: Draft, artifacts: Mapping[str, Artifact]) -> None:
        self._check_files_of(draft.record_id, self._archive.list_files(draft), artifacts, exact=True)
        self._advance(DepositState.VERIFIED)

    def _publish(self, draft: Draft, artifacts: Mapping[str, Artifact]) -> Deposit:
        self._advance(DepositState.PUBLISHING)
        self._lease.renew()  # whoever lost the lease must not go on: nothing undoes the next call
        published = self._archive.publish(draft)
        record = self._archive.read(published.record_id)
        if record is None:
            raise TransientError(f"The archive does not show record {draft.record_id} yet", "Run again in a while")
        return self._record_published(record, artifacts, exact=True)

    def _record_published(
        self, record: PublishedRecord, artifacts: Mapping[str, Artifact], *, exact: bool = False
    ) -> Deposit:
        """Note what a published record says, after a look at its files."""
        self._check_files_of(record.record_id, record.files, artifacts, exact=exact)
        addresses = {file.name: self._archive.file_url(record.record_id, file.name) for file in record.files}
        return self._advance(
            DepositState.PUBLISHED,
            record_id=record.record_id,
            concept_id=record.concept_id,
            doi=record.doi,
            concept_doi=record.concept_doi,
            url=record.url,
            files={name: address for name, address in addresses.items() if address is not None},
        )

    # What the steps share

    def _advance(self, state: DepositState, **facts: object) -> Deposit:
        return self._ledger.deposits.advance(self._release, state, **facts)

    def _artifacts(self) -> dict[str, Artifact]:
        return {artifact.name: artifact for artifact in self._release.artifacts}

    def _check_files_of(
        self, record_id: str, remote: tuple[RemoteFile, ...], artifacts: Mapping[str, Artifact], *, exact: bool
    ) -> None:
        there = {file.name: file for file in remote}
        wrong = sorted(n for n, artifact in artifacts.items() if n not in there or not _same(there[n], artifact))
        extra = sorted(set(there) - set(artifacts)) if exact else []
        if wrong or extra:
            raise IntegrityError(
                f"Record {record_id} at {self._archive.name} does not hold the files of {self._release.name} "
                f"(missing or different: {', '.join(wrong) or 'none'}; foreign: {', '.join(extra) or 'none'})",
                "Run again; if it is said again, compare the record with 'd4c status'",
            )

    def _lost(self, deposit: Deposit, draft: Draft | None) -> PermanentError:
        """Explain a deposit without a usable draft, and put it back so that `reserve` opens a new one."""
        if deposit.record_id is not None and draft is None:
            self._advance(
                DepositState.PLANNED, record_id=None, concept_id=None, doi=None, concept_doi=None, url=None, files={}
            )
            cause = f"The archive has no draft {deposit.record_id} of {self._release.name} any more"
        else:
            cause = f"Release {self._release.name} has no reserved DOI"
        return PermanentError(
            cause,
            f"Run 'd4c publish {self._release.dataset} --vintage {self._release.vintage}': it reserves one "
            "and makes anew what names it",
        )

    def _staged_differs(self, name: str) -> IntegrityError:
        return IntegrityError(
            f"The staged file {name} is not what the ledger has for {self._release.name}",
            f"Run 'd4c publish {self._release.dataset} --vintage {self._release.vintage}': it is made anew",
        )


def _same(remote: RemoteFile, artifact: Artifact) -> bool:
    return remote.size == artifact.size and remote.md5 == artifact.md5


def _ids(drafts: list[Draft] | tuple[Draft, ...]) -> str:
    return ", ".join(draft.url or draft.record_id for draft in drafts)


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
