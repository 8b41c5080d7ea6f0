"""The parts of a release's data: one file or several, their names, and one digest over the set.

Dividing the rows belongs to `geoparquet.partition`, the declaration to `outputs.Partition`. Nothing here opens a file.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

MOST_PARTS = 45
"""Of the 100 files that a record at the archive holds each part takes two, with its torrent; ten are for the rest."""

SUFFIX = ".parquet"
MANIFEST_NAME = "manifest.json"
"""Lists the files: of a release with all that made them, under `/processed/` those that data in parts lies in."""
_NULL = "null"
_LONGEST = 40
_DIGITS = 8
_OTHERS = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True)
class Part:
    """One file of the data. `name` tells it from the others (`pruid-24`, `part-03`) and is empty where it is the only
    one; `bounds` are west, south, east, north in degrees, None without geometry.
    """

    name: str
    rows: int
    bounds: tuple[float, float, float, float] | None


def file_name(release_name: str, part: str) -> str:
    """Return the name of a data file in a release: the release's, then the part's where there are several."""
    return f"{release_name}_{part}{SUFFIX}" if part else f"{release_name}{SUFFIX}"


def part_of(file_name: str, release_name: str) -> str:
    """Return the name of the part that a data file of a release, or its torrent, is of."""
    return file_name.removeprefix(release_name).partition(SUFFIX)[0].removeprefix("_")


def numbered(count: int) -> list[str]:
    """Return the names of `count` parts that lie one after the other: `part-01`, `part-02`, ..."""
    return [f"part-{number:02}" for number in range(1, count + 1)]


def named_by_value(column: str, values: Sequence[str | None]) -> dict[str | None, str]:
    """Return the name of the part of each of the distinct `values` of `column`: `pruid-24`, `pruid-null`.

    A value becomes lower-case ASCII: letters lose their accents, everything else becomes hyphens, 40 characters at
    most, as does the column. Where that leaves nothing, means null, or is the same for another value, the first eight
    digits of the value's sha256 follow; so a name depends on its value alone, but for values that would be taken for
    each other.
    """
    plain = {value: _plain(value) for value in values if value is not None}
    often = Counter(plain.values())
    names: dict[str | None, str] = {}
    for value, text in plain.items():
        unclear = not text or text == _NULL or often[text] > 1
        digest = hashlib.sha256(value.encode()).hexdigest()[:_DIGITS]
        names[value] = "-".join(filter(None, [text, digest if unclear else ""]))
    if None in values:
        names[None] = _NULL
    return {value: f"{_plain(column)}-{name}" for value, name in names.items()}


def set_digest(files: Iterable[tuple[str, str]]) -> str:
    """Return one sha256 (hex) over data files, given as (name of the part, sha256 of its bytes) in any order.

    Of one file it is the file's own; of several that of the lines `sha256  part`, sorted by part.
    """
    known = sorted(files)
    if len(known) == 1:
        return known[0][1]
    return hashlib.sha256("".join(f"{sha256}  {part}\n" for part, sha256 in known).encode()).hexdigest()


def _plain(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return _OTHERS.sub("-", decomposed.lower()).strip("-")[:_LONGEST].rstrip("-")
