"""Ledger deleted, store emptied, archive kept: ledger, releases, `/processed/` and catalogue are made again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from d4c_pipeline.chain.catalogue import rebuild
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.upkeep.recovery import Recovered, from_archive
from d4c_pipeline.workspace.datasets import load_datasets
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline.workspace.placing import ForeignBytesError
from d4c_pipeline_tests.support.commands import D4C, Zygote
from d4c_pipeline_tests.support.home_of_releases import RELEASES
from d4c_pipeline_tests.support.inspection import tree, tree_of_facts
from d4c_pipeline_tests.support.samples import Origin

PREFLIGHT = "catalogue/preflight.txt"


def lose(settings: Settings) -> None:
    """Delete everything of the home but the archive."""
    for path in settings.home.iterdir():
        if path.name != "archive":
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def recover(settings: Settings) -> Recovered:
    with Deployment.open(settings) as opened:
        return from_archive(opened, load_datasets(settings.definitions))


def kept(settings: Settings) -> dict[str, str]:
    """Everything in the store but the natives, which no archive has."""
    return {
        name: digest for name, digest in tree_of_facts(settings.home / "store").items() if not name.startswith("raw/")
    }


def test_everything_is_the_same_again_byte_for_byte(home_of_releases: Settings) -> None:
    before, records = kept(home_of_releases), tree(home_of_releases.home / "archive")
    lose(home_of_releases)
    found = recover(home_of_releases)
    assert found.left_out == ()
    assert found.catalogued is not None
    assert (len(found.adopted), found.catalogued.releases) == (len(RELEASES), len(RELEASES))
    after = kept(home_of_releases)
    # Not one fact differs: the archive has the times of publication, and the items the reasons of each version.
    assert changed(home_of_releases, before) == set()
    assert tree(home_of_releases.home / "archive") == records
    assert not list((home_of_releases.home / "staging").glob(".adopted/*"))
    assert recover(home_of_releases).adopted == ()
    assert kept(home_of_releases) == after


def changed(settings: Settings, before: dict[str, str]) -> set[str]:
    """The addresses at which the store differs from before, but for the object that tests ranges."""
    after = kept(settings)
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)} - {PREFLIGHT}


def test_a_dataset_whose_definition_is_gone_is_declared_by_its_record(home_of_releases: Settings) -> None:
    before = kept(home_of_releases)
    lose(home_of_releases)
    found = recover(home_of_releases.model_copy(update={"definitions": ()}))
    assert (found.left_out, len(found.adopted)) == ((), len(RELEASES))
    assert changed(home_of_releases, before) == set()


def test_a_damaged_record_is_left_out_and_stops_no_other(home_of_releases: Settings) -> None:
    lose(home_of_releases)
    damaged = next(
        path
        for path in (home_of_releases.home / "archive" / "records").glob("*/files/*.parquet")
        if "_rates_" in path.name
    )
    damaged.chmod(0o644)
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    found = recover(home_of_releases)
    (left_out,) = found.left_out
    assert left_out.record.endswith(damaged.parent.parent.name)
    assert f"serves other bytes of {damaged.name}" in left_out.cause
    assert len(found.adopted) == len(RELEASES) - 1
    assert found.catalogued is not None
    assert (found.catalogued.releases, found.catalogued.left_out) == (len(RELEASES) - 1, ())
    # A next run finds the same, and no half of a release.
    again = recover(home_of_releases)
    assert (again.left_out, again.adopted) == ((left_out,), ())


@pytest.mark.parametrize(
    "moment",
    [
        ("d4c_pipeline.ledger.releases:Releases.adopt", "after"),
        ("d4c_pipeline.chain.adoption:ArchivedRelease.remove", "before"),
        ("d4c_pipeline.ledger.publications:Publications.claim_latest", "after"),
        ("d4c_pipeline.ledger.catalogue:CatalogueState.record_datasets", "before"),
    ],
    ids=lambda moment: f"{moment[1]} {moment[0].rpartition('.')[2]}",
)
def test_a_killed_recovery_goes_on(
    home_of_releases: Settings, zygote: Zygote, tmp_path: Path, moment: tuple[str, str]
) -> None:
    before = kept(home_of_releases)
    lose(home_of_releases)
    origin = Origin(tmp_path / "origin")
    definitions = str(home_of_releases.definitions[0])
    d4c = D4C(
        zygote,
        home_of_releases.home,
        home_of_releases.port,
        origin,
        {"D4C_DEFS": definitions, "D4C_CONTACT": "data@example.ca"},
    )
    killed = d4c("catalogue", "rebuild", "--from-archive", kill=moment)
    assert killed.code == -9, killed.stderr
    found = d4c.ok("catalogue", "rebuild", "--from-archive")
    assert (found["left_out"], found["releases"]) == ([], len(RELEASES))
    assert changed(home_of_releases, before) == set()
    origin.close()


def test_a_lost_ledger_beside_a_kept_store_names_the_command_that_works(home_of_releases: Settings) -> None:
    before = kept(home_of_releases)
    for path in home_of_releases.home.glob("ledger.sqlite*"):
        path.unlink()
    shutil.rmtree(home_of_releases.home / "staging")
    with (
        Deployment.open(home_of_releases) as opened,
        pytest.raises(ForeignBytesError, match="run 'd4c catalogue rebuild --from-archive'"),
    ):
        rebuild(opened)
    found = recover(home_of_releases)
    assert (len(found.adopted), found.left_out) == (len(RELEASES), ())
    assert changed(home_of_releases, before) == set()
