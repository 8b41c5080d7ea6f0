"""Planned and published releases are different types: the signatures say which of them a function takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_type_hints

import pytest

from d4c_pipeline.archives import deposit
from d4c_pipeline.archives.deposit_files import RecordFiles
from d4c_pipeline.chain import copies, doi, latest, revealing, versions
from d4c_pipeline.ledger.catalogue import Listed
from d4c_pipeline.ledger.pruning import Pruning
from d4c_pipeline.ledger.publications import Copies, Deposits, Publications
from d4c_pipeline.ledger.releases import Releases
from d4c_pipeline.ledger.torrents import Torrents
from d4c_pipeline.model.release import PlannedRelease, PublishedRelease, Release
from d4c_pipeline.review import decisions, verdicts
from d4c_pipeline.workspace import current, placing, plans

CHANGES = (
    deposit.reserve,
    deposit.complete,
    deposit.abandon,
    RecordFiles.__init__,
    Releases.add_artifacts,
    Releases.mark_published,
    Releases.abandon,
    Deposits.describe,
    Copies.forget_hidden,
    copies.add_artifact,
    doi.previous_deposit,
    revealing.reveal,
    decisions.approval,
    decisions.approve,
    decisions.reject,
    verdicts.refuse_failed,
    current.is_settled,
    placing.make_way,
    placing.remove_hidden,
    plans.abandon_plan,
)
OF_PUBLISHED = (
    deposit.published_deposit,
    latest.latest_address_of,
    Publications.claim_latest,
    Publications.switch_latest,
    Deposits.record_registration,
    Torrents.reissue,
    Pruning.give_up,
    Pruning.want_again,
)


@pytest.mark.parametrize("function", CHANGES, ids=lambda function: function.__qualname__)
def test_only_a_planned_release_is_changed_or_uploaded(function: Callable[..., Any]) -> None:
    assert get_type_hints(function)["release"] is PlannedRelease


@pytest.mark.parametrize("function", OF_PUBLISHED, ids=lambda function: function.__qualname__)
def test_only_a_published_release_is_served_and_pruned(function: Callable[..., Any]) -> None:
    assert get_type_hints(function)["release"] is PublishedRelease


def test_the_ledger_returns_the_type_of_each_state() -> None:
    assert get_type_hints(Releases.planned)["return"] == PlannedRelease | None
    assert get_type_hints(Releases.newest_published)["return"] == PublishedRelease | None
    assert get_type_hints(Releases.published)["return"] == tuple[PublishedRelease, ...]
    assert get_type_hints(Releases.living)["return"] == tuple[PlannedRelease | PublishedRelease, ...]
    # A release that the catalogue lists is published, too; it has fewer facts.
    assert get_type_hints(versions.rank)["release"] == PublishedRelease | Listed


def test_neither_type_passes_for_the_other() -> None:
    assert not issubclass(PublishedRelease, PlannedRelease)
    assert not issubclass(PlannedRelease, PublishedRelease)
    with pytest.raises(TypeError, match="abstract"):
        Release(*range(10))  # type: ignore[abstract, arg-type]
