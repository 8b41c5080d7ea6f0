"""What is known of a Statistics Canada table beside its rows: dimensions, members in both languages, symbols.

Two sources say it: `_MetaData.csv` in the zip of a full table (several CSV tables one after the other, English), and
the answer of the Web Data Service's getCubeMetadata (JSON, both languages). Joining it to rows is `wds`'s business.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.processing.statcan.codes import FREQUENCY_WORDS

_LEGEND = "Symbol Legend"
Row = dict[str, str]


@dataclass(frozen=True)
class Dimension:
    """A dimension of a cube. `members`: member id -> name in English and French (None where it is not known)."""

    position: int
    en: str
    fr: str | None
    members: Mapping[int, tuple[str, str | None]]


@dataclass(frozen=True)
class Cube:
    """A cube's metadata. `frequency` is the code set's; `legend`: symbol -> its meaning in English."""

    product_id: str
    title_en: str
    title_fr: str | None = None
    frequency: int | None = None
    dimensions: tuple[Dimension, ...] = ()
    legend: Mapping[str, str] = field(default_factory=dict[str, str])

    def completed_by(self, other: Cube) -> Cube:
        """Return this cube with what only `other` knows: frequency and legend of a `_MetaData.csv`."""
        return replace(self, frequency=self.frequency or other.frequency, legend=self.legend or other.legend)


def read(json_file: Path | None, csv_file: Path | None, product_id: str) -> Cube | None:
    """Return what the metadata files that are there say of the table; None when neither is there.

    Raises DataError for a file that can't be read, or that describes another table than `product_id`.
    """
    found: Cube | None = None
    if csv_file is not None:
        found = from_csv(csv_file)
    if json_file is not None:
        cube = from_json(json_file)
        found = cube.completed_by(found) if found else cube
    if found is not None and product_id.isdigit() and found.product_id != product_id:
        raise DataError(
            f"The cube metadata describe table {found.product_id}, the data are table {product_id}",
            "Name the metadata of the same table in processing.wds.metadata",
        )
    return found


def is_cube_json(path: Path) -> bool:
    """Whether a JSON file looks like an answer of getCubeMetadata, judged by its beginning and its names."""
    if path.suffix.lower() != ".json":
        return False
    with path.open("rb") as handle:
        text = handle.read(1 << 20)
    return b'"cubeTitleEn"' in text and b'"dimension' in text


def from_json(path: Path) -> Cube:
    """Read an answer of getCubeMetadata: the list or object with `status` and `object`, or the inner object alone."""
    broken = f"{path.name} is not the answer of getCubeMetadata"
    remedy = "Save what the Web Data Service answers for this table"
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
            title_en=answer["cubeTitleEn"].strip(),
            title_fr=_text(answer.get("cubeTitleFr")),
            frequency=int(frequency) if frequency is not None else None,
            dimensions=tuple(
                Dimension(
                    position=int(dimension["dimensionPositionId"]),
                    en=dimension["dimensionNameEn"].strip(),
                    fr=_text(dimension.get("dimensionNameFr")),
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
    """Read the `_MetaData.csv` of a full table (English)."""
    parts = sections(path)
    try:
        head = next(rows[0] for name, rows in parts if name == "Cube Title" and rows)
        dimensions = {row["Dimension ID"]: row["Dimension name"] for row in _rows(parts, "Dimension ID", 1)}
        members: dict[str, dict[int, tuple[str, str | None]]] = {number: {} for number in dimensions}
        for row in _rows(parts, "Dimension ID", 2):
            members[row["Dimension ID"]][int(row["Member ID"])] = (row["Member Name"].strip(), None)
        return Cube(
            product_id=head["Product Id"],
            title_en=head["Cube Title"].strip(),
            frequency=FREQUENCY_WORDS.get(head.get("Frequency", "").strip().lower()),
            dimensions=tuple(
                Dimension(int(number), name.strip(), None, members[number])
                for number, name in sorted(dimensions.items(), key=lambda each: int(each[0]))
            ),
            legend={
                row["Symbol"].strip(): row["Description"].strip().rstrip(".") for row in _rows(parts, "Description", 1)
            },
        )
    except (KeyError, ValueError, StopIteration) as error:
        raise DataError(
            f"{path.name} is not the metadata file of a full table: {type(error).__name__} {error}",
            "Fetch the vintage again",
        ) from error


def sections(path: Path) -> list[tuple[str, list[Row]]]:
    """Return the tables of a `_MetaData.csv` in their order: name of the first column, and the rows as dictionaries.

    A section ends at an empty line; the one-cell line `Symbol Legend` names the section after it. Rows may have fewer
    or more cells than the header: what is missing is empty, what has no name is left out. Notes with unescaped quotes
    are kept as csv reads them. Raises DataError for a file that is not UTF-8 CSV.
    """
    try:
        lines = list(csv.reader(io.StringIO(path.read_text("utf-8-sig"), newline="")))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path.name} can't be read as UTF-8 CSV: {error}", "Fetch the vintage again") from error
    out: list[tuple[str, list[Row]]] = []
    header: list[str] | None = None
    for cells in lines:
        filled = [cell for cell in cells if cell.strip()]
        if not filled:
            header = None
        elif header is None:
            if filled == [_LEGEND]:
                continue
            header = [cell.strip() for cell in cells]
            out.append((header[0], []))
        else:
            out[-1][1].append(_named(header, cells))
    return out


def _named(header: Sequence[str], cells: Sequence[str]) -> Row:
    filled = [*cells, *[""] * (len(header) - len(cells))]
    return {name: cell for name, cell in zip(header, filled, strict=False) if name}


def _rows(parts: Iterable[tuple[str, list[Row]]], first: str, nth: int) -> list[Row]:
    matching = [rows for name, rows in parts if name == first]
    return matching[nth - 1] if len(matching) >= nth else []


def _text(value: Any) -> str | None:
    # Names come with trailing spaces now and then, and with line breaks.
    text = re.sub(r"\s+", " ", value).strip() if isinstance(value, str) else ""
    return text or None
