"""Reads the metadata of a Statistics Canada table: dimensions, members in both languages, symbols.

There are two sources: `_MetaData.csv` in the zip of a full table (several consecutive CSV tables, in the zip's
language), and the response of the Web Data Service's getCubeMetadata (JSON, both languages). Joining the metadata to
rows belongs to `wds`.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from pathlib import Path
from typing import Any

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.processing.statcan.codes import FRENCH_SYMBOLS, FREQUENCY_WORDS

EN, FR = 0, 1
# The line before the table of symbols.
_LEGENDS = ("Symbol Legend", "Légende")
# First column of the first table, by language. Other columns have the same position in both languages.
_TITLES = {"Cube Title": EN, "Titre du cube": FR}
_DELIMITERS = {EN: ",", FR: ";"}
_PRODUCT, _FREQUENCY = 1, 6
_MEMBER_NAME, _MEMBER_ID = 1, 3
# English and French; None means unknown.
Names = tuple[str | None, str | None]
Row = tuple[str, ...]
_NOTHING: Names = (None, None)


@dataclass(frozen=True)
class Dimension:
    """A dimension of a cube: its names, and the names of its members by member id."""

    position: int
    names: Names
    members: Mapping[int, Names]

    def completed_by(self, other: Dimension) -> Dimension:
        """Return this dimension with the names that only `other` has; no members are added."""
        members = {number: _filled(names, other.members.get(number)) for number, names in self.members.items()}
        return replace(self, names=_filled(self.names, other.names), members=members)


@dataclass(frozen=True)
class Cube:
    """The metadata of a cube. `frequency`: code of the code set; `legend`: symbol -> meaning."""

    product_id: str
    title: Names
    frequency: int | None = None
    dimensions: tuple[Dimension, ...] = ()
    legend: Mapping[str, Names] = field(default_factory=dict[str, Names])

    def completed_by(self, other: Cube) -> Cube:
        """Return this cube with the facts that only `other` has: frequency, legend, names in another language."""
        others = {dimension.position: dimension for dimension in other.dimensions}
        return replace(
            self,
            title=_filled(self.title, other.title),
            frequency=self.frequency or other.frequency,
            dimensions=tuple(
                each.completed_by(others[each.position]) if each.position in others else each
                for each in self.dimensions
            ),
            legend={
                symbol: _filled(self.legend.get(symbol, _NOTHING), other.legend.get(symbol))
                for symbol in (*self.legend, *other.legend)
            },
        )


def read(json_file: Path | None, csv_files: Sequence[Path], product_id: str) -> Cube | None:
    """Return the metadata of the table from all given files; None without files.

    `csv_files`: at most one per language. Raises DataError for a file that cannot be read or describes another table
    than `product_id`.
    """
    cubes = [from_json(json_file)] if json_file is not None else []
    cubes += [from_csv(path) for path in csv_files]
    for each in cubes:
        if product_id.isdigit() and each.product_id != product_id:
            raise DataError(
                f"The cube metadata describe table {each.product_id}, the data are table {product_id}",
                "Name the metadata of the same table in processing.wds.metadata",
            )
    return reduce(Cube.completed_by, cubes) if cubes else None


def is_cube_json(path: Path) -> bool:
    """Whether a JSON file looks like a response of getCubeMetadata, by the names in its first MiB."""
    if path.suffix.lower() != ".json":
        return False
    with path.open("rb") as handle:
        text = handle.read(1 << 20)
    return b'"cubeTitleEn"' in text and b'"dimension' in text


def from_json(path: Path) -> Cube:
    """Read a response of getCubeMetadata: the list or object with `status` and `object`, or only the inner object."""
    broken = f"{path.name} is not a response of getCubeMetadata"
    remedy = "Save the response of the Web Data Service for this table"
    try:
        answer: Any = json.loads(path.read_text("utf-8-sig"))
    except ValueError as error:
        raise DataError(f"{broken}: {' '.join(str(error).split())}", remedy) from error
    try:
        if isinstance(answer, list):
            (answer,) = answer
        answer = answer.get("object", answer)
        frequency = answer["frequencyCode"]
        return Cube(
            product_id=str(answer["productId"]),
            title=(answer["cubeTitleEn"].strip(), _text(answer.get("cubeTitleFr"))),
            frequency=int(frequency) if frequency is not None else None,
            dimensions=tuple(
                Dimension(
                    position=int(dimension["dimensionPositionId"]),
                    names=(dimension["dimensionNameEn"].strip(), _text(dimension.get("dimensionNameFr"))),
                    members={
                        int(member["memberId"]): (member["memberNameEn"].strip(), _text(member.get("memberNameFr")))
                        for member in dimension["member"]
                    },
                )
                for dimension in sorted(answer["dimension"], key=lambda each: int(each["dimensionPositionId"]))
            ),
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise DataError(f"{broken}: {type(error).__name__} {error}", remedy) from error


def from_csv(path: Path) -> Cube:
    """Read the `_MetaData.csv` of a full table in either language."""
    parts = sections(path)
    try:
        title, heads = parts[0]
        language = _TITLES[title[0]]
        described = [rows for header, rows in parts[1:] if header[0] == parts[1][0][0]]
        dimensions, listed = described[0], described[1]
        members: dict[str, dict[int, Names]] = {row[0]: {} for row in dimensions}
        for row in listed:
            members[row[0]][int(row[_MEMBER_ID])] = _in(language, row[_MEMBER_NAME].strip())
        return Cube(
            product_id=heads[0][_PRODUCT],
            title=_in(language, heads[0][0].strip()),
            frequency=FREQUENCY_WORDS.get(heads[0][_FREQUENCY].strip().lower()),
            dimensions=tuple(
                Dimension(int(row[0]), _in(language, row[1].strip()), members[row[0]])
                for row in sorted(dimensions, key=lambda each: int(each[0]))
            ),
            legend={
                FRENCH_SYMBOLS.get(row[1].strip(), row[1].strip()): _in(language, row[0].strip().rstrip("."))
                for header, rows in parts
                if header[0] == "Description"  # in both languages
                for row in rows
            },
        )
    except (KeyError, ValueError, IndexError) as error:
        raise DataError(
            f"{path.name} is not the metadata file of a full table: {type(error).__name__} {error}",
            "Fetch the vintage again",
        ) from error


def language_of(path: Path) -> int | None:
    """Return the language of a `_MetaData.csv`, None for any other file."""
    with path.open("rb") as handle:
        line = handle.readline(1 << 16).decode("utf-8-sig", "replace").lstrip('"')
    return next((language for title, language in _TITLES.items() if line.startswith(title)), None)


def sections(path: Path) -> list[tuple[Row, list[Row]]]:
    """Return the tables of a `_MetaData.csv` in order: header and rows, each row at least as wide as its header.

    A section ends at an empty line; a line with only `Symbol Legend` (or its French) names the next section. Notes with
    unescaped quotes stay as csv reads them. Raises DataError for a file that is not UTF-8 CSV.
    """
    delimiter = _DELIMITERS[language_of(path) or EN]
    try:
        lines = list(csv.reader(io.StringIO(path.read_text("utf-8-sig"), newline=""), delimiter=delimiter))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path.name} can't be read as UTF-8 CSV: {error}", "Fetch the vintage again") from error
    out: list[tuple[Row, list[Row]]] = []
    header: Row | None = None
    for cells in lines:
        filled = [cell for cell in cells if cell.strip()]
        if not filled:
            header = None
        elif header is None:
            if len(filled) == 1 and filled[0].startswith(_LEGENDS):
                continue
            header = tuple(cell.strip() for cell in cells)
            out.append((header, []))
        else:
            out[-1][1].append((*cells, *[""] * (len(header) - len(cells))))
    return out


def _in(language: int, name: str) -> Names:
    return (name, None) if language == EN else (None, name)


def _filled(mine: Names, theirs: Names | None) -> Names:
    return mine if theirs is None else (mine[EN] or theirs[EN], mine[FR] or theirs[FR])


def _text(value: Any) -> str | None:
    # Some names have trailing spaces or line breaks.
    text = re.sub(r"\s+", " ", value).strip() if isinstance(value, str) else ""
    return text or None
