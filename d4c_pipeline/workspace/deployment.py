"""A deployment: the settings with their ledger, stores and archive, opened for work.

Each step selects the parts that it uses; reading settings from the environment belongs to `model.settings`.
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
    """The settings, ledger, stores and archive of a step. `stores[0]` is the primary store, the others are mirrors."""

    settings: Settings
    ledger: Ledger
    stores: tuple[Store, ...]
    archive: Archive

    @classmethod
    @contextmanager
    def open(cls, settings: Settings, *, archive: bool = True, ledger: Ledger | None = None) -> Iterator[Deployment]:
        """Open the deployment that `settings` describe and close it again; without its archive if `archive` is False.

        `ledger`: its ledger, if the caller has it open; it stays open.
        Raises StorageError when the home can't be written, TransientError when the ledger's server can't be reached,
        PermanentError when the settings of the archive or of a store are incomplete.
        """
        with ExitStack() as opened:
            if ledger is None:
                ledger = opened.enter_context(opened_ledger(settings))
            stores = opened_stores(settings)
            locate = partial(_folder_url, ledger, stores[0])
            at = opened.enter_context(opened_archive(settings, locate) if archive else no_archive())
            yield cls(settings=settings, ledger=ledger, stores=stores, archive=at)

    @property
    def primary(self) -> Store:
        """The store that retains native files and that catalogue entries point to first."""
        return self.stores[0]

    @cached_property
    def spreading(self) -> Spreading:
        """Runs an action in every store; an unreachable mirror is skipped until the deployment is opened again."""
        return Spreading(self.stores)

    def staging(self, dataset: Dataset, vintage: Vintage) -> Path:
        """Return the staging folder of a vintage; its files can be rebuilt."""
        return self.settings.home / "staging" / dataset.id / str(vintage)

    @contextmanager
    def working_on(self, dataset: Dataset, vintage: Vintage) -> Iterator[Lease]:
        """Hold the lease on a vintage: one process at a time works on its release."""
        with self.ledger.leases.hold(lease_keys.of_vintage(dataset.id, vintage)) as lease:
            yield lease


def opened_ledger(settings: Settings) -> closing[Ledger]:
    """Return the open ledger of a deployment, as a context that closes it (errors: see `Ledger`)."""
    return closing(Ledger(settings.ledger_url) if settings.ledger_url else Ledger.in_folder(settings.home))


def portal_folder(home: Path) -> Path:
    """Return the folder of the portal in a home, which is served beside the store."""
    return home / "portal"


def _folder_url(ledger: Ledger, store: Store, identifier: str) -> str:
    """Return the address of the folder with the files of the release that has our identifier."""
    release = ledger.releases.identified(identifier)
    # A store addresses files only; the folder is the part before a file's name.
    return store.url(release_address(release.dataset, release.vintage, release.version, "file")).rpartition("/")[0]
