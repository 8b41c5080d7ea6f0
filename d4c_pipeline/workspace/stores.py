"""Opens the stores that the settings name, and runs an action in all of them even if a mirror is unreachable.

The primary store must accept every file of a step. An unreachable or full mirror stops no publication: it is skipped
and reported with the reason, and the next run repairs it. Other bytes at an immutable address always stop the step. The
declaration of stores belongs to `model.stores`, their code to `stores`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from d4c_pipeline.model.errors import BusyError, StorageError, TransientError
from d4c_pipeline.model.settings import OWN_STORE, Settings
from d4c_pipeline.model.stores import FolderPlace, S3Place
from d4c_pipeline.stores.folder import FolderStore
from d4c_pipeline.stores.port import Store


@dataclass(frozen=True)
class Missed:
    """A mirror that could not be written, with the cause and the remedy."""

    store: str
    cause: str
    remedy: str


def opened_stores(settings: Settings) -> tuple[Store, ...]:
    """Return the primary store, then the mirrors, without any call to them.

    Raises PermanentError when a store's secret is not set.
    """
    declared = settings.stores
    url = settings.store_url or settings.embedded_url
    primary = (
        FolderStore(settings.home / OWN_STORE, url) if declared.primary is None else _opened(declared.primary, url)
    )
    return (primary, *(_opened(mirror, str(mirror.url)) for mirror in declared.mirrors))


def _opened(place: FolderPlace | S3Place, url: str) -> Store:
    if isinstance(place, FolderPlace):
        return FolderStore(place.path, url, place.name, mounted=True)
    # boto3 takes half a second to import: only a deployment with a bucket pays for it.
    from d4c_pipeline.stores.s3 import S3Store  # noqa: PLC0415
    from d4c_pipeline.stores.s3_client import Bucket  # noqa: PLC0415

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
    """Runs an action in every store and remembers the unreachable mirrors, which are skipped from then on."""

    def __init__(self, stores: Sequence[Store]) -> None:
        self._stores = tuple(stores)
        self._missed: dict[str, Missed] = {}

    @property
    def missed(self) -> tuple[Missed, ...]:
        """The unreachable mirrors, in the order of the settings."""
        return tuple(self._missed[store.name] for store in self._stores if store.name in self._missed)

    def everywhere(self, do: Callable[[Store], object]) -> None:
        """Call `do` with the primary store and with each mirror that is not missed yet.

        A TransientError or StorageError of a mirror marks it as missed. Every error of the primary store, any other
        error of a mirror, and BusyError are raised.
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
