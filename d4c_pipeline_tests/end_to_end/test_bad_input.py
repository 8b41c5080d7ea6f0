"""Bad input: one clear sentence, exit code 1, nothing half-published, the earlier release untouched.

And the next run goes on as soon as the cause is gone.
"""

from __future__ import annotations

import io
import re
import socket
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from importlib.resources import files
from pathlib import Path

import pytest
import torf

from d4c_pipeline_tests.support.commands import D4C
from d4c_pipeline_tests.support.inspection import drafts, published, records, states
from d4c_pipeline_tests.support.samples import DAY, HOST, PLACES, PLACES_URL, Origin, corrected, define, geojson

LATER = DAY + timedelta(days=1)
FIRST = [("2021", "0.1.0-beta", "published")]


@contextmanager
def nothing_published(d4c: D4C) -> Iterator[None]:
    """What readers see, and what the archive holds, is the same afterwards, byte for byte."""
    before = published(d4c.home)
    assert len(before) > 10
    yield
    assert published(d4c.home) == before
    assert states(d4c.home) == FIRST
    assert drafts(d4c.home) == []


def goes_on(d4c: D4C, origin: Origin) -> None:
    """With correct data, corrected at the source as well, the next run publishes the next version."""
    origin.put(PLACES_URL, corrected(), LATER + timedelta(days=1))
    row = d4c.ok("publish", "places")
    assert (row["version"], row["outcome"]) == ("0.1.1-beta", "published")
    assert len(records(d4c.home)) == 2


def shapefile(*, without: str) -> bytes:
    """Countries of Natural Earth, out of pyogrio's wheel, without one of the parts."""
    folder = files("pyogrio") / "tests" / "fixtures" / "naturalearth_lowres"
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for part in folder.iterdir():
            if not part.name.endswith(without):
                archive.writestr(part.name, part.read_bytes())
    return packed.getvalue()


def unserved(sentence: str) -> str:
    """A sentence without its remark on where a rewritten address really leads."""
    return re.sub(r" \(served by 127\.0\.0\.1:\d+\)", "", sentence)


# What the source does wrong, and how the sentence about it begins.
FAULTS: dict[str, tuple[Callable[[Origin], object], str]] = {
    "404": (lambda origin: origin.remove(PLACES_URL), f"{PLACES_URL} does not exist (the server answered 404)."),
    "403": (
        lambda origin: origin.codes.update({"/places_2021.geojson": 403}),
        f"{PLACES_URL} refuses access (the server answered 403).",
    ),
    "a web page": (
        lambda origin: origin.put(PLACES_URL, b"<!DOCTYPE html><html><body>Moved</body></html>", LATER),
        f"{PLACES_URL} sent a web page instead of data.",
    ),
    "nothing": (lambda origin: origin.put(PLACES_URL, b"", LATER), f"{PLACES_URL} sent an empty file."),
    "half of a GeoJSON": (
        lambda origin: origin.put(PLACES_URL, geojson()[:300], LATER),
        "places_2021.geojson can't be read",
    ),
    "a truncated download": (
        lambda origin: (origin.put(PLACES_URL, corrected(), LATER), origin.truncated.add("/places_2021.geojson")),
        f"The connection for {PLACES_URL} broke (",
    ),
}


def test_a_source_that_delivers_something_else(released: D4C, origin: Origin) -> None:
    # One fault after the other on one home, as an operator meets them: each is told, none leaves a trace.
    with nothing_published(released):
        for fault, (spoil, sentence) in FAULTS.items():
            origin.put(PLACES_URL, geojson(), LATER)
            spoil(origin)
            told = released("publish", "places", "--vintage", "2021").sentence
            assert unserved(told).startswith(sentence), fault
            remedy = "; then run 'd4c publish places --vintage 2021' again: it continues from there."
            assert told.endswith(remedy), fault
            origin.truncated.clear()
            origin.codes.clear()
    goes_on(released, origin)


