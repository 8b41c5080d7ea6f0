"""Whether a zip is that of its release: by its rows, its last period and its date."""

from __future__ import annotations

import io
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from d4c_pipeline.model.errors import SourceError, TransientError
from d4c_pipeline.sources.port import Arrived
from d4c_pipeline.sources.statcan_lateness import require_of_release

RELEASED = datetime(2026, 3, 5, 13, 30, tzinfo=UTC)
YEARS_LATER = RELEASED + timedelta(days=2000)
MONTHS = ["2025-12", "2026-01"]
LAST_MONTH, IN_THE_NIGHT, TODAY = (
    "Wed, 04 Feb 2026 13:30:00 GMT",
    "Thu, 05 Mar 2026 05:17:00 GMT",
    "Thu, 05 Mar 2026 15:30:00 GMT",
)


def table(folder: Path, dates: list[str], date: str | None, name: str = "10100001-eng.zip", end: str = "\n") -> Arrived:
    buffer = io.BytesIO()
    rows = "\n".join(f'"{one}","Canada","1"' for one in dates)
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("10100001_MetaData.csv", "x\n" * 50)
        archive.writestr("10100001.csv", '\ufeff"REF_DATE","GEO","VALUE"\n' + rows + end)
    (folder / name).write_bytes(buffer.getvalue())
    return Arrived(folder / name, f"https://x/{name}", len(buffer.getvalue()), None, date, None)


def metadata(rows: int, end: str | None = "2026-01-01") -> dict[str, Any]:
    return {"nbDatapointsCube": rows, "cubeEndDate": end}


@pytest.mark.parametrize("date", [IN_THE_NIGHT, TODAY])
def test_fewer_rows_are_no_delay_for_ever(tmp_path: Path, date: str) -> None:
    built = table(tmp_path, MONTHS[1:], date)
    later = RELEASED + timedelta(days=3)
    with pytest.raises(SourceError, match=r"has 1 rows, the metadata of table 10100001 state 2\. .*fewer_rows: accept"):
        require_of_release("10100001", metadata(2), RELEASED, [built], later)
    require_of_release("10100001", metadata(2), RELEASED, [built], later, fewer_rows="accept")


@pytest.mark.parametrize(
    ("date", "now"),
    [
        (LAST_MONTH, RELEASED), (IN_THE_NIGHT, RELEASED), (TODAY, RELEASED), (None, RELEASED),
        (LAST_MONTH, YEARS_LATER), (None, YEARS_LATER),
    ],
)  # fmt: skip
def test_fewer_rows_than_the_metadata_state_are_waited_for(tmp_path: Path, date: str | None, now: datetime) -> None:
    with pytest.raises(TransientError, match=r"it has 1 rows, table 10100001 has 2\. .*Try again later"):
        require_of_release("10100001", metadata(2), RELEASED, [table(tmp_path, MONTHS[:1], date)], now)


@pytest.mark.parametrize("end", ["\n", ""])
@pytest.mark.parametrize("date", [IN_THE_NIGHT, TODAY, None])
def test_the_table_of_the_release_is_taken(tmp_path: Path, date: str | None, end: str) -> None:
    """Real zips were built at 0:16, 0:34 and 0:37 of the day of their release."""
    require_of_release("10100001", metadata(2), RELEASED, [table(tmp_path, MONTHS, date, end=end)], RELEASED)


@pytest.mark.parametrize("date", [LAST_MONTH, None])
def test_a_window_that_moved_has_as_many_rows_and_another_end(tmp_path: Path, date: str | None) -> None:
    late = table(tmp_path, ["2025-11", "2025-12"], date)
    with pytest.raises(TransientError, match="does not reach 2026-01-01"):
        require_of_release("10100001", metadata(2), RELEASED, [late], YEARS_LATER)
    # `cubeEndDate` is not always kept: of table 18100204 it is four years behind the data.
    require_of_release("10100001", metadata(2, "2025-11-01"), RELEASED, [late], YEARS_LATER)
    require_of_release("10100001", metadata(2, None), RELEASED, [table(tmp_path, MONTHS, date)], YEARS_LATER)


@pytest.mark.parametrize(
    ("dates", "end"),
    [
        (["2016", "2017"], "2017-01-01"),
        (["2015/2016", "2016/2017"], "2017-01-01"),
        (["2016/2017", "2017/2018"], "2017-01-01"),
        (["2026-01-30", "2026-01-31"], "2026-01-31"),
        (["Q1 2026", "Q2 2026"], "2026-04-01"),
    ],
)
def test_the_last_period_is_found_in_whatever_form_the_table_has(tmp_path: Path, dates: list[str], end: str) -> None:
    require_of_release("10100001", metadata(2, end), RELEASED, [table(tmp_path, dates, None)], YEARS_LATER)


def test_an_old_date_alone_is_waited_for_as_long_as_a_delay_may_last(tmp_path: Path) -> None:
    """Revised values: as many rows as before, to the same period."""
    late = table(tmp_path, MONTHS, LAST_MONTH)
    with pytest.raises(TransientError, match="last modified 2026-02-04 13:30 UTC"):
        require_of_release("10100001", metadata(2), RELEASED, [late], RELEASED + timedelta(hours=2))
    require_of_release("10100001", metadata(2), RELEASED, [late], YEARS_LATER)  # released again without new data


def test_one_language_may_be_late(tmp_path: Path) -> None:
    english, french = table(tmp_path, MONTHS, TODAY), table(tmp_path, MONTHS, LAST_MONTH, "10100001-fra.zip")
    with pytest.raises(TransientError, match=r"10100001-fra\.zip is not yet the file of the release"):
        require_of_release("10100001", metadata(2), RELEASED, [english, french], YEARS_LATER)


def test_a_zip_without_a_table_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("10100001_MetaData.csv", "x")
    arrived = Arrived(tmp_path / "a.zip", "https://x/a.zip", 1, None, None, None)
    with pytest.raises(SourceError, match="holds no table"):
        require_of_release("10100001", metadata(2), RELEASED, [arrived], RELEASED)
