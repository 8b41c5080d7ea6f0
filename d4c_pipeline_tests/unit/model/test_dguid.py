"""DGUIDs: every one of the 2021 gazetteer is well-formed, broken ones are not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from d4c_pipeline.model.dguid import is_well_formed_dguid


def test_the_whole_gazetteer_is_well_formed(fixtures: Path) -> None:
    text = (fixtures / "13_dguid_names_2021" / "geographies.sql").read_text(encoding="utf-8")
    dguids = re.findall(r"INSERT INTO geographies VALUES\(\d+,'([^']*)'", text)

    assert len(dguids) == 42_567
    assert [dguid for dguid in dguids if not is_well_formed_dguid(dguid)] == []


@pytest.mark.parametrize(
    "text",
    [
        "2019A000556001009",  # published by Data for Canada: nine digits where a census subdivision has seven
        "",
        "2021",
        "2021A",
        "2021A0002",
        "2021A00024",
        "2021A0002480",
        "2021a000248",
        "2021X000248",
        "21A000248",
        "2021A000211 ",
        "2021A000211\n",
        "2021A00011124",
        "2021A7",
        "Canada",
        "2021A0002١١",
    ],
)
def test_malformed_ones_are_told(text: str) -> None:
    assert not is_well_formed_dguid(text)
