"""The User-Agent of every request, the same for all rooms."""

from __future__ import annotations

from functools import cache
from importlib import metadata


def announced(first: str | None) -> str:
    """Return the User-Agent that begins with the products of `first` and ends with ours (RFC 9110, 10.1.5).

    Some servers accept only browsers; they still see the address for complaints.
    """
    return user_agent() if first is None else f"{first} {user_agent()}"


@cache
def user_agent() -> str:
    """Return our User-Agent: name, version and an address for complaints (Zenodo and many others require one)."""
    try:
        version = metadata.version("d4c-pipeline")
    except metadata.PackageNotFoundError:  # run from a checkout that is not installed
        version = "0"
    return f"d4c-pipeline/{version} (+https://github.com/dataforcanada)"
