"""Which encoding text has, found from its bytes: byte order mark, else valid UTF-8, else Windows-1252.

What a file's own side files declare is looked up by the readers before they ask here.
"""

from __future__ import annotations

import codecs
from pathlib import Path

from d4c_pipeline.model.errors import DataError, DefinitionError

_BLOCK = 1 << 20
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


def detect(path: Path) -> str:
    """Return the encoding of a text file: `utf-8-sig`, `utf-16`, `utf-8` or `cp1252`, read to its end.

    Windows-1252 rather than ISO-8859-1: what differs are control characters there and quotes, dashes and the euro here.
    Raises DataError when none of them fits (the five bytes that Windows-1252 leaves undefined occur).
    """
    with path.open("rb") as handle:
        head = handle.read(4)
    for mark, name in _MARKS:
        if head.startswith(mark):
            return name
    if is_utf8(path, start=0, also_ascii=True):
        return "utf-8"
    if not _decodes(path, "cp1252", 0):
        raise DataError(f"{path.name} is neither UTF-8 nor Windows-1252 text", "Declare processing.encoding")
    return "cp1252"


def is_utf8(path: Path, *, start: int, also_ascii: bool = False) -> bool:
    """Whether the bytes of `path` from `start` on are valid UTF-8 that says something.

    Pure ASCII says nothing about the encoding and counts only with `also_ascii`.
    """
    return _decodes(path, "utf-8", start) and (also_ascii or not _decodes(path, "ascii", start))


def python_name(name: str) -> str:
    """Return the name by which Python knows an encoding, normalised.

    Raises DefinitionError when there is no such encoding.
    """
    try:
        return codecs.lookup(name).name
    except LookupError as error:
        raise DefinitionError(
            f"'{name}' is not an encoding", "Write processing.encoding as utf-8, cp1252, iso-8859-1, ..."
        ) from error


def _decodes(path: Path, name: str, start: int) -> bool:
    decoder = codecs.getincrementaldecoder(name)()
    with path.open("rb") as handle:
        handle.seek(start)
        try:
            while block := handle.read(_BLOCK):
                decoder.decode(block)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return False
    return True
