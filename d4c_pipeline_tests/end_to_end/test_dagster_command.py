"""`dagster asset materialize` as an operator calls it: the real boundary file of 2016, all the way to the catalogue."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import duckdb
import pyogrio

from d4c_pipeline.model.settings import Settings
from d4c_pipeline.orchestration.instance import dagster_home
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline_tests.support.samples import Origin

DATASET = "statcan_provinces_territories_digital"
NATIVE = "01_statcan_provinces_2016/province_territory_simplified_sp.zip"
STATCAN = "https://www12.statcan.gc.ca"
ADDRESS = f"{STATCAN}/census-recensement/2011/geo/bound-limit/files-fichiers/2016/lpr_000a16a_e.zip"
NAME = "ca_statcan_2021A000011124_d4c-datapkg-statistical_provinces_territories_digital_2016_v0.1.0-beta"


def dagster(home: Path, port: int, origin: Origin, *arguments: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("D4C_", "DAGSTER_"))}
    return subprocess.run(
        [sys.executable, "-m", "dagster", *arguments, "-m", "d4c_pipeline.definitions"],
        cwd=home.parent,
        env={
            **kept,
            "DAGSTER_HOME": str(dagster_home(Settings(home=home))),
            "D4C_HOME": str(home),
            "D4C_PORT": str(port),
            "D4C_ORIGIN_MAP": origin.map,
        },
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


def test_the_provinces_of_2016_go_all_the_way(fixtures: Path, tmp_path: Path, origin: Origin, port: int) -> None:
    origin.put(ADDRESS, fixtures / NATIVE)
    home = tmp_path / "home"
    everything = f'group:"{DATASET}" or key:"catalogue"'
    run = dagster(home, port, origin, "asset", "materialize", "--select", everything, "--partition", "2016")
    assert run.returncode == 0, run.stderr[-4000:]

    with Deployment.open(Settings(home=home, port=port)) as deployment:
        (release,) = deployment.ledger.releases.published()
        deposit = deployment.ledger.deposits.of(release)
        (torrent,) = deployment.ledger.publications.torrents(release).values()
        (native,) = deployment.ledger.natives.current(DATASET, release.vintage)
    assert (release.name, str(release.version), release.summary.rows) == (NAME, "0.1.0-beta", 13)
    assert deposit is not None
    assert (deposit.state.value, deposit.test) == ("published", True)
    assert len(torrent.web_seeds) == 2
    assert native.url == ADDRESS
    assert native.sha256 == hashlib.sha256((fixtures / NATIVE).read_bytes()).hexdigest()

    store = home / "store"
    data = store / "releases" / DATASET / "2016" / "v0.1.0-beta" / f"{NAME}.parquet"
    assert hashlib.sha256(data.read_bytes()).hexdigest() == release.data_sha256
    latest = store / "processed" / f"{NAME.removesuffix('_v0.1.0-beta')}.parquet"
    assert latest.read_bytes() == data.read_bytes()
    rows = duckdb.sql(f"SELECT dguid, prfname FROM '{data}' ORDER BY dguid").fetchall()
    assert len(rows) == 13
    assert rows[4] == ("2016A000224", "Québec")
    assert ("2016A000260", "Yukon") in rows
    assert (store / "torrents" / f"{NAME}.torrent").is_file()
    catalogue = duckdb.sql(f"SELECT id, doi FROM '{store}/catalogue/stac.parquet'").fetchall()
    assert catalogue == [(NAME, deposit.doi)]
    assert json.loads((store / "catalogue" / "catalog.json").read_text("utf-8"))["type"] == "Catalog"
    # The native file is still what Statistics Canada delivered.
    retained = store / native.address
    assert pyogrio.read_info(f"/vsizip/{retained}")["features"] == 13

    again = dagster(home, port, origin, "asset", "materialize", "--select", everything, "--partition", "2016")
    assert again.returncode == 0, again.stderr[-4000:]
    with Deployment.open(Settings(home=home, port=port)) as deployment:
        assert [one.id for one in deployment.ledger.releases.living()] == [release.id]
    assert [path.name for path in (home / "archive" / "records").iterdir()] == [deposit.record_id]


def test_a_vintage_that_is_not_declared_is_refused_by_dagster(tmp_path: Path, origin: Origin, port: int) -> None:
    home = tmp_path / "home"
    run = dagster(home, port, origin, "asset", "materialize", "--select", f"{DATASET}/raw", "--partition", "1867")
    assert run.returncode != 0
    assert "1867" in run.stderr
    assert not (home / "store").exists()


def test_a_source_that_fails_is_told_with_its_remedy_and_publishes_nothing(
    tmp_path: Path, origin: Origin, port: int
) -> None:
    origin.put(ADDRESS, b"<!DOCTYPE html><html><title>Maintenance</title></html>")
    home = tmp_path / "home"
    run = dagster(home, port, origin, "asset", "materialize", "--select", f'group:"{DATASET}"', "--partition", "2016")
    assert run.returncode != 0
    assert "sent a web page instead of data" in run.stderr
    assert "STEP_UP_FOR_RETRY" not in run.stderr
    with Deployment.open(Settings(home=home, port=port)) as deployment:
        assert deployment.ledger.releases.living() == ()
