"""The order of rows: along the Hilbert curve for features, by key for tables, and total: nothing else decides it.

Rows that do not fit into memory are sorted by `merge`, which comes here with a part of them at a time. Cutting the
ordered rows into row groups belongs to `write`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from d4c_pipeline.processing.rows import Positions, Rows, ranks

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
    positions = np.arange(rows.count, dtype=np.int64)
    # Rows with the same number of group are not told apart yet; groups stand side by side.
    tied, group = positions.copy(), np.zeros(rows.count, np.int64)
    for name in columns:
        if not len(tied):
            break
        whole = len(tied) == rows.count and name is columns[0]
        keys = ranks(rows.columns[name] if whole else rows.take(name, positions[tied]))
        order = _sorted(group, keys)
        positions[tied] = positions[tied][order]
        group, keys = group[order], keys[order]
        same = (group[1:] == group[:-1]) & (keys[1:] == keys[:-1])
        again = np.zeros(len(tied), np.bool_)
        again[1:] |= same
        again[:-1] |= same
        group = np.cumsum(np.concatenate([[0], ~same]))[again]
        tied, group = tied[again], np.cumsum(np.diff(group, prepend=group[:1]) != 0)
    return Order(positions, len(tied) - int(group[-1]) - 1 if len(tied) else 0)


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
