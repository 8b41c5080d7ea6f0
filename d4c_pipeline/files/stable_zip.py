"""Zip archives whose bytes depend only on their members: fixed order, times and modes, one deflate.

`zipfile` deflates with the zlib of the system, and another zlib gives other bytes. Arrow's wheel contains its own zlib,
which `requirements.lock` fixes. Format: APPNOTE 6.3.10 of PKWARE, sections 4.3.7, 4.3.12 and 4.3.16.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from functools import lru_cache
from io import BytesIO

_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_DEFLATED, _STORED = 8, 0
_VERSION = 20  # 2.0, the first with deflate
_UNIX = 3 << 8
_UTF8 = 1 << 11
_DATE = 1 << 5 | 1  # 1980-01-01, the first day that a zip can state
_MODE = 0o100644 << 16
_GZIP_HEADER, _GZIP_TRAILER = 10, 8  # bytes around the raw deflate stream; Arrow writes neither a name nor a time
_LARGEST = 0xFFFFFFFF
_MOST = 0xFFFF


def stable_zip(members: Mapping[str, bytes]) -> bytes:
    """Return a zip of `members`, content by relative name, sorted by name.

    Raises ValueError beyond 65,535 members or 4 GiB, where another layout of the format begins.
    """
    out, directory = BytesIO(), BytesIO()
    for name in sorted(members):
        content = members[name]
        packed = _deflate(content)
        kind, data = (_DEFLATED, packed) if len(packed) < len(content) else (_STORED, content)
        path = name.encode()
        shared = (_VERSION, _UTF8, kind, 0, _DATE, zlib.crc32(content), len(data), len(content), len(path), 0)
        directory.write(_CENTRAL.pack(b"PK\x01\x02", _VERSION | _UNIX, *shared, 0, 0, 0, _MODE, out.tell()) + path)
        out.write(_LOCAL.pack(b"PK\x03\x04", *shared) + path + data)
        if out.tell() > _LARGEST:
            raise ValueError("a zip of more than 4 GiB")
    if len(members) > _MOST:
        raise ValueError("a zip of more than 65,535 members")
    start, entries = out.tell(), directory.getvalue()
    count = len(members)
    return out.getvalue() + entries + _END.pack(b"PK\x05\x06", 0, 0, count, count, len(entries), start, 0)


@lru_cache(maxsize=1024)
def _deflate(content: bytes) -> bytes:
    """Return the deflate stream; kept, because nearly all members of the next release's code are the same (1 MB)."""
    import pyarrow as pa  # noqa: PLC0415 - 40 MB, which the modules that only name archives do without

    packed: bytes = pa.compress(content, codec="gzip", asbytes=True)
    return packed[_GZIP_HEADER:-_GZIP_TRAILER]
