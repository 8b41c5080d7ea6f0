"""Files that one step leaves for the next, in the primary store, so that another home can go on.

The primary store has them where it is declared (a bucket, a shared folder). Without a declared primary store the home's
own folder is the store: whoever reaches the store reaches staging, and nothing is put. Each file is put once; `copies`
moves it to the release inside the store. Only placements that the ledger recorded are deleted.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from contextlib import suppress
from pathlib import Path

from d4c_pipeline.files.hashing import hash_file
from d4c_pipeline.ledger import lease_keys
from d4c_pipeline.ledger.placements import Placement
from d4c_pipeline.model.addresses import WORK, work_address, work_folder
from d4c_pipeline.model.errors import BusyError, IntegrityError
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.workspace.deployment import Deployment


def is_shared(deployment: Deployment) -> bool:
    """Return whether the files of the steps go through the primary store."""
    return deployment.settings.stores.primary is not None


def put_work(deployment: Deployment, dataset: str, vintage: Vintage, files: Iterable[Path]) -> None:
    """Put files of a build or plan into the primary store by their content, if steps share it.

    The caller holds the lease on the vintage. A killed call leaves recorded placements, which `free_work` finds. Raises
    what the store raises.
    """
    if not is_shared(deployment):
        return
    store, placements = deployment.primary, deployment.ledger.placements
    for path in files:
        digests = hash_file(path)
        address = work_address(dataset, vintage, digests.sha256, path.name)
        placements.intend(store.name, address, sha256=digests.sha256, size=digests.size)
        try:
            store.put_immutable(path, address, digests)
        except IntegrityError:
            if hash_file(path) != digests:  # the staged file changed
                raise
            # A content address with other bytes is damaged, and nothing else refers to it.
            store.delete(address)
            store.put_immutable(path, address, digests)


def work_of(deployment: Deployment, dataset: str, vintage: Vintage, sha256: str | None = None) -> tuple[Placement, ...]:
    """Return the recorded files of a vintage in the primary store, or only those with a checksum."""
    if not is_shared(deployment):
        return ()
    found = deployment.ledger.placements.below(deployment.primary.name, work_folder(dataset, vintage))
    return tuple(placed for placed in found if sha256 in (None, placed.sha256))


def free_work(deployment: Deployment, dataset: str, vintage: Vintage, *, keep: Container[str] = ()) -> int:
    """Delete the recorded files of a vintage in the primary store, without the checksums in `keep`.

    The caller holds the lease on the vintage. Returns the number of bytes of the deleted files.
    """
    freed = 0
    for placed in work_of(deployment, dataset, vintage):
        if placed.sha256 not in keep:
            deployment.primary.delete(placed.address)
            deployment.ledger.placements.forget(placed.store, placed.address)
            freed += placed.size
    return freed


def free_abandoned_work(deployment: Deployment) -> int:
    """Delete the files of every vintage that no step continues: its build was killed, or its release is published.

    A vintage in work is skipped. Returns the number of bytes of the deleted files.
    """
    if not is_shared(deployment):
        return 0
    ledger = deployment.ledger
    names = (
        placed.address.removeprefix(WORK).split("/")[:2]
        for placed in ledger.placements.below(deployment.primary.name, WORK)
    )
    unfinished = {(build.dataset, str(build.vintage)) for build in ledger.builds.uncompared()}
    freed = 0
    for dataset, written in sorted({(dataset, vintage) for dataset, vintage in names} - unfinished):
        vintage = Vintage.parse(written)
        with suppress(BusyError), ledger.leases.hold(lease_keys.of_vintage(dataset, vintage), wait=0):
            if is_continued(deployment, dataset, vintage):
                continue
            freed += free_work(deployment, dataset, vintage)
    return freed


def is_continued(deployment: Deployment, dataset: str, vintage: Vintage) -> bool:
    """Return whether a later step reads the files of a vintage: a build that is not compared yet, or a plan."""
    build = deployment.ledger.builds.current(dataset, vintage)
    if build is not None and build.release_id is None:
        return True
    return deployment.ledger.releases.planned(dataset, vintage) is not None
