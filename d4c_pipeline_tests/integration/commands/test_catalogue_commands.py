"""`d4c catalogue` and its commands over a home with published releases: words, JSON, CSV and errors."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from click.testing import Result
from typer.testing import CliRunner

from d4c_pipeline.chain import catalogue
from d4c_pipeline.chain.snapshot import catalogue_file
from d4c_pipeline.commands import common
from d4c_pipeline.commands.main import app
from d4c_pipeline.model.errors import DataError, PermanentError, UnknownNameError
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.stores.folder import FolderStore
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline_tests.support.catalogued import fill, publish

KEYS = {"added", "removed", "changed", "columns_added", "columns_removed"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with 12 releases, the last of which came after the previous snapshot."""
    folder = tmp_path_factory.mktemp("home")
    with Deployment.open(Settings(home=folder), archive=False) as deployment:
        fill(deployment.ledger, 11)
        catalogue.rebuild(deployment)
        publish(deployment.ledger, 12, "set_000000", "2011", "1.9.0")
        catalogue.rebuild(deployment)
    return folder


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(common.out, "width", 240)


def call(home: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["catalogue", *arguments, "--home", str(home)])


def ok(home: Path, *arguments: str) -> str:
    done = call(home, *arguments)
    assert done.exit_code == 0, (done.output, done.exception)
    return done.stdout


def answer(home: Path, *arguments: str) -> Any:
    return json.loads(ok(home, *arguments, "--json"))


def test_without_a_command_it_shows_the_catalogue(home: Path) -> None:
    shown = answer(home)
    assert (len(shown["releases"]), shown["path"]) == (12, str(home / "store" / "catalogue" / "stac.parquet"))
    assert str(home / "store" / "catalogue" / "stac.parquet") in ok(home)


def test_query_prints_a_table_json_and_csv(home: Path) -> None:
    sql = "SELECT dataset, version, data_urls, NULL AS none FROM releases ORDER BY version DESC LIMIT 2"
    first, second = answer(home, "query", sql)
    assert (first["dataset"], first["version"], first["none"]) == ("set_000000", "1.9.0", None)
    assert isinstance(first["data_urls"], list)
    header, *rows = csv.reader(io.StringIO(ok(home, "query", sql, "--csv")))
    assert header == ["dataset", "version", "data_urls", "none"]
    assert [row[:2] + row[3:] for row in rows] == [["set_000000", each["version"], ""] for each in (first, second)]
    lines = ok(home, "query", "SELECT version, '[b]' AS \"[b]\", 1 AS a, 2 AS a FROM releases LIMIT 1").splitlines()
    assert lines[0].split() == ["version", "[b]", "a", "a"]
    assert lines[1].split()[1:] == ["[b]", "1", "2"]
    assert answer(home, "query", "FROM releases WHERE false") == []
    assert ok(home, "query", "SELECT dataset FROM releases WHERE false", "--csv") == "dataset\n"


def test_a_long_table_is_cut_and_says_so(home: Path) -> None:
    done = call(home, "query", "FROM range(1001)")
    assert (done.exit_code, len(done.stdout.splitlines())) == (0, 1001)
    assert "More than 1000 rows" in done.stderr
    assert len(answer(home, "query", "FROM range(1001)")) == 1001


def test_options_stand_before_or_after_the_command(home: Path) -> None:
    sql = "SELECT count(*) AS n FROM releases"
    done = CliRunner().invoke(app, ["catalogue", "--home", str(home), "--json", "query", sql])
    assert json.loads(done.stdout) == [{"n": 12}]


def test_wrong_sql_prints_nothing_but_a_sentence(home: Path) -> None:
    for form in ((), ("--json",), ("--csv",)):
        for sql in ("SELECT nothing FROM releases", "SELECT error('no')", "DROP VIEW releases"):
            done = call(home, "query", sql, *form)
            assert isinstance(done.exception, DataError)
            assert done.stdout == ""
    assert call(home, "query", "SELECT 1", "--json", "--csv").exit_code == 2


def test_a_home_without_a_catalogue_says_what_to_do(tmp_path: Path) -> None:
    done = call(tmp_path, "query", "SELECT 1")
    assert isinstance(done.exception, UnknownNameError)
    assert str(done.exception).startswith("The primary store has no catalogue/stac.parquet. Publish a release")


