"""The order of rows: along the Hilbert curve for features, by key for tables, and total: nothing else decides it.

Rows that do not fit into memory are sorted by `merge`, which comes here with a part of them at a time. Cutting the
ordered rows into row groups belongs to `write`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from d4c_pipeline.geoparquet.rows import Coded, Positions, Rows, ranks

_BIGGEST = 1 << 62


@dataclass(frozen=True)
class Order:
    """`positions`: the rows in the order they are to be written. `duplicates`: rows equal to an earlier one."""

    positions: Positions
    duplicates: int


def total(rows: Rows, columns: Sequence[str]) -> Order:
    """Order `rows` by `columns` one after the other; a column is only looked at for rows that the earlier ones tie.

    Nulls come last. Rows equal in all `columns` are duplicates, in any order among each other.
    """
    if not rows.count:
        return Order(np.empty(0, np.int64), 0)
    last, keys = _together(rows, columns)
    positions = np.argsort(keys)
    keys = keys[positions]
    # Rows with the same number of group are not told apart yet; groups stand side by side.
    again, group = _ties(keys[1:] == keys[:-1])
    tied = np.flatnonzero(again)
    for name in columns[last + 1 :]:
        if not len(tied):
            break
        keys = ranks(rows.take(name, positions[tied]))
        order = _sorted(group, keys)
        positions[tied] = positions[tied][order]
        group, keys = group[order], keys[order]
        again, group = _ties((group[1:] == group[:-1]) & (keys[1:] == keys[:-1]))
        tied = tied[again]
    return Order(positions, len(tied) - int(group[-1]) - 1 if len(tied) else 0)


def _ties(same: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    # Which rows are the same as a neighbour, given which are the same as the one before (the first is not asked), and
    # of those the number of their group.
    again = np.zeros(len(same) + 1, np.bool_)
    again[1:] = same
    again[:-1] |= same
    if not same.any():
        return again, np.empty(0, np.int64)
    begins = np.ones(len(same) + 1, np.bool_)
    begins[1:] = ~same
    return again, np.cumsum(begins[again]) - 1


def _together(rows: Rows, columns: Sequence[str]) -> tuple[int, npt.NDArray[np.int64]]:
    # The ranks of all rows by the first column, or by the first few at once where they are repeated texts: mostly a key
    # is such, and sorting once is quicker. Besides, the number of the last of them.
    keys = ranks(rows.columns[columns[0]])
    last, column = 0, rows.columns[columns[0]]
    span = len(column.texts) + 1 if isinstance(column, Coded) else _BIGGEST
    for number, name in enumerate(columns[1:], 1):
        column = rows.columns[name]
        if not isinstance(column, Coded) or span * (len(column.texts) + 1) >= _BIGGEST or span > rows.count:
            break
        span *= len(column.texts) + 1
        keys = keys * (len(column.texts) + 1) + ranks(column)
        last = number
    return last, keys


def _sorted(group: npt.NDArray[np.int64], keys: npt.NDArray[np.int64]) -> Positions:
    # How equal keys fall does not matter: what makes a difference is told apart by the next column.
    groups = int(group[-1]) + 1
    if groups == 1:
        return np.argsort(keys)
    least = int(keys.min())
    span = int(keys.max()) - least + 1
    if span * groups < _BIGGEST:
        return np.argsort(group * span + (keys - least))
    return np.lexsort((keys, group))
