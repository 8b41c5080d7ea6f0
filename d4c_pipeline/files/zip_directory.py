"""How many members a zip lists, told without reading its directory: `zipfile` takes 17 s and 700 MB for a million.

Unpacking belongs to `unpack_zip.py`, comparing what zips hold to `sources.content`.
"""

from __future__ import annotations

import zipfile
from typing import Any, BinaryIO

# What `zipfile` reads an archive's end with, that of a large one and of one behind other bytes included.
_end_record: Any = getattr(zipfile, "_EndRecData")  # noqa: B009 - it is not in the stubs
_SIZE, _LOCATION = 5, 9
_WIDE_END = 76  # bytes between the directory of a large archive and that record (APPNOTE 4.3.14 and 4.3.15)
_LOCATOR, _LOCATOR_BYTES = b"PK\x06\x07", 20
_ENTRY = b"PK\x01\x02"
_BLOCK = 1 << 20


def listed(file: BinaryIO) -> int:
    """Return how many members the directory lists, 0 where there is none; what `zipfile` then says is for the caller.

    A name that holds the mark of an entry counts as one more.
    """
    end = _end_record(file)
    if end is None:
        return 0
    size, place = int(end[_SIZE]), int(end[_LOCATION])
    file.seek(max(0, place - _LOCATOR_BYTES))
    end_of_it = place - _WIDE_END if file.read(len(_LOCATOR)) == _LOCATOR else place
    file.seek(max(0, end_of_it - size))
    count, left, rest = 0, size, b""
    while left > 0 and (block := file.read(min(left, _BLOCK))):
        left -= len(block)
        block = rest + block
        count += block.count(_ENTRY)
        rest = block[len(block) - len(_ENTRY) + 1 :]
    return count
