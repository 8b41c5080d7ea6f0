"""`kill -9` at every asset, before its work and after it, then the same command again: one release, one DOI.

The killed process is a real one (a fork of the command line); only where it dies is arranged by the test.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import duckdb
import pytest

from d4c_pipeline_tests.support.commands import D4C
from d4c_pipeline_tests.support.inspection import ask_ledger, drafts, records, sha256, states, tree
from d4c_pipeline_tests.support.samples import HOST, Origin, define, geojson
from d4c_pipeline_tests.support.strides import stride

CHAIN = "d4c_pipeline.chain"
# One per asset, in the order of the chain.
STEPS = {
    "raw": f"{CHAIN}.raw:retain",
    "processed": f"{CHAIN}.processed:process",
    "checksums": f"{CHAIN}.checksums:plan",
    "doi": f"{CHAIN}.doi:reserve_doi",
    "copies": f"{CHAIN}.copies:distribute",
    "torrent": f"{CHAIN}.torrent:make",
    "stac_item": f"{CHAIN}.stac_item:describe",
    "deposit": f"{CHAIN}.deposit:publish",
    "latest": f"{CHAIN}.latest:switch",
    "catalogue": f"{CHAIN}.catalogue:rebuild",
}
# CI kills each step once, in turn before and after its work; `benchmarks/killed.py` kills each twice.
DEATHS = [
    *((step, ("before", "after")[number % 2]) for number, step in enumerate(STEPS)),
    *((step, ("after", "before")[number % 2]) for number, step in enumerate(STEPS)),
][: len(STEPS) * (2 if stride(2) == 1 else 1)]
# Inside a step, between what one side knows and the other does not yet.
BETWEEN = {
    "retained, not in the ledger": ("d4c_pipeline.stores.folder:FolderStore.put_immutable", "after"),
    "planned, not staged": ("d4c_pipeline.ledger.releases:Releases.plan", "before"),
    "draft at the archive, not in the ledger": (
        "d4c_pipeline.archives.local.archive:LocalArchive.create_draft",
        "after",
    ),
    "DOI reserved, not in the ledger": ("d4c_pipeline.archives.local.archive:LocalArchive.reserve_doi", "after"),
    "one file in the draft": ("d4c_pipeline.archives.local.archive:LocalArchive.upload", "after"),
    "published, not in the ledger": ("d4c_pipeline.archives.local.archive:LocalArchive.publish", "after"),
    "published, release still planned": ("d4c_pipeline.ledger.releases:Releases.mark_published", "before"),
    "/processed/ switched, not in the ledger": ("d4c_pipeline.stores.folder:FolderStore.replace", "after"),
}


@pytest.fixture(autouse=True)
def dataset(origin: Origin, definitions: Path) -> None:
    define(definitions)
    origin.put(f"{HOST}/places_2021.geojson", geojson())


def check_one_release(d4c: D4C) -> None:
    """Exactly one release, record and catalogue row, in agreement, and nothing left over."""
    home = d4c.home
    assert states(home) == [("2021", "0.1.0-beta", "published")]
    (record,) = records(home)
    assert ask_ledger(home, "SELECT state, doi FROM deposit") == [("published", record["doi"])]
    assert drafts(home) == []
    assert ask_ledger(home, "SELECT key FROM lease") == []
    (data,) = (home / "store" / "releases").rglob("*.parquet")
    assert tree(data.parent) == tree(home / "archive" / "records" / record["record_id"] / "files")
    (latest,) = (home / "store" / "processed").iterdir()
    assert sha256(latest) == sha256(data)
    catalogue = home / "store" / "catalogue" / "stac.parquet"
    rows = duckdb.sql(f"""SELECT version, doi, "d4c:latest" FROM read_parquet('{catalogue}')""").fetchall()
    assert rows == [("0.1.0-beta", record["doi"], True)]
    item = json.loads((data.parent / "item.json").read_text("utf-8"))
    assert item["properties"]["sci:doi"] == record["doi"]
    # What dead processes leave is swept: no unfinished file anywhere, nothing staged but the last build.
    kept = {".lock", ".state.sqlite"}  # the second says what the portal built
    parts = [path for path in home.rglob(".*") if path.name not in kept and "dagster" not in path.parts]
    assert parts == []
    assert not (home / "staging" / "places" / "2021" / "native").exists()


def kill_then_publish(d4c: D4C, where: str, when: str) -> str:
    killed = d4c("publish", "places", kill=(where, when))
    assert killed.code == -9, killed
    assert killed.stdout == ""
    row = d4c.ok("publish", "places")
    assert (row["version"], row["state"], row["rows"]) == ("0.1.0-beta", "published", 4)
    check_one_release(d4c)
    return row["doi"]


@pytest.mark.parametrize(("step", "when"), DEATHS)
def test_one_release_and_one_doi_whatever_step_was_killed(d4c: D4C, step: str, when: str) -> None:
    kill_then_publish(d4c, STEPS[step], when)


@pytest.mark.parametrize("moment", BETWEEN)
def test_one_release_and_one_doi_whatever_was_known_to_one_side_only(d4c: D4C, moment: str) -> None:
    kill_then_publish(d4c, *BETWEEN[moment])


def test_killed_again_and_again(d4c: D4C) -> None:
    # Each of these steps is in a pool of two slots: nobody gives back what dead processes had taken.
    dois: set[str] = set()
    for step in ("raw", "raw", "raw", "doi", "deposit", "deposit"):
        assert d4c("publish", "places", kill=(STEPS[step], "after")).code == -9
        dois |= {doi for (doi,) in ask_ledger(d4c.home, "SELECT doi FROM deposit WHERE doi IS NOT NULL")}
    row = d4c.ok("publish", "places")
    check_one_release(d4c)
    assert dois == {row["doi"]}
    # Nor does the UI show them as running for ever, where they would take up its queue.
    with closing(sqlite3.connect(d4c.home / "dagster" / "history" / "runs.db")) as runs:
        told = runs.execute("SELECT status, count(*) FROM runs GROUP BY status ORDER BY status").fetchall()
    assert told == [("CANCELED", 6), ("SUCCESS", 1)]


def test_killed_while_a_second_version_is_made(d4c: D4C, definitions: Path) -> None:
    first = d4c.ok("publish", "places")
    released = tree(d4c.home / "store" / "releases")
    define(definitions, sql="SELECT id, upper(name) AS name, population, geometry FROM source")
    for step in ("copies", "deposit"):
        assert d4c("publish", "places", kill=(STEPS[step], "before")).code == -9
        # The earlier release is what readers go on to see.
        assert [row["version"] for row in d4c.ok("catalogue")["releases"]] == ["0.1.0-beta"]
        (latest,) = (d4c.home / "store" / "processed").iterdir()
        assert sha256(latest) == first["sha256"]
    second = d4c.ok("publish", "places")
    assert (second["version"], second["concept_doi"]) == ("0.1.1-beta", first["concept_doi"])
    assert len(records(d4c.home)) == 2
    after = tree(d4c.home / "store" / "releases")
    assert {name: after[name] for name in released} == released
