"""Detection of single-byte encodings: Windows-1252, Mac Roman and DOS code pages, by the words that they give.

Only words with a byte beyond ASCII are examined. `encoding` detects UTF-8, UTF-16 and UTF-32.
"""

from __future__ import annotations

import re
from pathlib import Path

from d4c_pipeline.model.errors import DataError

_BLOCK = 1 << 20
_WINDOWS = "cp1252"
# The encodings of Macintosh and DOS in Canada. cp437 has the same French letters as cp850.
_OTHERS = ("mac_roman", "cp850", "cp863")
_NAMES = {"mac_roman": "Mac Roman", "cp850": "DOS (cp850)", "cp863": "DOS (cp863)", "cp1252": "Windows-1252"}
_WORD = re.compile(rb"[A-Za-z]*[\x80-\xff][A-Za-z\x80-\xff]*")
_C1 = re.compile(rb"[\x80-\x9f]")
_ENOUGH = 20_000

_LOWER, _UPPER = "a-zß-öø-ÿœšž", "À-ÖØ-ÞŒŠŽŸ"
_LETTER = f"A-Z{_LOWER}{_UPPER}"
# Words never contain these: a capital after a small letter, an accent or a quote between letters.
_SURE = re.compile(f"[{_LOWER}][ŽŠŒŸ]|[{_LETTER}][ŽŠŒŸ][{_LOWER}]|[ƒˆ˜]|[{_LETTER}][‚„]|[{_LETTER}][†‡‰‹][{_LETTER}]")
_ODD = re.compile(f"{_SURE.pattern}|^”[{_LOWER}]|[{_LOWER}][{_UPPER}]|[{_LETTER}][“”•™›€¨´¸¯¦¬±×÷¡¿¤¢¥£][{_LETTER}]")
_KNOWN = re.compile(f"[{_LETTER}\\u00a0-\\u00bf×÷‘’‚“”„†‡•…‰‹›€–—™ƒˆ˜]*")


def detect(path: Path) -> str:
    """Return the encoding (Python's name) of a text that is not UTF-8: `cp1252`, `mac_roman`, `cp850`, `cp863`.

    The encoding is Windows-1252 unless it gives impossible words and exactly one other encoding gives only plausible
    words. Raises DataError if no encoding or several encodings fit.
    """
    words, common = _words(path)
    if not common:
        return _WINDOWS  # no byte from 80 to 9F, where the encodings differ most
    texts = {encoding: _read(words, encoding) for encoding in (_WINDOWS, *_OTHERS)}
    windows = texts[_WINDOWS]
    odd = [number for number, text in enumerate(windows) if not _reads_well(text)]
    if not odd:
        return _WINDOWS
    fitting = [encoding for encoding in _OTHERS if all(map(_reads_well, texts[encoding]))]
    different = {tuple(texts[encoding]) for encoding in fitting}
    sure = [number for number in odd if windows[number] is None or _SURE.search(windows[number] or "")]
    if len(different) == 1 and sure:
        return fitting[0]
    if not fitting and None not in windows and len(odd) * 50 <= len(windows):
        return _WINDOWS  # errors in single values, which the check on encoding counts
    example = sure[0] if sure else odd[0]
    readings = [
        f"{text} in {_NAMES[encoding]}"
        for encoding in (_WINDOWS, *(fitting or _OTHERS))
        if (text := texts[encoding][example]) is not None
    ]
    undefined = "" if windows[example] is not None else f"the file has bytes that {_NAMES[_WINDOWS]} does not define; "
    raise DataError(
        f"The encoding of {path.name} is ambiguous: {undefined}a word reads {', '.join(readings)}",
        f"Declare processing.encoding ({', '.join((_WINDOWS, *(fitting or _OTHERS)))})",
    )


def _words(path: Path) -> tuple[list[bytes], bool]:
    # The distinct words with a byte beyond ASCII, and whether any byte is from 80 to 9F.
    found: dict[bytes, None] = {}
    common = False
    with path.open("rb") as handle:
        while block := handle.read(_BLOCK):
            block += handle.readline(_BLOCK)
            if block.isascii():
                continue
            common = common or _C1.search(block) is not None
            if len(found) < _ENOUGH:
                found.update(dict.fromkeys(_WORD.findall(block)))
    return list(found), common


def _read(words: list[bytes], encoding: str) -> list[str | None]:
    out: list[str | None] = []
    for word in words:
        try:
            out.append(word.decode(encoding))
        except UnicodeDecodeError:
            out.append(None)
    return out


def _reads_well(text: str | None) -> bool:
    return text is not None and _KNOWN.fullmatch(text) is not None and _ODD.search(text) is None
