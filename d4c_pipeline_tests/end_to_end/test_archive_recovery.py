"""`d4c archive restart` and `forget`: after a raised quota and a reset sandbox, until the next publication."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from d4c_pipeline_tests.fakes.invenio import TOKEN, FakeInvenio
from d4c_pipeline_tests.fakes.invenio_state import Record, State
from d4c_pipeline_tests.support.commands import D4C
from d4c_pipeline_tests.support.inspection import published
from d4c_pipeline_tests.support.samples import DAY, PLACES_URL, Origin, corrected, define, geojson

FIRST = "ca_example_2021A000011124_d4c-datapkg-foundation_places_2021_v0.1.0-beta"


@pytest.fixture
def fake() -> Iterator[FakeInvenio]:
    with FakeInvenio() as fake:
        yield fake


@pytest.fixture
def invenio(fake: FakeInvenio, d4c: D4C, origin: Origin, definitions: Path) -> D4C:
    d4c.settings |= {
        "D4C_ARCHIVE": "invenio",
        "D4C_ARCHIVE_URL": fake.url,
        "D4C_ARCHIVE_TOKEN": TOKEN,
        "D4C_ARCHIVE_TEST": "1",
    }
    policy = {"stage": "beta", "policy": "automatic", "first_release": "automatic"}
    define(definitions, license="cc-by-4.0", publication=policy)
    origin.put(PLACES_URL, geojson())
    return d4c


def reset(fake: FakeInvenio) -> None:
    """Empty the sandbox; its numbers go on, so that a DOI of before is told from one of now."""
    numbers = fake.state.numbers
    state = State()
    state.numbers = numbers
    fake.restore(state)


def releases(d4c: D4C) -> list[dict[str, Any]]:
    return d4c.ok("releases", "places")


def immutable(d4c: D4C) -> dict[str, str]:
    """The files of releases in the store, with their sha256."""
    found = {name: sha for name, sha in published(d4c.home).items() if name.startswith("store/releases/")}
    assert found
    return found


def names_only(d4c: D4C, record: Record, *gone: str | None) -> None:
    """Every file of the record and of the store names the DOI of the record, and none that is gone."""
    texts = [path for path in (d4c.home / "store").rglob("*") if path.suffix in {".json", ".md", ".cff"}]
    mine = [path for path in texts if "releases" in path.parts]
    assert mine
    assert any(record.doi in path.read_text("utf-8") for path in mine if record.doi)
    for path in texts:
        for doi in filter(None, gone):
            assert f"{doi}<" not in path.read_text("utf-8").replace('"', "<").replace("\n", "<"), path


def test_a_raised_quota_goes_on_in_another_draft_with_another_doi(invenio: D4C, fake: FakeInvenio) -> None:
    fake.state.quota = 2000
    said = invenio("publish", "places").sentence
    assert "exceed the archive's quota: request a larger quota, then replace the draft ('d4c archive restart'" in said
    assert "a draft keeps the quota of its creation" in said
    (stuck,) = fake.state.drafts()
    old = stuck.doi
    assert [(one["state"], one["doi"]) for one in releases(invenio)] == [("doi_reserved", old)]

    fake.state.quota = 10**7
    assert "exceed the archive's quota" in invenio("publish", "places").sentence  # the draft keeps its own
    done = invenio("archive", "restart", FIRST)
    assert (done.code, done.stderr) == (0, "")
    assert "'d4c publish places --vintage 2021' continues with a new draft." in " ".join(done.stdout.split())
    assert fake.state.records == {}

    assert invenio("publish", "places").code == 0
    (record,) = fake.state.published()
    (release,) = releases(invenio)
    assert (release["state"], release["doi"], release["name"]) == ("published", record.doi, FIRST)
    assert record.doi != old
    names_only(invenio, record, old)
    assert set(record.files) == {
        path.name for path in (invenio.home / "store" / "releases" / "places" / "2021" / "v0.1.0-beta").iterdir()
    }
    assert invenio("archive", "verify", str(record.doi)).code == 0
    # It is published now: nothing to begin again.
    assert f"No release {FIRST} is planned" in invenio("archive", "restart", FIRST).sentence
    assert fake.state.published() == [record]


def test_a_draft_that_a_reset_took_is_begun_again(invenio: D4C, fake: FakeInvenio) -> None:
    fake.state.quota = 2000
    assert invenio("publish", "places").code == 1
    (lost,) = fake.state.drafts()
    reset(fake)
    done = invenio("archive", "restart", FIRST)
    assert (done.code, done.stderr) == (0, "")
    assert invenio("publish", "places").code == 0
    (record,) = fake.state.published()
    assert record.doi != lost.doi
    assert [one["doi"] for one in releases(invenio)] == [record.doi]
    names_only(invenio, record, lost.doi)


def test_after_a_reset_of_the_sandbox_the_next_version_begins_a_concept(
    invenio: D4C, fake: FakeInvenio, origin: Origin
) -> None:
    assert invenio("publish", "places").code == 0
    (lost,) = fake.state.published()
    before = immutable(invenio)
    reset(fake)
    origin.put(PLACES_URL, corrected(), DAY + timedelta(days=1))
    stopped = invenio("publish", "places").sentence
    assert "d4c archive forget places" in stopped  # the remedy is named where it is needed

    assert invenio.ok("archive", "forget", "places") == [{"doi": lost.doi}]
    assert invenio.ok("archive", "forget", "places") == []
    assert "an operator deleted it from the ledger" in invenio("archive", "verify", str(lost.doi)).sentence
    assert invenio("publish", "places").code == 0
    (record,) = fake.state.published()
    old, new = releases(invenio)
    assert (old["doi"], old["state"], new["doi"], new["state"]) == (lost.doi, "published", record.doi, "published")
    assert (new["version"], record.parent != lost.parent, record.doi != lost.doi) == ("0.1.1-beta", True, True)
    assert new["concept_doi"] != old["concept_doi"]
    # The immutable files of the release whose record is gone stay as they were.
    after = immutable(invenio)
    assert {name: after[name] for name in before} == before
    # And on from there: a version of the new concept.
    origin.put(PLACES_URL, geojson([(9, "Oka", 3000, -74.0, 45.5)]), DAY + timedelta(days=2))
    assert invenio("publish", "places").code == 0
    assert len({one.parent for one in fake.state.published()}) == 1
    assert len(fake.state.published()) == 2


def test_after_a_reset_what_did_not_change_stays_as_it_is(invenio: D4C, fake: FakeInvenio) -> None:
    assert invenio("publish", "places").code == 0
    (lost,) = fake.state.published()
    before = immutable(invenio)
    reset(fake)
    assert invenio.ok("archive", "forget", "places") == [{"doi": lost.doi}]
    done = invenio("publish", "places")
    assert done.code == 0, done.stderr
    assert [(one["doi"], one["state"]) for one in releases(invenio)] == [(lost.doi, "published")]
    # Nothing is minted and no file of the release changes; the catalogue names the archive's copies no more.
    assert (fake.state.records, immutable(invenio)) == ({}, before)


def test_records_that_are_there_are_not_forgotten_and_real_dois_never(invenio: D4C, fake: FakeInvenio) -> None:
    assert invenio("publish", "places").code == 0
    (record,) = fake.state.published()
    assert invenio.ok("archive", "forget", "places") == []
    assert [one["doi"] for one in releases(invenio)] == [record.doi]
    reset(fake)
    invenio.settings["D4C_ARCHIVE_TEST"] = "0"
    said = invenio("archive", "forget", "places").sentence
    assert "is no test archive: what is published there does not vanish" in said


def test_an_unknown_dataset_is_told_and_not_taken_for_one_with_nothing_lost(invenio: D4C) -> None:
    assert "No release of a dataset 'plases' is published" in invenio("archive", "forget", "plases").sentence
