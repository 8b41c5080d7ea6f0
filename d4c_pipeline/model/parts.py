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
"""A record at the archive holds 100 files: each part takes two, with its torrent; ten remain for other files."""

SUFFIX = ".parquet"
MANIFEST_NAME = "manifest.json"
"""Name of the manifest of a release, and of the index of partitioned data under `/processed/`."""
CHANGES_SUFFIX = "_changes.parquet"
"""The end of the name of a release's file of changes, after the release's name."""
PROFILE_NAME = "profile.json"
"""Name of the profile of the data, in a build and in a release."""
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
    """Return the name of a data file in a release: the release's name, then the part's name if there are several."""
    return f"{release_name}_{part}{SUFFIX}" if part else f"{release_name}{SUFFIX}"


def every_part(release_name: str) -> str:
    """Return the glob of all data files of a release in parts: names of parts have a hyphen, `changes` has none."""
    return f"{release_name}_*-*{SUFFIX}"


def part_of(file_name: str, release_name: str) -> str:
    """Return the name of the part that a data file of a release, or its torrent, belongs to."""
    return file_name.removeprefix(release_name).partition(SUFFIX)[0].removeprefix("_")


def numbered(count: int) -> list[str]:
    """Return the names of `count` consecutive parts: `part-01`, `part-02`, ..."""
    return [f"part-{number:02}" for number in range(1, count + 1)]


def named_by_value(column: str, values: Sequence[str | None]) -> dict[str | None, str]:
    """Return the part names of the distinct `values` of `column`: `pruid-24`, `pruid-null`.

    A value becomes lower-case ASCII of at most 40 characters, as does the column: letters lose their accents, all other
    characters become hyphens. If the result is empty, `null`, or equals the result of another value, the first
    eight digits of the value's sha256 follow. So a name depends on its value alone, except for values with equal
    results.
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

    The digest of one file is the file's own sha256. The digest of several files is the sha256 of the lines `sha256
    part`, sorted by part.
    """
    known = sorted(files)
    if len(known) == 1:
        return known[0][1]
    return hashlib.sha256("".join(f"{sha256}  {part}\n" for part, sha256 in known).encode()).hexdigest()


def _plain(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return _OTHERS.sub("-", decomposed.lower()).strip("-")[:_LONGEST].rstrip("-")
