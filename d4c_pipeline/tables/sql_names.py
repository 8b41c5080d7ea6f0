"""Quotes names for SQL without an engine: a module that only quotes a name does not load DuckDB (50 ms)."""

from __future__ import annotations


def identifier(name: str) -> str:
    """Return `name` as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'
