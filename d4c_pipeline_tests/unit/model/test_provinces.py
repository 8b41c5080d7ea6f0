"""Which province a value names: codes, letters, names in both languages, DGUIDs within a province."""

from __future__ import annotations

import pytest

from d4c_pipeline.model.provinces import province_of


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("24", "24"),
        ("qc", "24"),
        ("QC", "24"),
        ("Québec", "24"),
        ("QUEBEC ", "24"),
        ("ile-du-prince-edouard", "11"),
        ("2021A00052466023", "24"),  # a census subdivision
        ("2021S051235200001", "35"),  # a dissemination area
        ("2021A000011124", None),  # Canada
        ("2021S0503505", None),  # a metropolitan area: its code 505 begins with no province
        ("2021A00059966023", None),  # no province has 99
        ("2400", None),
        ("99", None),
        ("Saskatoon", None),
        ("", None),
    ],
)
def test_the_province_of_a_value(value: str, code: str | None) -> None:
    assert province_of([value]) == code


def test_the_first_value_that_names_one_counts() -> None:
    assert province_of([None, "2021A000011124", "Yukon", "Ontario"]) == "60"
    assert province_of([]) is None
