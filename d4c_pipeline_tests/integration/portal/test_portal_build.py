"""The portal of a real home: pages for every release, only changed pages written, gone pages removed; its code runs.

One file, so that one process of the tests publishes the home once for all of them.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import sqlite3
import subprocess
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import rdflib
from lxml import html
from rdflib import RDF, SDO

from d4c_pipeline.chain.portal import build
from d4c_pipeline.ledger.declarations import Declarations
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.fixity import CopyKind, CopyState, Verification
from d4c_pipeline.portal.bundle import Bundle
from d4c_pipeline.portal.pages import Pages
from d4c_pipeline.portal.state import NAME
from d4c_pipeline.tables.duckdb_engine import connect
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline_tests.support.html_validate import html_faults
from d4c_pipeline_tests.support.portal_home import WIDE, Portal

VERSIONS = ("0.1.0-beta", "0.1.1-beta")


def test_every_release_has_a_page_in_both_languages(portal: Portal) -> None:
    assert portal.built.left_out == ()
    for language in ("en", "fr"):
        for dataset in ("places", "measurements", "wide", "parts"):
            assert (portal.folder / language / "datasets" / dataset / "2021" / VERSIONS[0] / "index.html").is_file()
            assert (portal.folder / language / "datasets" / dataset / "index.html").is_file()
        assert (portal.folder / language / "datasets" / "places" / "2021" / VERSIONS[1] / "index.html").is_file()
    assert not list(portal.folder.rglob(".*.part"))


def test_every_link_inside_the_site_leads_to_a_file(portal: Portal) -> None:
    checked = 0
    for page in portal.folder.rglob("*.html"):
        document = html.document_fromstring(page.read_bytes())
        for link in document.xpath("//@href | //@src"):
            path = link.removeprefix(portal.url).partition("#")[0].partition("?")[0]
            if not path.startswith(("/en/", "/fr/", "/assets/")):
                continue
            target = portal.folder / path[1:]
            assert (target / "index.html" if path.endswith("/") else target).is_file(), (page, link)
            checked += 1
    assert checked > 400


@pytest.mark.skipif(not Bundle.read().is_built, reason="npm's registry can't be reached: there is no bundle either")
def test_html_validate_finds_nothing_and_finds_a_fault(portal: Portal, tmp_path: Path) -> None:
    bad = tmp_path / "bad.html"
    bad.write_text(portal.page("en/status").replace("<main", "<main><p><div></div></p", 1), "utf-8")
    found = html_faults([*sorted(portal.folder.rglob("*.html")), bad], tmp_path)
    assert found
    assert [fault for fault in found if not fault.startswith(str(bad))] == []


def test_json_ld_has_terms_of_schema_org_alone(portal: Portal) -> None:
    known = {str(term) for term in dir(SDO) if str(term).startswith(str(SDO))}
    assert len(known) > 2_000
    checked = 0
    for page in portal.folder.rglob("*.html"):
        for text in html.document_fromstring(page.read_bytes()).xpath("//script[@type='application/ld+json']/text()"):
            document = json.loads(text)
            assert document.pop("@context") == "https://schema.org/"
            graph = rdflib.Graph().parse(
                data=json.dumps({"@context": {"@vocab": str(SDO)}, **document}), format="json-ld"
            )
            terms = set(graph.predicates()) | set(graph.objects(None, RDF.type))
            assert {str(term) for term in terms} - known - {str(RDF.type)} == set(), page
            assert SDO.Dataset in terms
            checked += 1
    assert checked == 18  # five releases and four datasets in two languages


def test_links_to_the_store_lead_to_its_files(portal: Portal) -> None:
    document = html.document_fromstring(portal.page("fr/datasets/parts"))
    files = document.xpath("//*[@class='files']//@href")
    assert len([each for each in files if each.endswith(".parquet")]) == 3
    for link in files:
        address = link.removeprefix(f"{portal.url}/")
        assert (portal.settings.home / "store" / address).is_file(), link


def test_the_older_version_names_the_newer_one(portal: Portal) -> None:
    older, newer, dataset = (
        html.document_fromstring(portal.page(f"en/datasets/places{place}"))
        for place in (f"/2021/{VERSIONS[0]}", f"/2021/{VERSIONS[1]}", "")
    )
    assert older.xpath("//*[@class='notice']//@href") == [f"/en/datasets/places/2021/{VERSIONS[1]}/"]
    assert newer.xpath("//*[@class='notice']") == dataset.xpath("//*[@class='notice']") == []
    assert dataset.xpath("//*[@class='vers']/strong/text()") == [f"v{VERSIONS[1]}"]
    reasons = dataset.xpath("//*[@class='timeline']//li//li//text()")
    assert reasons == ["1 value of population changed (for example id = 3)"] or "population" in reasons[0]
    assert "data-latest" not in portal.page(f"en/datasets/places/2021/{VERSIONS[0]}")


def test_columns_have_histograms_and_frequent_values(portal: Portal) -> None:
    document = html.document_fromstring(portal.page("en/datasets/measurements"))
    rows = {row.xpath("./th/code/text()")[0]: row for row in document.xpath("//table[@class='columns']/tbody/tr")}
    assert len(rows["value"].xpath(".//*[@class='hist']/path")) == 1
    (path,) = rows["value"].xpath(".//*[@class='hist']/path/@d")
    assert path.count("M") == 20
    assert rows["kind"].xpath("string(.//*[@class='freq'])") == "a (1,667), b (1,667), c (1,666)"
    wide = html.document_fromstring(portal.page("en/datasets/wide"))
    assert len(wide.xpath("//table[@class='columns']/tbody/tr")) == WIDE


def test_a_picture_is_small_and_only_where_there_is_geometry(portal: Portal) -> None:
    pictures = list((portal.folder / "assets" / "pictures").iterdir())
    assert len(pictures) == 2  # of the two versions of the places
    assert all(0 < picture.stat().st_size <= 15_000 for picture in pictures)
    documents = json.loads((portal.folder / "en" / "documents.json").read_text("utf-8"))
    shown = {entry[0]: entry[11] for entry in documents["datasets"]}
    assert [name for name, picture in shown.items() if picture] == ["places"]


def test_a_build_without_changes_writes_nothing(portal: Portal) -> None:
    times = {path: path.stat().st_mtime_ns for path in portal.folder.rglob("*.html")}
    again = portal.build()
    assert (again.written, again.removed, again.pages) == (0, 0, portal.built.pages)
    assert {path: path.stat().st_mtime_ns for path in portal.folder.rglob("*.html")} == times


def test_a_changed_dataset_renders_the_lists_that_show_it_and_reads_its_declaration_alone(
    portal: Portal, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    of_many = Declarations.of_many

    def noted(self: Declarations, datasets: Iterable[str]) -> dict[str, Dataset]:
        asked.extend(names := list(datasets))
        return of_many(self, names)

    monkeypatch.setattr(Declarations, "of_many", noted)

    def built() -> int:
        with Deployment.open(portal.settings) as opened:
            return build(opened).written  # with the ledger's declarations

    built()
    asked.clear()
    with sqlite3.connect(portal.folder / NAME) as state:
        state.execute("""UPDATE dataset SET mark = 'other', card = json_set(card, '$.rows', 7) WHERE id = 'places'""")
        state.execute("UPDATE page SET fingerprint = 'other' WHERE file = 'fr/torrents/index.html'")
        state.execute("UPDATE declaration SET mark = 'other' WHERE id = 'wide'")
    rendered: list[str] = []
    render = Pages._page

    def page(self: Pages, template: str, *rest: object, **view: object) -> object:
        rendered.append(template)
        return render(self, template, *rest, **view)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(Pages, "_page", page)
    assert built() == 1
    assert sorted(set(asked)) == ["places", "wide"]
    assert rendered.count("torrents.html") == 1
    assert "datasets.html" not in rendered  # the card of places became again what the list shows already


def test_a_lost_page_and_a_changed_dataset_are_built_again(portal: Portal, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = portal.folder / "fr" / "datasets" / "measurements" / "index.html"
    before = lost.read_bytes()
    lost.unlink()
    rendered: list[str] = []
    render = Pages.release

    def noted(self: Pages, facts: object, about: object = None) -> object:
        rendered.append(facts.published.dataset)  # pyright: ignore[reportAttributeAccessIssue]
        yield from render(self, facts, about)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(Pages, "release", noted)
    with sqlite3.connect(portal.folder / NAME) as state:
        state.execute("UPDATE dataset SET mark = 'other' WHERE id = 'measurements'")
    again = portal.build()
    assert rendered == ["measurements"]
    assert again.written == 2  # one view in both languages
    assert lost.read_bytes() == before


def test_the_day_after_which_new_data_is_due_changes_the_page_of_the_dataset_only(
    portal: Portal, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = "//dl[@class='rhythm']//dd/text()[normalize-space()]"

    def shown() -> list[str]:
        return [text.strip() for text in html.document_fromstring(portal.page("en/datasets/places")).xpath(state)]

    assert shown() == ["every 50 years", "current; next data expected after December 31, 2071"]
    with monkeypatch.context() as later:
        later.setattr("d4c_pipeline.chain.portal_datasets.now", lambda: datetime(2072, 1, 1, tzinfo=UTC))
        assert (portal.build().written, shown()[1]) == (2, "new data expected since December 31, 2071")
        assert portal.build().written == 0
    assert (portal.build().written, shown()[1][:7]) == (2, "current")


def test_a_copy_at_the_archive_has_the_day_of_its_last_audit(portal: Portal, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = "//section[@id='provenance']//th[text()='local']/following-sibling::td/text()"

    def shown() -> list[str]:
        return html.document_fromstring(portal.page("en/datasets/measurements")).xpath(rows)

    before = shown()
    with Deployment.open(portal.settings) as opened:
        fixity = opened.ledger.fixity
        kept = [copy for copy in fixity.expected("primary") if copy.kind is CopyKind.ARCHIVE]
        own = [copy for copy in kept if copy.dataset == "measurements"]
        with monkeypatch.context() as later:
            later.setattr("d4c_pipeline.ledger.fixity.now", lambda: datetime(2071, 5, 4, tzinfo=UTC))
            fixity.record([Verification(copy, CopyState.INTACT, read=True) for copy in own])
            portal.build()
            assert (before[0], shown()) == ("archive", ["archive", "May 4, 2071", "intact"])
            fixity.record([Verification(own[0], CopyState.DAMAGED, "1 byte instead of 2", read=True)])
            portal.build()
            assert shown() == ["archive", "May 4, 2071", "damaged or missing"]
        fixity.forget([copy.key for copy in own])
    assert (portal.build().written > 0, shown()) == (True, before)


def test_a_killed_build_continues(portal: Portal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    whole = {path.relative_to(portal.folder): path.read_bytes() for path in portal.folder.rglob("*.html")}
    target = tmp_path / "portal"
    from d4c_pipeline.chain import portal as step
    from d4c_pipeline.portal import site

    write = site.write_files
    left = 2

    def dying(files: Sequence[tuple[Path, bytes]]) -> None:
        nonlocal left
        if left == 0:
            write(files[:3])
            raise KeyboardInterrupt
        left -= 1
        write(files)

    monkeypatch.setattr(site, "_PAGES", 1)  # each dataset is written by itself
    monkeypatch.setattr(site, "write_files", dying)
    with Deployment.open(portal.settings) as opened:
        with pytest.raises(KeyboardInterrupt):
            step.build(opened, portal.datasets, target)
        assert not (target / "en" / "index.html").exists()  # home comes last
        monkeypatch.setattr(site, "write_files", write)
        rest = step.build(opened, portal.datasets, target)
    assert {path.relative_to(target): path.read_bytes() for path in target.rglob("*.html")} == whole
    assert rest.written < len(whole) - 4


def test_two_processes_write_the_same_bytes(portal: Portal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from d4c_pipeline.chain import portal as step

    monkeypatch.setattr(step, "_AT_ONCE", 2)
    target = tmp_path / "portal"
    with Deployment.open(portal.settings.model_copy(update={"threads": 2})) as opened:
        built = step.build(opened, portal.datasets, target)
        again = step.build(opened, portal.datasets, target)
    assert built.left_out == ()
    assert built.written == built.pages == again.pages
    assert again.written == 0
    assert _content(target) == _content(portal.folder)


def _content(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".state")
    }


def test_pages_of_a_dataset_that_is_gone_are_removed(portal: Portal) -> None:
    stray = portal.folder / "en" / "datasets" / "gone" / "index.html"
    stray.parent.mkdir()
    stray.write_text("old", "utf-8")
    with sqlite3.connect(portal.folder / NAME) as state:
        card = state.execute("SELECT card FROM dataset WHERE id = 'places'").fetchone()[0]
        state.execute("INSERT INTO dataset VALUES ('gone', 'x', ?)", [card])
        state.execute("INSERT INTO page VALUES ('en/datasets/gone/index.html', 'gone', 'x')")
    assert portal.build().removed == 1
    assert not stray.parent.exists()


def test_without_a_bundle_the_pages_have_all_but_scripts(portal: Portal, tmp_path: Path) -> None:
    from d4c_pipeline.chain.portal import build

    with Deployment.open(portal.settings) as opened:
        built = build(opened, portal.datasets, tmp_path / "plain", Bundle.read(tmp_path / "none"))
    assert not built.has_scripts
    page = html.document_fromstring((tmp_path / "plain" / "en" / "datasets" / "places" / "index.html").read_bytes())
    assert [script.get("src", "data").rpartition("/")[2].partition("-")[0] for script in page.xpath("//script")] == [
        "theme",
        "data",
    ]
    assert page.xpath("//*[@role='tabpanel' and @hidden]") == []  # nothing could show it
    (style,) = page.xpath("//link[@rel='stylesheet']/@href")
    assert (tmp_path / "plain" / style[1:]).stat().st_size > 10_000


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
@pytest.mark.parametrize(("dataset", "rows"), [("places", 4), ("measurements", 5_000), ("parts", 90)])
def test_python(portal: Portal, dataset: str, rows: int, form: str) -> None:
    pytest.importorskip("aiohttp")
    text = code(portal, dataset, "python", form)
    # In this process: an interpreter for each would take three seconds to import geopandas.
    names: dict[str, Any] = {}
    exec(compile(text, "snippet", "exec"), names)  # noqa: S102 - our own code
    assert len(names["data"]) == rows


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


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("dataset", "rows"), [("places", 4), ("parts", 90)])
def test_r(portal: Portal, tmp_path: Path, dataset: str, rows: int, form: str) -> None:
    """R's parser takes the code, and DuckDB its query; the R package duckdb is on no machine of ours."""
    text = code(portal, dataset, "r", form)
    (query,) = re.findall(r"dbGetQuery\(con, (.*)\)\n", text)
    with connect(extensions=("httpfs", "spatial")) as connection:
        assert len(connection.execute(json.loads(query)).fetchall()) == rows
    if shutil.which("Rscript"):
        script = tmp_path / "snippet.R"
        script.write_text(text, "utf-8")
        parse = f"cat(length(parse({json.dumps(str(script))})))"
        done = subprocess.run(["Rscript", "-e", parse], capture_output=True, text=True, check=True)
        assert done.stdout == "5"


def test_gdal(portal: Portal) -> None:
    """The command runs where GDAL has its Parquet driver; those of Debian and of the wheel pyogrio have none."""
    programs = shutil.which("ogrinfo")
    formats = subprocess.run([programs, "--formats"], capture_output=True, text=True, check=True) if programs else None
    for form in FORMS:
        text = code(portal, "places", "gdal", form)
        (line,) = [line for line in text.splitlines() if line.startswith("ogrinfo")]
        address = shlex.split(line)[-1].removeprefix("/vsicurl/")
        assert httpx.get(address, trust_env=False).content[:4] == b"PAR1"
        if formats and "Parquet" in formats.stdout:
            done = subprocess.run(["bash", "-euc", text], capture_output=True, text=True, check=True)
            assert "Feature Count: 4" in done.stdout
