"""A person's decision by the command line: what waits, what an approval publishes, what a rejection gives up."""

from __future__ import annotations

import json
import sqlite3
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from d4c_pipeline_tests.support.commands import D4C
from d4c_pipeline_tests.support.samples import DAY, PLACES_URL, Origin, corrected, define, geojson

FIRST = "ca_example_2021A000011124_d4c-datapkg-foundation_places_2021_v0.1.0-beta"
SECOND = FIRST.replace("0.1.0", "0.1.1")


def ask(home: Path, query: str) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(home / "ledger.sqlite")
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def publication(**policy: Any) -> dict[str, Any]:
    return {"stage": "beta", "initial_version": "0.1.0", **policy}


@pytest.fixture
def reviewed(d4c: D4C, origin: Origin, definitions: Path) -> D4C:
    """`d4c` on an empty home whose dataset asks for a person before every release."""
    define(definitions, publication=publication(policy="review"))
    origin.put(PLACES_URL, geojson())
    return d4c


def test_a_release_waits_is_shown_and_is_published_by_its_approval(reviewed: D4C, origin: Origin) -> None:
    waits = reviewed("publish", "places").sentence
    assert waits.startswith(f"{FIRST} is complete and waits for a review: the dataset's policy is 'review'.")
    assert f"'d4c review show {FIRST}'" in waits
    assert not list((reviewed.home / "store").glob("processed/*"))
    (listed,) = reviewed.ok("review", "list")
    assert (listed["release"], listed["state"], listed["rows"]) == (FIRST, "awaiting_review", 4)
    assert listed["reasons"] == ["the dataset's policy is 'review'"]
    shown = reviewed.ok("review", "show", FIRST)
    assert {check["verdict"] for check in shown["checks"]} == {"pass"}
    assert "the dataset's policy is 'review'" in reviewed("review", "show", FIRST).stdout

    # Who publishes again meanwhile waits again, for the same release, and mints nothing new.
    assert reviewed("publish", "places").sentence == waits
    assert ask(reviewed.home, "SELECT doi FROM deposit") == [(listed["doi"],)]

    # What the source says by now is another matter: what was approved is published.
    origin.put(PLACES_URL, corrected(), DAY + timedelta(days=1))
    done = reviewed.ok("review", "approve", FIRST, "--who", "Ana", "--reason", "looked at the map", "--publish")
    assert (done["decision"], done["outcome"], done["doi"]) == ("approved", "published", listed["doi"])
    assert ask(reviewed.home, "SELECT decision, who, reason FROM review") == [("approved", "Ana", "looked at the map")]
    assert reviewed.ok("review", "list") == []

    # The approval of that release is none of the next.
    assert reviewed("publish", "places").sentence.startswith(f"{SECOND} is complete and waits for a review")
    assert reviewed("review", "approve", FIRST).sentence.startswith(
        f"No release {FIRST} is planned. Planned are: {SECOND}"
    )
    reviewed.ok("review", "approve", SECOND, "--who", "Ana")
    assert reviewed.ok("publish", "places")["version"] == "0.1.1-beta"
    events = ask(reviewed.home, "SELECT kind, detail FROM event WHERE kind = 'release superseded'")
    assert [(kind, json.loads(detail)["by"]) for kind, detail in events] == [("release superseded", SECOND)]


def test_a_rejection_deletes_the_draft_and_is_remembered(reviewed: D4C, definitions: Path) -> None:
    reviewed("publish", "places")
    assert list((reviewed.home / "archive" / "drafts").iterdir())
    refused = reviewed("review", "reject", FIRST, "--reason", " ").sentence
    assert refused == "A rejection needs a reason. State with --reason what has to change."
    assert reviewed.ok("review", "reject", FIRST, "--who", "Ben", "--reason", "wrong title")["decision"] == "rejected"
    assert list((reviewed.home / "archive" / "drafts").iterdir()) == []
    assert not list((reviewed.home / "store").glob("releases/places/2021/*/*"))
    assert ask(reviewed.home, "SELECT state FROM release") == [("abandoned",)]
    assert ask(reviewed.home, "SELECT state FROM deposit") == [("abandoned",)]

    # The same data come again under a policy that asks nobody: they were rejected, so a person is asked.
    define(definitions, publication=publication(policy="automatic"))
    waits = reviewed("publish", "places").sentence
    assert "the same data were rejected by Ben on " in waits
    assert "wrong title" in waits
    reviewed.ok("review", "approve", FIRST, "--who", "Ana", "--publish")
    assert ask(reviewed.home, "SELECT state FROM release ORDER BY id") == [("abandoned",), ("published",)]


