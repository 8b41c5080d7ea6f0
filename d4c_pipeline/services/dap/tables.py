"""A table as a sequence of DAP2: its structure (DDS), its attributes (DAS), its rows (DODS, XDR)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from http import HTTPStatus
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import shapely

from d4c_pipeline.processing.derived.finished import for_text
from d4c_pipeline.services.dap.constraint import Constraint, read_constraint
from d4c_pipeline.services.dap.variables import FLOAT32, FLOAT64, INT32, STRING, Variable, variables
from d4c_pipeline.services.problems import ProblemError
from d4c_pipeline.services.subset import Block, Engine, Plan, Source, Statistics, blocks

_START, _END = b"\x5a\x00\x00\x00", b"\xa5\x00\x00\x00"
_NUMBERS = {INT32: ">i4", FLOAT32: ">f4", FLOAT64: ">f8"}
SEQUENCE = "rows"
"""The name of the sequence of a table."""


class Served(Protocol):
    """A dataset of DAP2. `query`: the constraint expression. Each method raises ProblemError for a wrong one."""

    def dds(self, query: str) -> str:
        """Return the structure."""
        ...

    def das(self) -> str:
        """Return the attributes."""
        ...

    def dods(self, query: str, engine: Engine) -> Iterator[bytes]:
        """Yield the structure and the data."""
        ...


class Table:
    """The rows of a release as one sequence. `everything`: the plan of all of them."""

    def __init__(self, everything: Plan, statistics: dict[str, Statistics], *, most_cells: int) -> None:
        self._plan, self._most = everything, most_cells
        self._variables = {each.name: each for each in variables(everything.source, statistics)}

    def dds(self, query: str) -> str:
        """Return the structure of what the constraint selects."""
        return self._structure(read_constraint(query, SEQUENCE, self._variables))

    def das(self) -> str:
        """Return the provenance of the release and what each variable changes."""
        lines = ["Attributes {", "    NC_GLOBAL {"]
        facts = self._plan.provenance
        stated = (name for name in ("release", "doi", "licence", "title", "citation") if name in facts)
        lines += [f"        String {name} {_quoted(facts[name])};" for name in stated]
        lines += ["    }", f"    {SEQUENCE} {{"]
        for variable in self._variables.values():
            lines.append(f"        {variable.name} {{")
            field = self._plan.source.schema.field(variable.name)
            described = (field.metadata or {}).get(b"description_en")
            for name, text in (("long_name", described and described.decode()), ("note", variable.note)):
                if text:
                    lines.append(f"            String {name} {_quoted(text)};")
            lines.append("        }")
        return "\n".join([*lines, "    }", "}", ""])

    def dods(self, query: str, engine: Engine) -> Iterator[bytes]:
        """Yield the structure and the rows. Raises ProblemError (413) for more values than are allowed."""
        constraint = read_constraint(query, SEQUENCE, self._variables)
        wanted = self._wanted(constraint)
        rows = wanted.rows if constraint.stop is None else min(wanted.rows, constraint.stop)
        cells = rows * len(constraint.names)
        if cells > self._most:
            raise ProblemError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"The sequence would have {cells:,} values; {self._most:,} are allowed",
                f"Add variables and a slice of rows: ?{SEQUENCE}.{constraint.names[0]}[0:9999], or ask for a subset",
            )
        return self._written(constraint, wanted, engine)

    def _wanted(self, constraint: Constraint) -> Plan:
        source = self._plan.source
        geometry = source.geometry if source.geometry in constraint.names else None
        attributes = tuple(name for name in constraint.names if name != source.geometry)
        return replace(self._plan, attributes=attributes, geometry=geometry, condition=constraint.condition)

    def _written(self, constraint: Constraint, wanted: Plan, engine: Engine) -> Iterator[bytes]:
        yield f"{self._structure(constraint)}\nData:\n".encode()
        chosen = [self._variables[name] for name in constraint.names]
        first = 0
        for block in blocks(wanted, engine, 60.0):
            if constraint.stop is not None and first >= constraint.stop:
                break
            taken = _taken(constraint, first, block.rows)
            first += block.rows
            if len(taken):
                yield _encoded(block, wanted.source, chosen, taken)
        yield _END

    def _structure(self, constraint: Constraint) -> str:
        lines = [f"        {self._variables[name].kind} {name};" for name in constraint.names]
        name = self._plan.release.dataset
        return "\n".join(["Dataset {", "    Sequence {", *lines, f"    }} {SEQUENCE};", f"}} {name};"])


def _taken(constraint: Constraint, first: int, rows: int) -> np.ndarray[Any, Any]:
    numbers = np.arange(first, first + rows)
    taken = (numbers >= constraint.start) & ((numbers - constraint.start) % constraint.step == 0)
    if constraint.stop is not None:
        taken &= numbers < constraint.stop
    return np.flatnonzero(taken)


def _encoded(block: Block, source: Source, chosen: list[Variable], taken: np.ndarray[Any, Any]) -> bytes:
    """Return the rows `taken` of a block in XDR, each after the mark of a row."""
    columns = [_column(block, source, variable, taken) for variable in chosen]
    if all(variable.kind != STRING for variable in chosen):
        kinds = [("start", "S4"), *((f"v{number}", _NUMBERS[each.kind]) for number, each in enumerate(chosen))]
        rows = np.zeros(len(taken), kinds)
        rows["start"] = _START
        for number, column in enumerate(columns):
            rows[f"v{number}"] = column
        return rows.tobytes()
    packed = [
        [_text(value) for value in column]
        if variable.kind == STRING
        else _numbers(column.astype(_NUMBERS[variable.kind]))
        for variable, column in zip(chosen, columns, strict=True)
    ]
    return b"".join(_START + b"".join(row) for row in zip(*packed, strict=True))


def _column(block: Block, source: Source, variable: Variable, taken: np.ndarray[Any, Any]) -> Any:
    if variable.name == source.geometry:
        return shapely.to_wkt(block.shapes[taken], rounding_precision=-1, output_dimension=4)
    column = block.attributes.column(variable.name).take(pa.array(taken))
    if variable.kind == STRING:
        return _texts(column.type)(column).to_pylist()
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    if variable.kind == INT32:
        return column.cast(pa.int32()).to_numpy(zero_copy_only=False)
    kind = pa.float32() if variable.kind == FLOAT32 else pa.float64()
    return column.cast(kind).to_numpy(zero_copy_only=False)


def _texts(kind: pa.DataType) -> Callable[[pa.Array], pa.Array]:
    return for_text(kind)[1]


def _text(value: str | None) -> bytes:
    raw = escaped(value or "").encode("ascii")
    return len(raw).to_bytes(4, "big") + raw + b"\0" * (-len(raw) % 4)


def _numbers(column: np.ndarray[Any, Any]) -> list[bytes]:
    # Not value by value: a value of numpy has the byte order of the machine.
    raw, width = column.tobytes(), column.dtype.itemsize
    return [raw[start : start + width] for start in range(0, len(raw), width)]


def escaped(text: str) -> str:
    """Return `text` in ASCII, which DAP2's strings are: other characters, controls and backslashes as in JSON."""
    if text.isascii() and text.isprintable() and "\\" not in text:
        return text
    return json.dumps(text)[1:-1].replace('\\"', '"')


def _quoted(text: str) -> str:
    return json.dumps(" ".join(str(text).split()))
