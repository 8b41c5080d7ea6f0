"""A layer by object id over real features: pages, halves, resumption, fields and domains, the final count."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas
import pytest

from d4c_pipeline.model.errors import NeedsPersonError, SourceError, TransientError
from d4c_pipeline.model.release import NativeFile
from d4c_pipeline.model.sources import ArcGisSource
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.sources.arcgis import ArcGisLayer
from d4c_pipeline.transport.patience import Patience
from d4c_pipeline_tests.support import origin_server as o
from d4c_pipeline_tests.support.arrivals import path_of, retained, sha256_of
from d4c_pipeline_tests.support.feature_server import LAYER, FeatureServer, as_json, ridings, stall

QUICK = Patience(attempts=2, first_wait=0.01, longest_wait=0.05, connect_timeout=2, read_timeout=0.5)
DAY = Vintage.parse("2024-05-04")


@pytest.fixture(scope="module")
def districts(fixtures: Path) -> Any:
    return ridings(fixtures)


@pytest.fixture
def server(districts: Any) -> FeatureServer:
    return FeatureServer(districts)


def layer(origin: o.Origin, vintages: tuple[Vintage, ...] | None = None, **declared: Any) -> ArcGisLayer:
    source = ArcGisSource(kind="arcgis", layer=f"{origin.url}{LAYER}", **declared)
    return ArcGisLayer(source, origins={}, vintages=vintages, patience=QUICK, pause=lambda _: None)


def test_all_rows_come_in_the_order_of_their_ids_and_gdal_reads_them(
    server: FeatureServer, districts: Any, tmp_path: Path
) -> None:
    server.fields[1]["domain"] = {"type": "codedValue", "name": "d", "codedValues": [{"name": "x", "code": "1"}]}
    with server.serving() as origin:
        (got,) = layer(origin, page_size=10).fetch(DAY, tmp_path)
        assert [len(page) for page in server.pages] == [10, 10, 10, 10, 9]
    assert got.name == "PED 2024.json"
    document = as_json(path_of(got))
    assert [row["attributes"]["OBJECTID"] for row in document["features"]] == list(range(1, 147, 3))
    assert document["fields"] == server.fields, "types and domains are kept"
    read = geopandas.read_file(path_of(got))
    assert read.crs.to_epsg() == 2953
    assert len(read) == 49
    assert abs(read.area.sum() - districts.area.sum()) < 1
    names = next(name for name in districts.columns if name.startswith("PED_Name"))
    assert sorted(read[names]) == sorted(districts[names])
    assert [path.name for path in tmp_path.iterdir()] == ["PED 2024.json"]


def test_the_same_rows_make_the_same_bytes_whatever_the_pages(server: FeatureServer, tmp_path: Path) -> None:
    with server.serving() as origin:
        (one,) = layer(origin, page_size=7).fetch(DAY, tmp_path / "one")
        (other,) = layer(origin).fetch(DAY, tmp_path / "other")
        assert sha256_of(one) == sha256_of(other)
        (again,) = layer(origin).fetch(DAY, tmp_path / "again", [retained(one)])
        assert isinstance(again, NativeFile)


def test_the_limit_of_the_server_is_kept(districts: Any, tmp_path: Path) -> None:
    server = FeatureServer(districts, most_rows=20)
    with server.serving() as origin:
        layer(origin, page_size=1000).fetch(DAY, tmp_path)
        assert [len(page) for page in server.pages] == [20, 20, 9]


@pytest.mark.parametrize("fault", ["error in a 200", "time-out", "5xx", "page", "cut"])
def test_a_page_that_is_too_much_is_halved(server: FeatureServer, tmp_path: Path, fault: str) -> None:
    def too_much(handler: o.Handler, ids: list[int]) -> bool:
        if len(ids) <= 6:
            return False
        if fault == "error in a 200":
            return True
        if fault == "time-out":
            stall(0.8)
        elif fault == "5xx":
            handler.reply(503, b"overloaded")
        elif fault == "page":
            handler.reply(502, o.PAGE, Content_Type="text/html")
        else:
            handler.start(200, Content_Length="100000", Content_Type="application/json")
            handler.send(b'{"features": [')
        handler.close_connection = True
        raise ConnectionAbortedError

    server.fault = too_much
    with server.serving() as origin:
        (got,) = layer(origin, page_size=20).fetch(DAY, tmp_path)
    assert [len(page) for page in server.pages][:4] == [20, 10, 5, 5]
    assert len(as_json(path_of(got))["features"]) == 49


def test_one_row_that_is_hard_does_not_slow_down_the_rest(server: FeatureServer, tmp_path: Path) -> None:
    hard: list[int] = []

    def fault(_: o.Handler, ids: list[int]) -> bool:
        hard.append(len(ids))
        return 13 in ids and len(ids) > 1

    server.fault = fault
    with server.serving() as origin:
        layer(origin, page_size=16).fetch(DAY, tmp_path)
    assert len(server.pages) < 30
    assert max(len(page) for page in server.pages[12:]) > 1


def test_a_row_that_can_not_be_had_ends_it_and_the_next_run_goes_on(server: FeatureServer, tmp_path: Path) -> None:
    server.fault = lambda _, ids: 100 in ids
    with server.serving() as origin:
        with pytest.raises(TransientError, match="answered 500"):
            layer(origin, page_size=8).fetch(DAY, tmp_path)
        had = {identifier for page in server.pages for identifier in page if identifier < 100}
        assert had == set(range(1, 100, 3))
        server.pages.clear()
        server.fault = lambda *_: False
        (got,) = layer(origin, page_size=8).fetch(DAY, tmp_path)
        assert min(identifier for page in server.pages for identifier in page) == 100, "what is here is not asked again"
    assert len(as_json(path_of(got))["features"]) == 49


def test_pages_of_an_older_state_are_not_mixed_in(server: FeatureServer, tmp_path: Path) -> None:
    server.fault = lambda _, ids: 100 in ids
    with server.serving() as origin:
        with pytest.raises(TransientError):
            layer(origin, page_size=8).fetch(DAY, tmp_path)
        server.fault = lambda *_: False
        server.edited = 1_714_866_000_000
        server.pages.clear()
        layer(origin, page_size=8).fetch(DAY, tmp_path)
        assert server.pages[0][0] == 1


@pytest.mark.parametrize("how", ["deleted", "added", "edited"])
def test_an_edit_under_way_is_noticed(server: FeatureServer, tmp_path: Path, how: str) -> None:
    def edit(_: o.Handler, ids: list[int]) -> bool:
        if 1 in ids and len(server.rows) == 49:
            if how == "deleted":
                del server.rows[146 - 1]
            elif how == "added":
                server.rows[1000] = {**server.rows[1], "attributes": {**server.rows[1]["attributes"], "OBJECTID": 1000}}
            else:
                server.edited = 1_714_866_000_000
        return False

    server.fault = edit
    with server.serving() as origin, pytest.raises(TransientError, match=r"was edited|instead of 1"):
        layer(origin, page_size=16).fetch(DAY, tmp_path)


def test_the_vintage_is_the_day_of_the_last_edit(server: FeatureServer, tmp_path: Path) -> None:
    with server.serving() as origin:
        assert layer(origin).discover() == (DAY,)
        before = layer(origin).observe(DAY)
        server.rows.pop(1)
        assert layer(origin).observe(DAY) != before
        with pytest.raises(SourceError, match="serves vintage 2024-05-04 now"):
            layer(origin).fetch(Vintage.parse("2024-05-03"), tmp_path)
        server.edited = None
        with pytest.raises(SourceError, match="states no time of its last edit"):
            layer(origin).discover()
        assert layer(origin, (Vintage.parse("2024"),)).fetch(Vintage.parse("2024"), tmp_path)


def test_an_empty_layer_is_refused(server: FeatureServer, tmp_path: Path) -> None:
    server.rows.clear()
    with server.serving() as origin, pytest.raises(SourceError, match="has no rows"):
        layer(origin).fetch(DAY, tmp_path)


def test_a_token_is_asked_of_a_person(server: FeatureServer) -> None:
    with server.serving() as origin:
        origin.documents[LAYER] = {"error": {"code": 499, "message": "Token Required", "details": []}}
        with pytest.raises(NeedsPersonError, match="requires a token"):
            layer(origin).discover()


def test_a_service_is_no_layer(server: FeatureServer) -> None:
    with server.serving() as origin:
        origin.documents[LAYER] = {"serviceDescription": "", "layers": []}
        with pytest.raises(SourceError, match="not a layer or table"):
            layer(origin).discover()
