"""Mending what an audit found: a lost copy in a store is moved aside and put back from a copy that is verified.

Done under the lease on the vintage, in steps of which each may be the last: whatever a process that died has left, the
next one goes on from what lies in the store. `/processed/` is put right by the step that switches it. Copies at
archives and web seeds are not ours to mend.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from d4c_pipeline.archives.retrieval import retrieve
from d4c_pipeline.chain.catalogue import latest_declarations
from d4c_pipeline.chain.latest import switch
from d4c_pipeline.files.disk import storage_errors
from d4c_pipeline.files.hashing import READ_SIZE, Digests, hash_file
from d4c_pipeline.ledger import lease_keys
from d4c_pipeline.ledger.fixity import Key
from d4c_pipeline.ledger.leases import Lease
from d4c_pipeline.model.errors import BusyError, D4CError, IntegrityError, StorageError
from d4c_pipeline.model.fixity import CopyKind, CopyState, ExpectedCopy, Verification
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.stores.measure import measure
from d4c_pipeline.stores.port import Store, quarantine_path
from d4c_pipeline.upkeep.fixity import expected_copies, lease_on
from d4c_pipeline.upkeep.verification import Verifier
from d4c_pipeline.workspace.deployment import Deployment

_UNREADABLE = "unreadable"
_WAIT_SECONDS = 60.0  # for a vintage that others work on


class Outcome(StrEnum):
    """How the mending of a copy ended."""

    RESTORED = "restored"
    INTACT = "intact"
    NO_GOOD_COPY = "no good copy"
    FAILED = "failed"
    BUSY = "busy"


@dataclass(frozen=True)
class RepairResult:
    """A lost copy and what became of it: `source` is where the right bytes came from, `quarantine` where the rot is.

    The source of what `/processed/` serves is the name of a release. `reason`: what hindered it, in words.
    """

    copy: ExpectedCopy
    outcome: Outcome
    source: str | None = None
    quarantine: str | None = None
    reason: str = ""


def repair(
    deployment: Deployment, *, datasets: Collection[str] | None = None, refill: Collection[str] = ()
) -> tuple[RepairResult, ...]:
    """Mend every copy in a store that the ledger knows to be lost: of `datasets`, or of all.

    `refill`: names of stores that an audit left alone because they hold nothing, and that a person wants filled
    again. Raises BusyError while an audit or another repair is under way.
    """
    done: dict[Key, RepairResult] = {}
    with deployment.ledger.leases.hold(lease_keys.FIXITY, wait=0):
        # What was to be copied from may turn out to be lost as well: then there is more to mend than there was.
        while copies := [copy for copy in _lost(deployment, datasets, refill) if copy.key not in done]:
            repairer = _Repairer(deployment)
            done |= {copy.key: repairer.repair(copy) for copy in copies}
        # Some that nothing good was left of may have a source by now, such as a file that a person brought back.
        good = {one.copy.sha256 for one in done.values() if one.outcome in (Outcome.RESTORED, Outcome.INTACT)}
        repairer = _Repairer(deployment)
        for key, one in done.items():
            if one.outcome is Outcome.NO_GOOD_COPY and one.copy.sha256 in good:
                done[key] = repairer.repair(one.copy)
    return tuple(done.values())


def _lost(deployment: Deployment, datasets: Collection[str] | None, refill: Collection[str]) -> Iterator[ExpectedCopy]:
    known = deployment.ledger.fixity.known()
    stores = {store.name for store in deployment.stores}
    for copy in expected_copies(deployment, datasets):
        if copy.kind.is_stored and copy.place in stores:
            found = known.get(copy.key)
            if copy.place in refill or (found is not None and found.state.is_lost):
                yield copy


class _Repairer:
    def __init__(self, deployment: Deployment) -> None:
        self._deployment, self._fixity = deployment, deployment.ledger.fixity
        self._stores = {store.name: store for store in deployment.stores}
        self._verifier = Verifier(deployment)
        self._by_content: dict[tuple[int, str], list[ExpectedCopy]] = {}
        order = [*self._stores, deployment.archive.name]
        known = self._fixity.known()
        self._set_aside_before = {key: found.quarantine for key, found in known.items()}
        usable = [
            copy
            for copy in expected_copies(deployment)
            if copy.kind is not CopyKind.WEB_SEED
            and copy.place in order
            and (copy.key not in known or not known[copy.key].state.is_lost)
        ]
        last = {CopyKind.ARCHIVE: 1, CopyKind.LATEST: 2}
        for copy in sorted(usable, key=lambda copy: (last.get(copy.kind, 0), order.index(copy.place))):
            self._by_content.setdefault((copy.size, copy.sha256), []).append(copy)

    def repair(self, copy: ExpectedCopy) -> RepairResult:
        """Mend one copy; whatever hinders it is told and stops no other."""
        leases = self._deployment.ledger.leases
        try:
            with leases.hold(lease_on(copy), wait=_WAIT_SECONDS) as lease:
                found = self._confirm(copy)
                if isinstance(found, RepairResult):
                    return found
                if copy.kind is not CopyKind.LATEST:
                    return self._restore(copy, found, lease)
            return self._switch(copy)
        except BusyError as error:
            return RepairResult(copy, Outcome.BUSY, reason=error.cause)
        except D4CError as error:
            return RepairResult(copy, Outcome.FAILED, reason=str(error))

    def _confirm(self, copy: ExpectedCopy) -> Verification | RepairResult:
        """Look at a copy again; what there is to mend, or why there is nothing."""
        if not self._fixity.is_expected(copy):
            return RepairResult(copy, Outcome.INTACT, reason="it is not wanted any more")
        found = self._verifier.verify(copy)
        self._fixity.record([found])
        if found.state is CopyState.INTACT:
            return RepairResult(copy, Outcome.INTACT)
        if not found.state.is_lost:
            return RepairResult(copy, Outcome.FAILED, reason=found.detail)
        return found

    def _restore(self, copy: ExpectedCopy, found: Verification, lease: Lease) -> RepairResult:
        store = self._stores[copy.place]
        with self._right_bytes(copy) as good:
            lease.renew()  # whoever lost the lease must not move anything
            aside = self._set_aside(store, copy, found)
            if good is None:
                reason = "no other copy has the right bytes" + (f"; the damaged ones lie at {aside}" if aside else "")
                self._fixity.record([Verification(copy, CopyState.MISSING, reason)])
                return RepairResult(copy, Outcome.NO_GOOD_COPY, quarantine=aside, reason=reason)
            path, digests, source = good
            store.put_immutable(path, copy.address, digests)
        after = self._verifier.verify(copy)
        self._fixity.record([after], restored_from=str(source))
        if after.state is not CopyState.INTACT:
            return RepairResult(copy, Outcome.FAILED, str(source), aside, f"after it was put back: {after.detail}")
        return RepairResult(copy, Outcome.RESTORED, str(source), aside)

    def _switch(self, copy: ExpectedCopy) -> RepairResult:
        """Have the newest release switched to once more: what `/processed/` ought to serve is that step's to say."""
        dataset = latest_declarations(self._deployment, ())[copy.dataset]
        aside = None
        for again in (False, True):
            try:
                source = switch(self._deployment, dataset, Vintage.parse(copy.vintage)).release.name
            except IntegrityError as error:  # nothing good is left of the newest release
                return self._take_out_of_service(copy, error.cause)
            with self._deployment.ledger.leases.hold(lease_on(copy), wait=_WAIT_SECONDS) as lease:
                expected = expected_copies(self._deployment, {copy.dataset})
                wanted = next((one for one in expected if one.key == copy.key), None)
                if wanted is None:
                    return RepairResult(copy, Outcome.INTACT, reason="it is not wanted any more")
                after = self._verifier.verify(wanted)
                if again or after.state is not CopyState.DAMAGED:
                    break
                # An object's metadata may go on naming the sha256 of what rotted: then nothing was put over it.
                lease.renew()
                aside = self._set_aside(self._stores[copy.place], wanted, after)
        self._fixity.record([after], restored_from=source)
        if after.state is not CopyState.INTACT:
            missed = [f"; {one.cause}" for one in self._deployment.spreading.missed if one.store == copy.place]
            return RepairResult(copy, Outcome.FAILED, source, aside, after.detail + "".join(missed))
        return RepairResult(copy, Outcome.RESTORED, source, aside)

    def _take_out_of_service(self, copy: ExpectedCopy, reason: str) -> RepairResult:
        """Move aside what a `/processed/` address serves, unless it is an older release, whole."""
        store, aside = self._stores[copy.place], None
        releases = self._deployment.ledger.releases.published(copy.dataset)
        whole = {artifact.sha256 for release in releases for artifact in release.artifacts}
        with self._deployment.ledger.leases.hold(lease_on(copy), wait=_WAIT_SECONDS) as lease:
            found, measured = self._verifier.verify(copy), measure(store, copy.address)
            if measured is not None and measured.sha256 not in whole:
                lease.renew()
                aside = self._set_aside(store, copy, found)
                self._fixity.record([Verification(copy, CopyState.MISSING, reason)])
        return RepairResult(copy, Outcome.NO_GOOD_COPY, quarantine=aside, reason=reason)

    def _set_aside(self, store: Store, copy: ExpectedCopy, found: Verification) -> str | None:
        """Take damaged bytes out of service; they are never deleted, and never taken for others.

        Returns where they lie, and of a copy that is missing, where an earlier repair put what it found there.
        """
        if found.state is not CopyState.DAMAGED:
            return self._set_aside_before.get(copy.key)
        measured = measure(store, copy.address)
        if measured is not None and (measured.size, measured.sha256) == (copy.size, copy.sha256):
            # Moving it would take away what may be the only good copy.
            raise StorageError(
                f"Store {store.name} gives the right bytes of {copy.address} at one reading and others at the next",
                "Check that machine's disk and memory, then run 'd4c verify --full'",
            )
        tag = (measured.sha256 if measured else None) or _UNREADABLE
        self._fixity.record_quarantine(copy, found.detail, quarantine_path(copy.address, tag[:16]))
        return store.quarantine(copy.address, tag[:16])

    @contextmanager
    def _right_bytes(self, copy: ExpectedCopy) -> Iterator[tuple[Path, Digests, ExpectedCopy] | None]:
        """A local file with the right bytes, just verified, and the copy it is of; None when no copy has them."""
        folder = self._deployment.settings.home / "staging" / ".repair" / copy.sha256[:16]
        try:
            yield self._found(copy, folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)  # what is left behind is written over by the next repair

    def _found(self, copy: ExpectedCopy, folder: Path) -> tuple[Path, Digests, ExpectedCopy] | None:
        for source in self._by_content.get((copy.size, copy.sha256), []):
            if source.key == copy.key:
                continue
            try:
                path = self._fetched(source, folder / "copy")
                digests = None if path is None else hash_file(path)
            except D4CError as error:
                self._fixity.record([Verification(source, CopyState.UNREACHABLE, error.cause)])
                continue
            if path is not None and digests is not None and (digests.size, digests.sha256) == (copy.size, copy.sha256):
                return path, digests, source
            # The source is lost as well; the ledger is told, and it is mended when its turn comes.
            self._fixity.record([self._verifier.verify(source)])
        return None

    def _fetched(self, source: ExpectedCopy, target: Path) -> Path | None:
        """A local file with what `source` holds now; None when it holds nothing."""
        if source.kind is CopyKind.ARCHIVE:
            record_id, _, name = source.address.partition("/")
            return retrieve(self._deployment.archive, record_id, name, target)
        store = self._stores[source.place]
        local = store.local_path(source.address)
        if local is not None or store.stat(source.address) is None:
            return local
        with store.open(source.address) as stream, storage_errors(f"write {target}"):
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as file:
                shutil.copyfileobj(stream, file, READ_SIZE)
                os.fsync(file.fileno())
        return target
