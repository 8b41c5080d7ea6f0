"""Collects GDAL's warnings and errors while it reads, and raises DataError for those that mean wrong values.

GDAL passes its messages to an error handler and continues. pyogrio's handler turns warnings into Python warnings and
drops errors that don't stop GDAL, so that an unreadable value silently becomes zero. The handler here collects both,
from every thread in which GDAL reads. C API: https://gdal.org/en/stable/api/cpl.html (cpl_error.h).
"""

from __future__ import annotations

import atexit
import re
import threading
import warnings
from collections import Counter
from collections.abc import Collection, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.tables.gdal import ErrorHandler, library

_WARNING, _FAILURE, _FATAL = 2, 3, 4  # CPLErr
_MOST_SHOWN = 20
# Messages that mean a wrong or missing value.
_DAMAGE = re.compile(
    r"parsed incompletely|Invalid content for record|clamped|overflow|out of range|ranging out of|truncated"
    r"|Cannot parse|Unable to parse|Unrecognized|couldn't be converted|could not be converted|invalid value"
    r"|Invalid coord dimension for '\[ [^\]\s]"
    r"|Invalid .*(?:date|time|value|number)|does not fit|lost|skipping|skipped|discarded|ignored record",
    re.IGNORECASE,
)
# Messages without effect on values, or whose subject is checked elsewhere: `geometry` checks and repairs geometry,
# layers are chosen by name, repeated identifiers are read from the bytes.
_HARMLESS = re.compile(
    r"successfully parsed|non closed ring|self-intersection|More than one layer found|Several features with id = "
    r"|organizePolygons|Sub-geometry \d+ has coordinate dimension|No column definition found"
)
_NUMBERED = re.compile(r"\b(record|feature|fid|FID|shape|id =|offset) ?#?(\d+)\b")
# The first value depends on the number of GDAL's threads.
_PARSED = re.compile(r"(in column [^,:]+), .*,(?= successfully parsed)")
_PLACE_IN_CODE = re.compile(r"Error occurred in \S*?([^/\s]+) at line \d+")
_FIELD = re.compile(r"of field (?:.*\.)?(?P<field>[^.]+) parsed incompletely|in column (?P<column>[^:,]+)[:,]")


@dataclass
class Listener:
    """GDAL's messages about the file at `path`. `exact`: columns that are not read through GDAL.

    `messages`: level and message without the numbers of records -> count, so that equal messages are one entry.
    """

    path: Path
    exact: Collection[str] = ()
    messages: Counter[tuple[int, str]] = field(default_factory=Counter[tuple[int, str]])
    first: dict[str, str] = field(default_factory=dict[str, str])

    @contextmanager
    def reading(self) -> Generator[None]:
        """Collect messages of GDAL's own threads while the file is open: it reads a GeoPackage ahead."""
        with _lock:
            _reading.append(self)
        try:
            yield
        finally:
            with _lock:
                _reading.remove(self)

    @contextmanager
    def hearing(self) -> Generator[None]:
        """Collect messages of this thread in this block."""
        before = getattr(_here, "listener", None)
        _here.listener = self
        library.CPLPushErrorHandler(_hear)
        try:
            yield
        finally:
            library.CPLPopErrorHandler()
            _here.listener = before

    @contextmanager
    def opening(self) -> Generator[None]:
        """Collect messages of this thread while pyogrio opens a file.

        pyogrio installs its own handler then, which turns messages into Python warnings.
        """
        with self.hearing(), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", RuntimeWarning)
            yield
        for warning in caught:
            self.hear(_WARNING, str(warning.message))

    def hear(self, level: int, text: str) -> None:
        """Record a message."""
        # GDAL names the file by its path on this machine.
        plain = " ".join(text.replace(f"{self.path.parent}/", "").split())
        plain = _PLACE_IN_CODE.sub(r"an error in the file (\1)", plain)
        key = _PARSED.sub(r"\1, ...,", _NUMBERED.sub(r"\1 N", plain))
        self.first.setdefault(key, plain)
        self.messages[level, key] += 1

    def judge(self, report: dict[str, Any]) -> None:
        """Raise DataError for a message that means wrong or missing values; list other messages in `report["gdal"]`.

        Errors after which GDAL continues raise DataError too, unless they are known to be harmless.
        """
        harmless: set[str] = set()
        for (level, key), count in self.messages.items():
            if _HARMLESS.search(key):
                harmless.add(key)
                continue
            found = _FIELD.search(key)
            if found and (found["field"] or found["column"]) in self.exact:
                continue
            if self.exact and "integer overflow" in key:  # names no column; the rules of the format checked all columns
                continue
            if level >= _FAILURE or _DAMAGE.search(key):
                more = f" ({count} times)" if count > 1 else ""
                column = (found["field"] or found["column"]) if found else None
                raise DataError(
                    f"{self.path.name} is not read correctly. GDAL reports: {self.first[key][:300]}{more}",
                    "Fetch the vintage again, or have the publisher correct the file"
                    + (f", or leave the column out with processing.drop: [{column}]" if column else ""),
                )
            harmless.add(key)
        if harmless:
            more = [f"and {len(harmless) - _MOST_SHOWN} more"] if len(harmless) > _MOST_SHOWN else []
            report["gdal"] = sorted(harmless)[:_MOST_SHOWN] + more


_here = threading.local()
_lock = threading.Lock()
_reading: list[Listener] = []


@ErrorHandler
def _hear(level: int, number: int, text: bytes | None) -> None:
    listener = getattr(_here, "listener", None)
    if level < _WARNING:  # debugging
        return
    # A thread that GDAL started has no listener, so all open files receive its messages.
    with _lock:
        listeners = [listener] if listener is not None else list(_reading)
    if level >= _FATAL or not listeners:
        library.CPLDefaultErrorHandler(level, number, text)
    for each in listeners:
        each.hear(level, (text or b"").decode("utf-8", "replace"))


library.CPLSetErrorHandler(_hear)
# GDAL cleans up after Python has exited, and must not call Python then.
atexit.register(library.CPLSetErrorHandler, ErrorHandler())
