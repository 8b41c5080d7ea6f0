"""`raw`: fetches the native files of a vintage and retains them, content-addressed, in the primary store."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace

from d4c_pipeline.chain.deployment import Deployment
from d4c_pipeline.chain.progress import Progress, report
from d4c_pipeline.distribution.hashing import hash_file
from d4c_pipeline.model.addresses import raw_address
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import SourceError
from d4c_pipeline.model.release import NativeFile
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.sources.open import open_source


@dataclass(frozen=True)
class Retained:
    """The native files that stand for the vintage now; `fetched` counts those that came over the network."""

    natives: tuple[NativeFile, ...]
    fetched: int


def retain(deployment: Deployment, dataset: Dataset, vintage: Vintage) -> Retained:
    """Fetch what the source serves for `vintage` unless it is retained already, and record it.

    A discovered vintage that the source has left behind is worked on from what was retained of it. Raises SourceError,
    TransientError and StorageError as the source and the store do.
    """
    folder = deployment.staging(dataset, vintage) / "native"
    with deployment.working_on(dataset, vintage):
        source = open_source(dataset, deployment.settings.origins)
        addresses = dataset.source.addresses(vintage)
        # Only what is still retained saves a fetch: a native file that was lost is fetched again.
        known = [
            native
            for native in deployment.ledger.natives.current(dataset.id, vintage, addresses)
            if deployment.primary.stat(native.address) == native.size
        ]
        complete = len(known) == len(addresses)
        if complete and dataset.fixed_vintages is None and vintage not in source.discover():
            return Retained(tuple(known), 0)

        def show(name: str, done: int, total: int | None) -> None:
            report(Progress(dataset.id, str(vintage), "raw", name, done, total))

        fetched = source.fetch(vintage, folder, known, show)
        natives: list[NativeFile] = []
        for one in fetched:
            if one.path is None:
                natives.append(one.file)
                continue
            digests = hash_file(one.path)
            if digests.sha256 != one.file.sha256:
                raise SourceError(
                    f"{one.file.name} changed on the disk right after it was fetched", "Check the disk, then run again"
                )
            address = raw_address(dataset.id, vintage, one.file.sha256, one.file.name)
            deployment.primary.put_immutable(one.path, address, digests)
            natives.append(replace(one.file, address=address))
        deployment.ledger.natives.record(dataset.id, vintage, natives, dataset.license)
        shutil.rmtree(folder, ignore_errors=True)  # retained by now; what is left behind is swept by the next run
    return Retained(tuple(natives), sum(one.path is not None for one in fetched))
