"""The appraisal policy and the alternatives as shipped, and what is said of a wrong one."""

from __future__ import annotations

from pathlib import Path

import pytest

from d4c_pipeline.appraisal.policy import alternatives_of, policy_of
from d4c_pipeline.model.appraisal_settings import AppraisalSettings
from d4c_pipeline.model.errors import DefinitionError, UnknownNameError

ROOT = Path(__file__).parents[3]
SHIPPED = ROOT / "d4c_pipeline" / "appraisal"


def test_the_page_has_each_criterion_of_the_policy() -> None:
    page = (ROOT / "docs" / "appraisal.md").read_text("utf-8")
    criteria = dict(policy_of(AppraisalSettings()).criteria)
    assert list(criteria) == ["scope", "rights", "quality", "format", "size", "uniqueness", "cost"]
    assert [each.title.en for each in criteria.values() if f"\n| {each.title.en} | " not in page] == []
    assert [name for name, each in criteria.items() if each.declines] == ["rights", "size"]


def test_alternatives_suit_criteria_that_exist_and_the_best_stand_first() -> None:
    found = alternatives_of(AppraisalSettings())
    known = set(dict(policy_of(AppraisalSettings()).criteria))
    assert [each.id for each in found.repositories if set(each.suits) - known] == []
    assert next(iter(found.suiting(["size", "format"]))).id == "frdr"
    assert found.suiting([]) == ()
    assert [each.id for each in found.named(["zenodo"])] == ["zenodo"]
    with pytest.raises(UnknownNameError, match="No repository attic is in the list"):
        found.named(["attic"])


def test_another_policy_applies_and_every_wrong_field_is_named(tmp_path: Path) -> None:
    text = (SHIPPED / "policy.yaml").read_text("utf-8")
    assert policy_of(AppraisalSettings()).criteria.size.largest == 20_000_000_000
    own = tmp_path / "own.yaml"
    own.write_text(text.replace("largest: 20 GB", "largest: 1 MB"), "utf-8")
    assert policy_of(AppraisalSettings(policy=own)).criteria.size.largest == 1_000_000
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(text.replace("largest: 20 GB", "largest: much").replace("copies: 3", "copies: 0"), "utf-8")
    with pytest.raises(DefinitionError) as caught:
        policy_of(AppraisalSettings(policy=wrong))
    assert "criteria.size.largest" in caught.value.cause
    assert "criteria.cost.copies" in caught.value.cause
    with pytest.raises(DefinitionError, match="can't be read"):
        policy_of(AppraisalSettings(policy=tmp_path / "none.yaml"))
    (tmp_path / "no.yaml").write_text("a: [", "utf-8")
    with pytest.raises(DefinitionError, match="is no YAML"):
        policy_of(AppraisalSettings(policy=tmp_path / "no.yaml"))
