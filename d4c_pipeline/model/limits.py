"""Limits on foreign bytes, beyond which a file is refused: the `D4C_UNPACK_` and `D4C_READ_` settings.

The defaults admit the largest tables of Statistics Canada; a refusal names the setting that allows more. `files.unpack`
and `readers` apply the limits. The memory and time of the process are limited outside this code.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Self

from d4c_pipeline.model.environment import EnvironmentSettings, Parser, amount, variable
from d4c_pipeline.model.errors import DataError, PermanentError

_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")


def _above_zero(variable: str, text: str) -> int:
    text = text.strip()
    number = int(float(text)) if _NUMBER.fullmatch(text) else amount(text)
    if number is None or not any(digit in "123456789" for digit in text):
        raise PermanentError(f"{variable} is '{text}'", "Write a number above 0, or an amount such as 64GB")
    return number


_Whole = Annotated[int, Parser(_above_zero)]
_Ratio = Annotated[float, Parser(_above_zero)]


class Limits(EnvironmentSettings):
    """Limits on one delivery: on its archives, over all levels of nesting, and on its files.

    The largest table of Statistics Canada has about 20 GB and a compression ratio of 40.
    """

    members: _Whole = variable(
        "D4C_UNPACK_MEMBERS", "Files and folders in an archive, over all archives within it.", default=10_000
    )
    total_bytes: _Whole = variable(
        "D4C_UNPACK_BYTES", "Size of an unpacked archive, over all archives within it.", default=64 << 30, unit="bytes"
    )
    ratio: _Ratio = variable(
        "D4C_UNPACK_RATIO",
        "That size as a multiple of the archive's, applied above 64 MiB; workbooks are archives too.",
        default=200.0,
    )
    ratio_from: int = 64 << 20
    folders: _Whole = variable("D4C_UNPACK_FOLDERS", "Depth of nested folders.", default=64)
    nested: _Whole = variable("D4C_UNPACK_NESTED", "Depth of nested archives; deeper ones stay packed.", default=2)
    columns: _Whole = variable(
        "D4C_READ_COLUMNS", "Columns of a table, names of properties in JSON, GML or KML.", default=10_000
    )
    layers: _Whole = variable("D4C_READ_LAYERS", "Layers of a GeoPackage, sheets of a workbook.", default=1_000)
    cells: _Whole = variable("D4C_READ_CELLS", "Cells that a sheet of a workbook spans.", default=30_000_000)
    value_bytes: _Whole = variable(
        "D4C_READ_VALUE", "Size of one text, blob or geometry.", default=256 << 20, unit="bytes"
    )
    expansion: _Ratio = variable(
        "D4C_READ_RATIO", "Size of a file's values as a multiple of the file's, applied above 1 GiB.", default=1_000.0
    )
    expansion_from: int = 1 << 30
    depth: _Whole = variable(
        "D4C_READ_DEPTH", "Depth of nested collections of geometries, JSON, XML, lists and structs.", default=64
    )
    seconds: _Whole = variable(
        "D4C_READ_SECONDS",
        "Time that SQLite may take to read a view; one second more for every 10 MiB of the file.",
        default=5,
        unit="seconds",
    )

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Self:
        """Read the limits from `environment`, by default the environment of the process.

        Raises PermanentError when a value is neither a number nor an amount.
        """
        env = os.environ if environment is None else environment
        # Readers call this for every file and column: 150 microseconds without the cache.
        return cls._read(tuple((name, env[name]) for name in _VARIABLES if env.get(name)))

    @classmethod
    @lru_cache(maxsize=32)
    def _read(cls, environment: tuple[tuple[str, str], ...]) -> Self:
        return super().from_environment(dict(environment))


_VARIABLES = tuple(str(field.validation_alias) for field in Limits.model_fields.values() if field.validation_alias)


def setting(name: str) -> str:
    """Return the environment variable that sets the field `name`."""
    return str(Limits.model_fields[name].validation_alias)


def beyond(file: str, what: str, name: str) -> DataError:
    """Return the error for `file`, which `what` describes (has ..., more than ...); `name`: the field of the limit."""
    return DataError(
        f"{file} {what}",
        f"Look at the file: if that is right, raise {setting(name)} (a setting); if not, tell the publisher",
    )
