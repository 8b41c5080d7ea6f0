"""The ends of the catalogue's row groups: between datasets, decided by each dataset alone.

A cut depends on the id of the dataset before it and on its number of rows, never on other datasets. So a new release
changes only the row group of its dataset, and an appended file has the row groups of a rebuilt file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

# Average rows of a row group. The footer has about 14 kB per row group (236 columns): 129 kB for 100,000 releases. With
# half as many rows a query for one dataset fetches more than 300 kB, most of it the footer. With more rows each
# query fetches longer columns, and a new release, which encodes one row group again, takes longer.
GROUP_ROWS = 16_384
_ALL = 1 << 64


def ends_group(dataset: str, rows: int, share: float = 1.0) -> bool:
    """Return whether a row group ends after a dataset of `rows` rows.

    The probability is the dataset's share of a row group: groups have `share` of `GROUP_ROWS` rows on average.
    """
    digest = hashlib.sha256(dataset.encode()).digest()
    return int.from_bytes(digest[:8]) * max(1, int(GROUP_ROWS * share)) < rows * _ALL


def runs(values: Iterable[str]) -> list[tuple[str, int]]:
    """Return runs of equal values with their lengths."""
    found: list[tuple[str, int]] = []
    for value in values:
        if found and found[-1][0] == value:
            found[-1] = (value, found[-1][1] + 1)
        else:
            found.append((value, 1))
    return found