def test_an_archive_that_is_none_or_not_whole(d4c: D4C, origin: Origin, definitions: Path) -> None:
    define(
        definitions,
        "countries",
        vintages=["2018"],
        source={"kind": "http", "urls": [f"{HOST}/countries_2018.zip"]},
        processing={"kind": "vector", "key": ["name"]},
    )
    faults = [
        (b"ID,NAME\n1,not a zip\n", f"{HOST}/countries_2018.zip is not a zip."),
        (
            shapefile(without=".prj"),
            "naturalearth_lowres.shp does not say its coordinate reference system. Declare processing.crs;",
        ),
        (shapefile(without=".shp"), "No file is of a known kind for a vector among naturalearth_lowres.cpg"),
    ]
    for hours, (content, sentence) in enumerate(faults):
        origin.put(f"{HOST}/countries_2018.zip", content, DAY + timedelta(hours=hours))
        assert unserved(d4c("publish", "countries").sentence).startswith(sentence)
        assert states(d4c.home) == []
        assert published(d4c.home) == {}
    origin.put(f"{HOST}/countries_2018.zip", shapefile(without=".none"), LATER)
    row = d4c.ok("publish", "countries")
    assert (row["version"], row["rows"]) == ("0.1.0-beta", 177)


# SQL that can't be answered, and a word of what is said about it.
WRONG_SQL = {
    "SELECT id, nam, geometry FROM source": '"nam" not found',
    "SELECT id, name FROM source": "geometry",
    "SELECT * FROM source; DROP TABLE source": "not a SELECT",
    "SELECT *, now() AS at FROM source": "whose result changes between runs",
    "SELECT * FROM source WHERE id > 99": "returns no rows",
    "SELEC * FROM source": "not a SELECT",
}


def test_sql_that_fails(released: D4C, origin: Origin, definitions: Path) -> None:
    with nothing_published(released):
        for sql, word in WRONG_SQL.items():
            define(definitions, sql=sql)
            told = released("publish", "places").sentence
            assert "transform.sql" in told
            assert word in told
    define(definitions)
    (definitions / "places" / "transform.sql").unlink()
    goes_on(released, origin)


def test_a_key_that_identifies_nothing_stops_before_anything_is_reserved(
    released: D4C, origin: Origin, definitions: Path
) -> None:
    twice = [*PLACES, (4, "Vancouver (again)", 1, -123.0, 49.0)]
    origin.put(PLACES_URL, geojson(twice), LATER)
    with nothing_published(released):
        told = released("publish", "places").sentence
        assert told.startswith(
            "The check keys_identify_rows of places/processed failed: "
            "expected no null and no duplicate in id, found 0 rows with a null key, 1 duplicate key. "
            "Declare the columns that identify a row under processing.key, or none; then run"
        )
    # The check that blocks is bound to the bytes: the steps behind it refuse them as well.
    goes_on(released, origin)


def test_a_foreign_program_on_our_port_costs_the_seed_and_nothing_else(
    d4c: D4C, origin: Origin, definitions: Path
) -> None:
    define(definitions)
    origin.put(PLACES_URL, geojson())
    with socket.create_server(("127.0.0.1", d4c.port)):
        row = d4c.ok("publish", "places")
    assert row["state"] == "published"
    torrent = torf.Torrent.read(f"{row['path']}.torrent")
    assert [str(seed) for seed in torrent.webseeds] == []
    # Once the port is free again, the next version has its seeds.
    origin.put(PLACES_URL, corrected(), LATER)
    after = d4c.ok("publish", "places")
    assert after["version"] == "0.1.1-beta"
    assert str(torf.Torrent.read(f"{after['path']}.torrent").webseeds[0]) == after["url"]


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ({"D4C_PORT": "eighty"}, "D4C_PORT is 'eighty'. Write a port number from 1 to 65535."),
        ({"D4C_ORIGIN_MAP": "https://a.ca"}, "D4C_ORIGIN_MAP has 'https://a.ca'. Write origin=origin pairs"),
        ({"D4C_DEFS": "/nonexistent/datasets"}, "The definitions folder /nonexistent/datasets does not exist."),
        ({"D4C_LEDGER_URL": "nonsense"}, "The ledger's address can't be used (Could not parse"),
        ({"D4C_LEDGER_URL": "oracle://ledger"}, "The ledger's address can't be used (No module named"),
    ],
)
def test_settings_that_make_no_sense(d4c: D4C, setting: dict[str, str], sentence: str) -> None:
    assert d4c("status", env=setting).sentence.startswith(sentence)


