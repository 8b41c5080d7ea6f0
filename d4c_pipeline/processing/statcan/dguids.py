"""Derives columns of DGUIDs from codes, and checks DGUIDs: their form and, with a gazetteer, their existence.

Wrong DGUIDs are counted and reported, never dropped: the row belongs to the publisher. `model.dguid` defines the form
of a DGUID and names its source.
"""

# pyarrow.compute makes its functions at import, unseen by type checkers.
# pyright: reportAttributeAccessIssue=false
from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from d4c_pipeline.model.data_files import Files, listed
from d4c_pipeline.model.dguid import is_well_formed_dguid
from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.processing import Dguid
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.processing.statcan.descriptions import described
from d4c_pipeline.processing.statcan.values import plain
from d4c_pipeline.tables.names import snake_case

_IN_SQL = re.compile(r"'(\d{4}[ASCZ][0-9A-Z.]{1,15})'")
_MOST_EXAMPLES = 5


class Step:
    """The DGUID columns of a stream: `schema` of the result, `batch` for each batch, `report` after the last batch."""

    def __init__(
        self,
        schema: pa.Schema,
        declared: Sequence[Dguid],
        vintage: Vintage,
        *,
        folder: Path | None = None,
        inputs: Mapping[str, Files] | None = None,
    ) -> None:
        """`schema`: of the input batches; a column is found by its name or its output name.

        `folder` (of the dataset) and `inputs` (Parquet files of other datasets by name) hold the gazetteers. Raises
        DataError when a column or gazetteer is missing, or a column to derive already exists.
        """
        self._columns: list[_Column] = []
        for each in declared:
            found = _found(schema, each.column)
            gazetteer = _gazetteer(each.gazetteer, folder, inputs or {}) if each.gazetteer else None
            if each.from_ is None:
                if found is None:
                    raise _absent(each.column, schema)
                self._columns.append(_Column(each, found, None, gazetteer, ""))
                continue
            code = _found(schema, each.from_)
            if code is None:
                raise _absent(each.from_, schema)
            if found is not None:
                raise DataError(
                    f"The DGUID column {each.column} to derive already exists",
                    "Remove `from` to check it, or declare another column",
                )
            prefix = f"{each.vintage or f'{vintage.start:%Y}'}{each.type_}{each.schema_}"
            self._columns.append(_Column(each, each.column, code, gazetteer, prefix))
            meaning = f"DGUID: {prefix} and {code}", f"IDUGD : {prefix} et {code}"
            schema = schema.append(described(each.column, pa.string(), None, *meaning))
        self.schema = schema

    def batch(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return `batch` with the derived columns appended."""
        arrays = {name: batch.column(name) for name in batch.schema.names}
        for column in self._columns:
            if column.code is not None:
                arrays[column.name] = _derived(arrays[column.code], column.prefix, column.declared.width)
            column.judge(plain(arrays[column.name]))
        return pa.RecordBatch.from_arrays([arrays[name] for name in self.schema.names], schema=self.schema)

    @property
    def report(self) -> dict[str, dict[str, Any]]:
        """Per column, the rows with values, nulls, malformed and unknown DGUIDs, with up to five examples of each."""
        return {column.name: column.report() for column in self._columns}


@dataclass
class _Column:
    declared: Dguid
    name: str
    code: str | None
    gazetteer: frozenset[str] | None
    prefix: str
    rows: int = 0
    nulls: int = 0
    # The result of each distinct text: good, or malformed or unknown with its number of rows.
    good: set[str] = field(default_factory=set[str])
    malformed: dict[str, int] = field(default_factory=dict[str, int])
    unknown: dict[str, int] = field(default_factory=dict[str, int])

    def judge(self, column: pa.Array) -> None:
        self.rows += len(column)
        self.nulls += column.null_count
        counts = pc.value_counts(column.drop_null())
        for text, rows in zip(counts.field("values").to_pylist(), counts.field("counts").to_pylist(), strict=True):
            if text in self.good:
                continue
            if not is_well_formed_dguid(text):
                self.malformed[text] = self.malformed.get(text, 0) + rows
            elif self.gazetteer is not None and text not in self.gazetteer:
                self.unknown[text] = self.unknown.get(text, 0) + rows
            else:
                self.good.add(text)

    def report(self) -> dict[str, Any]:
        facts: dict[str, Any] = {"values": self.rows - self.nulls, "nulls": self.nulls}
        facts |= _counted("malformed", self.malformed)
        return facts | _counted("unknown", self.unknown) if self.gazetteer is not None else facts


def gazetteer(path: Path) -> frozenset[str]:
    """Return the DGUIDs of a gazetteer: column `dguid` (any case) of a CSV or Parquet file, or an SQL dump.

    From a dump, every quoted text in the form of a DGUID is taken. Raises DataError for a file without DGUIDs.
    """
    try:
        match path.suffix.lower():
            case ".parquet":
                names = pq.read_schema(path).names
                column = pq.read_table(path, columns=[_dguid_column(names, path)]).column(0)
                found: Iterable[str | None] = pc.unique(column.cast(pa.string())).to_pylist()
            case ".csv":
                table = pyarrow.csv.read_csv(path)
                found = table[_dguid_column(table.column_names, path)].cast(pa.string()).to_pylist()
            case ".sql":
                found = _IN_SQL.findall(path.read_text("utf-8-sig"))
            case _:
                raise DataError(f"The gazetteer {path.name} is not a .csv, .parquet or .sql file", "Convert it")
    except (OSError, ValueError, pa.ArrowException) as error:
        raise DataError(f"The gazetteer {path.name} can't be read: {error}", "Correct dguids.gazetteer") from error
    known = frozenset(text for text in found if text)
    if not known:
        raise DataError(f"The gazetteer {path.name} has no DGUIDs", "Correct dguids.gazetteer")
    return known


def _gazetteer(name: str, folder: Path | None, inputs: Mapping[str, Files]) -> frozenset[str]:
    if name in inputs:
        return frozenset[str]().union(*map(gazetteer, listed(inputs[name])))
    path = (folder or Path()) / name
    if not path.is_file():
        raise DataError(
            f"The gazetteer {name} is neither an input nor a file beside the YAML", "Correct its name or add the file"
        )
    return gazetteer(path)


def _dguid_column(names: Sequence[str], path: Path) -> str:
    for name in names:
        if name.lower() == "dguid":
            return name
    raise DataError(f"The gazetteer {path.name} has no column dguid", "Rename the column")


def _found(schema: pa.Schema, name: str) -> str | None:
    # Declarations use output names; before the naming step the schema has source names.
    return next((raw for raw in schema.names if raw == name), None) or next(
        (raw for raw in schema.names if snake_case(raw) == name), None
    )


def _absent(name: str, schema: pa.Schema) -> DataError:
    return DataError(
        f"processing.dguids names a missing column: {name}; there are {', '.join(schema.names[:40])}",
        "Correct the declaration",
    )


def _derived(codes: pa.Array, prefix: str, width: int | None) -> pa.Array:
    if pa.types.is_floating(codes.type):
        codes = codes.cast(pa.int64())  # DBF stores 35.0; Arrow rejects fractions
    texts = pc.utf8_trim_whitespace(plain(codes))
    texts = pc.if_else(pc.equal(texts, ""), pa.scalar(None, pa.string()), texts)
    if width is not None:
        texts = pc.utf8_lpad(texts, width, "0")
    return pc.binary_join_element_wise(pa.scalar(prefix), texts, "")


def _counted(name: str, found: Mapping[str, int]) -> dict[str, Any]:
    examples = {f"{name}_examples": sorted(found)[:_MOST_EXAMPLES]} if found else {}
    return {name: sum(found.values()), **examples}
