"""Tests of every store before a DOI is reserved: an object is written and read back through the public address.

A bucket that answers 403 to readers, or an address that serves another folder, is a wrong setting: it would make a
published and cited release unreadable. `copies` reports a store that refuses a write. The embedded default has no
public address and is not tested. The same object shows `torrent` whether a store serves ranges while the file is
hidden; an object below the hidden prefix shows whether the prefix is hidden.
"""

from __future__ import annotations

import hashlib

import httpx

from d4c_pipeline.model.addresses import HIDDEN
from d4c_pipeline.model.errors import IntegrityError, PermanentError, StorageError, TransientError, sanitise
from d4c_pipeline.stores.port import Store
from d4c_pipeline.torrents.pieces import Pieces
from d4c_pipeline.torrents.web_seeds import SeedVerdict, try_web_seed
from d4c_pipeline.transport.clients import http_client
from d4c_pipeline.workspace.deployment import Deployment

ADDRESS = "catalogue/preflight.txt"
"""The address of the object in every store. Its bytes never change, so a CDN can't cache an older version."""
_CONTENT = b"d4c_pipeline reads this file back by the public address of the store before it reserves a DOI.\n"
_SECONDS = 30.0
_PIECE = 32  # bytes; the object has three pieces
_PIECES = Pieces(
    len(_CONTENT),
    _PIECE,
    b"".join(
        hashlib.sha1(_CONTENT[start : start + _PIECE], usedforsecurity=False).digest()
        for start in range(0, len(_CONTENT), _PIECE)
    ),
)
_HIDDEN = f"{HIDDEN}preflight/preflight.txt"


def try_public_addresses(deployment: Deployment) -> None:
    """Read one object back through the public address of every store.

    Raises PermanentError when an address answers with something else, TransientError when the primary store's address
    does not answer, and what the primary store raises when the write fails. An unreachable mirror is left to `copies`.
    """
    if deployment.settings.store_url is None:
        return
    primary, *mirrors = deployment.stores
    primary.replace(_CONTENT, ADDRESS)
    require_answer(primary)
    for mirror in mirrors:
        try:
            mirror.replace(_CONTENT, ADDRESS)
        except (TransientError, StorageError):
            continue  # `copies` reports the unreachable mirror and skips it
        _silence(mirror)


def require_answer(store: Store) -> None:
    """Verify that the public address of a store serves the object, which the store holds.

    Raises TransientError when the address does not answer, PermanentError when it answers with something else.
    """
    if reason := _silence(store):
        raise TransientError(
            f"The public address of store {store.name} does not answer: {store.url(ADDRESS)} {reason}",
            "Start its server, or correct its address (D4C_STORE_URL, or url in the document of stores)",
        )


def require_storage(store: Store) -> None:
    """Verify that a store takes the object and gives it back.

    Raises IntegrityError if it gives back other bytes, and what the store raises.
    """
    store.replace(_CONTENT, ADDRESS)
    if store.read_bytes(ADDRESS) != _CONTENT:
        raise IntegrityError(
            f"Store {store.name} gives back other bytes than it was given at {ADDRESS}",
            "Check its disk, or the server of its bucket",
        )


def try_ranges(store: Store) -> SeedVerdict:
    """Return whether the public address of a store serves ranges of the object, as a web seed has to."""
    try:
        store.replace(_CONTENT, ADDRESS)
    except (TransientError, StorageError) as error:
        return SeedVerdict(False, error.cause, silent=True)
    return try_web_seed(store.url(ADDRESS), _PIECES)


def try_hidden(deployment: Deployment) -> None:
    """Verify that no store lists the files below its hidden prefix, where a release awaits approval.

    Raises PermanentError for such a store, and what the primary store raises. An unreachable mirror is skipped.
    """
    if deployment.settings.store_url is None:
        return
    for store in deployment.stores:
        try:
            require_hidden(store)
        except (TransientError, StorageError):
            if store is deployment.primary:
                raise


def require_hidden(store: Store) -> None:
    """Verify that a store does not list the files below its hidden prefix.

    A readable file is hidden as long as its random name is unknown, so only a store that also lists names is refused.
    Raises PermanentError for such a store, and what the store raises.
    """
    store.replace(_CONTENT, _HIDDEN)
    if store.is_exposed(_HIDDEN) or _is_listed(store):
        raise PermanentError(
            f"Store {store.name} lists and serves the files below {HIDDEN} to everybody, so a release that waits "
            "for approval would be public",
            f"Deny listing of the bucket, or reading of {HIDDEN}* (on a web server: answer 404 below /{HIDDEN}); "
            "docs/stores.md shows the policy. Then run again",
        )


def _is_listed(store: Store) -> bool:
    """Return whether the public address serves a hidden object and a listing that names its folder."""
    url = store.url(_HIDDEN)
    name, root = _HIDDEN.removeprefix(HIDDEN).partition("/")[0], url.removesuffix(_HIDDEN)
    try:
        with http_client(_SECONDS) as client:
            if client.get(url).content != _CONTENT:
                return False
            listings = (f"{root}{HIDDEN}", f"{root}?list-type=2&prefix={HIDDEN}")
            return any(name in answer.text for answer in map(client.get, listings) if answer.status_code == 200)
    except (httpx.HTTPError, httpx.InvalidURL):
        return False  # `try_public_addresses` reports a wrong address


def _silence(store: Store) -> str:
    """Return why the store's address does not answer, "" when it serves the object. Raises PermanentError otherwise."""
    url = store.url(ADDRESS)
    try:
        with http_client(_SECONDS) as client:
            answer = client.get(url)
    except httpx.TransportError as error:
        return sanitise(f"can't be reached ({error or type(error).__name__})")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise PermanentError(
            f"The public address of store {store.name} can't be read: {url} ({sanitise(str(error))})", _address(store)
        ) from error
    if answer.status_code in (401, 403):
        raise PermanentError(
            f"Readers can't read store {store.name}: {url} answers {answer.status_code}",
            "Allow public reads of its objects (bucket policy: docs/stores.md), then run again",
        )
    if answer.status_code == 429 or answer.status_code >= 500:
        return f"answers {answer.status_code}"
    if answer.status_code != 200:
        raise PermanentError(
            f"The public address of store {store.name} does not serve it: {url} answers {answer.status_code}",
            _address(store),
        )
    if answer.content != _CONTENT:
        raise PermanentError(
            f"The public address of store {store.name} serves other bytes than it holds: {url} "
            f"({len(answer.content)} bytes instead of {len(_CONTENT)})",
            _address(store),
        )
    return ""


def _address(store: Store) -> str:
    return (
        f"Correct the address of store {store.name} (D4C_STORE_URL, or url in the document of stores), then run again"
    )
