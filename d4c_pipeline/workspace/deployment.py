"""A deployment: the settings with the ledger, the stores and the archive they lead to, opened for work.

Which step uses what belongs to the steps; reading the settings from the environment belongs to `model.settings`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from d4c_pipeline.archives.port import Archive
from d4c_pipeline.ledger import Ledger, lease_keys
from d4c_pipeline.ledger.leases import Lease
from d4c_pipeline.model.addresses import release_address
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.stores.port import Store
from d4c_pipeline.workspace.archive import no_archive, opened_archive
from d4c_pipeline.workspace.stores import Spreading, opened_stores


@dataclass(frozen=True)
class Deployment:
    """Everything a step needs to reach. `stores[0]` is the primary, the others are mirrors."""

    settings: Settings
    ledger: Ledger
    stores: tuple[Store, ...]
    archive: Archive

    @classmethod
    @contextmanager
    def open(cls, settings: Settings, *, archive: bool = True) -> Iterator[Deployment]:
        """Open the deployment that `settings` describe and close it again; without its archive on demand.

        Raises StorageError when the home can't be written, TransientError when the ledger's server can't be reached,
        PermanentError when the settings of the archive or of a store are incomplete.
        """
        with ExitStack() as opened:
            ledger = opened.enter_context(
                closing(Ledger(settings.ledger_url) if settings.ledger_url else Ledger.in_folder(settings.home))
            )
            stores = opened_stores(settings)
            locate = partial(_folder_url, ledger, stores[0])
            at = opened.enter_context(opened_archive(settings, locate) if archive else no_archive())
            yield cls(settings=settings, ledger=ledger, stores=stores, archive=at)

    @property
    def primary(self) -> Store:
        """The store that retains native files and that readers are pointed to first."""
        return self.stores[0]

    @cached_property
    def spreading(self) -> Spreading:
        """Doing the same in every store; a mirror that was down is left alone until the deployment is opened again."""
        return Spreading(self.stores)

    def staging(self, dataset: Dataset, vintage: Vintage) -> Path:
        """The folder where a vintage is worked on; whatever lies there can be made again."""
        return self.settings.home / "staging" / dataset.id / str(vintage)

    @contextmanager
    def working_on(self, dataset: Dataset, vintage: Vintage) -> Iterator[Lease]:
        """Hold the lease on a vintage, so that one process at a time works on its release."""
        with self.ledger.leases.hold(lease_keys.of_vintage(dataset.id, vintage)) as lease:
            yield lease


def _folder_url(ledger: Ledger, store: Store, identifier: str) -> str:
    """The address of the folder that holds the files of the release with our identifier."""
    release = ledger.releases.identified(identifier)
    # A folder is no address in a store: it is what any file in it has before its name.
    return store.url(release_address(release.dataset, release.vintage, release.version, "file")).rpartition("/")[0]
