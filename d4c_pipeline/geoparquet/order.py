"""Sorts rows in memory by a total order: equal rows are identical, so nothing else decides the order.

`layout` defines the columns of the order. `merge` sorts rows beyond memory in parts. Cutting rows into groups belongs
to `groups`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from d4c_pipeline.geoparquet.rows import Coded, Column, Positions, Rows, ranks

_BIGGEST = 1 << 62


@dataclass(frozen=True)
class Order:
    """`positions`: the rows in sorted order. `duplicates`: the number of rows equal to an earlier row."""

    positions: Positions
    duplicates: int


def total(rows: Rows, columns: Sequence[str]) -> Order:
    """Sort `rows` by `columns`; a column is compared only for rows with ties in the earlier columns.

    Nulls come last. Rows equal in all `columns` are duplicates, in any order.
    """
    if not rows.count:
        return Order(np.empty(0, np.int64), 0)
    last, keys = _together(rows, columns)
    positions = np.argsort(keys)
    keys = keys[positions]
    # Rows with the same group number are still tied; tied rows are adjacent.
    again, group = _ties(keys[1:] == keys[:-1])
    tied = np.flatnonzero(again)
    for name in columns[last + 1 :]:
        if not len(tied):
            break
        if _is_constant(rows.columns[name]):  # 93 % of the columns of a run of 5,000 rows with 5,000 distinct names
            continue
        keys = ranks(rows.take(name, positions[tied]))
        order = _sorted(group, keys)
        positions[tied] = positions[tied][order]
        group, keys = group[order], keys[order]
        again, group = _ties((group[1:] == group[:-1]) & (keys[1:] == keys[:-1]))
        tied = tied[again]
    return Order(positions, len(tied) - int(group[-1]) - 1 if len(tied) else 0)


def _is_constant(column: Column) -> bool:
    # Whether all rows are known to be equal, without a look at the values of other columns than packed ones.
    return column.is_constant if isinstance(column, Coded) else column.null_count == len(column)


def _ties(same: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    # The mask of rows equal to a neighbour and the group numbers of these rows, from the mask of rows equal to their
    # predecessor (without the first row).
    again = np.zeros(len(same) + 1, np.bool_)
    again[1:] = same
    again[:-1] |= same
    if not same.any():
        return again, np.empty(0, np.int64)
    begins = np.ones(len(same) + 1, np.bool_)
    begins[1:] = ~same
    return again, np.cumsum(begins[again]) - 1


def _together(rows: Rows, columns: Sequence[str]) -> tuple[int, npt.NDArray[np.int64]]:
    # The index of the last column used, and the ranks of all rows by the first columns together: several if they are
    # packed texts, as most keys are, because one sort is quicker.
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
    # The order of equal keys does not matter: the next column decides.
    groups = int(group[-1]) + 1
    if groups == 1:
        return np.argsort(keys)
    least = int(keys.min())
    span = int(keys.max()) - least + 1
    if span * groups < _BIGGEST:
        return np.argsort(group * span + (keys - least))
    return np.lexsort((keys, group))
