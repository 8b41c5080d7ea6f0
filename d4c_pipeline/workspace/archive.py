"""Opens the archive that the settings name: local, Zenodo, its sandbox, another InvenioRDM, or DataCite.

Zenodo and its sandbox are two values of one setting and share their code. The clients belong to `archives`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from d4c_pipeline.archives.local.archive import LocalArchive
from d4c_pipeline.archives.port import Archive
from d4c_pipeline.model.errors import PermanentError, UnknownNameError
from d4c_pipeline.model.settings import LOCAL_ARCHIVE, Settings, archive_token
from d4c_pipeline.model.stores import base_url

if TYPE_CHECKING:
    from d4c_pipeline.archives.datacite.client import DataCiteArchive
    from d4c_pipeline.archives.invenio.client import InvenioArchive

_ZENODO = {"zenodo": "https://zenodo.org", "zenodo-sandbox": "https://sandbox.zenodo.org"}
_DATACITE = "https://api.datacite.org"
DOI_RESOLVER = "https://doi.org"
_HTTP = re.compile(r"\s*https?:", re.IGNORECASE)


@contextmanager
def opened_archive(settings: Settings, locate: Callable[[str], str]) -> Iterator[Archive]:
    """Open the archive that `settings` name, and close it again. Opening makes no call.

    `locate` maps our identifier of a release to the public address of its folder in the primary store. Raises
    PermanentError when a setting that the archive needs is missing.
    """
    if settings.archive == LOCAL_ARCHIVE:
        yield LocalArchive(archive_root(settings), _local_url(settings))
        return
    remote = _datacite(settings, locate) if settings.archive == "datacite" else _invenio(settings)
    with closing(remote):
        yield remote


@contextmanager
def readable_archive(settings: Settings, source: str | None) -> Iterator[Archive]:
    """Open an archive to read published records, for which no token is required.

    `source`: the address of an InvenioRDM, `zenodo`, `zenodo-sandbox`, or the folder of a local archive or of a home
    with one; by default the archive of the settings. Raises UnknownNameError for anything else, for an address with a
    user or password, and for DataCite, whose files lie in the operator's own store.
    """
    if source is None or source == settings.archive:
        address, folder = archive_address(settings), archive_root(settings)
        if settings.archive == "datacite":
            raise UnknownNameError(
                "DataCite registers DOIs and has no files", "Download the files of the release, and name their folder"
            )
        if settings.archive != LOCAL_ARCHIVE and address is None:
            raise _no_address()
    else:
        address = _server(source) if _HTTP.match(source) else _ZENODO.get(source)
        folder = Path(source) if (Path(source) / "records").is_dir() else Path(source) / "archive"
    if address is None:
        if not (folder / "records").is_dir():
            raise UnknownNameError(
                f"'{source or folder}' is no archive",
                "Name the address of an InvenioRDM (https://...), zenodo, zenodo-sandbox or a local archive's folder "
                "with --from",
            )
        yield LocalArchive(folder)
        return
    from d4c_pipeline.archives.invenio.client import InvenioArchive  # noqa: PLC0415 - as below

    with closing(InvenioArchive(urlsplit(address).netloc, address, None, test=False)) as remote:
        yield remote


@contextmanager
def no_archive() -> Iterator[Archive]:
    """Replaces the archive if only the ledger is read, so that no token is required."""
    yield cast("Archive", _NoArchive())


class _NoArchive:
    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"this deployment was opened without its archive and has no {name}")


def archive_root(settings: Settings) -> Path:
    """The folder of the local archive."""
    return settings.home / "archive"


def archive_address(settings: Settings) -> str | None:
    """Return the address of the archive's server; None for the local archive and an `invenio` without its address."""
    if settings.archive == LOCAL_ARCHIVE:
        return None
    if settings.archive == "datacite":
        return settings.archive_url or _DATACITE
    return settings.archive_url or _ZENODO.get(settings.archive)


def _server(source: str) -> str:
    # The message omits the address, because the archive is named by it and it may contain a password.
    try:
        return base_url(source.strip())
    except ValueError as error:
        raise UnknownNameError(
            f"The address of the archive can't be used: {error}",
            "Name an InvenioRDM as https://<host> with --from; published records need no credentials",
        ) from None


def _local_url(settings: Settings) -> str | None:
    if settings.archive_url is not None:
        return settings.archive_url
    return f"{settings.embedded_url}/archive" if settings.store_url is None else None


def _invenio(settings: Settings) -> InvenioArchive:
    address = archive_address(settings)
    if address is None:
        raise _no_address()
    from d4c_pipeline.archives.invenio.client import InvenioArchive  # noqa: PLC0415 - an HTTP client, needed here only

    # The ledger records deposits under this name; two instances must not share a name.
    name = settings.archive if settings.archive in _ZENODO else f"invenio:{urlsplit(address).netloc}"
    return InvenioArchive(
        name,
        address,
        archive_token(),
        test=settings.archive_test or settings.archive == "zenodo-sandbox",
        community=settings.archive_community,
    )


def _no_address() -> PermanentError:
    return PermanentError(
        "D4C_ARCHIVE is 'invenio' and its address is not set", "Set D4C_ARCHIVE_URL to https://<host>"
    )


def _datacite(settings: Settings, locate: Callable[[str], str]) -> DataCiteArchive:
    missing = [
        variable
        for variable, value in (
            ("D4C_ARCHIVE_ACCOUNT", settings.archive_account),
            ("D4C_DOI_PREFIX", settings.doi_prefix),
            ("D4C_STORE_URL", settings.store_url),
        )
        if not value
    ]
    if missing:
        raise PermanentError(
            f"D4C_ARCHIVE is 'datacite', which needs {' and '.join(missing)}",
            "Set the repository account, its DOI prefix and the public address of the store",
        )
    from d4c_pipeline.archives.datacite.client import DataCiteArchive  # noqa: PLC0415 - as above

    return DataCiteArchive(
        str(archive_address(settings)),
        str(settings.archive_account),
        archive_token(),
        prefix=str(settings.doi_prefix),
        locate=locate,
        test=settings.archive_test,
        resolver=settings.doi_resolver or DOI_RESOLVER,
    )
