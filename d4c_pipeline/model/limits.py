"""How much foreign bytes may ask of a process before they are refused: the `D4C_UNPACK_` and `D4C_READ_` settings.

The defaults leave room for the largest tables of Statistics Canada; a refusal names the setting that allows more. Where
each is held belongs to `files.unpack` and `processing.readers`. The memory and time of the process as one is limited
from outside.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from d4c_pipeline.model.errors import DataError, PermanentError

_AMOUNT = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?(?:([KMGT]?)(i?)B)?", re.IGNORECASE)
_NAMES = {
    "members": "D4C_UNPACK_MEMBERS",
    "total_bytes": "D4C_UNPACK_BYTES",
    "ratio": "D4C_UNPACK_RATIO",
    "folders": "D4C_UNPACK_FOLDERS",
    "nested": "D4C_UNPACK_NESTED",
    "columns": "D4C_READ_COLUMNS",
    "layers": "D4C_READ_LAYERS",
    "cells": "D4C_READ_CELLS",
    "value_bytes": "D4C_READ_VALUE",
    "expansion": "D4C_READ_RATIO",
    "depth": "D4C_READ_DEPTH",
    "seconds": "D4C_READ_SECONDS",
}


@dataclass(frozen=True)
class Limits:
    """What one delivery may hold. Fields of bytes take amounts such as `64GB`, the others whole numbers.

    Of archives, over all levels: `members` (files and folders), `total_bytes` unpacked, `ratio` (how many times the
    archive's own size, once above `ratio_from` bytes), `folders` (in one another), `nested` (archives in one another;
    what lies deeper is left packed). The largest table of Statistics Canada has about 20 GB, packed 40 times.

    Of files: `columns`, `layers` (or sheets), `cells` of one sheet, `value_bytes` (one text, blob or geometry),
    `expansion` (how many times the file's size its rows are, once above `expansion_from` bytes), `depth` (JSON, XML,
    collections of geometries in one another), `seconds` (what SQLite may take to answer for a view).
    """

    members: int = 10_000
    total_bytes: int = 64 << 30
    ratio: float = 200.0
    ratio_from: int = 64 << 20
    folders: int = 64
    nested: int = 2
    columns: int = 10_000
    layers: int = 1_000
    cells: int = 30_000_000
    value_bytes: int = 256 << 20
    expansion: float = 1_000.0
    expansion_from: int = 1 << 30
    depth: int = 64
    seconds: int = 5

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Limits:
        """Read the limits that `environment` (the process's own by default) sets.

        Raises PermanentError for what is no number or amount.
        """
        env = os.environ if environment is None else environment
        return cls(**{name: _amount(key, text) for name, key in _NAMES.items() if (text := env.get(key, "").strip())})


def setting(name: str) -> str:
    """Return the environment variable that sets the field `name`."""
    return _NAMES[name]


def beyond(file: str, what: str, name: str) -> DataError:
    """Return the error for `file`, which `what` (has ..., more than ...); `name`: the field that allows no more."""
    return DataError(
        f"{file} {what}",
        f"Look at the file: if that is right, raise {setting(name)} (a setting); if not, tell the publisher",
    )


def _amount(key: str, text: str) -> Any:
    found = _AMOUNT.fullmatch(text)
    if found is None or float(found[1]) <= 0:
        raise PermanentError(f"{key} is '{text}'", "Write a number above 0, or an amount such as 64GB")
    number, prefix, binary = found.groups()
    return int(float(number) * (1024 if binary else 1000) ** " KMGT".index((prefix or " ").upper()))
