"""The commands around a publication: `demo`, `status`, `releases`, `datasets`, `catalogue`, `serve`; words and JSON."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import duckdb
import geopandas
import httpx
import pytest

from d4c_pipeline_tests.support.commands import D4C
from d4c_pipeline_tests.support.inspection import STABLE_KEYS, published, records, sha256
from d4c_pipeline_tests.support.samples import HOST, Origin, corrected, define, geojson

DEMO = ("geonames_populated_places_canada", "natural_earth_countries")


def fact(output: str, name: str) -> list[str]:
    """The values that stand behind `name` in what was printed for people."""
    return [match[1] for match in re.finditer(rf"^  {re.escape(name)} +(.+)$", output, re.MULTILINE)]


def test_the_demo_and_what_it_says_to_do_next(d4c: D4C) -> None:
    done = d4c("demo")
    assert done.code == 0, done.stderr
    assert fact(done.stdout, "outcome") == ["published"] * 2
    (warning,) = [line for line in done.stdout.splitlines() if line.startswith("Warning:")]
    assert "encoding_sane of geonames_populated_places_canada/processed: expected" in warning
    assert "examples" not in " ".join(done.stdout.split())
    assert fact(done.stdout, "version") == ["0.1.0-beta"] * 2
    assert fact(done.stdout, "rows") == ["3,250", "177"]
    dois = fact(done.stdout, "DOI")
    assert [re.sub(r"\.[a-z0-9]+-[a-z0-9]+ ", ".ID ", doi) for doi in dois] == [
        "10.5072/d4c-local.ID  (a test DOI: it does not resolve)"
    ] * 2
    for path, digest in zip(fact(done.stdout, "file"), fact(done.stdout, "sha256"), strict=True):
        assert sha256(Path(path)) == digest
    places = geopandas.read_parquet(fact(done.stdout, "file")[0]).set_index("name")
    assert places.loc["Québec", "population"] > 500_000
    assert not places.loc[["Trois-Rivières", "Sept-Îles"]].geometry.isna().any()

    # What it prints, run by a shell as it would be pasted.
    (command,) = fact(done.stdout, "progress")
    status = subprocess.run(
        ["sh", "-c", f"{command} --json"], capture_output=True, text=True, check=True, env={"PATH": "/usr/bin:/bin"}
    )
    assert [row["dataset"] for row in json.loads(status.stdout) if row["state"] == "published"] == list(DEMO)
    (ui,) = fact(done.stdout, "Dagster UI")
    assert ui.endswith(f"d4c ui --home {d4c.home}")
    (query,) = fact(done.stdout, "query")
    asked = subprocess.run(["sh", "-c", query], capture_output=True, text=True, check=True, env={"LC_ALL": "C.UTF-8"})
    assert re.findall(r"10\.5072/\S+", asked.stdout) == [doi.split()[0] for doi in dois]

    before = published(d4c.home)
    again = d4c("demo")
    assert fact(again.stdout, "outcome") == ["unchanged"] * 2
    assert fact(again.stdout, "DOI") == dois
    after = published(d4c.home)
    # A first release leaves the part of the records that it superseded to the next rebuild of the catalogue.
    superseded = before.keys() - after.keys()
    assert {name.rpartition("/")[0] for name in superseded} <= {"store/catalogue/record-parts"}
    assert after == {name: digest for name, digest in before.items() if name not in superseded}
    assert sum(name.startswith("store/catalogue/record-parts/") for name in after) == 1
    assert len(records(d4c.home)) == 2

    told = d4c.ok("demo")
    assert [row["dataset"] for row in told] == list(DEMO)
    for row in told:
        assert row.keys() >= STABLE_KEYS | {"outcome"}
        assert duckdb.sql(f"SELECT count(*) FROM read_parquet('{row['path']}')").fetchone() == (row["rows"],)


def test_json_has_the_same_keys_everywhere(released: D4C, origin: Origin, definitions: Path) -> None:
    define(definitions, vintages=["2021", "2026"])
    (row,) = released.ok("releases")
    assert row.keys() >= STABLE_KEYS
    assert (row["state"], row["vintage"], row["rows"]) == ("published", "2021", 4)
    catalogue = released.ok("catalogue")
    assert catalogue["releases"] == [row]
    assert Path(catalogue["path"]).is_file()
    assert catalogue["url"].endswith("/catalogue/stac.parquet")
    status = {(one["dataset"], one["vintage"]): one for one in released.ok("status")}
    assert all(one.keys() >= STABLE_KEYS for one in status.values())
    assert status["places", "2021"] == {**row, "title": "Places"}
    waiting = status["places", "2026"]
    assert (waiting["state"], waiting["version"], waiting["doi"]) == ("declared", None, None)
    named = {one["dataset"]: one for one in released.ok("datasets")}
    assert named["places"]["vintages"] == ["2021", "2026"]
    assert set(named) > set(DEMO)
    # A plan that went half of the way is shown as what it is, with the DOI that it holds.
    origin.put(f"{HOST}/places_2026.geojson", corrected())
    assert released("publish", "places", kill=("d4c_pipeline.chain.deposit:publish", "before")).code == -9
    planned = {one["vintage"]: one for one in released.ok("releases", "places")}["2026"]
    assert (planned["state"], planned["version"]) == ("doi_reserved", "0.1.0-beta")
    assert planned["doi"].startswith("10.5072/d4c-local.")
    assert planned["concept_doi"] is None
    assert Path(planned["path"]).is_file()
    assert [one["vintage"] for one in released.ok("catalogue")["releases"]] == ["2021"]


def test_a_published_dataset_outlives_its_definition(released: D4C, definitions: Path, origin: Origin) -> None:
    (definitions / "places" / "defs.yaml").unlink()
    define(definitions, "others")
    origin.put(f"{HOST}/others_2021.geojson", geojson())
    released.ok("publish", "others")
    catalogue = released.home / "store" / "catalogue" / "stac.parquet"
    rows = duckdb.sql(f"SELECT collection FROM read_parquet('{catalogue}')").fetchall()
    assert rows == [("others",), ("places",)]
    assert [row["dataset"] for row in released.ok("releases", "places")] == ["places"]


def test_an_empty_home_is_no_error(d4c: D4C) -> None:
    assert d4c.ok("releases") == []
    assert d4c.ok("catalogue")["releases"] == []
    assert {row["state"] for row in d4c.ok("status")} == {"declared"}
    assert d4c("status").code == 0
    assert d4c("catalogue").code == 0


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_serve_answers_ranges_and_ends_when_told(released: D4C, ending: signal.Signals) -> None:
    (row,) = released.ok("releases")
    with subprocess.Popen(
        [sys.executable, "-m", "d4c_pipeline.commands.main", "serve", "--port", str(released.port)],
        env=released.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as serving:
        assert serving.stdout is not None
        assert serving.stdout.readline() == f"Serving {released.home} at http://127.0.0.1:{released.port}\n"
        address = f"http://127.0.0.1:{released.port}/{row['url'].split('/', 3)[3]}"
        answer = httpx.get(address, headers={"Range": "bytes=4-103"}, trust_env=False)
        assert (answer.status_code, answer.content) == (206, Path(row["path"]).read_bytes()[4:104])
        # Another `d4c serve` of this home is told that one is there.
        told = released("serve").sentence
        assert told.startswith(f"http://127.0.0.1:{released.port} serves this home already.")
        serving.send_signal(ending)
        _, said = serving.communicate(timeout=20)
    assert serving.returncode == 0
    assert said == ""


def test_a_publication_uses_the_server_that_is_there(released: D4C, origin: Origin, definitions: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "d4c_pipeline.commands.main", "serve"],
        env=released.environment(),
        stdout=subprocess.PIPE,
        text=True,
    ) as serving:
        assert serving.stdout is not None
        serving.stdout.readline()
        define(definitions, sql="SELECT id, upper(name) AS name, population, geometry FROM source")
        row = released.ok("publish", "places")
        assert (row["version"], row["outcome"]) == ("0.1.1-beta", "published")
        assert httpx.get(row["latest_url"], trust_env=False).content == Path(row["path"]).read_bytes()
        serving.terminate()


def test_defs_may_be_named_on_the_command_line(d4c: D4C, tmp_path: Path) -> None:
    define(tmp_path / "mine", "parks")
    names = [one["dataset"] for one in d4c.ok("datasets", "--defs", str(tmp_path / "mine"))]
    assert "parks" in names
    # The same folder twice is one folder.
    both = d4c.ok("datasets", "--defs", str(tmp_path / "mine"), env={"D4C_DEFS": str(tmp_path / "mine")})
    assert [one["dataset"] for one in both] == names
