"""Whether two native files hold the same, apart from what a packer writes beside it: times of members, a gzip header.

Comparing at a distance, by the directory of a zip, is `content.py`; what equal files mean for a vintage is decided by
the chain.
"""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

from d4c_pipeline.files import magic
from d4c_pipeline.files.disk import storage_errors
from d4c_pipeline.sources.content import same_members

_COPY = 1 << 20


def same_payload(one: Path, other: Path) -> bool:
    """Say whether two files of different bytes hold the same: zips by their members, gzips by what they unpack to.

    Files of any other format hold the same only if their bytes are equal, which the caller knows from their digests.
    Raises StorageError when one can't be read.
    """
    with storage_errors(f"write in {one.parent}"), one.open("rb") as left, other.open("rb") as right:
        starts = left.read(2), right.read(2)
        left.seek(0)
        right.seek(0)
        if starts == (magic.GZIP, magic.GZIP):
            return _same_unpacked(one, other)
        return starts == (magic.ANY_ZIP, magic.ANY_ZIP) and same_members(left, right)


def _same_unpacked(one: Path, other: Path) -> bool:
    try:
        with gzip.open(one) as left, gzip.open(other) as right:
            while True:
                first, second = left.read(_COPY), right.read(_COPY)
                if first != second:
                    return False
                if not first:
                    return True
    except (gzip.BadGzipFile, EOFError, zlib.error):
        return False  # broken: its bytes decide, and whoever reads it says what is wrong
