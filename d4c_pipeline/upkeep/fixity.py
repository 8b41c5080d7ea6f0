"""The audit of all copies: sizes and tags in stores each time, complete reads, archives and web seeds on a cycle.

An audit changes the ledger only. It verifies a lost copy a second time under the lease on its vintage, so that a
publication or pruning in progress is never reported as damage. Repair belongs to `repair`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from d4c_pipeline.ledger import lease_keys
from d4c_pipeline.ledger.events import now
from d4c_pipeline.model.errors import BusyError, D4CError
from d4c_pipeline.model.fixity import CopyKind, CopyState, ExpectedCopy, FixityPolicy, KnownCopy, Verification, day_of
from d4c_pipeline.stores.port import Store
from d4c_pipeline.upkeep.verification import Verifier, compare_size
from d4c_pipeline.workspace.deployment import Deployment

_WAIT_SECONDS = 5.0
_GIVES_UP_AFTER = 3  # unreachable copies in a row
_BATCH = 200
_BATCH_BYTES = 1 << 30
_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Audit:
    """The result of an audit.

    `expected`: number of copies that should exist. `checked`: number verified, by size or in full; `read` and
    `read_bytes`: number and bytes read in full. `lost`: copies damaged or missing now. `refused`: skipped store ->
    reason. `busy`: copies of vintages that another process works on. `overdue`: number of copies due for a read that
    the day's budget did not allow.
    """

    expected: int
    checked: int
    read: int
    read_bytes: int
    lost: tuple[Verification, ...]
    unreachable: tuple[Verification, ...]
    refused: Mapping[str, str]
    busy: tuple[ExpectedCopy, ...]
    overdue: int


def audit(
    deployment: Deployment, policy: FixityPolicy, *, full: bool = False, datasets: Collection[str] | None = None
) -> Audit:
    """Verify the copies of `datasets` (all by default) by `policy`; with `full`, read every copy.

    Results are recorded as the audit proceeds: after a crash the next audit continues there. Raises BusyError while
    another audit or repair runs.
    """
    with deployment.ledger.leases.hold(lease_keys.FIXITY, wait=0):
        auditor = _Auditor(deployment, policy, full=full)
        with auditor.verifier:
            return auditor.run(datasets)


def expected_copies(deployment: Deployment, datasets: Collection[str] | None = None) -> list[ExpectedCopy]:
    """Return the copies that should exist: of `datasets`, or of all."""
    found = deployment.ledger.fixity.expected(deployment.primary.name)
    return [copy for copy in found if datasets is None or copy.dataset in datasets]


@dataclass
class _Auditor:
    deployment: Deployment
    policy: FixityPolicy
    full: bool
    checked: int = 0
    read: int = 0
    read_bytes: int = 0
    overdue: int = 0
    lost: list[Verification] = field(default_factory=list[Verification])
    unreachable: list[Verification] = field(default_factory=list[Verification])
    refused: dict[str, str] = field(default_factory=dict[str, str])
    busy: list[ExpectedCopy] = field(default_factory=list[ExpectedCopy])

    def __post_init__(self) -> None:
        self._fixity = self.deployment.ledger.fixity
        self._moment = now()
        self.verifier = Verifier(self.deployment)
        self._known = self._fixity.known()
        self._pending: list[Verification] = []
        self._pending_bytes = 0

    def run(self, datasets: Collection[str] | None) -> Audit:
        """Compare all sizes in the stores, then read the copies that are due."""
        everything = expected_copies(self.deployment)
        self._fixity.forget(sorted(self._known.keys() - {copy.key for copy in everything}))

        def chosen(copy: ExpectedCopy) -> bool:
            return datasets is None or copy.dataset in datasets

        copies = [copy for copy in everything if chosen(copy)]
        queue: list[ExpectedCopy] = []
        for store in self.deployment.stores:
            in_store = [copy for copy in everything if copy.kind.is_stored and copy.place == store.name]
            queue += self._compare_sizes(store, [copy for copy in in_store if chosen(copy)], in_store)
        queue += [copy for copy in copies if self._is_remote(copy) and (self.full or self._is_due(copy))]
        self._read_due(queue)
        self._flush()
        return Audit(
            len(copies), self.checked, self.read, self.read_bytes, tuple(self.lost), tuple(self.unreachable),
            self.refused, tuple(self.busy), self.overdue,
        )  # fmt: skip

    def _is_remote(self, copy: ExpectedCopy) -> bool:
        """Whether a copy is outside our stores: a web seed, or a file in the configured archive."""
        return copy.kind is CopyKind.WEB_SEED or (
            copy.kind is CopyKind.ARCHIVE and copy.place == self.deployment.archive.name
        )

    # Sizes and tags

    def _compare_sizes(
        self, store: Store, copies: Sequence[ExpectedCopy], in_store: Sequence[ExpectedCopy]
    ) -> list[ExpectedCopy]:
        """Compare the sizes of `copies` in a store; return the copies due for a complete read."""
        sizes: list[Verification] = []
        failures = 0
        for copy in copies:
            try:
                sizes.append(compare_size(store, copy))
                failures = 0
            except D4CError as error:
                failures += 1
                if failures == min(_GIVES_UP_AFTER, len(copies)):
                    self.refused[store.name] = error.cause
                    return []
                sizes.append(Verification(copy, CopyState.UNREACHABLE, error.cause))
        if sizes and all(found.state is CopyState.MISSING for found in sizes) and _is_empty(store, in_store):
            # An unmounted disk or a mistyped bucket: a person decides before anything is written there.
            self.refused[store.name] = f"it holds none of the {len(in_store)} copies that the ledger knows of"
            return []
        self.checked += len(sizes)
        due: list[ExpectedCopy] = []
        for found in sizes:
            if found.state.is_lost:
                self._confirm(found.copy)
                continue
            if found.state is not CopyState.INTACT or self._state(found.copy) is CopyState.INTACT:
                self._note(found)
            if found.state is CopyState.INTACT and (
                self.full or self._is_suspicious(found) or self._is_due(found.copy)
            ):
                due.append(found.copy)
        return due

    def _is_suspicious(self, found: Verification) -> bool:
        """Whether the last verification found a problem, or the store reports a write since."""
        known = self._known.get(found.copy.key)
        return known is not None and (
            known.state is not CopyState.INTACT or (known.etag is not None and known.etag != found.etag)
        )

    # Full reading

    def _is_due(self, copy: ExpectedCopy) -> bool:
        last = self._last(copy)
        if last is None or self._state(copy) is not CopyState.INTACT:
            return True
        interval = self.policy.cycle if copy.kind.is_stored or self._reads_archive(copy) else self.policy.remote
        return last <= self._moment - interval

    def _reads_archive(self, copy: ExpectedCopy) -> bool:
        """Whether verifying an archived copy reads it: the archive is a folder of this machine."""
        return copy.kind is CopyKind.ARCHIVE and self.verifier.cost(copy) > 0

    def _read_due(self, queue: Iterable[ExpectedCopy]) -> None:
        """Read copies within the budget: copies that are not intact first, then the copies read longest ago."""
        ordered = sorted(queue, key=lambda copy: (self._state(copy) is CopyState.INTACT, self._last(copy) or _NEVER))
        left = self.policy.bytes_per_day
        if left is not None:
            left -= self._fixity.bytes_read_since(day_of(self._moment))
        for copy in ordered:
            cost = self.verifier.cost(copy)
            if left is not None and left <= 0 and cost and not self.full and self._state(copy) is CopyState.INTACT:
                self.overdue += 1
                continue
            found = self.verifier.verify(copy)
            self.read += found.read
            self.read_bytes += found.cost
            if left is not None:
                left -= found.cost
            if not copy.kind.is_stored:
                self.checked += 1
            if found.state.is_lost and copy.kind.is_stored:
                self._confirm(copy)
            else:
                self._note(found)

    def _confirm(self, copy: ExpectedCopy) -> None:
        """Verify a copy in full under its lease, and record the result."""
        leases = self.deployment.ledger.leases
        try:
            with leases.hold(lease_on(copy), wait=_WAIT_SECONDS):
                if self._fixity.is_expected(copy):
                    self._note(self.verifier.verify(copy))
                    self._flush()
        except BusyError:
            self.busy.append(copy)

    # Facts in the ledger

    def _state(self, copy: ExpectedCopy) -> CopyState:
        known = self._known.get(copy.key)
        return CopyState.INTACT if known is None else known.state

    def _last(self, copy: ExpectedCopy) -> datetime | None:
        """When a copy was last read in full, by an audit or by the step that wrote it; None if never."""
        return last_read(copy, self._known.get(copy.key))

    def _note(self, found: Verification) -> None:
        if found.state.is_lost:
            self.lost.append(found)
        elif found.state is CopyState.UNREACHABLE:
            self.unreachable.append(found)
        self._pending.append(found)
        self._pending_bytes += found.cost
        if len(self._pending) >= _BATCH or self._pending_bytes >= _BATCH_BYTES:
            self._flush()

    def _flush(self) -> None:
        # A copy may be pending twice, its size compared and then read: the last verification counts.
        self._fixity.record(list({found.copy.key: found for found in self._pending}.values()))
        self._pending, self._pending_bytes = [], 0


def _is_empty(store: Store, copies: Sequence[ExpectedCopy]) -> bool:
    """Whether a store holds none of its expected copies, of which there are at least two."""
    return len(copies) > 1 and all(store.facts(copy.address) is None for copy in copies)


def lease_on(copy: ExpectedCopy) -> str:
    """Return the key of the lease that guards changes to a stored copy."""
    if copy.kind is CopyKind.LATEST:
        return lease_keys.of_latest(copy.dataset)
    return lease_keys.of_vintage(copy.dataset, copy.vintage)


def last_read(copy: ExpectedCopy, known: KnownCopy | None) -> datetime | None:
    """Return when a copy was last read in full, by an audit or by the step that wrote it; None if never."""
    moments = [moment for moment in (copy.verified_at, known.read_at if known else None) if moment is not None]
    return max((moment for moment in moments if copy.since is None or moment >= copy.since), default=None)
