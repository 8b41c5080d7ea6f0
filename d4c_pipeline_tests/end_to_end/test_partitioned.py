"""Real boundaries published in parts, in one file, then cut otherwise: releases, torrents, items, `/processed/`."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import duckdb
import geopandas
import pyarrow.parquet as pq
import torf

from d4c_pipeline_tests.support.commands import D4C
from d4c_pipeline_tests.support.inspection import is_valid_stac, records, sha256, tree
from d4c_pipeline_tests.support.samples import HOST, Origin, define

ZIP = Path("01_statcan_provinces_2016", "province_territory_simplified_sp.zip")
CODES = ("10", "11", "12", "13", "24", "35", "46", "47", "48", "59", "60", "61", "62")
STEM = "ca_example_2021A000011124_d4c-datapkg-foundation_provinces_2016"


def cut(definitions: Path, **outputs: Any) -> None:
    define(
        definitions,
        "provinces",
        vintages=["2016"],
        source={"kind": "http", "urls": [f"{HOST}/provinces_{{vintage}}.zip"]},
        processing={"kind": "vector", "key": ["pruid"]},
        outputs=outputs,
        checks=None,
    )


def check(home: Path, row: dict[str, Any], parts: list[str]) -> None:
    """Hold a release in parts to everything that is promised of any: files, checksums, torrents, record and item."""
    folder = Path(row["path"])
    assert folder == home / "store" / "releases" / "provinces" / "2016" / f"v{row['version']}"
    assert row["url"].endswith(f"/v{row['version']}/manifest.json")
    assert [(file["part"], Path(file["path"]).name) for file in row["files"]] == [
        (part, f"{row['name']}_{part}.parquet") for part in parts
    ]
    assert sum(file["rows"] for file in row["files"]) == row["rows"] == 13
    done = subprocess.run(
        ["sha256sum", "--check", "--strict", "checksums.sha256"], cwd=folder, capture_output=True, check=False
    )
    assert done.returncode == 0
    outputs = {output["name"]: output for output in json.loads((folder / "manifest.json").read_text())["outputs"]}
    for file in row["files"]:
        frame = geopandas.read_parquet(file["path"])
        said = outputs[file["name"]]
        assert (said["rows"], said["sha256"], said["size"]) == (len(frame), file["sha256"], file["size"])
        assert said["bounds"] == list(frame.total_bounds)
    check_torrents(home, folder, row)
    (record,) = [record for record in records(home) if record["doi"] == row["doi"]]
    assert tree(home / "archive" / "records" / record["record_id"] / "files") == tree(folder)
    check_item(home, folder, row, parts)


def check_torrents(home: Path, folder: Path, row: dict[str, Any]) -> None:
    assert row["info_hash"] is None
    assert len({file["info_hash"] for file in row["files"]}) == len(row["files"])
    for file in row["files"]:
        torrent = torf.Torrent.read(folder / f"{file['name']}.torrent")
        assert torrent.infohash == file["info_hash"]
        assert [(str(one), one.size) for one in torrent.files] == [(file["name"], file["size"])]
        assert torrent.verify(file["path"])
        seeds = [str(url) for url in torrent.webseeds]
        assert (seeds[0], len(seeds)) == (file["url"], 2)
        assert seeds[1].endswith(f"/files/{file['name']}")
        served = home / "store" / "torrents" / f"{file['name'].removesuffix('.parquet')}.torrent"
        assert served.read_bytes() == (folder / f"{file['name']}.torrent").read_bytes()


def check_item(home: Path, folder: Path, row: dict[str, Any], parts: list[str]) -> None:
    assert is_valid_stac(folder / "item.json")
    assert is_valid_stac(home / "store" / "catalogue" / "provinces" / "2016" / f"{row['version']}.json")
    assets = json.loads((folder / "item.json").read_text("utf-8"))["assets"]
    assert {key for key in assets if key.startswith(("data", "torrent"))} == {
        f"{role}-{part}" for part in parts for role in ("data", "torrent")
    }
    for file in row["files"]:
        asset = assets[f"data-{file['part']}"]
        assert (asset["href"], asset["d4c:rows"]) == (file["url"], file["rows"])
        assert asset["d4c:info_hash"] == file["info_hash"]
    named = {asset["href"].rpartition("/")[2]: asset["file:checksum"] for asset in assets.values()}
    # The item can't hold its own checksum, nor that of the list which names it.
    without = {"item.json", "checksums-rest.sha256"}
    assert named == {file.name: f"1220{sha256(file)}" for file in folder.iterdir() if file.name not in without}


def served(home: Path) -> dict[str, str]:
    return tree(home / "store" / "processed")


def test_provinces_by_code_then_whole_then_by_location(
    d4c: D4C, origin: Origin, definitions: Path, fixtures: Path
) -> None:
    origin.put(f"{HOST}/provinces_2016.zip", fixtures / ZIP)
    cut(definitions, partition={"by": "pruid", "over": 0}, desktop=["flatgeobuf"], thumbnail=True)
    first = d4c.ok("publish", "provinces")
    parts = [f"pruid-{code}" for code in CODES]
    assert (first["version"], first["outcome"]) == ("0.1.0-beta", "published")
    check(d4c.home, first, parts)
    quebec = next(file for file in first["files"] if file["part"] == "pruid-24")
    assert pq.read_table(quebec["path"])["prfname"].to_pylist() == ["Québec"]

    # The stable addresses: each part, what was made of all of them, and the index that names immutable ones.
    processed = d4c.home / "store" / "processed"
    by_part = {f"{STEM}/{file['part']}.parquet": file["sha256"] for file in first["files"]}
    others = {f"{STEM}.fgb", f"{STEM}_thumbnail.png", f"{STEM}/manifest.json"}
    now = served(d4c.home)
    assert {name: now[name] for name in by_part} == by_part
    assert now.keys() - by_part.keys() == others
    assert first["latest_url"].endswith(f"/processed/{STEM}/manifest.json")
    index = json.loads((processed / STEM / "manifest.json").read_text("utf-8"))
    assert [part["url"] for part in index["parts"]] == [file["url"] for file in first["files"]]
    asked = f"SELECT count(*), count(DISTINCT pruid) FROM read_parquet('{processed / STEM}/*.parquet')"
    assert duckdb.sql(asked).fetchone() == (13, 13)
    assert len(geopandas.read_file(processed / f"{STEM}.fgb")) == 13

    assert d4c.ok("publish", "provinces")["outcome"] == "unchanged"
    assert served(d4c.home) == now
    status = d4c("status")
    assert (status.code, "0.1.0-beta" in status.stdout) == (0, True)

    # The same rows in one file: a patch, since what readers fetch has other names.
    cut(definitions, thumbnail=True)
    second = d4c.ok("publish", "provinces")
    assert (second["version"], second["change"]) == ("0.1.1-beta", "patch")
    assert second["reasons"] == ["the data is one file again", "derived file .fgb is no longer made"]
    picture = Path(second["path"]).with_name(f"{second['name']}_thumbnail.png")
    assert served(d4c.home) == {f"{STEM}.parquet": second["sha256"], f"{STEM}_thumbnail.png": sha256(picture)}
    assert second["latest_url"].endswith(f"/processed/{STEM}.parquet")

    # 13 rows are one row group, which nothing cuts by location: the declaration changes, the data does not.
    cut(definitions, partition={"by": "spatial", "over": 0, "part": 0.01}, thumbnail=True)
    assert d4c.ok("publish", "provinces")["outcome"] == "unchanged"

    cut(definitions, partition={"by": "preabbr", "over": 0})
    third = d4c.ok("publish", "provinces")
    assert (third["version"], len(third["files"])) == ("0.1.2-beta", 13)
    check(d4c.home, third, [file["part"] for file in third["files"]])
    assert third["files"][0]["part"] == "preabbr-alta"
    last = served(d4c.home)
    assert last.keys() == {f"{STEM}/{file['part']}.parquet" for file in third["files"]} | {f"{STEM}/manifest.json"}
    # What was released before is as it was.
    check(d4c.home, d4c.ok("releases", "provinces")[0], parts)
    rows = duckdb.sql(
        """SELECT version, "d4c:latest", "d4c:partition", list_filter("d4c:parts", x -> x.name = 'pruid-24')[1].rows"""
        f" FROM '{d4c.home}/store/catalogue/stac.parquet'"
    ).fetchall()
    assert rows == [
        ("0.1.0-beta", False, "by pruid", 1),
        ("0.1.1-beta", False, None, None),
        ("0.1.2-beta", True, "by preabbr", None),
    ]


def test_too_many_parts_stop_before_anything_is_planned(d4c: D4C, origin: Origin, definitions: Path) -> None:
    rows = "".join(f"{number},{number / 10}\n" for number in range(60))
    origin.put(f"{HOST}/many_2021.csv", f"id,value\n{rows}".encode())
    define(
        definitions,
        "many",
        source={"kind": "http", "urls": [f"{HOST}/many_{{vintage}}.csv"]},
        processing={"kind": "table", "key": ["id"]},
        outputs={"partition": {"by": "id", "over": 0}},
    )
    said = d4c("publish", "many").sentence
    assert "The column id, by which the data is to be cut, has more than 45 values" in said
    assert "write 'by: spatial'" in said
    assert d4c.ok("releases", "many") == []
    assert not (d4c.home / "store" / "releases").exists()
