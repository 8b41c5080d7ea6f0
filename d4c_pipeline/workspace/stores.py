"""Which stores the settings lead to, and doing something in all of them although a mirror may be down.

The primary has to hold whatever a step puts. A mirror that can't be reached or is full stops no publication: it is left
alone, named with the reason, and the next run mends it. Other bytes at an immutable address always stop. How stores are
declared belongs to `model.stores`, what they do to `stores`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from d4c_pipeline.model.errors import BusyError, StorageError, TransientError
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.model.stores import FolderPlace, S3Place
from d4c_pipeline.stores.folder import FolderStore
from d4c_pipeline.stores.port import Store
from d4c_pipeline.stores.s3 import S3Store
from d4c_pipeline.stores.s3_client import Bucket


@dataclass(frozen=True)
class Missed:
    """A mirror that could not be written, and what its failure says: cause and remedy."""

    store: str
    cause: str
    remedy: str


def opened_stores(settings: Settings) -> tuple[Store, ...]:
    """Return the primary store and then the mirrors. None is reached yet.

    Raises PermanentError when the secret of one stands nowhere.
    """
    declared = settings.stores
    url = settings.store_url or settings.embedded_url
    primary = FolderStore(settings.home / "store", url) if declared.primary is None else _opened(declared.primary, url)
    return (primary, *(_opened(mirror, str(mirror.url)) for mirror in declared.mirrors))


def store_root(settings: Settings) -> Path | None:
    """Return the folder of the primary store, None where it lies in a bucket."""
    place = settings.stores.primary
    if place is None:
        return settings.home / "store"
    return place.path if isinstance(place, FolderPlace) else None


def _opened(place: FolderPlace | S3Place, url: str) -> Store:
    if isinstance(place, FolderPlace):
        return FolderStore(place.path, url, place.name, mounted=True)
    bucket = Bucket(
        place.bucket,
        place.prefix,
        place.endpoint,
        place.region,
        place.addressing,
        place.profile,
        place.secret("access_key"),
        place.secret("secret_key"),
    )
    return S3Store(bucket, url, place.name)


class Spreading:
    """Doing the same in every store. Which mirrors were missed is remembered: they are not waited for again."""

    def __init__(self, stores: Sequence[Store]) -> None:
        self._stores = tuple(stores)
        self._missed: dict[str, Missed] = {}

    @property
    def missed(self) -> tuple[Missed, ...]:
        """The mirrors that were down, in the order of the settings."""
        return tuple(self._missed[store.name] for store in self._stores if store.name in self._missed)

    def everywhere(self, do: Callable[[Store], object]) -> None:
        """Call `do` with the primary, whose errors are raised, and with each mirror that was not missed yet.

        A TransientError or StorageError of a mirror makes it missed. Whatever else a mirror says is raised, and so is
        BusyError: another process is at work.
        """
        primary, *mirrors = self._stores
        do(primary)
        for mirror in mirrors:
            if mirror.name in self._missed:
                continue
            try:
                do(mirror)
            except BusyError:
                raise
            except (TransientError, StorageError) as error:
                self._missed[mirror.name] = Missed(mirror.name, error.cause, error.remedy)
