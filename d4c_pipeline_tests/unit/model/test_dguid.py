"""DGUIDs: every one of the 2021 gazetteer is well-formed, broken ones are not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from d4c_pipeline.model.dguid import derive_dguid, is_well_formed_dguid
from d4c_pipeline.model.errors import PermanentError


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


@pytest.mark.parametrize(
    ("parts", "dguid"),
    [
        (("2016", "A", "0002", "48"), "2016A000248"),
        (("2021", "A", "0000", "11124"), "2021A000011124"),
        (("2021", "A", "0005", "5915022"), "2021A00055915022"),
        (("2021", "S", "0512", "10010244"), "2021S051210010244"),
        (("2021", "A", "0011", "K1A"), "2021A0011K1A"),
    ],
)
def test_derivation(parts: tuple[str, str, str, str], dguid: str) -> None:
    assert derive_dguid(*parts) == dguid


def test_a_derivation_that_fails_names_the_result() -> None:
    with pytest.raises(PermanentError, match="'2016A00024' is not a well-formed DGUID"):
        derive_dguid("2016", "A", "0002", "4")
