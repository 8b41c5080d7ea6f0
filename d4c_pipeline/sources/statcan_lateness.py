"""Detection of zips that are older than the release of their table, as they are for one to three hours after it.

The metadata change at the moment of the release, the files when they are built (reported by users of the service,
mountainMath/cansim 59 and 71). Requests belong to `statcan_table.py`, reading the CSV to `processing.statcan`.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from d4c_pipeline.model.errors import SourceError, TransientError
from d4c_pipeline.sources.port import Arrived, Fetched
from d4c_pipeline.transport.patience import http_date

_BUILT_BEFORE = timedelta(hours=12)
"""Zips are built in the night before a release: real ones at 0:16, 0:34 and 0:37 for 8:30. A zip of the day before is
older."""

_LATE_FOR = timedelta(days=3)
"""After this time an old date does not mean a delay: the table was released again without new data."""

_COPY = 1 << 20
_WAIT = "Try again later: the service replaces the file within a few hours"


@dataclass(frozen=True)
class _Table:
    """The content of a zip: its row count, and whether a row is of the last period that the metadata state."""

    name: str
    rows: int
    reaches_end: bool
    built: datetime | None


def require_of_release(
    table: str,
    metadata: Mapping[str, Any],
    released: datetime,
    fetched: Sequence[Fetched],
    now: datetime | None = None,
    *,
    fewer_rows: Literal["wait", "accept"] = "wait",
) -> None:
    """Raise TransientError if a zip that arrived is older than the release that `metadata` state.

    A zip is older if it has fewer rows than `nbDatapointsCube`, which is the row count of a file of the release (in the
    three real fixtures), or if it was built before the release and another sign agrees. Raises SourceError for a zip
    without a table, and for a zip that still has fewer rows three days after the release: no delay lasts that long.
    With `fewer_rows="accept"` the row count is ignored.
    """
    here = [_read(file, str(metadata.get("cubeEndDate") or "")) for file in fetched if isinstance(file, Arrived)]
    stated = int(metadata.get("nbDatapointsCube") or 0)
    any_is_new = any(each.built is not None and each.built >= released - _BUILT_BEFORE for each in here)
    for each in here:
        late = f"{each.name} is not yet the file of the release of {released.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
        recent = (now or datetime.now(UTC)) - released < _LATE_FOR
        if each.rows < stated and fewer_rows == "wait":
            if not recent and each.built is not None and each.built >= released - _BUILT_BEFORE:
                raise SourceError(
                    f"{each.name} has {each.rows:,} rows, the metadata of table {table} state {stated:,}",
                    "Compare it with the table in a browser; if it is complete, declare source.fewer_rows: accept",
                )
            raise TransientError(f"{late}: it has {each.rows:,} rows, table {table} has {stated:,}", _WAIT)
        old = each.built is not None and each.built < released - _BUILT_BEFORE
        if not each.reaches_end and (old or each.built is None):
            raise TransientError(
                f"{late}: it does not reach {metadata.get('cubeEndDate')}, as table {table} does", _WAIT
            )
        if old and (recent or any_is_new):
            raise TransientError(f"{late}: it was last modified {each.built:%Y-%m-%d %H:%M} UTC", _WAIT)


def _read(arrived: Arrived, end: str) -> _Table:
    try:
        with zipfile.ZipFile(arrived.path) as archive:
            names = [name for name in archive.namelist() if name.lower().endswith(".csv")]
            data = [name for name in names if not name.lower().endswith("_metadata.csv")]
            if not data:
                raise SourceError(f"{arrived.name} holds no table", "Open the address in a browser")
            rows, reaches = _count(archive, data[0], end)
    except (zipfile.BadZipFile, NotImplementedError, EOFError) as error:
        raise TransientError(f"{arrived.name} can't be unpacked ({error})", "Try again later") from error
    return _Table(arrived.name, rows, reaches, http_date(arrived.last_modified))


def _count(archive: zipfile.ZipFile, name: str, end: str) -> tuple[int, bool]:
    """Return the row count of a CSV, and whether a row is of the period that ends at `end` (True if unknown)."""
    lines, last, carried, wanted = 0, b"\n", b"", None
    reaches = False
    with archive.open(name) as file:
        while chunk := file.read(_COPY):
            if wanted is None:
                wanted = _period(carried + chunk, end)
                reaches = wanted == b""
            lines += chunk.count(b"\n")
            last = chunk[-1:]
            if not reaches and wanted:
                reaches = re.search(wanted, carried + chunk) is not None
                carried = chunk[-32:]
    return max(0, lines + (last != b"\n") - 1), reaches


def _period(start: bytes, end: str) -> bytes:
    r"""Return the pattern of a line of the last period, in the form of the first line; empty for an unknown form."""
    first = re.search(rb'\n"?(\d{4}(?:-\d\d){0,2}|\d{4}/\d{4})"?,', start)
    if first is None or re.fullmatch(r"\d{4}-\d\d-\d\d", end) is None:
        return b""
    form = first.group(1)
    if b"/" in form:
        year = int(end[:4])
        return rb'\n"?(%d/|\d{4}/%d|%d/)' % (year, year, year - 1)
    return rb'\n"?' + re.escape(end[: len(form)].encode()) + rb'"?,'
