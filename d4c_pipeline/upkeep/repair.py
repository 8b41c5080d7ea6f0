"""Repair of lost copies in stores: damaged bytes go to quarantine, a verified copy replaces them.

A repair runs under the lease on the vintage. After a crash at any step the next repair continues from the state of the
store. `chain.latest` repairs `/processed/` by switching again. Copies in archives and web seeds belong to others and
are not repaired.
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
_WAIT_SECONDS = 60.0  # for a vintage in use by another process


class Outcome(StrEnum):
    """The outcome of repairing one copy."""

    RESTORED = "restored"
    INTACT = "intact"
    NO_GOOD_COPY = "no good copy"
    FAILED = "failed"
    BUSY = "busy"


@dataclass(frozen=True)
class RepairResult:
    """The repair of one lost copy: `source` had the right bytes, `quarantine` holds the damaged bytes.

    For a copy in `/processed/`, `source` is the name of a release. `reason` explains a repair that did not succeed.
    """

    copy: ExpectedCopy
    outcome: Outcome
    source: str | None = None
    quarantine: str | None = None
    reason: str = ""


def repair(
    deployment: Deployment, *, datasets: Collection[str] | None = None, refill: Collection[str] = ()
) -> tuple[RepairResult, ...]:
    """Repair every stored copy that the ledger records as lost: of `datasets`, or of all.

    `refill`: names of empty stores that an audit skipped and an operator wants to refill. Raises BusyError while an
    audit or another repair runs.
    """
    done: dict[Key, RepairResult] = {}
    with deployment.ledger.leases.hold(lease_keys.FIXITY, wait=0):
        # A source may turn out to be lost as well; the next round repairs it.
        while copies := [copy for copy in _lost(deployment, datasets, refill) if copy.key not in done]:
            with Verifier(deployment) as verifier:
                repairer = _Repairer(deployment, verifier)
                done |= {copy.key: repairer.repair(copy) for copy in copies}
        # A copy without a source may have a source by now, such as a file that a person restored.
        good = {each.copy.sha256 for each in done.values() if each.outcome in (Outcome.RESTORED, Outcome.INTACT)}
        with Verifier(deployment) as verifier:
            repairer = _Repairer(deployment, verifier)
            for key, each in done.items():
                if each.outcome is Outcome.NO_GOOD_COPY and each.copy.sha256 in good:
                    done[key] = repairer.repair(each.copy)
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
    def __init__(self, deployment: Deployment, verifier: Verifier) -> None:
        self._deployment, self._fixity = deployment, deployment.ledger.fixity
        self._stores = {store.name: store for store in deployment.stores}
        self._verifier = verifier
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
        """Repair one copy; any D4CError becomes its outcome and stops no other repair."""
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
        """Verify a copy again; return the loss to repair, or the result if there is none."""
        if not self._fixity.is_expected(copy):
            return RepairResult(copy, Outcome.INTACT, reason="no longer expected")
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
            lease.renew()  # a process that lost its lease stops before it moves anything
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
        """Switch to the newest release again: `chain.latest` decides what `/processed/` serves."""
        dataset = latest_declarations(self._deployment, ())[copy.dataset]
        aside = None
        for again in (False, True):
            try:
                source = switch(self._deployment, dataset, Vintage.parse(copy.vintage)).release.name
            except IntegrityError as error:  # the newest release has no good copy
                return self._take_out_of_service(copy, error.cause)
            with self._deployment.ledger.leases.hold(lease_on(copy), wait=_WAIT_SECONDS) as lease:
                expected = expected_copies(self._deployment, {copy.dataset})
                wanted = next((each for each in expected if each.key == copy.key), None)
                if wanted is None:
                    return RepairResult(copy, Outcome.INTACT, reason="no longer expected")
                after = self._verifier.verify(wanted)
                if again or after.state is not CopyState.DAMAGED:
                    break
                # The object's metadata may still name the right sha256 of damaged bytes: then the switch skipped it.
                lease.renew()
                aside = self._set_aside(self._stores[copy.place], wanted, after)
        self._fixity.record([after], restored_from=source)
        if after.state is not CopyState.INTACT:
            missed = [f"; {each.cause}" for each in self._deployment.spreading.missed if each.store == copy.place]
            return RepairResult(copy, Outcome.FAILED, source, aside, after.detail + "".join(missed))
        return RepairResult(copy, Outcome.RESTORED, source, aside)

    def _take_out_of_service(self, copy: ExpectedCopy, reason: str) -> RepairResult:
        """Quarantine the bytes at a `/processed/` address, unless they are an intact file of an older release."""
        store, aside = self._stores[copy.place], None
        releases = self._deployment.ledger.releases.published(copy.dataset)
        known = {artifact.sha256 for release in releases for artifact in release.artifacts}
        with self._deployment.ledger.leases.hold(lease_on(copy), wait=_WAIT_SECONDS) as lease:
            found, measured = self._verifier.verify(copy), measure(store, copy.address)
            if measured is not None and measured.sha256 not in known:
                lease.renew()
                aside = self._set_aside(store, copy, found)
                self._fixity.record([Verification(copy, CopyState.MISSING, reason)])
        return RepairResult(copy, Outcome.NO_GOOD_COPY, quarantine=aside, reason=reason)

    def _set_aside(self, store: Store, copy: ExpectedCopy, found: Verification) -> str | None:
        """Move damaged bytes to quarantine; they are never deleted.

        Returns their address there; for a missing copy, the address from an earlier repair.
        """
        if found.state is not CopyState.DAMAGED:
            return self._set_aside_before.get(copy.key)
        measured = measure(store, copy.address)
        if measured is not None and (measured.size, measured.sha256) == (copy.size, copy.sha256):
            # Quarantine could remove the only good copy.
            raise StorageError(
                f"Store {store.name} gives the right bytes of {copy.address} at one reading and others at the next",
                "Check that machine's disk and memory, then run 'd4c verify --full'",
            )
        tag = (measured.sha256 if measured else None) or _UNREADABLE
        self._fixity.record_quarantine(copy, found.detail, quarantine_path(copy.address, tag[:16]))
        return store.quarantine(copy.address, tag[:16])

    @contextmanager
    def _right_bytes(self, copy: ExpectedCopy) -> Iterator[tuple[Path, Digests, ExpectedCopy] | None]:
        """A verified local file with the right bytes, and its source; None without an intact copy."""
        folder = self._deployment.settings.home / "staging" / ".repair" / copy.sha256[:16]
        try:
            yield self._found(copy, folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)  # the next repair overwrites leftovers

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
            # The source is lost as well: recorded here, repaired later.
            self._fixity.record([self._verifier.verify(source)])
        return None

    def _fetched(self, source: ExpectedCopy, target: Path) -> Path | None:
        """A local file with the current bytes of `source`; None if it is missing."""
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
