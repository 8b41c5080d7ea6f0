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

_LICENCE = 60  # characters: the width of the ledger's column


@dataclass(frozen=True)
class Retained:
    """The native files of the vintage; `fetched` counts the files fetched over the network.

    `bytes_fetched` is their size. `fingerprint` is the state of the source before the fetch, which noticing compares
    with later states; None when the source no longer serves the vintage. `vintage` is the vintage that the files are
    retained under: an earlier one where the source served the same content under a new date.
    """

    natives: tuple[NativeFile, ...]
    fetched: int
    vintage: Vintage
    fingerprint: str | None = None
    bytes_fetched: int = 0


def retain(deployment: Deployment, dataset: Dataset, vintage: Vintage) -> Retained:
    """Fetch the native files of `vintage` unless they are retained already, and record them.

    A discovered vintage that the source no longer serves is built from its retained files. Files with the content of an
    earlier vintage are recorded under that vintage (`natives.held_by`). Raises SourceError, TransientError and
    StorageError as the source and the store do.
    """
    folder = deployment.staging(dataset, vintage) / "native"
    # The libraries of a build load while the network answers.
    child.warm()
    with deployment.working_on(dataset, vintage), ExitStack() as leases:
        source = open_source(dataset, deployment.settings.origins)
        current = deployment.ledger.natives.current(dataset.id, vintage, dataset.source.addresses(vintage))
        # A fetch is skipped only for a file that the store still holds; a lost native file is fetched again.
        known = _present(deployment, current)
        complete = bool(known) and len(known) == len(dataset.source.addresses(vintage) or current)
        if complete and dataset.fixed_vintages is None and vintage not in source.discover():
            still = vintage in served_vintages(deployment, dataset, source)
            return Retained(tuple(known), 0, vintage, source.observe(vintage).digest if still else None)

        def show(name: str, done: int, total: int | None) -> None:
            report(Progress(dataset.id, str(vintage), "raw", name, done, total))

        # Observed before the fetch: a change in between causes one run too many, never a missed change.
        fingerprint = source.observe(vintage).digest
        fetched = source.fetch(vintage, folder, known, show)
        digests = {file.path: _hashed(file) for file in fetched if isinstance(file, Arrived)}
        here, before = vintage, known
        if not current:
            arrived = [(file, digests[file.path].sha256) for file in fetched if isinstance(file, Arrived)]
            here = held_as(deployment, dataset, vintage, source, arrived) or vintage
        if here != vintage:
            leases.enter_context(deployment.working_on(dataset, here))
            of_here = deployment.ledger.natives.current(dataset.id, here, dataset.source.addresses(here))
            before = _present(deployment, of_here)
        natives: list[NativeFile] = []
        for file in fetched:
            if isinstance(file, NativeFile):
                natives.append(file)
                continue
            sums = digests[file.path]
            same = retained_copy(deployment, dataset, here, file, sums.sha256, before)
            if same is not None and same.sha256 != sums.sha256:
                # Some publishers zip the same files again every night: the first zip stays the native file.
                natives.append(replace(same, etag=file.etag, last_modified=file.last_modified))
                continue
            native = file.native(sums.sha256, raw_address(dataset.id, here, sums.sha256, file.name))
            deployment.primary.put_immutable(file.path, native.address, sums)
            natives.append(native)
            keep_native(deployment, dataset.id, here, native, file.path)
        deployment.ledger.natives.record(dataset.id, here, natives, dataset.licence_words[:_LICENCE])
        if here == vintage:
            deployment.ledger.natives.record_own(dataset.id, vintage)
        else:
            deployment.ledger.natives.record_same(dataset.id, vintage, here)
        if described := source.describe(vintage):
            deployment.ledger.natives.describe(dataset.id, here, described)
        shutil.rmtree(folder, ignore_errors=True)  # the store holds the files; the next run removes leftovers
    return Retained(tuple(natives), len(digests), here, fingerprint, sum(each.size for each in digests.values()))


def _present(deployment: Deployment, natives: Sequence[NativeFile]) -> list[NativeFile]:
    return [native for native in natives if deployment.primary.stat(native.address) == native.size]


def _hashed(arrived: Arrived) -> Digests:
    digests = hash_file(arrived.path)
    if digests.size != arrived.size:
        raise StorageError(
            f"{arrived.name} has {digests.size:,} bytes on disk, but {arrived.size:,} bytes were fetched",
            "Check the disk, then run again",
        )
    return digests
