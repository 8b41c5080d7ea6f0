"""Looking at what a publication left, with readers that are none of ours: sha256sum, torf, stac-validator, SQLite."""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
import subprocess
import warnings
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torf

from d4c_pipeline.catalogue.record_parts import files_of
from d4c_pipeline.catalogue.validation import schema_map
from d4c_pipeline.model.addresses import RECORD_PARTS, RECORDS_MANIFEST

STABLE_KEYS = {
    "dataset",
    "vintage",
    "version",
    "state",
    "doi",
    "concept_doi",
    "info_hash",
    "sha256",
    "size",
    "rows",
    "path",
    "url",
}


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def tree(folder: Path) -> dict[str, str]:
    """Every file below `folder` by its relative path, with its sha256: equal trees are equal byte for byte."""
    return {str(path.relative_to(folder)): sha256(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def tree_of_facts(folder: Path) -> dict[str, str]:
    """As `tree` of a store, but the rows of the records count without `modified`: the time of the rebuild of each.

    No archive has that time, and a rebuild after a killed one is a later one. The parts are named by their bytes, so
    each counts by its number, and no other file may lie beside them.
    """
    found = tree(folder)
    found.pop(RECORDS_MANIFEST, None)
    for number, path in enumerate(files_of(folder)):
        del found[path.relative_to(folder).as_posix()]
        rows = pq.read_table(path).drop_columns(["modified"]).to_pylist()
        found[f"{RECORD_PARTS}/{number}"] = hashlib.sha256(repr(rows).encode()).hexdigest()
    return found


def published(home: Path) -> dict[str, str]:
    """Everything that a publication leaves for good: releases, what /processed/ serves, the catalogue, records."""
    return {
        name: digest
        for name, digest in tree(home).items()
        if name.startswith(("store/releases/", "store/processed/", "store/catalogue/", "archive/records/"))
    }


def ask_ledger(home: Path, sql: str, *values: Any) -> list[tuple[Any, ...]]:
    """Ask the ledger's database past our own code."""
    with closing(sqlite3.connect(f"file:{home / 'ledger.sqlite'}?mode=ro", uri=True)) as connection:
        return connection.execute(sql, values).fetchall()


def states(home: Path) -> list[tuple[str, str, str]]:
    """Vintage, version and state of every release that the ledger has."""
    return ask_ledger(home, "SELECT vintage, version, state FROM release ORDER BY vintage, version, id")


def records(home: Path) -> list[dict[str, Any]]:
    """The published records of the local archive."""
    return [
        json.loads(path.read_text("utf-8")) for path in sorted((home / "archive" / "records").glob("*/record.json"))
    ]


def drafts(home: Path) -> list[str]:
    """What lies among the drafts of the local archive, whole or not."""
    folder = home / "archive" / "drafts"
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def check_release(home: Path, row: Mapping[str, Any], natives: Mapping[str, str]) -> dict[str, Any]:
    """Hold a published release to everything that is promised of any; returns its item.

    `row` is what `d4c publish --json` printed; `natives`: name -> sha256 of the files it was made from.
    """
    assert row.keys() >= STABLE_KEYS
    assert row["state"] == "published"
    assert re.fullmatch(r"10\.5072/d4c-local\.[0-9a-hjkmnp-tv-z]{5}-[0-9a-hjkmnp-tv-z]{5}", row["doi"])
    assert row["concept_doi"] not in (None, row["doi"])
    assert row["test_doi"] is True
    data = Path(row["path"])
    folder = data.parent
    assert data.is_relative_to(home / "store" / "releases" / row["dataset"] / row["vintage"] / f"v{row['version']}")
    assert (data.stat().st_size, sha256(data)) == (row["size"], row["sha256"])
    assert row["url"].endswith(f"/releases/{row['dataset']}/{row['vintage']}/v{row['version']}/{data.name}")
    _check_checksums(folder, data)
    _check_manifest(folder, row, natives)
    _check_torrent(home, folder, row)
    latest = home / "store" / "processed" / row["latest_url"].rpartition("/")[2]
    assert latest.read_bytes() == data.read_bytes()
    _check_record(home, folder, row)
    return _check_item(home, folder, row)


def _check_checksums(folder: Path, data: Path) -> None:
    done = subprocess.run(
        ["sha256sum", "--check", "--strict", "checksums.sha256", "checksums-rest.sha256"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    named = {path.name for path in data.parent.iterdir()} - {"checksums-rest.sha256"}  # which can't list itself
    assert {data.name, "code.zip", "manifest.json", "README.md", "item.json", f"{data.name}.torrent"} <= named
    assert sorted(done.stdout.splitlines()) == sorted(f"{name}: OK" for name in named)


def _check_manifest(folder: Path, row: Mapping[str, Any], natives: Mapping[str, str]) -> None:
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    assert {file["name"]: file["sha256"] for file in manifest["native_files"]} == dict(natives)
    assert {file["role"]: file["sha256"] for file in manifest["outputs"]}["data"] == row["sha256"]
    assert (manifest["dataset"], manifest["vintage"], manifest["version"]) == (
        row["dataset"],
        row["vintage"],
        row["version"],
    )
    assert len(manifest["lock_sha256"]) == 64
    assert {"duckdb", "gdal", "geos", "proj", "pyarrow"} <= manifest["libraries"].keys()


def _check_torrent(home: Path, folder: Path, row: Mapping[str, Any]) -> None:
    name = Path(row["path"]).name
    torrent = torf.Torrent.read(folder / f"{name}.torrent")
    assert torrent.infohash == row["info_hash"]
    assert [(str(file), file.size) for file in torrent.files] == [(name, row["size"])]
    assert torrent.verify(row["path"])
    seeds = [str(url) for url in torrent.webseeds]
    assert seeds[0] == row["url"]
    assert all("/processed/" not in seed for seed in seeds)
    record = row["doi"].rpartition(".")[2]
    assert seeds[1].endswith(f"/archive/records/{record}/files/{name}")
    stem = name.removesuffix(".parquet")
    served = home / "store" / "torrents" / f"{stem}.torrent"
    assert served.read_bytes() == (folder / f"{name}.torrent").read_bytes()


def _check_record(home: Path, folder: Path, row: Mapping[str, Any]) -> None:
    (record,) = [record for record in records(home) if record["doi"] == row["doi"]]
    assert record["metadata"]["version"] == row["version"]
    assert row["concept_doi"].endswith(record["concept_id"])
    # The archive has every file of the release, the same bytes under the same names.
    assert tree(home / "archive" / "records" / record["record_id"] / "files") == tree(folder)


def _check_item(home: Path, folder: Path, row: Mapping[str, Any]) -> dict[str, Any]:
    path = folder / "item.json"
    item = json.loads(path.read_text("utf-8"))
    assert is_valid_stac(path)
    in_catalogue = home / "store" / "catalogue" / row["dataset"] / row["vintage"] / f"{row['version']}.json"
    assert is_valid_stac(in_catalogue)
    properties = item["properties"]
    assert properties["sci:doi"] == row["doi"]
    assert properties["version"] == row["version"]
    assert properties["table:row_count"] == row["rows"]
    assert item["assets"]["data"]["href"] == row["url"]
    named = {asset["href"].rpartition("/")[2]: asset["file:checksum"] for asset in item["assets"].values()}
    # The second list of checksums has the item in it, so the item can't have that list.
    later = ("item.json", "checksums-rest.sha256")
    assert named == {file.name: f"1220{sha256(file)}" for file in folder.iterdir() if file.name not in later}
    final = json.loads(in_catalogue.read_text("utf-8"))
    assert final["properties"]["d4c:concept_doi"] == row["concept_doi"]
    return item


def is_valid_stac(path: Path) -> bool:
    """What stac-validator says, with the schemas of this disk."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # importing it warns that the package has another name now
        from stac_validator.stac_validator import StacValidate

        return bool(StacValidate(str(path), schema_map=schema_map()).run())
