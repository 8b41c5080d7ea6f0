"""The Python client on a real store: what it opens, refuses and says; mirrors that lie, stall and cut."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import d4c
from d4c_pipeline_tests.integration.clients.conftest import REASON, Bad
from d4c_pipeline_tests.support.home_of_releases import RELEASES

pytestmark = pytest.mark.filterwarnings("error::d4c.D4CWarning")
Start = Callable[[str], tuple[str, type[Bad]]]


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def published_file(store: Path, dataset: str = "places", version: str = "0.1.1-beta") -> Path:
    return next((store / "releases" / dataset / "2021" / f"v{version}").glob("*.parquet"))


def changed_catalogue(folder: Path, store: Path, change: Callable[[Any], Any]) -> Path:
    """A folder with a copy of the catalogue whose table was changed."""
    table = pq.read_table(store / "catalogue" / "stac.parquet")
    (folder / "catalogue").mkdir(parents=True)
    pq.write_table(change(table), folder / "catalogue" / "stac.parquet")
    return folder


def test_a_release_opens_as_relation_table_frame_and_path(good: str, store: Path) -> None:
    release = d4c.open("places", version="0.1.*", vintage="2021", mirrors=good)
    assert (release.version, release.rows, release.is_latest) == ("0.1.1-beta", 4, True)
    expected = duckdb.sql(f"SELECT id, name, population FROM '{published_file(store)}' ORDER BY id").fetchall()
    assert release.relation().project("id, name, population").order("id").fetchall() == expected
    assert release.arrow(["population"])["population"].to_pylist() == [row[2] for row in expected] or (
        sorted(release.arrow()["id"].to_pylist()) == [1, 2, 3, 4]
    )
    frame = release.geodataframe()
    assert (len(frame), frame.crs.to_epsg(), set(frame.geom_type)) == (4, 4326, {"Point"})
    assert sha256(release.path()) == sha256(published_file(store))
    assert release.path().name == published_file(store).name


def test_a_folder_is_a_mirror_and_so_is_the_variable(store: Path, good: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert d4c.open("rates", mirrors=store).relation().fetchall()[0][1] == pytest.approx(1.2725)
    monkeypatch.setenv("D4C_MIRRORS", f"{good}, {store}")
    assert d4c.open("rates", vintage=2021).arrow().num_rows == 2
    monkeypatch.delenv("D4C_MIRRORS")
    with pytest.raises(d4c.UnreachableError, match=r"No mirror is given.*D4C_MIRRORS"):
        d4c.open("rates")


def test_data_in_parts_is_whole_and_one_part_is_one_file(good: str, own_cache: Path) -> None:
    release = d4c.open("parted", mirrors=good)
    assert release.parts == ("id-1", "id-2", "id-3", "id-4")
    assert release.relation(parts=["id-3"]).project("id").fetchall() == [(3,)]
    assert len(list(own_cache.glob("files/*/*/*.parquet"))) == 1
    assert sorted(release.relation().project("id").fetchall()) == [(1,), (2,), (3,), (4,)]
    table = release.arrow()
    # The box of the first part alone would hide three places from readers that prune by it.
    box = json.loads(table.schema.metadata[b"geo"])["columns"]["geometry"]["bbox"]
    assert box == pytest.approx([-123.12, 46.343, -68.519, 63.747])
    assert release.geodataframe().crs.to_epsg() == 4326
    with pytest.raises(d4c.MissingError, match=r"4 parts. Use paths"):
        release.path()
    with pytest.raises(d4c.UnknownNameError, match=r"no part id-9. There are: id-1, id-2, id-3, id-4"):
        release.paths(["id-9"])


def test_a_table_without_geometry_says_so(good: str) -> None:
    release = d4c.open("rates", mirrors=good)
    with pytest.raises(d4c.MissingError, match=r"rates 2021 v0.1.0-beta is a table without geometry"):
        release.geodataframe()
    assert release.arrow().to_pandas()["rate"].tolist() == [1.2725, 1.2680]


def test_versions_are_all_releases_with_withdrawals(good: str) -> None:
    listed = d4c.versions("places", mirrors=good)
    assert [(each.dataset, each.vintage, each.version) for each in listed] == [
        each for each in RELEASES if each[0] == "places"
    ]
    assert [each.withdrawn_reason for each in listed] == [None, REASON, None]
    assert [each.is_latest for each in listed] == [True, False, True]


def test_names_that_match_nothing_list_what_there_is(good: str) -> None:
    with pytest.raises(d4c.UnknownNameError, match=r"no dataset 'plases'. The nearest names: places"):
        d4c.open("plases", mirrors=good)
    with pytest.raises(d4c.UnknownNameError, match=r"matches '2\.\*'. There are: 0.1.0-beta \(withdrawn\), 0.1.1-beta"):
        d4c.open("places", version="2.*", vintage="2021", mirrors=good)
    with pytest.raises(d4c.UnknownNameError, match=r"no vintage '2020'. There are: 2016, 2021"):
        d4c.open("places", vintage=2020, mirrors=good)
    with pytest.raises(d4c.UnknownNameError, match=r"'newest' is no version and no pattern. There are"):
        d4c.open("places", version="newest", vintage="2021", mirrors=good)
    # Vintages of editions are products of their own: none is chosen in silence.
    with pytest.raises(d4c.UnknownNameError, match=r"2 vintages.*2016, 2021. Name one: vintage='2021'"):
        d4c.open("places", mirrors=good)
    assert d4c.open("places", vintage="latest", mirrors=good).vintage == "2021"
    assert d4c.open("places", "latest", 2016, mirrors=good).version == "0.1.0-beta"


def test_a_withdrawn_release_is_refused_with_the_reason(good: str) -> None:
    with pytest.raises(d4c.WithdrawnError, match=rf"{REASON}. Version 0.1.1-beta of vintage 2021 stands") as refused:
        d4c.open("places", version="0.1.0-beta", vintage="2021", mirrors=good)
    assert refused.value.reason == REASON
    with pytest.warns(d4c.D4CWarning, match=rf"was withdrawn: {REASON}"):
        release = d4c.open("places", "0.1.0-beta", "2021", mirrors=good, allow_withdrawn=True)
    assert release.arrow().num_rows == 4


def test_a_mirror_that_lags_hides_no_withdrawal_and_no_release(good: str, store: Path, tmp_path: Path) -> None:
    def earlier(table: Any) -> Any:
        rows = table.filter([version != "0.1.1-beta" for version in table["version"].to_pylist()])
        for name in ("withdrawn_at", "withdrawn_reason"):
            index = rows.schema.get_field_index(name)
            rows = rows.set_column(
                index, rows.schema.field(index), pa.nulls(rows.num_rows, rows.schema.field(index).type)
            )
        latest = rows.schema.get_field_index("is_latest")
        return rows.set_column(latest, rows.schema.field(latest), [[True] * rows.num_rows])

    lagging = changed_catalogue(tmp_path / "lagging", store, earlier)
    assert d4c.open("places", vintage="2021", mirrors=lagging).version == "0.1.0-beta"
    assert d4c.open("places", vintage="2021", mirrors=[lagging, good]).version == "0.1.1-beta"
    with pytest.raises(d4c.WithdrawnError, match=REASON):
        d4c.open("places", "0.1.0-beta", "2021", mirrors=[lagging, good])


def test_mirrors_that_state_other_bytes_for_one_release_are_refused(good: str, store: Path, tmp_path: Path) -> None:
    def tampered(table: Any) -> Any:
        rows = table.to_pylist()
        for row in rows:
            if row["dataset"] == "rates":
                row["sha256"] = "0" * 64
                row["assets"]["data"]["file:checksum"] = "1220" + row["sha256"]
        return pa.Table.from_pylist(rows, table.schema)

    folder = changed_catalogue(tmp_path / "tampered", store, tampered)
    with pytest.raises(d4c.IntegrityError, match=r"Two mirrors state other files for rates 2021 v0.1.0-beta"):
        d4c.open("rates", mirrors=[folder, good])


@pytest.mark.parametrize("manner", ["lie", "short"])
def test_a_mirror_with_other_bytes_is_refused_and_the_next_one_serves(mirror: Start, good: str, manner: str) -> None:
    url, _ = mirror(manner)
    release = d4c.open("places", vintage="2021", mirrors=[url, good])
    with pytest.warns(d4c.D4CWarning, match=rf"refused: {url}"):
        path = release.path()
    assert sha256(path) == release.files[0].sha256
    # Alone, it is an error, and nothing wrong is left in the cache.
    path.unlink()
    alone = d4c.open("places", vintage="2021", mirrors=url)
    with pytest.raises(d4c.D4CError, match=r"sha256|bytes instead of"):
        alone.path()
    assert not path.exists()


@pytest.mark.parametrize("manner", ["stall", "trickle"])
def test_a_stalling_mirror_times_out_and_the_next_one_serves(mirror: Start, good: str, manner: str) -> None:
    url, _ = mirror(manner)
    release = d4c.open("places", vintage="2021", mirrors=[url, good], timeout=1)
    begun = time.monotonic()
    assert release.arrow().num_rows == 4
    assert time.monotonic() - begun < 5


def test_a_cut_download_goes_on_where_it_was_cut(mirror: Start, store: Path) -> None:
    url, handler = mirror("cut")
    release = d4c.open("places", vintage="2021", mirrors=url)
    assert sha256(release.path()) == sha256(published_file(store))
    assert handler.ranges == [None, "bytes=4000-"]


def test_bytes_of_a_liar_spoil_no_continued_download(good: str, own_cache: Path) -> None:
    release = d4c.open("places", vintage="2021", mirrors=good)
    (file,) = release.files
    part = own_cache / "files" / file.sha256[:2] / file.sha256 / f".{file.sha256}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * 1000)  # a killed process left what another mirror had served
    assert sha256(release.path()) == file.sha256


def test_a_rotted_copy_is_noticed_and_fetched_again(good: str) -> None:
    path = d4c.open("places", vintage="2021", mirrors=good).path()
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)
    with pytest.raises(d4c.IntegrityError, match=r"not as published: the copy in the cache"):
        d4c.open("places", vintage="2021", mirrors=good).verify()
    shutil.copy(d4c.open("places", vintage="2021", mirrors=good).path(), path.with_suffix(".whole"))
    path.chmod(0o644)
    path.write_bytes(content)
    with pytest.warns(d4c.D4CWarning, match=r"had rotted in the cache"):
        again = d4c.open("places", vintage="2021", mirrors=good).path()
    assert sha256(again) == sha256(path.with_suffix(".whole"))


def test_verify_hashes_now_and_compares_with_the_list_of_the_release(good: str, store: Path) -> None:
    (verified,) = d4c.open("places", vintage="2021", mirrors=good).verify()
    assert (verified.sha256, verified.size) == (sha256(published_file(store)), published_file(store).stat().st_size)
    assert len(d4c.open("parted", mirrors=good).verify()) == 4


def test_what_is_in_the_cache_is_not_fetched_again(mirror: Start) -> None:
    url, handler = mirror("good")
    assert d4c.open("places", vintage="2021", mirrors=url).arrow().num_rows == 4
    handler.paths.clear()
    assert d4c.open("places", vintage="2021", mirrors=url).arrow().num_rows == 4
    assert handler.paths == ["/catalogue/stac.parquet"]


def test_without_any_mirror_the_copy_of_the_catalogue_is_used_and_said(mirror: Start, store: Path) -> None:
    with pytest.MonkeyPatch.context():
        url, _ = mirror("good")
        d4c.open("rates", mirrors=url).path()
    gone = store.with_name("gone")
    shutil.copytree(store, gone)
    assert d4c.open("rates", mirrors=gone).arrow().num_rows == 2
    shutil.rmtree(gone)
    with pytest.warns(d4c.D4CWarning, match=r"No mirror delivered the catalogue.*copy of 20.*withdrawals since"):
        assert d4c.open("rates", mirrors=gone).arrow().num_rows == 2
    with pytest.raises(d4c.UnreachableError, match=r"No mirror delivered the catalogue: http://127.0.0.1:9"):
        d4c.open("rates", mirrors="http://127.0.0.1:9", timeout=1)


def test_citations_are_the_catalogues_own_and_a_test_doi_is_said(good: str, store: Path, tmp_path: Path) -> None:
    release = d4c.open("places", vintage="2021", mirrors=good)
    with pytest.warns(d4c.D4CWarning, match=r"10\.5072/\S+ is a test DOI, which does not resolve"):
        assert "Places, 2021 (Version 0.1.1-beta) [Data set]" in release.cite()
    with pytest.warns(d4c.D4CWarning, match=r"test DOI"):
        text = release.cite("bibtex")
    assert text == (store / "catalogue/places/2021/0.1.1-beta/citation.bib").read_text("utf-8")
    with pytest.warns(d4c.D4CWarning), pytest.raises(d4c.MissingError, match=r"There are: text, bibtex, ris, csl, cff"):
        release.cite("apa")
    # A mirror that cites another version.
    shutil.copytree(store / "catalogue", tmp_path / "other" / "catalogue")
    wrong = tmp_path / "other/catalogue/places/2021/0.1.1-beta/citation.bib"
    wrong.chmod(0o644)
    wrong.unlink()
    shutil.copy(store / "catalogue/places/2021/0.1.0-beta/citation.bib", wrong)
    misleading = d4c.open("places", vintage="2021", mirrors=tmp_path / "other")
    with pytest.warns(d4c.D4CWarning), pytest.raises(d4c.UnreachableError, match=r"does not cite 0.1.1-beta"):
        misleading.cite("bibtex")


def test_the_changes_of_a_first_release_are_refused_with_a_sentence(good: str) -> None:
    with pytest.raises(d4c.MissingError, match=r"rates 2021 v0.1.0-beta is the first release of its vintage"):
        d4c.open("rates", mirrors=good).changes()


@pytest.mark.parametrize("kind", ["column", "major"])
def test_a_catalogue_of_a_newer_form_is_named(store: Path, tmp_path: Path, kind: str) -> None:
    def newer(table: Any) -> Any:
        if kind == "column":
            renamed = table.rename_columns([{"data_urls": "data"}.get(name, name) for name in table.column_names])
            return renamed.replace_schema_metadata(table.schema.metadata)
        return table.replace_schema_metadata({**table.schema.metadata, b"stac-geoparquet": b'{"version": "2.0.0"}'})

    folder = changed_catalogue(tmp_path / "newer", store, newer)
    with pytest.raises(d4c.FormError, match=r"than this client reads|this client reads 1.*Install a newer d4c-client"):
        d4c.open("places", vintage="2021", mirrors=folder)


def test_names_that_lead_out_of_the_cache_are_refused(store: Path, tmp_path: Path) -> None:
    def hostile(table: Any) -> Any:
        index = table.schema.get_field_index("version")
        versions = ["../../1.0.0" if text == "0.1.1-beta" else text for text in table["version"].to_pylist()]
        return table.set_column(index, table.schema.field(index), [versions])

    folder = changed_catalogue(tmp_path / "hostile", store, hostile)
    with pytest.raises(d4c.FormError, match=r"1.0.0"):
        d4c.open("places", vintage="2021", mirrors=folder)


def test_four_processes_fetch_one_file_at_once(good: str, own_cache: Path) -> None:
    code = f"import d4c; print(d4c.open('places', vintage='2021', mirrors='{good}').arrow().num_rows)"
    command = [sys.executable, "-W", "error", "-c", code]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, env=dict(os.environ)) for _ in range(4)]
    assert [process.communicate()[0].strip() for process in running] == [b"4"] * 4
    assert len(list(own_cache.glob("files/*/*/*"))) == 1
    assert not list(own_cache.glob("**/.*.part"))


def test_the_client_imports_neither_pipeline_nor_dagster() -> None:
    code = "import d4c, sys; print([name for name in sys.modules if name.startswith(('d4c_pipeline', 'dagster'))])"
    with warnings.catch_warnings():
        assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_changes_are_the_rows_of_the_releases_own_file(store: Path) -> None:
    changes = d4c.open("places", vintage="2021", mirrors=store).changes()
    assert changes.project("kind, columns, key.id").fetchall() == [("modified", ["population"], 3)]
