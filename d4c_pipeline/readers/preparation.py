"""The interface of rules by which a format corrects GDAL's reading of its layers, and helpers that formats share.

A module of `formats` passes the rules of its format to `vector.parts`. Rules of formats belong to `json_features`,
`markup_layers`, `shapefile`, `numbered` and `single_layers`, which are imported on use: a process reads one format.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa

from d4c_pipeline.model.processing import Processing
from d4c_pipeline.readers.exact import Exact, in_slices
from d4c_pipeline.readers.member import Member
from d4c_pipeline.tables.gdal import pyogrio


@dataclass
class Source:
    """The dataset that GDAL opens: its `name` (with a driver's prefix where needed) and the `options` to open it with.

    `path`: the file of that name. `report`: facts for the reader's report. `references`: GML elements with xlink:href.
    """

    name: str
    path: Path
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    report: dict[str, Any] = field(default_factory=dict[str, Any])
    references: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Layer:
    """An open layer: `schema` has the attributes as GDAL types them, `encoding` is the declared or stated encoding."""

    member: Member
    source: Source
    processing: Processing
    name: str
    schema: Sequence[tuple[str, pa.DataType]]
    encoding: str | None = None

    @property
    def names(self) -> list[str]:
        """The names of the attributes."""
        return [name for name, _ in self.schema]


class LayerRules:
    """The rules of a format that GDAL reads without a change to any value; other formats override them.

    `single_layer`: a file has one layer, so GDAL need not list layers, which reads a JSON file again. `has_fids`: the
    format has a column of feature IDs. `sizes_batches`: the stated number of features sizes the batches.
    `lists_empty_layers`: GDAL lists layers that the file does not have.
    """

    single_layer: bool = False
    has_fids: bool = False
    sizes_batches: bool = False
    lists_empty_layers: bool = False

    def dataset_name(self, _member: Member, path: Path) -> str:
        """Return the name by which GDAL opens the file at `path`, which may be a copy of the member."""
        return str(path)

    def check(self, _member: Member) -> int | None:
        """Return the number of rows that the file states, None if it states none.

        Raises DataError for a truncated or incomplete file, and for content that GDAL must not open.
        """
        return None

    def check_layers(self, _path: Path) -> None:
        """Raise DataError for a file whose layers GDAL must not list."""

    def check_layer(self, _path: Path, _layer: str) -> None:
        """Raise DataError for a layer that GDAL must not open."""

    def prepare(
        self,
        _source: Source,
        _member: Member,
        _processing: Processing,
        _info: Mapping[str, Any] | None,
        _stack: ExitStack,
    ) -> None:
        """Change `source` to the dataset that GDAL reads exactly; copies are deleted when `stack` closes.

        `info` is pyogrio's description of the layer, for formats with `has_fids` or `sizes_batches`. Raises DataError
        when the dataset declares too little to choose what to read.
        """

    def examine(self, _layer: Layer) -> Exact:
        """Return the columns to read otherwise than through GDAL. Raises DataError for values that can't be read."""
        return Exact()

    def check_read(self, _path: Path, _features: int) -> None:
        """Raise DataError when GDAL has read fewer `features` than the file has."""


def with_count(exact: Exact, path: Path, layer: str | None = None) -> Exact:
    """Return `exact` with the number of features that the header of the file states, if it does."""
    # A FlatGeobuf writer that did not know the count writes 0; a negative count means that GDAL would have to count.
    count = int(pyogrio.read_info(path, layer=layer)["features"])
    exact.rows, exact.counted_by = count if count > 0 else None, "its header"
    return exact


def folder_beside(path: Path, stack: ExitStack) -> Path:
    """Return a temporary folder beside the file at `path`, which is in the build's own folder."""
    return Path(stack.enter_context(TemporaryDirectory(prefix=".d4c-", dir=path.parent)))


def read_as_text(path: Path, options: Mapping[str, Any], names: Sequence[str]) -> Exact:
    """Read the columns `names` as text, through GDAL a second time; return those whose values GDAL's type changes."""
    from d4c_pipeline.readers import moments  # noqa: PLC0415 - few files have such columns

    exact = Exact()
    if not names:
        return exact
    table: pa.Table = pyogrio.read_arrow(
        path, columns=list(names), read_geometry=False, datetime_as_string=True, **options
    )[1]
    taken: dict[str, pa.Array] = {}
    reasons: dict[str, str] = {}
    for name in names:
        if name not in table.column_names or not pa.types.is_string(table.column(name).type):
            continue
        column = table.column(name).combine_chunks()
        texts = [text for text in column.unique().to_pylist() if text is not None]
        reason = moments.misfit(texts, zoned=False)
        if reason is not None and any(re.fullmatch(r"\s*[+-]?[0-9.]+([eE][+-]?[0-9]+)?\s*", text) for text in texts):
            reason = _wide(texts)
        if reason is not None:
            taken[name], reasons[name] = column, reason
    if taken:
        exact.types = dict.fromkeys(taken, pa.string())
        exact.take = in_slices(taken)
        exact.report["read_from_bytes"] = reasons
        exact.rows, exact.counted_by = table.num_rows, "a second reading"
    return exact


def _wide(texts: Sequence[str]) -> str | None:
    whole = [text for text in texts if re.fullmatch(r"\s*[+-]?[0-9]{16,}\s*", text)]
    numbers = [int(text) for text in whole]
    decimals = any("." in text or "e" in text.lower() for text in texts)
    most = max(map(abs, numbers), default=0)
    if most >= 1 << 63 or (most > 1 << 53 and decimals):
        return f"as text: {max(whole, key=len)!r} is more than a number holds"
    return None
