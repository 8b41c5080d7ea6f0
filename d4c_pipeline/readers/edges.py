"""Detection of titles, units, notes and totals above the header and below the rows of a table, in any format.

Cells are text as displayed. Nothing is cut by these rules: an operator declares the header (`header_row`) and the
number of lines below the rows (`footer_rows`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

Row = Sequence[str]

# Rows below the first row that are searched for the header; no known title has more lines.
SEARCHED_ROWS = 30
_NUMBER = re.compile(r"[+\-\u2212]?[$€]?\s*(\d[\d\s'\u2019\u00a0\u2009\u202f.,]*|[.,]\d+)\s*[%$€]?")
_INTEGER = re.compile(r"[+-]?\d+")
_DECIMAL = re.compile(r"[+-]?\d+[.,]\d+|-\d+")
_YEARS = range(1700, 2200)
# Text in place of a number that is not a name.
_NO_VALUE = re.compile(
    r"(?i)\W*(n\W*[ad]\W*|nan|null|none|nil|na?n|unknown|missing|suppressed|confidential|redacted|withheld|tbd|s\W*o\W*"
    r"|inconnue?|manquante?|aucune?|supprim[ée]e?|confidentiel(le)?|non (disponible|d[ée]clar[ée]e?|connue?)"
    r"|not (available|applicable|reported|known)|(true|false|yes|no|oui|non|vrai|faux)|[a-z]{0,2}|\W*)\W*"
)
_NOTE = re.compile(
    r"(?i)\W{0,3}((sources?|notes?|footnotes?|symbols?|symboles?|l[ée]gende?s?|remarques?|nota|comments?|disclaimer"
    r"|avis|r[ée]f[ée]rences?|contact)\b(\s*[\w ()]{0,20}[:=–]|\s*$|\s*\(?\d)"
    r"|(copyright|\(c\)|last updated|date (modified|modifi[ée]e)|how to cite|prepared by|pr[ée]par[ée] par|data as of"
    r"|as of \d|en date du|end of (file|data|report)|fin du (fichier|rapport)|adapted from|adapt[ée] de"
    r"|generated (on|by)|produced by|produit par|exported (on|from)|export[ée] le|\d[\d,]* rows?)\b|©)"
)
_TOTAL = re.compile(
    r"(?i)\W*((grand|overall)?[\s-]*totals?|totaux|total (g[ée]n[ée]ral|global)|grand sum|somme totale)\W*"
)


def is_number(cell: str) -> bool:
    """Return whether a cell is a number in any spelling (`1 234,5`, `$5`, `12 %`)."""
    return _NUMBER.fullmatch(cell.strip()) is not None


def names_below(first: Row, rows: Sequence[Row]) -> int | None:
    """Return the position in `rows` of the header, None if `first` is the header.

    `rows` follow `first`, without blank rows. A title has fewer filled cells than the header. A header one row further
    down (below a title with commas, or below names in another language) has words above numbers.
    """
    filled = _filled(first)
    few = rows[:SEARCHED_ROWS]
    if not few:
        return None
    if len(first) == 1 or filled * 2 <= len(first):
        usual = sorted(map(len, few))[len(few) // 2]
        for number, row in enumerate(few):
            if row[0].startswith("#") and first[0].startswith("#"):
                continue  # successive comments
            if _filled(row) >= 2 and _filled(row) > filled and len(row) >= usual:
                return number if _are_words(row) or len(first) == 1 else None
        return None
    return 0 if _is_above_numbers(few[0], few[1:]) else None


def is_likely_row(first: Row, rows: Sequence[Row]) -> bool:
    """Return whether `first`, in the place of the header, is likely a row: it has numbers above numbers in `rows`.

    Integers can be names of columns (years, age groups), but rarely of the first column.
    """
    few = [row for row in rows[:SEARCHED_ROWS] if len(row) == len(first)]
    if not few or len(first) < 2:
        return False
    for at, cell in enumerate(first):
        below = [row[at] for row in few if row[at].strip()]
        if not below or not all(map(is_number, below)):
            continue
        text = cell.strip()
        year = _INTEGER.fullmatch(text) is not None and int(text) in _YEARS
        if _DECIMAL.fullmatch(text) or (at == 0 and _INTEGER.fullmatch(text) and not year):
            return True
    return False


def footer(rows: Sequence[Row], width: int) -> int:
    """Return the number of last `rows` that are notes below a table of `width` columns."""
    if width < 2:
        return 0
    count = 0
    for row in reversed(rows):
        if _filled(row) == 0 and count:
            count += 1
            continue
        # A note with commas has any number of fields.
        torn = len(row) != width and _NOTE.match(row[0]) is not None
        if not torn and (_filled(row) != 1 or not row[0].strip() or not _is_note(row, rows, width)):
            break
        count += 1
    return count


def repeats(row: Row, names: Sequence[str]) -> bool:
    """Return whether `row` is the row of `names` once more, as in files put together and printed tables.

    A byte order mark before the first name, and blanks around names, are no difference. A single name is no evidence:
    it may be a value.
    """
    plain = [name.strip() for name in names]
    while plain and not plain[-1]:
        plain.pop()
    cells = [cell.strip().removeprefix("\ufeff").strip() for cell in row]
    return len(plain) >= 2 and cells[: len(plain)] == plain and not any(cells[len(plain) :])


def is_total(row: Row, width: int) -> str | None:
    """Return the word that marks `row`, the last row of a table, as the total of the rows above; None without one."""
    if width < 2 or len(row) != width or _filled(row) < 2:
        return None
    found = next((cell.strip() for cell in row if _TOTAL.fullmatch(cell.strip())), None)
    return found if found is not None and any(is_number(cell) for cell in row) else None


def shown(row: Row) -> str:
    """Return the filled cells of a row as text for a message, at most 100 characters."""
    text = ", ".join(" ".join(cell.split()) for cell in row if cell.strip())
    return text if len(text) <= 100 else f"{text[:97]}..."


def _filled(row: Row) -> int:
    return sum(1 for cell in row if cell.strip())


def _are_words(row: Row) -> bool:
    cells = [cell.strip() for cell in row if cell.strip()]
    years = [cell for cell in cells if _INTEGER.fullmatch(cell) and int(cell) in _YEARS]
    numbers = [cell for cell in cells if is_number(cell)]
    return len(cells) > len(years) and len(numbers) == len(years)


def _is_above_numbers(row: Row, below: Sequence[Row]) -> bool:
    # Only words, at least one above a column of numbers.
    few = [each for each in below if len(each) == len(row)]
    if len(few) < 2 or _filled(row) != len(row) or any(is_number(cell) for cell in row):
        return False
    found = False
    for at, cell in enumerate(row):
        values = [each[at] for each in few if each[at].strip()]
        if len(values) >= 2 and all(map(is_number, values)):
            if _NO_VALUE.fullmatch(cell.strip()):
                return False
            found = True
    return found


def _is_note(row: Row, rows: Sequence[Row], width: int) -> bool:
    text = row[0].strip()
    if _NOTE.match(text):
        return True
    # A sentence below numbers.
    others = [each[0] for each in rows if len(each) == width and _filled(each) > 1 and each[0].strip()]
    numbered = len(others) >= 2 and all(map(is_number, others)) and not is_number(text)
    return " " in text and (numbered or (len(row) == 1 and width > 2))