def test_an_approval_is_none_of_another_definition(reviewed: D4C, definitions: Path) -> None:
    reviewed("publish", "places")
    reviewed.ok("review", "approve", FIRST, "--who", "Ana")
    define(definitions, title={"en": "Other places", "fr": "Autres lieux"}, publication=publication(policy="review"))
    done = reviewed("review", "approve", FIRST, "--publish").sentence
    assert done.startswith(f"The definition of places changed after {FIRST} was planned.")
    assert reviewed("publish", "places").sentence.startswith(f"{FIRST} is complete and waits for a review")
    assert ask(reviewed.home, "SELECT state FROM release ORDER BY id") == [("abandoned",), ("planned",)]


def test_thresholds_ask_only_beyond_them(d4c: D4C, origin: Origin, definitions: Path) -> None:
    declared = publication(policy="thresholds", thresholds={"rows": 0.2, "bounds": 0.01, "size": 9})
    define(definitions, publication=declared)
    origin.put(PLACES_URL, geojson())
    # The local archive's test DOIs bind nobody: its first release asks nobody.
    assert d4c.ok("publish", "places")["version"] == "0.1.0-beta"
    origin.put(PLACES_URL, corrected(), DAY + timedelta(days=1))
    assert d4c.ok("publish", "places")["version"] == "0.1.1-beta"
    places = [(1, "Québec", 549459, -71.208, 46.813), (2, "Trois-Rivières", 139163, -72.543, 46.343)]
    origin.put(PLACES_URL, geojson(places), DAY + timedelta(days=2))
    waits = d4c("publish", "places").sentence
    assert f"rows -50.00% against {SECOND} (allowed 20.00%)" in waits
    assert "side of the bounds moved by " in waits


def test_a_first_release_and_a_major_wait_where_the_definition_says_so(
    d4c: D4C, origin: Origin, definitions: Path
) -> None:
    policy = publication(stage="stable", initial_version="1.0.0", first_release="review", major="review")
    define(definitions, publication=policy)
    origin.put(PLACES_URL, geojson())
    first = FIRST.replace("0.1.0-beta", "1.0.0")
    assert "it is the first release of this vintage" in d4c("publish", "places").sentence
    d4c.ok("review", "approve", first, "--publish")
    define(definitions, sql="SELECT id, name, geometry FROM source", publication=policy)
    waits = d4c("publish", "places").sentence
    assert waits.startswith(
        f"{first.replace('1.0.0', '2.0.0')} is complete and waits for a review: it is a MAJOR version"
    )


def test_a_failed_check_passes_only_by_a_recorded_override_of_this_very_data(
    d4c: D4C, origin: Origin, definitions: Path
) -> None:
    define(definitions, checks={"totals": [{"rows": 5}], "skip": ["rows_against_previous", "bounds_against_previous"]})
    origin.put(PLACES_URL, geojson())
    assert d4c("publish", "places").sentence.startswith("The check expected_totals of places/processed failed")
    command = ("review", "override", "places", "--vintage", "2021", "--who", "Ana")
    wrong = d4c(*command, "--check", "encoding_sane", "--reason", "x").sentence
    assert wrong == ("The check encoding_sane did not fail on the build of places 2021. Failed are: expected_totals.")
    done = d4c.ok(*command, "--check", "expected_totals", "--reason", "the fifth place is gone")
    assert done["decision"] == "overridden"
    assert d4c.ok("publish", "places")["version"] == "0.1.0-beta"
    # Other data fail again.
    origin.put(PLACES_URL, corrected(), DAY + timedelta(days=1))
    assert d4c("publish", "places").sentence.startswith("The check expected_totals of places/processed failed")
