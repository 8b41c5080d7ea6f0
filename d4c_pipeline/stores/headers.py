"""The headers of an address: media type, cache lifetime, and the name under which a browser saves the file.

The headers are equal in every store and in the file server. The media type by name belongs to `files.media_types`, the
rule of immutable addresses to `stores.port`.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from urllib.parse import quote

from d4c_pipeline.files.media_types import media_type
from d4c_pipeline.model.addresses import is_hidden
from d4c_pipeline.stores.port import is_immutable

IMMUTABLE_CACHE = "public, max-age=31536000, immutable"
# The latest file: a cache asks before each use (mostly 304). With a minute of cache lifetime, a cache of slices joined
# two releases for that minute after a switch.
MUTABLE_CACHE = "public, no-cache"
HIDDEN_CACHE = "private, no-store"
_SHOWN = ("text/", "image/", "application/json", "application/geo+json", "application/xml", "application/pdf")
_FEEDS = ("application/atom+xml", "application/rss+xml")
# A publisher's bytes: a browser would run active content with the rights of the store's origin.
FOREIGN = ("raw/", "releases/", "archive/")
_ACTIVE = ("text/html", "image/svg+xml", "application/xml", "application/pdf", "text/javascript", "application/wasm")
# No scripts, forms, plugins or frames in publishers' files, and no rights of this origin (CSP Level 3, `sandbox`).
SANDBOX = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:"
# Quotes and backslashes would end the quoted form early; RFC 6266, appendix D advises against percent signs in it.
_UNQUOTABLE = str.maketrans(dict.fromkeys('"\\%', "_"))


def content_type(address: str) -> str:
    """Return the Content-Type of `address`; our own text is UTF-8, the encoding of a native file is unknown."""
    kind = media_type(address)
    return f"{kind}; charset=utf-8" if kind.startswith("text/") and not address.startswith("raw/") else kind


def cache_control(address: str) -> str:
    """Return the Cache-Control of `address`: a year at immutable addresses; others are revalidated before each use."""
    if is_hidden(address):
        return HIDDEN_CACHE
    return IMMUTABLE_CACHE if is_immutable(address) else MUTABLE_CACHE


def content_disposition(address: str) -> str:
    """Return the Content-Disposition of `address` (RFC 6266): a browser saves files that it can't display."""
    name = PurePosixPath(address).name
    shown = is_shown(address) and not (address.startswith(FOREIGN) and is_active(address))
    plain = name.encode("ascii", "replace").decode().replace("?", "_").translate(_UNQUOTABLE)
    encoded = "" if plain == name else f"; filename*=UTF-8''{quote(name, safe='')}"
    return f'{"inline" if shown else "attachment"}; filename="{plain}"{encoded}'


def is_shown(name: str) -> bool:
    """Return whether a browser displays a file of this name."""
    return media_type(name).startswith((*_SHOWN, *_FEEDS))


def is_active(name: str) -> bool:
    """Return whether a file of this name may have active content."""
    return media_type(name).startswith(_ACTIVE)


def security_headers(address: str) -> dict[str, str]:
    """Return the headers that prevent active content of publishers from running on the store's origin.

    `nosniff` for all files; a sandbox for native files, releases and records of the archive. S3 can't send these
    headers: there a browser saves active files instead of displaying them (`content_disposition`).
    """
    headers = {"X-Content-Type-Options": "nosniff"}
    if address.startswith(FOREIGN):
        headers["Content-Security-Policy"] = SANDBOX
    return headers
