"""Retention: push missing releases to each mirror and prune those past their retention; the primary keeps everything.

A pruned release stays in the primary store and in the archive, and both are verified first. Pruning marks the copy in
the ledger, removes it from torrents and the catalogue, then deletes it; after a crash the next run continues there.
Native files are only in the primary and `/processed/` serves the newest release: neither is ever pruned.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from d4c_pipeline.chain import catalogue
from d4c_pipeline.chain.copies import hold
from d4c_pipeline.ledger import lease_keys
from d4c_pipeline.ledger.leases import Lease
from d4c_pipeline.model.addresses import release_address
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import BusyError, PermanentError, StorageError, TransientError
from d4c_pipeline.model.family import Family
from d4c_pipeline.model.release import DepositState, PrunedCopy, PublishedRelease
from d4c_pipeline.stores.port import Store
from d4c_pipeline.upkeep.reissue import follow_copies
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline.workspace.staging import artifact_path

REFUSED = ("held back", "missed")
"""Actions that were due and failed: they changed nothing."""


@dataclass(frozen=True)
class RetentionAction:
    """The action of retention on one release in one mirror, done or, in a dry run, planned.

    `action`: `pruned`, `pushed` (the release was missing there), `held back` (due for pruning, but not safe elsewhere)
    or `missed` (the mirror is down). `files` and `size` (bytes) count the files concerned. `reason` explains the last
    two.
    """

    release: str
    mirror: str
    action: str
    files: int
    size: int
    reason: str = ""


@dataclass(frozen=True)
class _Line:
    """The published releases that share one latest address, oldest first."""

    dataset: Dataset
    releases: tuple[PublishedRelease, ...]

    def wanted(self, mirror: str) -> frozenset[int]:
        """The ids of the releases that `mirror` retains."""
        newest = self.dataset.publication.keeps(mirror)
        return frozenset(release.id for release in (self.releases if newest is None else self.releases[-newest:]))


def apply(
    deployment: Deployment,
    declared: Sequence[Dataset] = (),
    families: Sequence[Family] = (),
    *,
    dry_run: bool = False,
) -> tuple[RetentionAction, ...]:
    """Push missing releases to each mirror and prune those past their retention; return the actions.

    `declared` and `families` are the current YAML; the ledger has the last declaration of other datasets. `dry_run`
    changes nothing. An unreachable mirror stops nothing: its action is `missed`. Raises PermanentError when a dataset
    would prune the primary store, BusyError while another retention runs.
    """
    lines = tuple(_lines(deployment, declared, families))
    for line in lines:
        if line.dataset.publication.keeps(deployment.primary.name) is not None:
            raise PermanentError(
                f"{line.dataset.id} would prune the primary store ({deployment.primary.name}), which keeps everything",
                "Name only mirrors under publication.retention",
            )
    run = _Retention(deployment, lines)
    if dry_run:
        return tuple(run.planned())
    with deployment.ledger.leases.hold(lease_keys.RETENTION):
        pushed = list(run.push())
        held_back = list(run.give_up())
        # A run that died may have pushed copies that torrents and catalogue do not name yet.
        if pushed or run.has_given_up() or deployment.ledger.pruning.to_follow():
            follow_copies(deployment, declared)
            deployment.ledger.pruning.record_followed()
        return (*pushed, *held_back, *run.delete())


def _lines(deployment: Deployment, declared: Sequence[Dataset], families: Sequence[Family]) -> Iterator[_Line]:
    known = catalogue.latest_declarations(deployment, declared)
    for family in families:
        of_today = {"publication": family.sample.publication}
        known |= {name: dataset.model_copy(update=of_today) for name, dataset in known.items() if family.key_of(name)}
    products: dict[tuple[str, str], list[PublishedRelease]] = {}
    for release in deployment.ledger.releases.published():
        rolling = known[release.dataset].series == "rolling"
        products.setdefault((release.dataset, "" if rolling else str(release.vintage)), []).append(release)
    for (dataset, _), releases in products.items():
        yield _Line(known[dataset], tuple(releases))


class _Retention:
    """The steps of `apply`; caches unreachable mirrors and the obstacles of releases."""

    def __init__(self, deployment: Deployment, lines: Sequence[_Line]) -> None:
        self._deployment, self._lines, self._ledger = deployment, lines, deployment.ledger
        self._down: dict[str, str] = {}
        self._reasons: dict[int, str] = {}

    def planned(self) -> Iterator[RetentionAction]:
        """Plan the actions without changing anything."""
        for line, release, mirror in self._targets():
            if release.id in line.wanted(mirror.name):
                if missing := self._missing(release, mirror):
                    yield _action(release, mirror, "pushed", missing)
                continue
            held = {copy.artifact: copy.size for copy in self._ledger.copies.of(release) if copy.store == mirror.name}
            if gone := held | {copy.artifact: copy.size for copy in self._given_up(release, mirror)}:
                reason = self._obstacle(release)
                yield _action(release, mirror, "held back" if reason else "pruned", gone, reason)

    def push(self) -> Iterator[RetentionAction]:
        """Push the missing releases to the mirrors."""
        for line, release, mirror in self._targets():
            if release.id not in line.wanted(mirror.name) or not self._missing(release, mirror):
                continue
            with self._deployment.working_on(line.dataset, release.vintage):
                self._ledger.pruning.record_push()
                self._ledger.pruning.want_again(release, mirror.name)
                missing = self._missing(release, mirror)
                self._reach(mirror, partial(self._put, release, mirror, missing))
            yield self._done(release, mirror, "pushed", missing)

    def give_up(self) -> Iterator[RetentionAction]:
        """Mark the copies to prune in the ledger; yield those held back."""
        for line, release, mirror in self._targets():
            if release.id in line.wanted(mirror.name):
                continue
            with self._deployment.working_on(line.dataset, release.vintage):
                copies = self._ledger.copies.of(release)
                held = {copy.artifact: copy.size for copy in copies if copy.store == mirror.name}
                reason = self._obstacle(release) if held else ""
                if held and not reason:
                    self._ledger.pruning.give_up(release, mirror.name)
            if reason:
                yield _action(release, mirror, "held back", held, reason)

    def has_given_up(self) -> bool:
        """Whether marked copies await deletion, from this run or one that died."""
        return any(self._given_up(release, mirror) for _, release, mirror in self._targets())

    def delete(self) -> Iterator[RetentionAction]:
        """Delete the marked copies."""
        for line, release, mirror in self._targets():
            with self._deployment.working_on(line.dataset, release.vintage) as lease:
                left = self._given_up(release, mirror)
                reason = self._obstacle(release) if left else ""
                if left and not reason:
                    self._reach(mirror, partial(self._take, release, mirror, left, lease))
            if left:
                sizes = {copy.artifact: copy.size for copy in left}
                yield (
                    _action(release, mirror, "held back", sizes, reason)
                    if reason
                    else self._done(release, mirror, "pruned", sizes)
                )

    def _targets(self) -> Iterator[tuple[_Line, PublishedRelease, Store]]:
        for line in self._lines:
            for release in line.releases:
                for mirror in self._deployment.stores[1:]:
                    yield line, release, mirror

    def _reach(self, mirror: Store, do: Callable[[], None]) -> None:
        """Call `do` unless the mirror is down; remember an unreachable mirror, so that no call waits for it again."""
        if mirror.name in self._down:
            return
        try:
            do()
        except BusyError:
            raise
        except (TransientError, StorageError) as error:
            self._down[mirror.name] = error.cause

    def _put(self, release: PublishedRelease, mirror: Store, names: Container[str]) -> None:
        for artifact in release.artifacts:
            if artifact.name in names:
                local = partial(artifact_path, self._deployment, release, artifact)
                hold(self._deployment, release, artifact, local, mirror)

    def _take(self, release: PublishedRelease, mirror: Store, copies: Sequence[PrunedCopy], lease: Lease) -> None:
        for copy in copies:
            lease.renew()
            mirror.delete(copy.address)
            self._ledger.pruning.record_deleted(release, copy)

    def _missing(self, release: PublishedRelease, mirror: Store) -> dict[str, int]:
        """The artifacts without a copy in `mirror` by the ledger, and their sizes; a damaged copy counts as present."""
        held = {copy.artifact for copy in self._ledger.copies.of(release) if copy.store == mirror.name}
        return {artifact.name: artifact.size for artifact in release.artifacts if artifact.name not in held}

    def _given_up(self, release: PublishedRelease, mirror: Store) -> tuple[PrunedCopy, ...]:
        pruned = self._ledger.pruning.of(release)
        return tuple(copy for copy in pruned if copy.store == mirror.name and copy.deleted_at is None)

    def _obstacle(self, release: PublishedRelease) -> str:
        """Why no mirror may prune a release: a file missing in the archive or damaged in the primary; else empty."""
        if release.id not in self._reasons:
            self._reasons[release.id] = _unsafe_reason(self._deployment, release)
        return self._reasons[release.id]

    def _done(self, release: PublishedRelease, mirror: Store, action: str, sizes: Mapping[str, int]) -> RetentionAction:
        reason = self._down.get(mirror.name, "")
        return _action(release, mirror, "missed" if reason else action, sizes, reason)


def _unsafe_reason(deployment: Deployment, release: PublishedRelease) -> str:
    deposit = deployment.ledger.deposits.of(release)
    if deposit is None or deposit.state is not DepositState.PUBLISHED:
        return "it is not published in the archive"
    for artifact in release.artifacts:
        if artifact.name not in deposit.files:
            return f"the archive has no {artifact.name}"
        address = release_address(release.dataset, release.vintage, release.version, artifact.name)
        if not deployment.primary.verify(address, artifact.size, artifact.sha256):
            return f"{artifact.name} is not intact in the store {deployment.primary.name}"
    return ""


def _action(
    release: PublishedRelease, mirror: Store, action: str, sizes: Mapping[str, int], reason: str = ""
) -> RetentionAction:
    return RetentionAction(release.name, mirror.name, action, len(sizes), sum(sizes.values()), reason)
