"""`raw`: fetches the native files of a vintage and retains them, content-addressed, in the primary store."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from d4c_pipeline.files.hashing import Digests, hash_file
from d4c_pipeline.model.addresses import raw_address
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import StorageError
from d4c_pipeline.model.release import NativeFile
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.sandbox import call as child
from d4c_pipeline.sources.open import open_source
from d4c_pipeline.sources.port import Arrived
from d4c_pipeline.watch.vintages import held_as, retained_copy, served_vintages
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline.workspace.progress import Progress, report
from d4c_pipeline.workspace.staging import keep_native

_LICENCE = 60  # characters of it that the ledger has room for


@dataclass(frozen=True)
class Retained:
    """The native files that stand for the vintage now; `fetched` counts those that came over the network.

    `fingerprint` is what the source called its files before they were fetched, None when it has left the vintage
    behind: noticing compares it with what the source says later. `vintage` is the one that the files are retained of:
    an earlier one where the source served the same content under a new date.
    """

    natives: tuple[NativeFile, ...]
    fetched: int
    vintage: Vintage
    fingerprint: str | None = None


def retain(deployment: Deployment, dataset: Dataset, vintage: Vintage) -> Retained:
    """Fetch what the source serves for `vintage` unless it is retained already, and record it.

    A discovered vintage that the source has left behind is worked on from what was retained of it. Files that hold what
    is retained of an earlier vintage are recorded for that one: the ledger says which (`natives.held_by`). Raises
    SourceError, TransientError and StorageError as the source and the store do.
    """
    folder = deployment.staging(dataset, vintage) / "native"
    # What a build needs is loaded while the network is waited for.
    child.warm()
    with deployment.working_on(dataset, vintage), ExitStack() as leases:
        source = open_source(dataset, deployment.settings.origins)
        current = deployment.ledger.natives.current(dataset.id, vintage, dataset.source.addresses(vintage))
        # Only what is still retained saves a fetch: a native file that was lost is fetched again.
        known = _present(deployment, current)
        complete = bool(known) and len(known) == len(dataset.source.addresses(vintage) or current)
        if complete and dataset.fixed_vintages is None and vintage not in source.discover():
            still = vintage in served_vintages(deployment, dataset, source)
            return Retained(tuple(known), 0, vintage, source.observe(vintage).digest if still else None)

        def show(name: str, done: int, total: int | None) -> None:
            report(Progress(dataset.id, str(vintage), "raw", name, done, total))

        # Before the fetch: a change between the two is seen once too often, never missed.
        fingerprint = source.observe(vintage).digest
        fetched = source.fetch(vintage, folder, known, show)
        digests = {one.path: _hashed(one) for one in fetched if isinstance(one, Arrived)}
        here, before = vintage, known
        if not current:
            arrived = [(one, digests[one.path].sha256) for one in fetched if isinstance(one, Arrived)]
            here = held_as(deployment, dataset, vintage, source, arrived) or vintage
        if here != vintage:
            leases.enter_context(deployment.working_on(dataset, here))
            of_here = deployment.ledger.natives.current(dataset.id, here, dataset.source.addresses(here))
            before = _present(deployment, of_here)
        natives: list[NativeFile] = []
        for one in fetched:
            if isinstance(one, NativeFile):
                natives.append(one)
                continue
            sums = digests[one.path]
            same = retained_copy(deployment, dataset, here, one, sums.sha256, before)
            if same is not None and same.sha256 != sums.sha256:
                # Some publishers pack the same files again every night: the first of them stays the native file.
                natives.append(replace(same, etag=one.etag, last_modified=one.last_modified))
                continue
            native = one.native(sums.sha256, raw_address(dataset.id, here, sums.sha256, one.name))
            deployment.primary.put_immutable(one.path, native.address, sums)
            natives.append(native)
            keep_native(deployment, dataset.id, here, native, one.path)
        deployment.ledger.natives.record(dataset.id, here, natives, dataset.licence_words[:_LICENCE])
        if here == vintage:
            deployment.ledger.natives.record_own(dataset.id, vintage)
        else:
            deployment.ledger.natives.record_same(dataset.id, vintage, here)
        if said := source.describe(vintage):
            deployment.ledger.natives.describe(dataset.id, here, said)
        shutil.rmtree(folder, ignore_errors=True)  # retained by now; what is left behind is swept by the next run
    return Retained(tuple(natives), len(digests), here, fingerprint)


def _present(deployment: Deployment, natives: Sequence[NativeFile]) -> list[NativeFile]:
    return [native for native in natives if deployment.primary.stat(native.address) == native.size]


def _hashed(arrived: Arrived) -> Digests:
    digests = hash_file(arrived.path)
    if digests.size != arrived.size:
        raise StorageError(
            f"{arrived.name} has {digests.size:,} bytes on the disk, {arrived.size:,} were fetched",
            "Check the disk, then run again",
        )
    return digests
