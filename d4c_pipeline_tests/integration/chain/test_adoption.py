"""A ledger that was lost or restored takes over what the archive has published; versions and concepts go on."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from d4c_pipeline.model.errors import IntegrityError, NeedsPersonError
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.upkeep.recovery import adopt
from d4c_pipeline.workspace.datasets import load_datasets
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline_tests.integration.chain.conftest import Chain
from d4c_pipeline_tests.support.inspection import records, states, tree
from d4c_pipeline_tests.support.samples import DAY, HOST, PLACES_URL, corrected, define, geojson
from d4c_pipeline_tests.support.steps import STEPS


def saved_ledger(chain: Chain, folder: Path) -> None:
    chain.opened.ledger.close()
    folder.mkdir()
    for path in chain.home.glob("ledger.sqlite*"):
        shutil.copy(path, folder / path.name)


@contextmanager
def with_ledger_of(chain: Chain, folder: Path | None) -> Iterator[Chain]:
    """The chain on the same home with another ledger: the saved one in `folder`, or an empty one."""
    chain.opened.ledger.close()
    for path in chain.home.glob("ledger.sqlite*"):
        path.unlink()
    for path in [] if folder is None else folder.iterdir():
        shutil.copy(path, chain.home / path.name)
    shutil.rmtree(chain.home / "staging", ignore_errors=True)
    with Deployment.open(chain.settings) as opened:
        yield Chain(chain.settings, chain.origin, opened)


def releases(chain: Chain) -> dict[str, str]:
    return {name: sha for name, sha in tree(chain.home / "store").items() if name.startswith("releases/")}


def facts(chain: Chain) -> list[tuple[object, ...]]:
    ledger = chain.opened.ledger
    return [
        (one.name, one.identifier, one.artifacts, one.summary, ledger.deposits.of(one), ledger.publications.item(one))
        for one in ledger.releases.published("places")
    ]


def without_times(known: list[tuple[object, ...]]) -> list[tuple[object, ...]]:
    return [
        (*one[:4], {key: value for key, value in vars(one[4]).items() if key != "updated_at"}, one[5]) for one in known
    ]


@pytest.mark.parametrize("store_lost", [False, True])
def test_a_lost_ledger_adopts_its_own_records_and_mints_nothing(chain: Chain, store_lost: bool) -> None:
    chain.run()
    before, known = tree(chain.home / "store"), facts(chain)
    if store_lost:
        shutil.rmtree(chain.home / "store")
    with with_ledger_of(chain, None) as lost:
        lost.run()
        assert lost.results["checksums"].unchanged
        assert without_times(facts(lost)) == without_times(known)
        assert states(chain.home) == [("2021", "0.1.0-beta", "published")]
        assert len(records(chain.home)) == 1
        after = tree(chain.home / "store")
        kept = ("releases/", "processed/", "torrents/ca_")
        assert {n: s for n, s in after.items() if n.startswith(kept)} == {
            n: s for n, s in before.items() if n.startswith(kept)
        }
        chain.origin.put(PLACES_URL, corrected(), DAY + timedelta(days=1))
        lost.run()
        first, second = (lost.opened.ledger.deposits.of(one) for one in lost.opened.ledger.releases.published())
        assert (str(lost.newest().version), first.concept_doi) == ("0.1.1-beta", second.concept_doi)


def test_an_older_ledger_put_back_leaves_what_was_published_since(chain: Chain, tmp_path: Path) -> None:
    chain.run()
    saved_ledger(chain, tmp_path / "backup")
    chain.origin.put(PLACES_URL, corrected(), DAY + timedelta(days=1))
    chain.run()
    before = releases(chain)
    chain.origin.put(PLACES_URL, geojson([(9, "Oka", 3000, -74.0, 45.5)]), DAY + timedelta(days=2))
    with with_ledger_of(chain, tmp_path / "backup") as restored:
        restored.run()
        versions = ["0.1.0-beta", "0.1.1-beta", "0.1.2-beta"]
        assert [state[1:] for state in states(chain.home)] == [(version, "published") for version in versions]
        concepts = {one.concept_doi for one in restored.opened.ledger.deposits.all()}
        assert (len(concepts), len(records(chain.home))) == (1, 3)
    after = releases(chain)
    assert {name: after[name] for name in before} == before


def test_an_older_ledger_with_a_plan_of_a_version_that_was_published_as_another(chain: Chain, tmp_path: Path) -> None:
    chain.run()
    chain.origin.put(PLACES_URL, corrected(), DAY + timedelta(days=1))
    chain.run_up_to("copies")
    saved_ledger(chain, tmp_path / "backup")
    chain.origin.put(PLACES_URL, geojson([(9, "Oka", 3000, -74.0, 45.5)]), DAY + timedelta(days=2))
    chain.run()
    before = releases(chain)
    with with_ledger_of(chain, tmp_path / "backup") as restored:
        # Another build overtakes the plan, whose addresses hold that other release by now, and some equal files.
        restored.run()
        assert releases(chain) == before
        assert restored.results["checksums"].unchanged
    assert len(records(chain.home)) == 2


def test_a_person_adopts_where_the_plan_of_an_older_ledger_would_go_on(chain: Chain, tmp_path: Path) -> None:
    chain.run()
    chain.origin.put(PLACES_URL, corrected(), DAY + timedelta(days=1))
    chain.run_up_to("copies")
    saved_ledger(chain, tmp_path / "backup")
    chain.origin.put(PLACES_URL, geojson([(9, "Oka", 3000, -74.0, 45.5)]), DAY + timedelta(days=2))
    chain.run()
    before = releases(chain)
    with with_ledger_of(chain, tmp_path / "backup") as restored:
        with pytest.raises(IntegrityError, match=r"other bytes at the immutable address .*archive adopt places"):
            restored.run("copies")
        assert [one.release for one in adopt(restored.opened, restored.dataset)] == [restored.newest().name]
        restored.run()
    assert releases(chain) == before
    assert len(records(chain.home)) == 2


def test_a_record_that_is_not_what_it_says_is_not_adopted(chain: Chain) -> None:
    chain.run()
    (record,) = (chain.home / "archive" / "records").glob("*/record.json")
    record.write_text(record.read_text("utf-8").replace("urn:d4c:", "urn:d4c:0"), "utf-8")
    shutil.rmtree(chain.home / "store")
    refused = pytest.raises(IntegrityError, match=r"carries urn:d4c:0\w+, which its files do not give")
    with with_ledger_of(chain, None) as lost, refused:
        lost.run()
    assert states(chain.home) == []


def test_a_first_release_joins_the_concept_that_is_declared(chain: Chain, definitions: Path) -> None:
    chain.run()
    (first,) = chain.opened.ledger.deposits.all()
    policy = {"policy": "automatic", "concept_doi": {"2021": first.concept_doi}}
    define(definitions, "joined", publication=policy)
    chain.origin.put(f"{HOST}/joined_2021.geojson", geojson())
    joined = load_datasets(chain.settings.definitions)["joined"]
    for step in STEPS:
        STEPS[step](chain.opened, joined, Vintage.parse("2021"))
    (release,) = chain.opened.ledger.releases.published("joined")
    second = chain.opened.ledger.deposits.of(release)
    assert second is not None
    assert (second.concept_doi, second.doi != first.doi) == (first.concept_doi, True)


def test_a_concept_that_the_account_does_not_have_is_told_before_a_draft_is_opened(
    chain: Chain, definitions: Path
) -> None:
    define(definitions, publication={"policy": "automatic", "concept_doi": "10.5281/zenodo.123"})
    with pytest.raises(NeedsPersonError, match=r"record of this account with the concept DOI 10\.5281/zeno"):
        chain.run()
    assert list(chain.opened.archive.drafts()) == []
