"""`d4c rebuild`: releases rebuilt from their records alone, and what is said where that fails."""

from __future__ import annotations

import json
import shutil
import zipfile
from datetime import timedelta
from functools import partial
from hashlib import sha256
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

import pytest

from d4c_pipeline_tests.support.commands import D4C
from d4c_pipeline_tests.support.samples import DAY, PLACES_URL, Origin, corrected, define, geojson

NAME = "ca_example_2021A000011124_d4c-datapkg-foundation_places_2021_v0.1.0-beta"


@pytest.fixture
def record(released: D4C, tmp_path: Path) -> Path:
    """The release's files as a stranger downloads them from the archive; the command has no home any more."""
    (files,) = (released.home / "archive" / "records").glob("*/files")
    shutil.copytree(files, tmp_path / "record")
    shutil.move(released.home / "store" / "raw", tmp_path / "raw")
    shutil.rmtree(released.home)
    released.settings.pop("D4C_DEFS")
    return tmp_path / "record"


def test_a_record_and_its_source_are_enough(released: D4C, record: Path) -> None:
    done = released.ok("rebuild", str(record))
    data = next(record.glob("*.parquet"))
    digest = sha256(data.read_bytes()).hexdigest()
    assert done["equal"]
    assert done["natives"] == {"places_2021.geojson": PLACES_URL}
    assert {file["name"]: file["rebuilt"] for file in done["files"]}[data.name] == digest
    assert not released.home.exists()


def test_a_changed_source_is_never_used_and_a_retained_file_is(
    released: D4C, record: Path, origin: Origin, tmp_path: Path
) -> None:
    origin.put(PLACES_URL, corrected())
    assert f"{PLACES_URL} serves other bytes now" in released("rebuild", str(record)).sentence
    (native,) = tmp_path.glob("raw/places/2021/*")
    done = released.ok("rebuild", str(record), "--natives", str(native))
    assert (done["equal"], done["natives"]) == (True, {"places_2021.geojson": str(native / "places_2021.geojson")})
    origin.remove(PLACES_URL)
    (native / "places_2021.geojson").write_bytes(b"{}")
    said = released("rebuild", str(record), "--natives", str(native)).sentence
    assert f"{native / 'places_2021.geojson'} has other bytes" in said
    assert "404" in said


def test_a_damaged_copy_of_the_data_is_told_from_a_rebuild_that_differs(released: D4C, record: Path) -> None:
    data = next(record.glob("*.parquet"))
    data.write_bytes(data.read_bytes()[:-1] + b"?")
    done = released("rebuild", str(record), "--json")
    (found,) = (file for file in done.json["files"] if file["name"] == data.name)
    assert (done.code, found["copy"], found["recorded"] == found["rebuilt"]) == (3, "damaged", True)


def test_another_manifest_or_code_than_the_checksums_state_is_refused(released: D4C, record: Path) -> None:
    manifest = record / "manifest.json"
    document = json.loads(manifest.read_text("utf-8"))
    document["outputs"][0]["sha256"] = "0" * 64
    before = sha256(manifest.read_bytes()).hexdigest()
    manifest.write_text(json.dumps(document), "utf-8")
    assert "manifest.json is not the file that checksums.sha256 states" in released("rebuild", str(record)).sentence
    # A record whose data no code makes: different, with exit code 3.
    sums = record / "checksums.sha256"
    sums.write_text(sums.read_text("utf-8").replace(before, sha256(manifest.read_bytes()).hexdigest()), "utf-8")
    done = released("rebuild", str(record), "--json")
    assert (done.code, done.json["equal"]) == (3, False)


def test_a_record_of_other_code_names_the_code(released: D4C, record: Path) -> None:
    code = record / "code.zip"
    before = sha256(code.read_bytes()).hexdigest()
    with zipfile.ZipFile(code, "a") as packed:
        packed.writestr("d4c_pipeline/readers/unknown.py", "")
    sums = record / "checksums.sha256"
    sums.write_text(sums.read_text("utf-8").replace(before, sha256(code.read_bytes()).hexdigest()), "utf-8")
    said = released("rebuild", str(record)).sentence
    assert "1 files that decide the data differ, such as readers/unknown.py" in said


def test_a_release_in_parts_is_rebuilt_part_by_part(d4c: D4C, origin: Origin, definitions: Path) -> None:
    define(definitions, outputs={"partition": {"by": "id", "over": 0}})
    origin.put(PLACES_URL, geojson())
    d4c.ok("publish", "places")
    (release,) = (d4c.home / "store" / "releases").glob("places/2021/*")
    done = d4c.ok("rebuild", str(release))
    data = {path.name: sha256(path.read_bytes()).hexdigest() for path in release.glob("*.parquet")}
    assert len(data) == 4
    assert {file["name"]: file["rebuilt"] for file in done["files"] if file["name"] in data} == data
    assert done["equal"]