def test_names_that_do_not_exist(released: D4C, definitions: Path) -> None:
    with nothing_published(released):
        assert released("publish", "place").sentence.startswith("There is no dataset 'place'. Did you mean places")
        assert released("releases", "plaecs").sentence.startswith("There is no dataset 'plaecs'. Did you mean places")
        assert released("publish", "places", "--vintage", "2022").sentence == (
            "Dataset places has no vintage 2022. Choose one of 2021."
        )
        assert released("publish", "places", "--vintage", "spring").sentence.startswith("'spring' is not a vintage.")
        assert released("publish", "places", "--bump", "huge").sentence == (
            "'huge' is not a bump. Write none, patch, minor or major."
        )
    assert released("publish").code == 2


def test_a_wrong_definition_is_told_with_file_line_and_field(d4c: D4C, definitions: Path) -> None:
    file = define(
        definitions,
        title={"en": "Places"},
        license="no-such-licence",
        vintages=["2021", "sometime"],
        source={"kind": "http", "urls": ["ftp://example.ca/x"], "colour": "red"},
        processing={"kind": "vector", "key": ["id"], "longitude": "x"},
    )
    lines = file.read_text("utf-8").splitlines()

    def line_of(text: str) -> int:
        return next(number for number, line in enumerate(lines, 1) if text in line)

    told = d4c("datasets").sentence
    places = [
        (line_of("en: Places"), "title.fr"),
        (line_of("no-such-licence"), "license"),
        (line_of("sometime"), "vintages"),
        (line_of("ftp://"), "source.urls"),
        (line_of("colour"), "source.colour"),
        (line_of("kind: vector"), "processing"),
    ]
    for line, field in places:
        assert f"{file}:{line}: {field}" in told, (line, field, told)
    # Any command that reads definitions says the same, and none goes on without the wrong one.
    assert d4c("publish", "natural_earth_countries").sentence == told


def test_other_ways_of_being_wrong_in_yaml(d4c: D4C, definitions: Path) -> None:
    file = define(definitions)
    good = file.read_text("utf-8")

    def told(text: str) -> str:
        file.write_text(text, "utf-8")
        return d4c("datasets").sentence

    assert told(good.replace("attributes:", "attributes:\n\t- x")).startswith(f"{file} is not YAML:")
    assert told(good.replace("id: places", "id: plaecs")).startswith(
        f"{file}:3: id: 'plaecs' is not the folder's name."
    )
    assert told(good.replace("PublishedDataset", "PublishedDatset")).startswith(f"{file}:1: type:")
    assert told("type: d4c_pipeline.PublishedDataset\n").startswith(f"{file}:1: ")
    assert told("- a list\n").startswith(f"{file}:1: type: is missing.")
    file.write_bytes(good.replace("Lieux", "Québec").encode("latin-1"))
    assert d4c("datasets").sentence.startswith(f"{file} can't be read:")
    file.write_text(good, "utf-8")
    other = define(definitions / "zone")
    assert d4c("datasets").sentence.startswith(f"{other}: the id places is declared in {file.parent} as well.")


def test_debug_shows_the_way_to_the_error(released: D4C, origin: Origin) -> None:
    origin.remove(PLACES_URL)
    done = released("publish", "places", "--debug")
    assert done.code == 1
    assert "Traceback (most recent call last)" in done.stderr
    assert "sources/http.py" in done.stderr
