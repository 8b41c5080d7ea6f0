"""Comparison of native files by content, without the packer's additions: times of members, the gzip header.

`content.py` compares remote files by the directory of a zip. The chain decides what equal files mean for a vintage.
"""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

from d4c_pipeline.files import magic
from d4c_pipeline.files.disk import storage_errors
from d4c_pipeline.sources.content import same_members

_COPY = 1 << 20


def same_payload(path: Path, other: Path) -> bool:
    """Return whether two files of different bytes have equal content: equal members of zips, equal bytes in gzips.

    Files of any other format have equal content only if their bytes are equal, which the caller knows from their
    digests. Raises StorageError if a file can't be read.
    """
    with storage_errors(f"write in {path.parent}"), path.open("rb") as left, other.open("rb") as right:
        starts = left.read(2), right.read(2)
        left.seek(0)
        right.seek(0)
        if starts == (magic.GZIP, magic.GZIP):
            return _same_unpacked(path, other)
        return starts == (magic.ANY_ZIP, magic.ANY_ZIP) and same_members(left, right)


def _same_unpacked(path: Path, other: Path) -> bool:
    try:
        with gzip.open(path) as left, gzip.open(other) as right:
            while True:
                first, second = left.read(_COPY), right.read(_COPY)
                if first != second:
                    return False
                if not first:
                    return True
    except (gzip.BadGzipFile, EOFError, zlib.error):
        return False  # broken: the bytes decide, and the reader reports the defect
