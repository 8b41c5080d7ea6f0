"""The number of members of a zip without parsing its directory: `zipfile` takes 17 s and 700 MB for a million.

Unpacking belongs to `unpack_zip.py`, comparing the content of zips to `sources.content`.
"""

from __future__ import annotations

import zipfile
from typing import Any, BinaryIO

# `zipfile`'s function for the end of an archive, including ZIP64 and archives after other bytes.
_end_record: Any = getattr(zipfile, "_EndRecData")  # noqa: B009 - it is not in the stubs
_SIZE, _LOCATION = 5, 9
_WIDE_END = 76  # bytes between the directory of a large archive and that record (APPNOTE 4.3.14 and 4.3.15)
_LOCATOR, _LOCATOR_BYTES = b"PK\x06\x07", 20
_ENTRY = b"PK\x01\x02"
_BLOCK = 1 << 20


def listed(file: BinaryIO) -> int:
    """Return the number of members in the directory, 0 without a directory, which the caller's `zipfile` then reports.

    A name that contains the mark of an entry counts as one more.
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