@pytest.fixture
def stranger(released: D4C, tmp_path: Path) -> tuple[D4C, Path, str]:
    """The command on an empty home with no definitions, the archive of the release elsewhere, and the release's DOI."""
    archive = tmp_path / "archive"
    shutil.move(released.home / "archive", archive)
    shutil.move(released.home / "store", tmp_path / "store")
    shutil.rmtree(released.home)
    released.settings.pop("D4C_DEFS")
    (record,) = (archive / "records").iterdir()
    return released, archive, f"10.5072/d4c-local.{record.name}"


def test_a_doi_and_the_folder_of_an_archive_are_enough(stranger: tuple[D4C, Path, str]) -> None:
    d4c, archive, doi = stranger
    for wanted in (f"https://doi.org/{doi.upper()}", NAME):
        done = d4c.ok("rebuild", wanted, "--from", str(archive))
        assert (done["equal"], done["doi"], done["release"]) == (True, doi, NAME)
    assert not d4c.home.exists()
    said = d4c("rebuild", doi.replace("local.", "local.0"), "--from", str(archive)).sentence
    assert "has no record with the DOI 10.5072/d4c-local.0" in said
    assert "is no archive" in d4c("rebuild", doi).sentence
    assert "is no folder, DOI or name of a release" in d4c("rebuild", "places").sentence


def test_a_damaged_file_at_the_archive_is_told_from_a_rebuild_that_differs(stranger: tuple[D4C, Path, str]) -> None:
    d4c, archive, doi = stranger
    data = next(archive.glob("records/*/files/*.parquet"))
    data.chmod(0o644)
    data.write_bytes(data.read_bytes()[:-1] + b"?")
    done = d4c("rebuild", doi, "--from", str(archive), "--json")
    (found,) = (file for file in done.json["files"] if file["name"] == data.name)
    assert (done.code, found["copy"], found["recorded"] == found["rebuilt"]) == (3, "damaged", True)


def test_native_files_gone_from_the_source_come_from_the_public_store_of_the_item(
    stranger: tuple[D4C, Path, str], origin: Origin, tmp_path: Path, port: int
) -> None:
    d4c, archive, doi = stranger
    origin.remove(PLACES_URL)
    (item,) = archive.glob("records/*/files/item.json")
    served = urlsplit(json.loads(item.read_text("utf-8"))["assets"]["data"]["href"])
    said = d4c("rebuild", doi, "--from", str(archive)).sentence
    assert f"{PLACES_URL}: " in said
    assert f"{served.scheme}://{served.netloc}: " in said
    server = ThreadingHTTPServer(
        (str(served.hostname), int(served.port or 80)),
        partial(SimpleHTTPRequestHandler, directory=str(tmp_path / "store")),
    )
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        done = d4c.ok("rebuild", doi, "--from", str(archive))
        (native,) = done["natives"].values()
        assert done["equal"]
        assert native.startswith(f"{served.scheme}://{served.netloc}/raw/places/2021/")
        (kept,) = (tmp_path / "store" / "raw").rglob("*.geojson")
        kept.chmod(0o644)
        kept.write_bytes(b"{}")
        assert f"{kept.name} has other bytes" in d4c("rebuild", doi, "--from", str(archive)).sentence
    finally:
        server.shutdown()
        server.server_close()


def test_a_ledger_names_the_record_and_its_stores_stand_in_for_the_archive(released: D4C, origin: Origin) -> None:
    origin.remove(PLACES_URL)
    done = released.ok("rebuild", NAME)
    (native,) = done["natives"].values()
    assert (done["equal"], done["not_fetched"]) == (True, {})
    assert native.startswith("primary: raw/places/2021/")
    for record in (released.home / "archive" / "records").iterdir():
        shutil.rmtree(record)
    done = released.ok("rebuild", NAME)
    assert (done["equal"], done["record"], done["doi"]) == (True, "primary", None)


def test_derived_files_are_compared_and_what_cannot_be_is_named(
    released: D4C, origin: Origin, definitions: Path
) -> None:
    define(definitions, outputs={"csv": True, "desktop": ["geopackage"], "thumbnail": True})
    origin.put(PLACES_URL, corrected(), DAY + timedelta(days=1))
    released.ok("publish", "places")
    second = max(each["name"] for each in released.ok("releases"))
    done = released.ok("rebuild", second)
    derived = {file["name"].removeprefix(second): file for file in done["files"] if not file["decides"]}
    assert set(derived) == {".csv.gz", ".gpkg", "_thumbnail.png"}
    assert all(file["recorded"] == file["rebuilt"] and file["copy"] == "equal" for file in derived.values())
    assert {name.removeprefix(second) for name in done["uncompared"]} == {"_changes.parquet"}
