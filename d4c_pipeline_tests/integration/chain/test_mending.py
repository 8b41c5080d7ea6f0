"""Steps that are run again look at both sides first: what is lost or damaged is mended, what is right stays."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import duckdb
import pytest

from d4c_pipeline.chain import latest
from d4c_pipeline.model.errors import (
    DataError,
    IntegrityError,
    NeedsPersonError,
    SourceError,
    TransientError,
    UnknownNameError,
)
from d4c_pipeline.model.release import ArtifactRole, ReleaseState
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline_tests.integration.chain.conftest import Chain
from d4c_pipeline_tests.support.inspection import drafts, records, sha256, states, tree
from d4c_pipeline_tests.support.samples import DAY, HOST, PLACES, PLACES_URL, corrected, define, geojson
from d4c_pipeline_tests.support.steps import STEPS


def test_a_second_run_changes_nothing_and_fetches_nothing(chain: Chain) -> None:
    chain.run()
    before = tree(chain.home / "store") | tree(chain.home / "archive")
    chain.origin.asked.clear()
    chain.run()
    assert tree(chain.home / "store") | tree(chain.home / "archive") == before
    assert chain.results["raw"].fetched == 0
    assert chain.results["checksums"].unchanged
    assert not chain.results["latest"].changed
    # What noticing compares with, then a conditional request: neither is answered with a body.
    assert chain.origin.asked == ["HEAD /places_2021.geojson", "GET /places_2021.geojson"]
    assert not (chain.home / "staging" / "places" / "2021" / "native").exists()


@pytest.mark.parametrize("step", STEPS)
def test_any_step_may_be_run_again_on_a_published_release(chain: Chain, step: str) -> None:
    chain.run()
    before = tree(chain.home / "store") | tree(chain.home / "archive")
    release = chain.newest()
    chain.run(step)
    assert tree(chain.home / "store") | tree(chain.home / "archive") == before
    assert chain.newest() == release


@pytest.mark.parametrize("place", ["processed", "torrents", "releases"])
def test_what_a_store_lost_is_put_back(chain: Chain, place: str) -> None:
    chain.run()
    before = tree(chain.home / "store")
    for path in [path for path in (chain.home / "store" / place).rglob("*") if path.is_file()]:
        if path.suffix != ".parquet" or place != "releases":
            path.unlink()
    if place == "releases":
        # The staging of a published release is gone: small files that only the archive still has are not ours to guess.
        with pytest.raises(IntegrityError, match="restore the file from the archive"):
            chain.run("copies")
        return
    chain.run("torrent", "latest", "catalogue")
    assert tree(chain.home / "store") == before


def test_a_damaged_latest_is_replaced(chain: Chain) -> None:
    chain.run()
    (served,) = (chain.home / "store" / "processed").iterdir()
    served.chmod(0o644)
    served.write_bytes(served.read_bytes()[:-1] + b"?")
    switched = chain.run("latest")
    assert switched.changed
    assert sha256(served) == chain.newest().data_sha256


def test_a_damaged_release_is_never_overwritten(chain: Chain) -> None:
    chain.run()
    release = chain.newest()
    data = next((chain.home / "store" / "releases").rglob("*.parquet"))
    damaged = data.read_bytes()[:-1] + b"?"
    data.chmod(0o644)
    data.write_bytes(damaged)
    with pytest.raises(IntegrityError):
        chain.run("copies")
    assert data.read_bytes() == damaged
    assert chain.newest() == release


def test_a_lost_native_file_is_fetched_again_and_a_damaged_one_is_not_used(chain: Chain) -> None:
    chain.run("raw")
    (retained,) = [path for path in (chain.home / "store" / "raw").rglob("*") if path.is_file()]
    retained.unlink()
    assert chain.run("raw").fetched == 1
    assert retained.read_bytes() == geojson()
    retained.chmod(0o644)
    retained.write_bytes(geojson().replace(b"549459", b"549450"))
    with pytest.raises(IntegrityError, match="missing or damaged"):
        chain.run("processed")


def test_an_earlier_build_stays_until_the_new_one_is_whole(chain: Chain, definitions: Path) -> None:
    chain.run("raw", "processed")
    build = chain.home / "staging" / "places" / "2021" / "build"
    before = tree(build)
    define(definitions, sql="SELECT nothing FROM source")
    with pytest.raises(DataError, match=r"transform\.sql"):
        chain.run("processed")
    # Its mark is gone, so that nobody takes it for a build of the new definition.
    assert {name: sha for name, sha in before.items() if name != "build.json"} == tree(build)
    with pytest.raises(UnknownNameError, match="No finished build"):
        chain.run("checksums")


# The gate before the step that nothing undoes


def duplicate_a_key(chain: Chain) -> None:
    twice = [*PLACES, (4, "Vancouver (again)", 1, -123.0, 49.0)]
    chain.origin.put(PLACES_URL, geojson(twice), DAY + timedelta(days=1))


def test_a_failed_check_is_looked_up_by_what_publishes(chain: Chain) -> None:
    # As if somebody ran the later steps alone, past the check that blocks the run.
    duplicate_a_key(chain)
    chain.run_up_to("stac_item")
    verdicts = chain.opened.ledger.judgements.checks(chain.results["checksums"].release.data_sha256)
    (verdict,) = [one for one in verdicts if one.check == "keys_identify_rows"]
    assert (verdict.verdict, verdict.detail["actual"]) == (
        "failure",
        "0 rows with a null key, 1 duplicate key",
    )
    with pytest.raises(NeedsPersonError, match=r"check failed \(keys_identify_rows: "):
        chain.run("deposit")
    assert records(chain.home) == []
    # With a definition that is right about the data the very same bytes pass.
    chain.origin.put(PLACES_URL, geojson(), DAY + timedelta(days=2))
    chain.run()
    assert states(chain.home)[-1] == ("2021", "0.1.0-beta", "published")


def test_what_was_never_checked_is_not_published(chain: Chain) -> None:
    from d4c_pipeline.chain import processed

    chain.run("raw")
    processed.process(chain.opened, chain.dataset, Vintage.parse("2021"))
    chain.run("checksums", "doi", "copies", "torrent", "stac_item")
    with pytest.raises(NeedsPersonError, match="never checked for"):
        chain.run("deposit")
    chain.run()
    assert len(records(chain.home)) == 1


def test_an_item_that_was_written_before_its_files_changed_is_not_deposited(chain: Chain) -> None:
    chain.run_up_to("stac_item")
    release = chain.opened.ledger.releases.planned("places", Vintage.parse("2021"))
    assert release is not None
    torrent = release.artifact(ArtifactRole.TORRENT)
    assert torrent is not None
    # Somebody materializes the torrent again, with a tracker now, and deposits at once.
    chain.opened = type(chain.opened)(
        settings=type(chain.settings)(**{**vars(chain.settings), "trackers": ("https://tracker.example.ca/announce",)}),
        ledger=chain.opened.ledger,
        stores=chain.opened.stores,
        archive=chain.opened.archive,
    )
    chain.run("torrent")
    with pytest.raises(NeedsPersonError, match="was written before its DOI or one of its files changed"):
        chain.run("deposit")
    assert records(chain.home) == []
    chain.run("stac_item", "deposit")
    assert len(records(chain.home)) == 1
    assert drafts(chain.home) == []


def test_a_draft_that_the_archive_lost_gets_a_new_doi_everywhere(chain: Chain) -> None:
    chain.run_up_to("stac_item")
    lost = chain.results["doi"].doi
    archive = chain.opened.archive
    (draft,) = archive.find_drafts(chain.results["checksums"].release.identifier)
    archive.discard(draft)
    chain.run()
    (record,) = records(chain.home)
    assert record["doi"] != lost
    item = chain.opened.ledger.publications.item(chain.newest())
    assert item is not None
    assert item["properties"]["sci:doi"] == record["doi"]
    assert lost not in next((chain.home / "store" / "torrents").iterdir()).read_bytes().decode("latin-1")


# What is newest


def publish_rolling(chain: Chain, definitions: Path, *vintages: str) -> None:
    define(definitions, series="rolling", vintages=["2024", "2024-01", "2024-02-01", "2023"])
    for number, vintage in enumerate(vintages, 1):
        chain.origin.put(f"{HOST}/places_{vintage}.geojson", geojson(PLACES[:number]))
        chain.run(vintage=vintage)


@pytest.mark.parametrize("order", [("2023", "2024", "2024-02-01"), ("2024-02-01", "2024", "2023")])
def test_what_is_served_does_not_depend_on_the_order_of_arrival(
    chain: Chain, definitions: Path, order: tuple[str, ...]
) -> None:
    publish_rolling(chain, definitions, *order)
    (served,) = (chain.home / "store" / "processed").iterdir()
    assert served.name.endswith("_places.parquet")
    assert sha256(served) == chain.newest("2024-02-01").data_sha256
    for vintage in order:
        newest = latest.newest_release(chain.opened, chain.dataset, Vintage.parse(vintage))
        assert newest is not None
        assert str(newest.vintage) == "2024-02-01"
    path = chain.home / "store" / "catalogue" / "stac.parquet"
    columns = '"d4c:vintage", "d4c:latest", deprecated'
    assert duckdb.sql(f"SELECT {columns} FROM read_parquet('{path}')").fetchall() == [
        ("2023", False, True),
        ("2024", False, True),
        ("2024-02-01", True, False),
    ]


def test_versions_are_ordered_as_versions(chain: Chain, definitions: Path) -> None:
    # 0.10.0 comes after 0.9.0, whatever their text says.
    define(definitions, publication={"stage": "stable", "initial_version": "0.9.0"})
    chain.run()
    define(
        definitions,
        publication={"stage": "stable", "initial_version": "0.9.0"},
        sql="SELECT *, id * 2 AS twice FROM source",
    )
    chain.run()
    assert [version for _, version, _ in states(chain.home)] == ["0.10.0", "0.9.0"]
    (served,) = (chain.home / "store" / "processed").iterdir()
    assert sha256(served) == chain.newest().data_sha256
    assert str(chain.newest().version) == "0.10.0"


def test_a_source_that_moved_on_is_told_where_nothing_was_retained(chain: Chain, definitions: Path) -> None:
    define(definitions, vintages="discovered", source={"kind": "http", "urls": [f"{HOST}/places.geojson"]})
    chain.origin.put(f"{HOST}/places.geojson", geojson())
    with pytest.raises(SourceError, match="serves vintage 2024-05-06 now, not 2024-05-05"):
        chain.run("raw", vintage="2024-05-05")
    assert chain.run("raw", vintage="2024-05-06").fetched == 1
    chain.origin.put(f"{HOST}/places.geojson", corrected(), DAY + timedelta(days=3))
    kept = chain.run("raw", vintage="2024-05-06")
    assert kept.fetched == 0
    assert [native.size for native in kept.natives] == [len(geojson())]
    # Where the retained file was lost as well, nothing of that vintage is left to work on.
    next(path for path in (chain.home / "store" / "raw").rglob("*.geojson")).unlink()
    with pytest.raises(SourceError, match="serves vintage 2024-05-09 now"):
        chain.run("raw", vintage="2024-05-06")


def test_a_public_store_that_does_not_answer_yet_stops_before_anything_is_minted(chain: Chain) -> None:
    public = Settings(**{**vars(chain.settings), "store_url": "http://127.0.0.1:9", "port": 9})
    with Deployment.open(public) as opened:
        chain.opened = opened
        chain.run_up_to("checksums")
        with pytest.raises(TransientError, match=r"does not answer: http://127\.0\.0\.1:9/catalogue/preflight\.txt"):
            chain.run("doi")
        planned = opened.ledger.releases.planned("places", Vintage.parse("2021"))
        assert planned is not None
        assert opened.ledger.deposits.of(planned) is None


def test_a_public_store_that_stops_answering_costs_the_seed_alone(chain: Chain) -> None:
    # Somebody else serves this deployment: no server is started, and what can't be reached is left out.
    public = Settings(**{**vars(chain.settings), "store_url": "http://127.0.0.1:9", "port": 9})
    with Deployment.open(public) as opened, pytest.MonkeyPatch.context() as patch:
        patch.setattr("d4c_pipeline.chain.doi.try_public_addresses", lambda _: None)  # it answered then
        chain.opened = opened
        chain.run()
        seeded = chain.results["torrent"]
        (torrent,) = seeded.torrents.values()
        assert torrent.web_seeds == ()
        (reason,) = seeded.left_out
        assert reason.startswith("http://127.0.0.1:9/releases/places/2021/v0.1.0-beta/")
        assert "can't be reached" in reason
        assert chain.results["latest"].url.startswith("http://127.0.0.1:9/processed/")
        assert chain.results["deposit"].archive_seed is None
        assert chain.newest().state is ReleaseState.PUBLISHED
