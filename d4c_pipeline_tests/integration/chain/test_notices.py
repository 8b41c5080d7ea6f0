"""A MAJOR with `notice_days`: announced in the feeds with its date, held until then, earlier only with a reason."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import feedparser
import pytest
from pydantic import ValidationError

from d4c_pipeline.chain import run as table
from d4c_pipeline.model.errors import AwaitingReviewError, PermanentError
from d4c_pipeline.model.publication import Publication
from d4c_pipeline.model.release import PlannedRelease
from d4c_pipeline.review import decisions, policy
from d4c_pipeline.upkeep.attention import needs_attention
from d4c_pipeline_tests.integration.chain.conftest import Chain
from d4c_pipeline_tests.support.samples import DAY, PLACES, PLACES_URL, corrected, define, geojson

NAME = "ca_example_2021A000011124_d4c-datapkg-foundation_places_2021_v1.0.0-beta"
NOTICE = f"urn:d4c:notice:{NAME}"
PUBLICATION = {"policy": "automatic", "stage": "beta", "initial_version": "0.1.0", "notice_days": 30}
WITHOUT_POPULATION = "SELECT id, name, geometry FROM source"
WITHOUT_BOTH = "SELECT id, geometry FROM source"
LATER = "catalogue/places/releases.{}.{}"


@pytest.fixture
def day(monkeypatch: pytest.MonkeyPatch) -> list[date]:
    """The present day, which a test may change."""
    days = [date(2026, 12, 3)]
    monkeypatch.setattr(policy, "today", lambda: days[0])
    return days


def entries(chain: Chain, language: str = "en") -> list[Any]:
    read = feedparser.parse(chain.opened.primary.read_bytes(LATER.format(language, "atom")))
    assert not read.bozo
    return read.entries


def announced(chain: Chain) -> list[Mapping[str, Any]]:
    events = chain.opened.ledger.events.of("places")
    return [each.detail for each in events if each.kind == "breaking change announced"]


def hold(chain: Chain) -> PlannedRelease:
    with pytest.raises(AwaitingReviewError):
        chain.run_up_to("deposit")
    (release,) = decisions.waiting(chain.opened)
    return release


def published_then_broken(chain: Chain, definitions: Path, sql: str = WITHOUT_POPULATION) -> PlannedRelease:
    define(definitions, publication=PUBLICATION)
    chain.run()
    define(definitions, publication=PUBLICATION, sql=sql)
    return hold(chain)


def test_a_major_is_announced_in_both_languages_and_held(chain: Chain, definitions: Path, day: list[date]) -> None:
    release = published_then_broken(chain, definitions)
    assert (release.name, str(chain.newest().version)) == (NAME, "0.1.0-beta")
    coming, present = entries(chain)
    assert coming.id == NOTICE
    assert coming.title == "Breaking change on 2027-01-02: Places, 2021, v1.0.0-beta"
    assert coming.summary == (
        "Version 1.0.0-beta, to be published from 2027-01-02 (UTC). What breaks: column population removed."
    )
    assert coming.link == present.link  # the release that readers have
    french = entries(chain, "fr")[0]
    assert french.id == NOTICE
    assert french.title == "Changement incompatible le 2027-01-02 : Lieux, 2021, v1.0.0-beta"
    assert french.summary.endswith("Ce qui change : colonne population retirée.")
    document = json.loads(chain.opened.primary.read_bytes(LATER.format("fr", "json")))
    assert [item["id"] for item in document["items"]] == [NOTICE, present.id]
    assert document["items"][0]["content_text"] == french.summary
    assert policy.reasons_for_review(chain.opened, chain.dataset, release) == (
        "it breaks what readers use and is announced for 2027-01-02; an approval publishes it earlier",
    )
    (found,) = [each for each in needs_attention(chain.opened, [chain.dataset]) if each.subject == NAME]
    assert found.detail.startswith("announced for 2027-01-02, published by the first run from that day on")
    # A run before the date announces nothing again and changes no byte.
    before = chain.opened.primary.read_bytes(LATER.format("en", "atom"))
    day[0] = date(2027, 1, 1)
    hold(chain)
    chain.run("catalogue")
    assert len(announced(chain)) == 1
    assert chain.opened.primary.read_bytes(LATER.format("en", "atom")) == before
    day[0] = date(2027, 1, 2)
    chain.run()
    assert str(chain.newest().version) == "1.0.0-beta"
    assert [entry.title for entry in entries(chain)] == ["Places, 2021, v1.0.0-beta", "Places, 2021, v0.1.0-beta"]


def test_without_notice_days_or_without_a_break_nothing_is_announced(
    chain: Chain, definitions: Path, day: list[date]
) -> None:
    define(definitions, publication=PUBLICATION)
    chain.run()
    chain.origin.put(PLACES_URL, corrected(), DAY + timedelta(days=1))
    chain.run()
    assert str(chain.newest().version) == "0.1.1-beta"
    define(definitions, publication={**PUBLICATION, "notice_days": None}, sql=WITHOUT_POPULATION)
    chain.run()
    assert str(chain.newest().version) == "1.0.0-beta"
    assert announced(chain) == []


def test_an_approval_publishes_earlier_and_needs_a_reason(chain: Chain, definitions: Path, day: list[date]) -> None:
    release = published_then_broken(chain, definitions)
    with pytest.raises(PermanentError, match=r"is announced for 2027-01-02, so an earlier publication needs a reason"):
        decisions.approve(chain.opened, release, who="Ana")
    decisions.approve(chain.opened, release, who="Ana", reason="the source withdrew the column")
    chain.run("deposit", "latest", "catalogue")
    assert str(chain.newest().version) == "1.0.0-beta"
    assert NOTICE not in [entry.id for entry in entries(chain)]


def test_a_changed_build_keeps_the_date_unless_it_breaks_more(chain: Chain, definitions: Path, day: list[date]) -> None:
    published_then_broken(chain, definitions)
    day[0] = date(2026, 12, 10)
    renamed = geojson((*place[:1], place[1].upper(), *place[2:]) for place in PLACES)
    chain.origin.put(PLACES_URL, renamed, DAY + timedelta(days=1))
    hold(chain)
    assert [each["due"] for each in announced(chain)] == ["2027-01-02", "2027-01-02"]
    first = entries(chain)[0]
    assert (first.id, first.published) == (NOTICE, first.updated)
    define(definitions, publication=PUBLICATION, sql=WITHOUT_BOTH)
    hold(chain)
    assert [each["due"] for each in announced(chain)][2:] == ["2027-01-09"]
    (changed, _) = entries(chain)
    assert changed.id == NOTICE
    assert changed.summary.endswith("What breaks: column name removed; column population removed.")


def test_a_rejection_takes_the_entry_out_and_the_days_count_again(
    chain: Chain, definitions: Path, day: list[date]
) -> None:
    release = published_then_broken(chain, definitions)
    decisions.reject(chain.opened, release, who="Ben", reason="the column is only late")
    chain.run("catalogue")
    assert [entry.title for entry in entries(chain)] == ["Places, 2021, v0.1.0-beta"]
    day[0] = date(2027, 3, 1)
    chain.origin.put(PLACES_URL, corrected(), DAY + timedelta(days=1))
    hold(chain)
    assert entries(chain)[0].title.startswith("Breaking change on 2027-03-31")


def test_a_kill_before_the_feeds_announces_once(
    chain: Chain, definitions: Path, day: list[date], monkeypatch: pytest.MonkeyPatch
) -> None:
    define(definitions, publication=PUBLICATION)
    chain.run()
    define(definitions, publication=PUBLICATION, sql=WITHOUT_POPULATION)

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(table, "catalogue", killed)
        with pytest.raises(KeyboardInterrupt):
            chain.run_up_to("deposit")
    assert [entry.title for entry in entries(chain)] == ["Places, 2021, v0.1.0-beta"]
    day[0] = date(2026, 12, 5)
    hold(chain)
    assert [each["due"] for each in announced(chain)] == ["2027-01-02"]
    assert [entry.id for entry in entries(chain)].count(NOTICE) == 1


@pytest.mark.parametrize("days", [0, -1, 731, 1.5])
def test_impossible_days_are_refused(days: float) -> None:
    with pytest.raises(ValidationError, match="notice_days"):
        Publication.model_validate({"notice_days": days})
