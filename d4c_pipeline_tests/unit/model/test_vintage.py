"""Vintages: what is read, how they order, how addresses spell them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from d4c_pipeline.model.errors import PermanentError
from d4c_pipeline.model.vintage import Vintage

moments = st.datetimes(min_value=datetime(1000, 1, 1), max_value=datetime(9998, 12, 31))  # noqa: DTZ001
texts = st.builds(
    lambda moment, form: moment.strftime(form), moments, st.sampled_from(["%Y", "%Y-%m", "%Y-%m-%d", "%Y-%m-%dT%H%M"])
)


@given(texts)
def test_a_vintage_reads_its_own_text(text: str) -> None:
    vintage = Vintage.parse(text)

    assert str(vintage) == text
    assert Vintage.parse(str(vintage)) == vintage
    assert vintage.start <= vintage.end


@given(texts, texts)
def test_order_is_that_of_time_and_equality_that_of_text(one: str, other: str) -> None:
    a, b = Vintage.parse(one), Vintage.parse(other)

    assert (a == b) == (one == other)
    assert (a < b) + (b < a) + (a == b) == 1
    if a.start < b.start:
        assert a < b


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        (2021, "2021"),
        ("2024-06", "2024-06"),
        ("2025-04-15", "2025-04-15"),
        ("2025-06-04T12:30", "2025-06-04T1230"),
        ("2025-06-04T1230Z", "2025-06-04T1230"),
        ("2025-06-04T12:30Z", "2025-06-04T1230"),
    ],
)
def test_forms_that_are_read(written: str | int, canonical: str) -> None:
    assert str(Vintage.parse(written)) == canonical


@pytest.mark.parametrize(
    "text",
    [
        "",
        "21",
        "2021-1",
        "2021-00",
        "2021-13",
        "2021-02-30",
        "2021-06-04T25:00",
        "2021-06-04T12",
        "2021/06/04",
        " 2021",
        "2021\n",
        "2021-06-04T12:30:00",
        "latest",
        "../2021",
        "0000",
        "２０２１",
    ],
)
def test_what_is_no_vintage_is_refused(text: str) -> None:
    with pytest.raises(PermanentError):
        Vintage.parse(text)


def test_finer_is_later_of_two_that_begin_together() -> None:
    order = ["2020-12-31T2359", "2021", "2021-01", "2021-01-01", "2021-01-01T0000", "2021-01-01T0001", "2021-01-02"]

    assert [str(v) for v in sorted(map(Vintage.parse, reversed(order)))] == order


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("2021", "2021-12-31T23:59:59"),
        ("2024-02", "2024-02-29T23:59:59"),
        ("2024-12", "2024-12-31T23:59:59"),
        ("2025-04-15", "2025-04-15T23:59:59"),
        ("2025-06-04T1230", "2025-06-04T12:30:59"),
    ],
)
def test_the_interval_ends_with_its_last_second(text: str, end: str) -> None:
    assert Vintage.parse(text).end == datetime.fromisoformat(end).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("spec", "out"),
    [
        ("{vintage}", "2024-06"),
        ("{vintage:yyyy}", "2024"),
        ("{vintage:yy}", "24"),
        ("{vintage:yyyy-mm}", "2024-06"),
        ("{vintage:yyyymmdd}", "20240601"),
        ("lpr_000a{vintage:yy}a_e.zip", "lpr_000a24a_e.zip"),
    ],
)
def test_templates(spec: str, out: str) -> None:
    assert spec.format(vintage=Vintage.parse("2024-06")) == out


@pytest.mark.parametrize("spec", ["YYYY", "%Y", "yyy", "month", "yyyy-m"])
def test_a_typing_error_in_a_template_is_found(spec: str) -> None:
    with pytest.raises(ValueError, match="is not a vintage format"):
        format(Vintage.parse("2024-06"), spec)


def test_the_day_of_a_moment_is_that_of_utc() -> None:
    late_in_toronto = datetime(2025, 4, 15, 22, 30, tzinfo=timezone(timedelta(hours=-4)))

    assert str(Vintage.of_day(late_in_toronto)) == "2025-04-16"
