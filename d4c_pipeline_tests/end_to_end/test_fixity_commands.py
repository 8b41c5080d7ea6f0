"""`d4c verify` and `d4c repair` on a real release: words, JSON, exit codes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from d4c_pipeline_tests.support.commands import D4C
from d4c_pipeline_tests.support.inspection import sha256

NAME = "ca_example_2021A000011124_d4c-datapkg-foundation_places_2021_v0.1.0-beta"
FEW = f"{NAME}: 2 of 3 copies verified (local, primary)"


@pytest.fixture
def released(released: D4C) -> D4C:
    """The released home on the port that its torrents' web seeds name: `verify` serves them itself meanwhile."""
    (torrent,) = (released.home / "store" / "torrents").glob(f"{NAME}*.torrent")
    found = re.search(rb"http://127\.0\.0\.1:(\d+)/releases/", torrent.read_bytes())
    assert found is not None
    released.port = int(found[1])
    return released


@pytest.fixture
def data(released: D4C) -> Path:
    (release,) = released.ok("releases")
    return Path(release["path"])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)


def test_a_home_that_is_well_says_so_and_that_it_has_fewer_places_than_wanted(released: D4C) -> None:
    done = released("verify", "--full")
    assert done.code == 0, done.stderr
    assert f"Warning: {FEW}" in done.stdout
    found = released.ok("verify", "--full")
    assert found["damaged or missing"] == 0
    assert found["findings"] == []
    assert found["read in full"] == found["looked at"] == found["copies"] > 15
    (few,) = found["too few copies"]
    assert few == {
        "dataset": "places",
        "release": NAME,
        "places": ["local", "primary"],
        "wanted": 3,
        "mend": "add_place",
    }
    assert released.ok("verify", env={"D4C_COPIES": "2"})["too few copies"] == []
    assert released("repair").stdout.strip() == "Nothing to repair by the last 'd4c verify'"


def test_rot_is_told_and_mended_from_the_archive(released: D4C, data: Path) -> None:
    right = sha256(data)
    flip(data)
    done = released("verify", "places", "--full")
    assert done.code == 1
    # The web seed is that very file.
    assert done.stderr.strip() == (
        "Error: 2 copies are damaged or missing (1 of releases in stores, 1 of web seeds). 'd4c repair' restores files "
        "that have a good copy; repair the servers of web seeds, or reissue the torrents without them."
    )
    (row,) = [line for line in done.stdout.splitlines() if "damaged" in line and "sha256" in line]
    assert row.split()[:2] == ["release", "primary"]
    (mended,) = released.ok("repair")
    assert (mended["kind"], mended["place"], mended["outcome"]) == ("release", "primary", "restored")
    assert mended["source"].startswith("local:")
    assert mended["quarantine"].startswith(".quarantine/releases/places/2021/v0.1.0-beta/")
    assert sha256(data) == right
    assert released("verify", "--full").code == 0


def test_what_has_no_good_copy_ends_with_a_sentence_and_json_stays_json(released: D4C, data: Path) -> None:
    (archived,) = (released.home / "archive" / "records").rglob(data.name)
    (latest,) = (released.home / "store" / "processed").glob("*.parquet")
    for path in (data, archived, latest):
        flip(path)
    found = released("verify", "--full", "--json")
    assert found.code == 1
    assert {(row["kind"], row["state"]) for row in found.json["findings"]} == {
        ("release", "damaged"),
        ("archive", "damaged"),
        ("latest", "damaged"),
        ("web_seed", "damaged"),
    }
    mended = released("repair", "--json")
    assert mended.code == 1
    row, switched = mended.json
    assert row["outcome"] == "no good copy"
    assert (switched["kind"], switched["outcome"]) == ("latest", "no good copy")
    assert not data.exists()
    assert not latest.exists()
    assert (released.home / "store" / row["quarantine"]).is_file()
    assert (released.home / "store" / switched["quarantine"]).is_file()
    assert "2 copies are not repaired (1 in /processed/, 1 of releases in stores)" in mended.stderr
    assert "Traceback" not in mended.stderr


def test_what_is_served_as_latest_is_told_and_switched_to_again(released: D4C, data: Path) -> None:
    (latest,) = (released.home / "store" / "processed").glob("*.parquet")
    right = sha256(data)
    flip(latest)
    done = released("verify", "--full")
    assert done.code == 1
    assert done.stderr.strip() == (
        "Error: 1 copy is damaged or missing (1 in /processed/). 'd4c repair' restores files that have a good copy."
    )
    (mended,) = released.ok("repair")
    assert (mended["kind"], mended["outcome"], mended["source"]) == ("latest", "restored", NAME)
    assert mended["address"] == f"processed/{latest.name}"
    assert sha256(latest) == right
    assert released("verify", "--full").code == 0


def test_an_emptied_store_is_refilled_only_when_asked_to(released: D4C, data: Path) -> None:
    right = sha256(data)
    store = released.home / "store"
    store.rename(store.with_name("unmounted"))
    done = released("verify")
    assert done.code == 1
    assert "primary was skipped: it holds none of the" in done.stdout
    assert "d4c repair --refill STORE" in done.stderr
    released("repair")
    assert not data.exists()
    rows = released("repair", "--refill", "primary", "--json").json
    assert {row["outcome"] for row in rows if row["kind"] == "release"} == {"restored"}
    assert sha256(data) == right


def test_a_web_seed_that_nobody_answers_for_is_no_damage_and_told(released: D4C) -> None:
    released.settings["D4C_STORE_URL"] = "https://data.example.org"
    done = released("verify", "--full", "--json")
    assert done.code == 1
    assert done.json["damaged or missing"] == 0
    assert {(row["kind"], row["state"]) for row in done.json["findings"]} == {("web_seed", "unreachable")}
    assert "The audit is incomplete (http://127.0.0.1:" in done.stderr


def test_a_dataset_that_nobody_knows_is_named(released: D4C) -> None:
    assert "'plaices'" in released("verify", "plaices").sentence
    assert "'plaices'" in released("repair", "plaices").sentence
