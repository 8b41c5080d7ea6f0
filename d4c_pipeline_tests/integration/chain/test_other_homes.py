"""Published bytes outlive a restored ledger, a second home and a copied definition: what we did not put there stays."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from d4c_pipeline.chain import catalogue
from d4c_pipeline.model.errors import DefinitionError
from d4c_pipeline.model.release import ReleaseState
from d4c_pipeline.workspace.datasets import load_definitions
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline.workspace.placing import ForeignBytesError
from d4c_pipeline.workspace.shared_names import shared_names
from d4c_pipeline_tests.integration.chain.conftest import Chain
from d4c_pipeline_tests.support.inspection import records, states, tree
from d4c_pipeline_tests.support.samples import DAY, HOST, PLACES_URL, corrected, define, geojson


@contextmanager
def other_home(chain: Chain, folder: Path, *, store: bool = True) -> Iterator[Chain]:
    """A chain on a home of its own that publishes into the same store."""
    folder.mkdir()
    if store:
        (folder / "store").symlink_to(chain.home / "store")
    settings = chain.settings.model_copy(update={"home": folder})
    with Deployment.open(settings) as opened:
        yield Chain(settings, chain.origin, opened)


def immutable(chain: Chain) -> dict[str, str]:
    return {
        name: sha for name, sha in tree(chain.home / "store").items() if name.startswith(("releases/", "processed/"))
    }


def test_a_second_home_on_the_same_store_overwrites_nothing_and_mints_no_doi(chain: Chain, tmp_path: Path) -> None:
    chain.run()
    before = tree(chain.home / "store")
    chain.origin.put(PLACES_URL, corrected(), DAY + timedelta(days=1))
    with other_home(chain, tmp_path / "rehearsal") as rehearsal:
        with pytest.raises(ForeignBytesError, match=r"releases that this ledger does not know: ca_example.*10\.5072"):
            rehearsal.run()
        assert (states(rehearsal.home), records(rehearsal.home)) == ([], [])
        raw = {name for name in tree(chain.home / "store") if name.startswith("raw/")}
    assert {name: sha for name, sha in tree(chain.home / "store").items() if name not in raw} == {
        name: sha for name, sha in before.items() if name not in raw
    }
    assert {name for name in before if name.startswith("raw/")} < raw


def test_a_second_home_without_a_catalogue_to_read_stops_at_the_immutable_address(chain: Chain, tmp_path: Path) -> None:
    chain.run_up_to("latest")
    before = immutable(chain)
    chain.origin.put(PLACES_URL, corrected(), DAY + timedelta(days=1))
    with other_home(chain, tmp_path / "rehearsal") as rehearsal:
        with pytest.raises(ForeignBytesError, match=r"other bytes at the immutable address releases/places/2021/v0"):
            rehearsal.run()
        assert records(rehearsal.home) == []
        # Nor does giving the plan up take anything away.
        rehearsal.origin.put(PLACES_URL, geojson(), DAY + timedelta(days=2))
        with pytest.raises(ForeignBytesError):
            rehearsal.run()
    assert immutable(chain) == before


def test_equal_bytes_of_another_home_are_adopted_and_never_deleted(chain: Chain, tmp_path: Path) -> None:
    chain.run_up_to("deposit")
    before = immutable(chain)
    assert before
    with other_home(chain, tmp_path / "rehearsal") as rehearsal:
        rehearsal.run_up_to("copies")
        (planned,) = rehearsal.opened.ledger.releases.living("places")
        assert {copy.intact for copy in rehearsal.opened.ledger.copies.of(planned)} == {True}
        chain.origin.put(PLACES_URL, corrected(), DAY + timedelta(days=1))
        rehearsal.run("raw", "processed", "checksums")  # gives the first plan up
        assert rehearsal.opened.ledger.releases.get(planned.id).state is ReleaseState.ABANDONED
    assert immutable(chain) == before


def test_damage_of_a_latest_file_is_moved_aside_and_somebody_elses_stops(chain: Chain) -> None:
    chain.run()
    (served,) = (chain.home / "store" / "processed").iterdir()
    served.chmod(0o644)
    served.write_bytes(b"neither ours nor anybody's")
    assert chain.run("latest").changed
    (aside,) = [path for path in (chain.home / "store" / ".quarantine").rglob("*") if path.is_file()]
    assert aside.read_bytes() == b"neither ours nor anybody's"


def test_an_abandoned_plan_takes_away_only_its_own_bytes(chain: Chain) -> None:
    chain.run_up_to("copies")
    # Somebody else comes to the address while ours waits; ours is hidden, and goes with its plan.
    readme = chain.home / "store" / "releases" / "places" / "2021" / "v0.1.0-beta" / "profile.json"
    readme.parent.mkdir(parents=True)
    readme.write_bytes(b"somebody else's")
    chain.origin.put(PLACES_URL, corrected(), DAY + timedelta(days=1))
    chain.run("raw", "processed", "checksums")
    left = [path.name for path in (chain.home / "store" / "releases").rglob("*") if path.is_file()]
    assert (left, readme.read_bytes()) == (["profile.json"], b"somebody else's")
    assert list((chain.home / "store" / "hidden").rglob("*")) == []
    chain.run("doi")
    with pytest.raises(ForeignBytesError, match=r"v0\.1\.0-beta/profile\.json, which this home did not put there"):
        chain.run("copies")


@pytest.mark.parametrize("published", [True, False])
def test_two_datasets_of_one_name_are_told_and_the_first_goes_on(
    chain: Chain, definitions: Path, published: bool
) -> None:
    if published:
        chain.run()
    name = chain.dataset.name.model_dump()
    define(definitions, "ferries", name=name)
    chain.origin.put(f"{HOST}/ferries_2021.geojson", corrected())
    (shared,) = shared_names(load_definitions(chain.settings.definitions).values())
    assert shared.datasets == ("ferries", "places")
    ferries = load_definitions(chain.settings.definitions)["ferries"]
    before = tree(chain.home / "store")
    with pytest.raises(DefinitionError, match=r"ferries in .*places in"):
        run_as(chain, ferries, "raw", "processed", "checksums")
    after = tree(chain.home / "store")
    assert {key: after[key] for key in before} == before
    if published:
        assert chain.run("checksums").unchanged
    else:  # nobody was first: a person has to say which one keeps the name
        with pytest.raises(DefinitionError, match=r"ferries in .*places in"):
            chain.run("raw", "processed", "checksums")


def run_as(chain: Chain, dataset: object, *steps: str) -> None:
    class Other(Chain):
        @property
        def dataset(self) -> object:  # type: ignore[override]
            return dataset

    Other(chain.settings, chain.origin, chain.opened).run(*steps)


def test_a_name_that_the_ledger_knows_of_another_id_is_refused(chain: Chain) -> None:
    chain.run()
    renamed = chain.dataset.model_copy(update={"id": "renamed"})
    with pytest.raises(DefinitionError, match="belongs to releases of the dataset places, so renamed can't publish"):
        run_as(chain, renamed, "checksums")
    assert [one.dataset for one in chain.opened.ledger.releases.living()] == ["places"]


def test_the_fault_of_one_dataset_leaves_the_others_in_the_catalogue(chain: Chain, definitions: Path) -> None:
    chain.run()
    define(definitions, "ferries")
    chain.origin.put(f"{HOST}/ferries_2021.geojson", geojson())
    ferries = load_definitions(chain.settings.definitions)["ferries"]
    run_as(chain, ferries)
    with chain.opened.ledger._engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM stac_item WHERE release_id = 1")
        # A rebuild computes what changed alone; this release did, with whatever lost its item.
        connection.exec_driver_sql("INSERT OR REPLACE INTO catalogue_change (release_id, mark) VALUES (1, 1000)")
    done = catalogue.rebuild(chain.opened, [chain.dataset])
    assert [(one.dataset, "no catalogue item" in one.cause) for one in done.left_out] == [("places", True)]
    assert (done.releases, done.datasets) == (1, 1)

    run_as(chain, chain.dataset, "stac_item")  # the remedy: the item is among the published files
    again = catalogue.rebuild(chain.opened, [chain.dataset])
    assert (again.releases, again.left_out) == (2, ())
