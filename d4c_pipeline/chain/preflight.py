"""Before a DOI is reserved: one object is put into every store and read back as a reader would, by the public address.

A bucket that answers 403 to readers, or an address that serves another folder, is a fault of the settings: a release
published with it is cited and can't be read. What a store refuses to take is told by `copies`. The embedded default has
no public address and is not tried. The same object tells `torrent` whether a store serves ranges, while the file itself
is hidden; and another one, below the hidden prefix, whether that prefix hides anything.
"""

from __future__ import annotations

import hashlib

import httpx

from d4c_pipeline.model.addresses import HIDDEN
from d4c_pipeline.model.errors import PermanentError, StorageError, TransientError, sanitise
from d4c_pipeline.stores.port import Store
from d4c_pipeline.torrents.pieces import Pieces
from d4c_pipeline.torrents.web_seeds import SeedVerdict, try_web_seed
from d4c_pipeline.transport.clients import http_client
from d4c_pipeline.workspace.deployment import Deployment

ADDRESS = "catalogue/preflight.txt"
"""Where the object lies in every store. Its bytes are always the same, so no cache of a CDN can hold older ones."""
_CONTENT = b"d4c_pipeline reads this file back by the public address of the store before it reserves a DOI.\n"
_SECONDS = 30.0
_PIECE = 32  # bytes; the object has three of them
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

    Raises PermanentError when an address answers and does not serve it, TransientError when that of the primary store
    does not answer, and what the primary store raises when it can't be written. A mirror that is down stops nothing:
    `copies` tells of it.
    """
    if deployment.settings.store_url is None:
        return
    primary, *mirrors = deployment.stores
    primary.replace(_CONTENT, ADDRESS)
    if reason := _silence(primary):
        raise TransientError(
            f"The public address of store {primary.name} does not answer: {primary.url(ADDRESS)} {reason}",
            "Start what serves it, or correct its address (D4C_STORE_URL, or url in the document of stores)",
        )
    for mirror in mirrors:
        try:
            mirror.replace(_CONTENT, ADDRESS)
        except (TransientError, StorageError):
            continue  # `copies` meets the same, names it and leaves the mirror for a later run
        _silence(mirror)


def try_ranges(store: Store) -> SeedVerdict:
    """Say whether the public address of a store serves ranges, as a web seed has to, by the object's own bytes."""
    try:
        store.replace(_CONTENT, ADDRESS)
    except (TransientError, StorageError) as error:
        return SeedVerdict(False, error.cause, silent=True)
    return try_web_seed(store.url(ADDRESS), _PIECES)


def try_hidden(deployment: Deployment) -> None:
    """See that no store shows what lies below its hidden prefix: for a release that has to wait for a person.

    Bytes that anybody may read are hidden as long as nobody is told their names, so a store is refused that lists them
    as well. Raises PermanentError then, and what the primary store raises. A mirror that is down is not tried.
    """
    if deployment.settings.store_url is None:
        return
    for store in deployment.stores:
        try:
            store.replace(_CONTENT, _HIDDEN)
            exposed = store.is_exposed(_HIDDEN)
        except (TransientError, StorageError):
            if store is deployment.primary:
                raise
            continue
        if exposed or _is_listed(store):
            raise PermanentError(
                f"Store {store.name} lists and serves what lies below {HIDDEN} to everybody, so a release that waits "
                "for approval would be public",
                f"Forbid to list the bucket, or to read {HIDDEN}* in it (a web server: answer 404 below /{HIDDEN}); "
                "docs/stores.md shows the policy. Then run again",
            )


def _is_listed(store: Store) -> bool:
    """Whether the public address of the store serves a hidden object, and a listing that names its folder."""
    url = store.url(_HIDDEN)
    name, root = _HIDDEN.removeprefix(HIDDEN).partition("/")[0], url.removesuffix(_HIDDEN)
    try:
        with http_client(_SECONDS) as client:
            if client.get(url).content != _CONTENT:
                return False
            listings = (f"{root}{HIDDEN}", f"{root}?list-type=2&prefix={HIDDEN}")
            return any(name in answer.text for answer in map(client.get, listings) if answer.status_code == 200)
    except (httpx.HTTPError, httpx.InvalidURL):
        return False  # what is wrong with the address is told by `try_public_addresses`


def _silence(store: Store) -> str:
    """Return why the store's address gives no answer, "" when it serves the object; raises PermanentError otherwise."""
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
            "Let everybody read its objects (the bucket's policy, see docs/stores.md), then run again",
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
