"""`raw`: fetches the native files of a vintage and retains them, content-addressed, in the primary store."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from d4c_pipeline.chain.deployment import Deployment
from d4c_pipeline.chain.progress import Progress, report
from d4c_pipeline.chain.staging import keep_native, native_path
from d4c_pipeline.chain.vintages import served_vintages
from d4c_pipeline.distribution.hashing import hash_file
from d4c_pipeline.model.addresses import raw_address
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import StorageError
from d4c_pipeline.model.release import NativeFile
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.sources.content import same_members
from d4c_pipeline.sources.open import open_source
from d4c_pipeline.sources.port import Arrived


@dataclass(frozen=True)
class Retained:
    """The native files that stand for the vintage now; `fetched` counts those that came over the network.

    `fingerprint` is what the source called its files before they were fetched, None when it has left the vintage
    behind: noticing compares it with what the source says later.
    """

    natives: tuple[NativeFile, ...]
    fetched: int
    fingerprint: str | None = None


def retain(deployment: Deployment, dataset: Dataset, vintage: Vintage) -> Retained:
    """Fetch what the source serves for `vintage` unless it is retained already, and record it.

    A discovered vintage that the source has left behind is worked on from what was retained of it. Raises SourceError,
    TransientError and StorageError as the source and the store do.
    """
    folder = deployment.staging(dataset, vintage) / "native"
    with deployment.working_on(dataset, vintage):
        source = open_source(dataset, deployment.settings.origins)
        current = deployment.ledger.natives.current(dataset.id, vintage, dataset.source.addresses(vintage))
        # Only what is still retained saves a fetch: a native file that was lost is fetched again.
        known = [native for native in current if deployment.primary.stat(native.address) == native.size]
        complete = bool(known) and len(known) == len(dataset.source.addresses(vintage) or current)
        if complete and dataset.fixed_vintages is None and vintage not in source.discover():
            still = vintage in served_vintages(deployment, dataset, source)
            return Retained(tuple(known), 0, source.observe(vintage).digest if still else None)

        def show(name: str, done: int, total: int | None) -> None:
            report(Progress(dataset.id, str(vintage), "raw", name, done, total))

        # Before the fetch: a change between the two is seen once too often, never missed.
        fingerprint = source.observe(vintage).digest
        fetched = source.fetch(vintage, folder, known, show)
        natives: list[NativeFile] = []
        for one in fetched:
            if isinstance(one, NativeFile):
                natives.append(one)
                continue
            digests = hash_file(one.path)
            if digests.size != one.size:
                raise StorageError(
                    f"{one.name} has {digests.size:,} bytes on the disk, {one.size:,} were fetched",
                    "Check the disk, then run again",
                )
            native = one.native(digests.sha256, raw_address(dataset.id, vintage, digests.sha256, one.name))
            if (same := _same_content(deployment, dataset, vintage, native, one.path, known)) is not None:
                natives.append(same)
                continue
            deployment.primary.put_immutable(one.path, native.address, digests)
            natives.append(native)
            keep_native(deployment, dataset.id, vintage, native, one.path)
        deployment.ledger.natives.record(dataset.id, vintage, natives, dataset.license)
        if said := source.describe(vintage):
            deployment.ledger.natives.describe(dataset.id, vintage, said)
        shutil.rmtree(folder, ignore_errors=True)  # retained by now; what is left behind is swept by the next run
    return Retained(tuple(natives), sum(isinstance(one, Arrived) for one in fetched), fingerprint)


def _same_content(
    deployment: Deployment,
    dataset: Dataset,
    vintage: Vintage,
    arrived: NativeFile,
    path: Path,
    known: Sequence[NativeFile],
) -> NativeFile | None:
    """Return the retained file that holds what `arrived` at `path` holds, under its validators; None when it is new.

    Some publishers zip the same files again every night. Their bytes differ, what they hold doesn't: the first of them
    stays the native file.
    """
    for native in known:
        if native.url != arrived.url or native.sha256 == arrived.sha256:
            continue
        held = native_path(deployment, dataset.id, vintage, native)
        if held is None:
            continue
        with held.open("rb") as one, path.open("rb") as other:
            if same_members(one, other):
                return replace(native, etag=arrived.etag, last_modified=arrived.last_modified)
    return None
