"""Degrees, minutes and seconds: the value of each spelling, and the refusal of ambiguous ones."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from d4c_pipeline.readers.angles import AngleError, Axis, degrees

LATITUDE = 45 + 30 / 60 + 15 / 3600


@pytest.mark.parametrize(
    "text",
    [
        "45°30'15\"N", "45° 30' 15\" N", "N45°30'15\"", "45º30’15” N", "45°30′15″N", "45°30'15''N", "45 30 15 N",
        "N 45 30 15", "45:30:15", "45-30-15 N", "+45 30 15", "45 deg 30 min 15 sec N", "45d30m15sN", "45° 30m 15s Nord",
        "45° 30.25' N", "45°30,25'N", "45° 30' 15", "45° 30' 15\" north",
    ],
)  # fmt: skip
def test_spellings_of_one_latitude(text: str) -> None:
    assert degrees(text, "latitude") == pytest.approx(LATITUDE, abs=1e-12)


@pytest.mark.parametrize(
    ("text", "axis", "value"),
    [
        ("W73.6", "longitude", -73.6),
        ("73.6° W", "longitude", -73.6),
        ("-73 36 00", "longitude", -73.6),
        ("73°36'00\" Ouest", "longitude", -73.6),
        ("−0°30'", "latitude", -0.5),
        ("0°30'S", "latitude", -0.5),
        ("45°", "latitude", 45.0),
        ("10°15' Ost", "longitude", 10.25),
    ],
)
def test_values(text: str, axis: Axis, value: float) -> None:
    assert degrees(text, axis) == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize(
    ("text", "axis", "why"),
    [
        ("73°36'00\" O", "longitude", "west in French and east in German"),
        ("73°36'00\"", "longitude", "without sign or hemisphere"),
        ("73 36 00", "longitude", "without sign or hemisphere"),
        ("-73.6 W", "longitude", "both a sign and a hemisphere"),
        ("73°W", "latitude", "W is a hemisphere of longitude, but the column is declared as latitude"),
        ("45 30", "latitude", "degrees and minutes or two numbers"),
        ("45°60'N", "latitude", "60 or more"),
        ("45°30'75\"N", "latitude", "60 or more"),
        ("45.5°30'N", "latitude", "part before the last has decimals"),
        ("453015N", "latitude", "more than 90 degrees"),
        ("181 W", "longitude", "more than 180 degrees"),
        ("45N30", "latitude", "neither a number nor degrees, minutes"),
        ("45.30.15", "latitude", "neither a number nor degrees, minutes"),
        ("n/a", "latitude", "neither a number nor degrees, minutes"),
        ("north", "latitude", "neither a number nor degrees, minutes"),
        ("45 X", "latitude", "X is not a hemisphere"),
    ],
)
def test_ambiguous_text_is_refused(text: str, axis: Axis, why: str) -> None:
    with pytest.raises(AngleError, match=why):
        degrees(text, axis)


def test_the_letter_o_has_its_declared_meaning() -> None:
    assert degrees("73°36' O", "longitude", "west") == pytest.approx(-73.6)
    assert degrees("10°15' O", "longitude", "east") == pytest.approx(10.25)


@given(st.floats(-90, 90), st.sampled_from(["°'\"", "° ' \"", "  ", "::"]))
def test_an_angle_that_is_split_comes_together_again(value: float, marks: str) -> None:
    minutes, whole = math.modf(abs(value))
    seconds, minutes = math.modf(minutes * 60)
    spelt = f"{int(whole)}{marks[0]}{int(minutes)}{marks[1:-1] or marks[1:]}{seconds * 60:.6f}{marks[-1].strip(': ')}"
    if float(f"{seconds * 60:.6f}") >= 60:
        return
    assert degrees(spelt + (" S" if value < 0 else " N"), "latitude") == pytest.approx(value, abs=1e-9)


@given(st.text(alphabet="0123456789 °'\".,-+:NSEWOdms", max_size=14))
def test_no_text_is_a_bug(text: str) -> None:
    try:
        assert abs(degrees(text, "latitude")) <= 90
    except AngleError:
        return
