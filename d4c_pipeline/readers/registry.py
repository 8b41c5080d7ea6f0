"""The registry of formats: each module of `readers.formats` states which files it recognises and how it opens them.

`inputs` and `delivery` access formats only through this module. A module of `readers.formats` has a tuple `FORMATS` and
imports the libraries of its reader on use: loading all modules takes 6 ms, loading GDAL, PROJ and GEOS takes 350 ms.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Literal, TypeAlias

from d4c_pipeline.model.processing import Processing
from d4c_pipeline.readers import formats
from d4c_pipeline.readers.member import Member, suffix_of
from d4c_pipeline.tables.native import Part

Group: TypeAlias = Literal["features", "json", "text", "plain text", "workbook", "attributes"]
PREFERENCE: Mapping[str, tuple[Group, ...]] = {
    # JSON comes after features: zips of other formats carry licences and styles as .json.
    "vector": ("features", "json", "text", "plain text", "workbook"),
    "table": ("text", "plain text", "workbook", "features", "json", "attributes"),
}
"""Kind of processing -> groups of formats. The data of a delivery are the files of the first group present."""


@dataclass(frozen=True, kw_only=True)
class Format:
    """Files that one reader opens. `beginnings`: suffix -> the bytes at the beginning of a file; empty if not checked.

    `group`: the place in PREFERENCE. `open`: returns the parts of a file (layers, sheets) for a number of threads, and
    raises DataError; a format that GDAL reads passes its `LayerRules` there. `recognise`: distinguishes files from
    another format with the same suffix. `check`: raises DataError for a missing companion file; its second argument is
    whether geometry is read. `skip`: returns whether a file holds no data. `packed`: files are zip archives that are
    not unpacked. `companions`: all files of the same stem are parts of a file. `rows_within_bytes`: a file that gives
    more rows than it has bytes is corrupt.
    """

    beginnings: Mapping[str, tuple[bytes, ...]]
    group: Group
    open: Callable[[Member, Processing, int | None], list[Part]]
    recognise: Callable[[Path], bool] | None = None
    check: Callable[[Member, bool], None] | None = None
    skip: Callable[[Path], bool] | None = None
    packed: bool = False
    companions: bool = False
    rows_within_bytes: bool = False


def format_of(name: str, path: Path) -> Format | None:
    """Return the format of a file: a format that recognises its content, else the format of its suffix."""
    candidates = _by_suffix().get(suffix_of(name), ())
    return next((each for each in candidates if each.recognise is None or each.recognise(path)), None)


def is_readable(name: str) -> bool:
    """Return whether a format has the suffix of `name`."""
    return suffix_of(name) in _by_suffix()


def is_skipped(name: str, path: Path) -> bool:
    """Return whether a file has the suffix of a format, but its content is not data."""
    return any(each.skip is not None and each.skip(path) for each in _by_suffix().get(suffix_of(name), ()))


def is_packed(path: Path) -> bool:
    """Return whether a file has the suffix of a format whose files are archives that are not unpacked."""
    return any(each.packed for each in _by_suffix().get(suffix_of(path.name), ()))


@cache
def _by_suffix() -> Mapping[str, tuple[Format, ...]]:
    """Suffix -> its formats: those that recognise content first, then at most one other."""
    found: dict[str, list[Format]] = {}
    for module in sorted(each.name for each in pkgutil.iter_modules(formats.__path__)):
        for form in import_module(f"{formats.__name__}.{module}").FORMATS:
            for suffix in form.beginnings:
                found.setdefault(suffix, []).append(form)
    for suffix, rivals in found.items():
        rivals.sort(key=lambda form: form.recognise is None)
        if sum(form.recognise is None for form in rivals) > 1:
            raise ValueError(f"Two formats of {suffix} recognise no content")
    return {suffix: tuple(rivals) for suffix, rivals in found.items()}
