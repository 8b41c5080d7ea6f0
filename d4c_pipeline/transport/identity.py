"""Who we say we are to the servers we ask: one User-Agent for every room."""

from __future__ import annotations

from functools import cache
from importlib import metadata


def announced(first: str | None) -> str:
    """Return the User-Agent that begins with the products of `first` and ends with ours (RFC 9110, 10.1.5).

    Some servers serve only what calls itself a browser; they still read whom to complain to.
    """
    return user_agent() if first is None else f"{first} {user_agent()}"


@cache
def user_agent() -> str:
    """Return our User-Agent: name, version and where to complain (Zenodo and many others ask for one)."""
    try:
        version = metadata.version("d4c-pipeline")
    except metadata.PackageNotFoundError:  # run from a checkout that is not installed
        version = "0"
    return f"d4c-pipeline/{version} (+https://github.com/dataforcanada)"