def test_diff_compares_the_previous_snapshot_with_today(home: Path) -> None:
    found = answer(home, "diff", "previous")
    assert found.keys() == KEYS
    assert found["added"] == [{"dataset": "set_000000", "vintage": "2011", "version": "1.9.0"}]
    assert found["removed"] == found["columns_added"] == found["columns_removed"] == []
    (changed,) = found["changed"]
    assert changed["columns"]["is_latest"] == {"before": True, "after": False}
    back = answer(home, "diff", "current", "previous")
    assert (back["removed"], back["added"]) == (found["added"], [])
    lines = ok(home, "diff", "previous").splitlines()
    assert [line.split()[0] for line in lines if line] == ["change", "changed", "added", "added", "removed", "changed"]
    assert ok(home, "diff", "current").split() == ["added", "0", "removed", "0", "changed", "0"]


def test_diff_takes_digits_paths_and_nothing_else(home: Path, tmp_path: Path) -> None:
    with Deployment.open(Settings(home=home), archive=False) as deployment:
        newest, before = deployment.ledger.torrents.snapshots()
        path = catalogue_file(deployment, before.sha256[:12], tmp_path)
    assert Path(path) == home / "store" / before.address
    assert len(answer(home, "diff", before.sha256[:8], newest.sha256)["added"]) == 1
    assert len(answer(home, "diff", path, str(home))["added"]) == 1
    for name in ("2020", before.sha256[:3], "nothing"):
        done = call(home, "diff", name)
        assert isinstance(done.exception, UnknownNameError)
        assert before.sha256[:12] in str(done.exception)


def test_a_bucket_s_file_is_read_from_a_copy(home: Path, tmp_path: Path) -> None:
    class Bucket(FolderStore):
        def local_path(self, address: str) -> None:
            return None

        def open(self, address: str) -> BinaryIO:
            return (home / "store" / address).open("rb")

    with Deployment.open(Settings(home=home), archive=False) as deployment:
        remote = replace(deployment, stores=(Bucket(home / "store", "https://example.org"),))
        copy = Path(catalogue_file(remote, "current", tmp_path))
    assert copy == tmp_path / "stac.parquet"
    assert copy.read_bytes() == (home / "store" / "catalogue" / "stac.parquet").read_bytes()


def test_export_writes_all_records_or_one(home: Path, tmp_path: Path) -> None:
    exported = answer(home, "export", "dcat", "--to", str(tmp_path / "dcat"))
    files = sorted(path for path in (tmp_path / "dcat").rglob("*") if path.is_file())
    assert (exported["files"], exported["failed"], len(files)) == (12, {}, 12)
    assert exported["bytes"] == sum(path.stat().st_size for path in files)
    assert {path.relative_to(tmp_path / "dcat").parts[:2] for path in files} >= {("catalogue", "set_000000")}
    name = answer(home)["releases"][0]["name"]
    alone = call(home, "export", "dcat", name)
    assert alone.exit_code == 0
    assert alone.stdout_bytes in [path.read_bytes() for path in files]
    ok(home, "export", "dcat", name, "--to", str(tmp_path / "one.jsonld"))
    assert (tmp_path / "one.jsonld").read_bytes() == alone.stdout_bytes


def test_export_writes_the_site_documents(home: Path, tmp_path: Path) -> None:
    ok(home, "export", "site", "--to", str(tmp_path))
    assert (tmp_path / "llms.txt").is_file()
    versions = json.loads((tmp_path / "catalogue" / "set_000000" / "versions.json").read_bytes())
    assert "1.9.0" in json.dumps(versions)


def test_export_refuses_what_it_can_t_write(home: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for arguments in (
        ("nothing", "--to", str(tmp_path)),
        ("dcat",),
        ("dcat", "--to", str(tmp_path / "file")),
        ("site", "a-release", "--to", str(tmp_path)),
        ("ducklake", "a-release"),
    ):
        assert call(home, "export", *arguments).exit_code == 2
    assert isinstance(call(home, "export", "dcat", "no-release").exception, UnknownNameError)


def test_a_release_that_a_format_can_t_hold_is_left_out_and_named(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from d4c_pipeline.metadata.records.registry import RecordFormat, record_format

    form = record_format("dcat")

    def render(published: Any) -> bytes:
        if str(published.version) == "1.9.0":
            raise PermanentError("It has no word for that", "Leave it out")
        return form.render(published)

    broken = RecordFormat(name="dcat", media_type=form.media_type, suffix=form.suffix, render=render, title="DCAT")
    monkeypatch.setattr("d4c_pipeline.chain.export.record_format", lambda _name: broken)
    done = call(home, "export", "dcat", "--to", str(tmp_path))
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 11
    assert str(done.exception).startswith("1 releases have no record in dcat: ")
    assert str(done.exception).endswith("It has no word for that. Leave it out.")
