"""Replacement of origins: tests and closed networks serve the declared addresses from other hosts.

This module only rewrites addresses; the origins are a setting (`model.settings`).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import SplitResult, urlsplit

from d4c_pipeline.model.errors import SourceError

_DEFAULT_PORTS = {"http": 80, "https": 443}


def rewrite(url: str, origins: Mapping[str, str]) -> str:
    """Return `url` with its origin (scheme, host, port) replaced if `origins` has exactly that origin.

    Path and query stay unchanged; a path in the replacement is prepended. Raises SourceError if `url` is not a valid
    address.
    """
    parts, wanted = _taken_apart(url)
    for origin, replacement in origins.items():
        if _taken_apart(origin)[1] == wanted:
            rest = parts._replace(scheme="", netloc="", fragment="").geturl()
            return replacement.rstrip("/") + (rest if rest.startswith("/") else f"/{rest}")
    return url


def origin_of(url: str) -> tuple[str, str, int | None]:
    """Return scheme, host and port of an address, as RFC 6454 compares them."""
    return _taken_apart(url)[1]


@lru_cache(1 << 12)
def _taken_apart(url: str) -> tuple[SplitResult, tuple[str, str, int | None]]:
    try:
        parts = urlsplit(url)
        scheme = parts.scheme.lower()
        return parts, (scheme, (parts.hostname or "").lower(), parts.port or _DEFAULT_PORTS.get(scheme))
    except ValueError as error:
        raise SourceError(f"'{url}' is not an address: {error}", "Correct the address") from error
