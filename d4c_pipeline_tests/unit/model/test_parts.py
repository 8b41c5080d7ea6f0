"""What the parts of a release's data are called, and the one digest over them."""

from __future__ import annotations

import hashlib
import re

from hypothesis import given
from hypothesis import strategies as st

from d4c_pipeline.model.parts import MOST_PARTS, file_name, named_by_value, numbered, part_of, set_digest

NAME = "ca_statcan_2021A000011124_d4c-datapkg-statistical_provinces_2021_v0.1.0-beta"


def test_a_value_becomes_lower_case_ascii_with_hyphens() -> None:
    assert named_by_value("province_name", ["Île-du-Prince-Édouard", "24", "Terre-Neuve et  Labrador", None]) == {
        "Île-du-Prince-Édouard": "province-name-ile-du-prince-edouard",
        "24": "province-name-24",
        "Terre-Neuve et  Labrador": "province-name-terre-neuve-et-labrador",
        None: "province-name-null",
    }


def test_what_could_be_taken_for_another_value_carries_its_sha256() -> None:
    def digest(text: str) -> str:
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    names = named_by_value("p", ["Québec", "quebec", "null", "ᐃᖃᓗᐃᑦ", "", None, "x" * 70])
    assert names == {
        "Québec": f"p-quebec-{digest('Québec')}",
        "quebec": f"p-quebec-{digest('quebec')}",
        "null": f"p-null-{digest('null')}",
        "ᐃᖃᓗᐃᑦ": f"p-{digest('ᐃᖃᓗᐃᑦ')}",
        "": "p-e3b0c442",
        None: "p-null",
        "x" * 70: "p-" + "x" * 40,
    }


@given(st.sets(st.none() | st.text(max_size=80), max_size=MOST_PARTS))
def test_no_two_values_share_a_name_and_every_name_can_stand_in_an_address(values: set[str | None]) -> None:
    names = named_by_value("prov", list(values))
    assert names.keys() == values
    assert len(set(names.values())) == len(values)
    assert all(re.fullmatch(r"prov-[a-z0-9]+(-[a-z0-9]+)*", name) and len(name) < 60 for name in names.values())


def test_the_name_of_a_file_is_that_of_the_release_and_the_part_and_back() -> None:
    assert file_name(NAME, "") == f"{NAME}.parquet"
    assert file_name(NAME, "pruid-24") == f"{NAME}_pruid-24.parquet"
    assert numbered(11)[::5] == ["part-01", "part-06", "part-11"]
    for part in ("", "pruid-24", "part-01"):
        assert part_of(file_name(NAME, part), NAME) == part_of(file_name(NAME, part) + ".torrent", NAME) == part


def test_the_digest_of_one_file_is_its_own_and_of_several_that_of_their_sorted_list() -> None:
    assert set_digest([("", "a" * 64)]) == "a" * 64
    lines = f"{'b' * 64}  part-01\n{'a' * 64}  part-02\n"
    expected = hashlib.sha256(lines.encode()).hexdigest()
    assert set_digest([("part-02", "a" * 64), ("part-01", "b" * 64)]) == expected
    # The same bytes under other names are another set.
    assert set_digest([("part-01", "a" * 64), ("part-02", "b" * 64)]) != expected
