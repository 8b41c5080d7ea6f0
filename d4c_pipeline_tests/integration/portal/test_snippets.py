"""The code on a release's page runs: DuckDB, Python, curl and aria2, for the version and for the latest."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from lxml import html

from d4c_pipeline.tables.duckdb_engine import connect
from d4c_pipeline_tests.integration.portal.conftest import Portal

FORMS = ("version", "latest")


def code(portal: Portal, dataset: str, program: str, form: str) -> str:
    """The code as a reader copies it."""
    page = html.document_fromstring(portal.page(f"en/datasets/{dataset}"))
    (element,) = page.xpath(f"//*[@id='code-{program}']//code")
    return element.get("data-latest") if form == "latest" else element.text_content()


def shell(text: str, folder: Path) -> None:
    done = subprocess.run(["bash", "-euc", text], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("dataset", "rows"), [("places", 4), ("measurements", 10), ("parts", 10)])
def test_duckdb(portal: Portal, dataset: str, rows: int, form: str) -> None:
    text = code(portal, dataset, "duckdb", form)
    setup, _, query = text.partition("\n\n")
    # Extensions come from wheels here; a reader's DuckDB downloads them.
    assert setup.startswith("INSTALL httpfs; LOAD httpfs;")
    assert ("spatial" in setup) is (dataset == "places")
    with connect(extensions=("httpfs", "spatial")) as connection:
        assert len(connection.execute(query).fetchall()) == rows


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dataset", ["places", "measurements", "parts"])
def test_python(portal: Portal, tmp_path: Path, dataset: str, form: str) -> None:
    pytest.importorskip("aiohttp")
    text = code(portal, dataset, "python", form)
    script = tmp_path / "script.py"
    script.write_text(text + "\nassert len(data) > 3, data\n", "utf-8")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dataset", ["places", "parts"])
def test_curl(portal: Portal, tmp_path: Path, dataset: str, form: str) -> None:
    text = code(portal, dataset, "curl", form)
    assert ("sha256sum" in text) is (form == "version")
    shell(text, tmp_path)
    assert all(path.read_bytes()[:4] == b"PAR1" for path in tmp_path.iterdir())
    assert len(list(tmp_path.iterdir())) == (3 if dataset == "parts" else 1)


def test_a_wrong_byte_fails_the_checksum(portal: Portal, tmp_path: Path) -> None:
    text = code(portal, "places", "curl", "version")
    download, check = text.split("\n", 1)
    shell(download, tmp_path)
    (file,) = tmp_path.iterdir()
    content = bytearray(file.read_bytes())
    content[100] ^= 1
    file.write_bytes(content)
    assert subprocess.run(["bash", "-euc", check], cwd=tmp_path, capture_output=True, check=False).returncode != 0


@pytest.mark.parametrize("form", FORMS)
def test_aria2(portal: Portal, tmp_path: Path, form: str) -> None:
    if shutil.which("aria2c") is None:
        assert "CI" not in os.environ, "CI installs aria2"
        pytest.skip("aria2 is not installed")
    text = code(portal, "places", "aria2", form)
    # The torrent needs a tracker or peers only where its web seeds fail; it has tests of its own.
    download = text.partition("# Torrent")[0]
    shell(download, tmp_path)
    (file,) = tmp_path.glob("*.parquet")
    assert file.read_bytes()[-4:] == b"PAR1"
