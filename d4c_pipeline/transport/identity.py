"""Who we say we are to the servers we ask: one User-Agent for every room."""

from __future__ import annotations

from functools import cache
from importlib import metadata


@cache
def user_agent() -> str:
    """Return our User-Agent: name, version and where to complain (Zenodo and many others ask for one)."""
    try:
        version = metadata.version("d4c-pipeline")
    except metadata.PackageNotFoundError:  # run from a checkout that is not installed
        version = "0"
    return f"d4c-pipeline/{version} (+https://github.com/dataforcanada)"
