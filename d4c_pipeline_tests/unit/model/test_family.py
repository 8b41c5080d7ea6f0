"""A family: its template is checked when it is declared, and filled in for each member."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from d4c_pipeline.model.family import Family


def declared(**changes: Any) -> dict[str, Any]:
    template: dict[str, Any] = {
        "name": {
            "region": "ca",
            "source": "statcan",
            "dguid": "2021A000011124",
            "package": "d4c-datapkg-statistical",
            "theme": "table_{member}",
        },
        "title": {"en": "{title_en}", "fr": "{title_fr}"},
        "description": {"en": "Table {member}.", "fr": "Tableau {member}."},
        "license": "statcan-open-licence",
        "creators": [{"name": "Statistics Canada"}],
        "series": "rolling",
        "keywords": {"en": ["table", "{member}"]},
        "source": {"kind": "statcan_table", "table": "{member}"},
        "processing": {"kind": "table", "key": ["ref_date"], "wds": {}},
        **changes,
    }
    return {
        "id": "tables",
        "title": {"en": "Tables", "fr": "Tableaux"},
        "description": {"en": "Tables.", "fr": "Tableaux."},
        "members": {"kind": "statcan_tables"},
        "dataset": {name: value for name, value in template.items() if value is not None},
    }


def test_a_member_is_a_dataset_under_its_own_id_and_name() -> None:
    family = Family.model_validate(declared())
    member = family.member("33100036", {"title_en": "Rates", "title_fr": "Taux {member}"})
    assert (member.id, member.name.theme, member.vintages) == ("tables_33100036", "table_33100036", "discovered")
    assert (member.title.en, member.title.fr) == ("Rates", "Taux {member}"), "what a source says is no template"
    assert member.description.fr == "Tableau 33100036."
    assert member.keywords.en == ("table", "33100036")
    assert member.source.kind == "statcan_table"
    assert member.source.table == "33100036"


def test_other_braces_stay() -> None:
    family = Family.model_validate(declared(description={"en": "{ {unknown} {0} {Member}", "fr": "{vintage:yyyy}"}))
    member = family.member("33100036", {})
    assert member.description.en == "{ {unknown} {0} {Member}"
    assert member.description.fr == "{vintage:yyyy}"


def test_new_members_wait_unless_told_otherwise() -> None:
    family = Family.model_validate(declared())
    assert (family.noticing.new_members, family.noticing.enabled, family.noticing.shrink_allowed) == (
        "wait",
        False,
        0.05,
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"license": "ogl-moon"}, "dataset: Value error, license: Value error, 'ogl-moon' is not a known licence"),
        ({"creators": None}, "creators: Field required"),
        ({"vintages": ["2021"]}, "vintages: set by the family; remove it"),
        ({"id": "mine"}, "id: set by the family; remove it"),
        ({"source": {"kind": "statcan_table"}}, "source.statcan_table.table: Field required"),
        (
            {"name": {"region": "ca", "source": "x", "dguid": "2021A000011124", "package": "d4c-datapkg-a"}},
            "no part of it names the {member}",
        ),
    ],
)
def test_a_template_that_makes_no_dataset_is_refused_by_field(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Family.model_validate(declared(**changes))
    assert said.removeprefix("dataset: ") in str(caught.value)
