"""Cuts sorted rows into row groups. A reader fetches complete row groups, so a query should touch few of them.

Groups of features end where the Hilbert curve leaves a large quadrant: boxes that follow quadrants overlap less.
Sorting belongs to `order` and `merge`, encoding a group to `encode`.
"""

# pyarrow.compute makes its functions at import, unseen by type checkers.
# pyright: reportAttributeAccessIssue=false
from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from d4c_pipeline.geoparquet import staged
from d4c_pipeline.geoparquet.merge import Sorted
from d4c_pipeline.geoparquet.rows import Coded

# Groups of features have FEATURE_ROWS rows on average and never fewer, each between the least and the most, unless
# their geometry exceeds FEATURE_BYTES.
# Measured on 1.5 M points, 500 k buildings and 5 k boundaries: groups of 10,000 rows read two fifths of the bytes of
# 50,000 for a 1 % query at 1 to 7 % more size, cutting at quadrants a tenth less than cutting at equal lengths; large
# features are cut by bytes instead. See benchmarks/RESULTS.md.
FEATURE_ROWS = 10_000
FEATURE_LEAST_ROWS = 5_000
FEATURE_MOST_ROWS = 16_000
FEATURE_BYTES = 8 << 20
TABLE_ROWS = 100_000
# Long texts count as bytes too: an Arrow column holds at most 2 GiB, which shorter texts cannot reach.
TABLE_BYTES = 128 << 20
_LONG_TEXT = 4 << 10

# A row group: pieces of sorted parts.
Group = list[Sorted]
_Numbers = npt.NDArray[np.int64]


def groups(parts: Iterable[Sorted], rows: int, *, features: bool) -> Iterator[Group]:
    """Yield the rows of `parts` in groups. `rows`: the total; `features`: the rows have the columns of `staged`."""
    if not features:
        yield from _equal(parts)
        return
    held = _Held()
    left, credit = rows, 0
    for part in parts:
        held.add(part, _column(part, staged.PLACE), _sizes(part))
        while held.decided:
            group, credit = held.cut(left, credit)
            left -= _length(group)
            yield group
    while held.rows:
        group, credit = held.cut(left, credit)
        left -= _length(group)
        yield group


def _length(group: Group) -> int:
    return sum(len(piece.positions) for piece in group)


def _equal(parts: Iterable[Sorted]) -> Iterator[Group]:
    begun: Group = []
    wanted, room = TABLE_ROWS, TABLE_BYTES
    for part in parts:
        start, sizes = 0, _long_texts(part)
        while start < len(part.positions):
            length = wanted
            if sizes is not None:
                # A row that exceeds a group is a group.
                fitting = int(np.searchsorted(np.cumsum(sizes[start : start + wanted]), room, side="right"))
                length = min(wanted, fitting if begun else max(1, fitting))
            some = part.positions[start : start + length]
            if len(some):
                begun.append(Sorted(part.rows, some))
            room -= int(sizes[start : start + len(some)].sum()) if sizes is not None else 0
            start, wanted = start + len(some), wanted - len(some)
            if not wanted or start < len(part.positions):
                yield begun
                begun, wanted, room = [], TABLE_ROWS, TABLE_BYTES
    if begun:
        yield begun


@dataclass
class _Held:
    # Rows that are in no group yet, with their positions on the curve and the bytes of their geometry.
    pieces: list[Sorted] = field(default_factory=list[Sorted])
    places: _Numbers = field(default_factory=lambda: np.empty(0, np.int64))
    sizes: _Numbers = field(default_factory=lambda: np.empty(0, np.int64))

    @property
    def rows(self) -> int:
        return len(self.places)

    @property
    def decided(self) -> bool:
        """Whether later rows cannot change the next group."""
        return self.rows > 2 * FEATURE_ROWS or self.sizes.sum() > FEATURE_BYTES

    def add(self, part: Sorted, places: _Numbers, sizes: _Numbers) -> None:
        self.pieces.append(part)
        self.places = np.concatenate([self.places, places])
        self.sizes = np.concatenate([self.sizes, sizes])

    def cut(self, left: int, credit: int) -> tuple[Group, int]:
        """Take the next group. `left`: rows in no group yet, held or later; `credit`: rows above the average so far.

        The group is `decided`, or no later rows exist.
        """
        ahead = min(self.rows, 2 * FEATURE_ROWS)
        # A feature that exceeds a group is a group.
        fitting = max(1, int(np.searchsorted(np.cumsum(self.sizes[:ahead]), FEATURE_BYTES, side="right")))
        least = max(FEATURE_LEAST_ROWS, FEATURE_ROWS - credit)
        if left < 2 * FEATURE_ROWS - credit:  # two groups would be too small
            count = min(fitting, left)
        elif fitting < least:
            count = fitting
        else:
            count = self._quadrant(least, min(FEATURE_MOST_ROWS, fitting, left - FEATURE_LEAST_ROWS))
        by_bytes = count == fitting
        return self._take(count), credit if by_bytes else max(0, credit + count - FEATURE_ROWS)

    def _quadrant(self, least: int, most: int) -> int:
        # The row in this range where the curve leaves the largest quadrant: the highest base-4 digit changes.
        if most <= least:
            return least
        window = self.places[least - 1 : most + 1]
        digits = (np.frexp((window[1:] ^ window[:-1]).astype(np.float64))[1] + 1) // 2
        return least + int(digits.argmax())

    def _take(self, count: int) -> Group:
        self.places, self.sizes = self.places[count:], self.sizes[count:]
        taken: Group = []
        while count:
            first = self.pieces[0]
            length = min(count, len(first.positions))
            taken.append(Sorted(first.rows, first.positions[:length]))
            if length == len(first.positions):
                self.pieces.pop(0)
            else:
                self.pieces[0] = Sorted(first.rows, first.positions[length:])
            count -= length
        return taken


def _column(part: Sorted, name: str) -> _Numbers:
    column = part.rows.columns[name]
    assert not isinstance(column, Coded)  # noqa: S101 - never packed
    return column.to_numpy()[part.positions]


def _sizes(part: Sorted) -> _Numbers:
    wkb = part.rows.columns[staged.GEOMETRY]
    sizes = pc.fill_null(pc.binary_length(wkb), 0).to_numpy(zero_copy_only=False).astype(np.int64)[part.positions]
    texts = _long_texts(part)
    return sizes if texts is None else sizes + texts


def _long_texts(part: Sorted) -> _Numbers | None:
    # Bytes of long texts in each row, None without long texts; independent of parts and packing.
    total: _Numbers | None = None
    for column in part.rows.columns.values():
        texts = column.texts if isinstance(column, Coded) else column
        if not pa.types.is_string(texts.type):
            continue
        lengths = pc.fill_null(pc.binary_length(texts), 0)
        if (pc.max(lengths).as_py() or 0) <= _LONG_TEXT:
            continue
        of_texts = lengths.to_numpy(zero_copy_only=False).astype(np.int64)
        of_texts[of_texts <= _LONG_TEXT] = 0
        if isinstance(column, Coded):
            codes = column.codes[part.positions]
            sizes = np.where(codes < 0, 0, of_texts[codes])
        else:
            sizes = of_texts[part.positions]
        total = sizes if total is None else total + sizes
    return total
