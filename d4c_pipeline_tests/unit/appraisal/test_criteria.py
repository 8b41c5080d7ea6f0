"""The criteria over facts: what passes, warns and fails, without a file."""

from __future__ import annotations

import pytest

from d4c_pipeline.appraisal.criteria import Facts, Judgement, amount, forbidding, judged, releases_within
from d4c_pipeline.appraisal.policy import policy_of
from d4c_pipeline.model.appraisal_settings import AppraisalSettings
from d4c_pipeline.processing.checks.verdict import Outcome
from d4c_pipeline_tests.support.submitted import submission

POLICY = policy_of(AppraisalSettings())


def of(criterion: str, **changes: object) -> Judgement:
    return next(each for each in judged(Facts(submission(**changes)), POLICY) if each.criterion == criterion)


def test_only_a_licence_without_limits_passes_and_a_policy_may_know_more_names() -> None:
    assert of("rights", licence="Open Government Licence - Canada").outcome is Outcome.PASS
    assert of("rights", licence="Open Government Licence - Canada, except the photographs").en == (
        "The licence 'Open Government Licence - Canada, except the photographs' is not known: a person has to read it."
    )
    own = POLICY.criteria.rights.model_copy(update={"aliases": {"cc-by-4.0": ("our licence",)}})
    policy = POLICY.model_copy(update={"criteria": POLICY.criteria.model_copy(update={"rights": own})})
    (rights,) = (
        each for each in judged(Facts(submission(licence="Our licence")), policy) if each.criterion == "rights"
    )
    assert rights.en == "The licence is Creative Commons Attribution 4.0 International."


@pytest.mark.parametrize(
    "stated",
    ["CC BY-NC 4.0", "https://creativecommons.org/licenses/by-nd/4.0/ (CC BY-ND)", "Tous droits réservés",
     "Creative Commons Attribution-NonCommercial", "You may not redistribute the data"],
)  # fmt: skip
def test_words_that_forbid_are_found(stated: str) -> None:
    assert forbidding(stated, POLICY.criteria.rights) is not None
    assert of("rights", licence=stated).outcome is Outcome.FAILURE


def test_stated_rights_only_warn() -> None:
    judgement = of("rights", rights="We ask you to not redistribute the drafts.")
    assert (judgement.outcome, judgement.en) == (
        Outcome.WARNING,
        "The licence is Open Government Licence - Canada 2.0. The stated rights say 'not redistribute'.",
    )


def test_scope_knows_the_antimeridian_and_says_when_nothing_is_known() -> None:
    assert of("scope", bounds=[170, 40, -130, 60]).outcome is Outcome.PASS
    assert of("scope", bounds=[100, 40, 120, 60]).outcome is Outcome.FAILURE
    assert of("scope", bounds=None).outcome is Outcome.WARNING


def test_size_and_cost_by_frequency() -> None:
    assert of("size", size="19 GB").outcome is Outcome.WARNING
    assert of("size", size="20001 MB").outcome is Outcome.FAILURE
    assert of("cost", size="4 GB", frequency="P1Y").outcome is Outcome.PASS
    assert of("cost", size="4 GB", frequency="P1D").outcome is Outcome.WARNING
    assert of("cost", size=None).outcome is Outcome.WARNING
    assert (releases_within(None, 5), releases_within("irregular", 5), releases_within("P1Y", 5)) == (1, 1, 5)
    assert (round(releases_within("P1M", 5)), round(releases_within("continual", 5))) == (60, 1826)


def test_amounts_in_both_languages() -> None:
    assert [amount(999), amount(12_300_000), amount(12_300_000, "fr"), amount(5, "fr")] == [
        "999 bytes", "12.3 MB", "12,3 Mo", "5 octets",
    ]  # fmt: skip
