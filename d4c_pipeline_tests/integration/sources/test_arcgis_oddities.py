"""ArcGIS servers that can't count, take no POST, cap or repeat object ids, have none, draw curves: by made layers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from d4c_pipeline.model.errors import D4CError, SourceError, TransientError
from d4c_pipeline.model.sources import ArcGisSource
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.sources.arcgis import ArcGisLayer
from d4c_pipeline.transport.patience import Patience
from d4c_pipeline_tests.support import origin_server as o
from d4c_pipeline_tests.support.arrivals import path_of
from d4c_pipeline_tests.support.feature_server import LAYER, as_json

QUICK = Patience(attempts=2, first_wait=0.01, longest_wait=0.05, connect_timeout=2, read_timeout=2)
V2024 = Vintage.parse("2024")
Document = dict[str, Any]
FAILED = {"error": {"code": 400, "message": "Unable to complete operation.", "details": ["Unable to complete Query."]}}


class Server:
    """A layer of points `rows`; `faults` answer in the place of a question's answer, by its name."""

    def __init__(self, ids: list[int], *, most: int = 1000, id_field: str | None = "OBJECTID", **more: Any) -> None:
        self.rows: list[Document] = [
            {"attributes": {"OBJECTID": each, "n": at}, "geometry": {"x": at, "y": 1}} for at, each in enumerate(ids)
        ]
        self.most, self.id_field, self.more = most, id_field, more
        self.faults: dict[str, Callable[[o.Handler, Document], Any]] = {}
        self.asked: list[Document] = []

    def layer(self, handler: o.Handler) -> Any:
        if "layer" in self.faults:
            return self.faults["layer"](handler, {})
        kind = "esriFieldTypeInteger" if self.id_field is None else "esriFieldTypeOID"
        fields = [{"name": "OBJECTID", "type": kind}, {"name": "n", "type": "esriFieldTypeInteger"}]
        told = {"name": "Parks", "objectIdField": self.id_field, "fields": fields, "maxRecordCount": self.most}
        return {**told, "geometryType": "esriGeometryPoint", **self.more}

    def query(self, handler: o.Handler) -> Any:
        asked = o.parameters(handler)
        self.asked.append({**asked, "method": handler.command})
        kind = "count" if "returnCountOnly" in asked else "ids" if "returnIdsOnly" in asked else "page"
        if kind in self.faults:
            return self.faults[kind](handler, asked)
        if kind == "count":
            return {"count": len(self.rows)}
        if kind == "ids":
            above = int(asked["where"].rpartition("> ")[2]) if "> " in asked["where"] else -1
            return {"objectIds": [i for row in self.rows if (i := row["attributes"]["OBJECTID"]) > above]}
        return self.page(asked)

    def page(self, asked: Document) -> Document:
        wanted = None if "objectIds" not in asked else set(map(int, asked["objectIds"].split(",")))
        found = [row for row in self.rows if wanted is None or row["attributes"]["OBJECTID"] in wanted]
        found = found[int(asked.get("resultOffset", 0)) :]
        more = {"exceededTransferLimit": True} if len(found) > self.most else {}
        return {"spatialReference": {"wkid": 4326}, "features": found[: self.most], **more}

    @contextmanager
    def serving(self) -> Iterator[o.Origin]:
        with o.serving(o.Origin(o.is_gone, documents={LAYER: self.layer, f"{LAYER}/query": self.query})) as origin:
            yield origin

    def fetch(self, into: Path, **declared: Any) -> list[Document]:
        with self.serving() as origin:
            source = ArcGisSource(kind="arcgis", layer=f"{origin.url}{LAYER}", **declared)
            layer = ArcGisLayer(source, origins={}, vintages=(V2024,), patience=QUICK, pause=lambda _: None)
            layer.observe(V2024)
            return as_json(path_of(layer.fetch(V2024, into)[0]))["features"]

    def refusal(self, into: Path, **declared: Any) -> D4CError:
        with pytest.raises(D4CError) as caught:
            self.fetch(into, **declared)
        assert caught.value.remedy
        return caught.value


def numbers(rows: list[Document]) -> list[int]:
    return [row["attributes"]["n"] for row in rows]


@pytest.mark.parametrize("answer", [FAILED, {"features": []}, {"count": None}])
def test_a_server_that_can_not_count_is_asked_for_its_ids_twice(tmp_path: Path, answer: Document) -> None:
    server = Server([1, 4, 7], most=2)
    server.faults["count"] = lambda *_: answer
    assert numbers(server.fetch(tmp_path)) == [0, 1, 2]
    listings: list[int] = []

    def shrinking(_: o.Handler, asked: Document) -> Document:
        listings.append(1)
        return {"objectIds": [] if ">" in asked["where"] else [1, 4, 7] if len(listings) < 5 else [1, 4]}

    server.faults["ids"] = shrinking
    assert "edited while it was fetched (3 rows before, 2 after)" in server.refusal(tmp_path / "other").cause


@pytest.mark.parametrize("code", [403, 405, 404, 411, 200])
def test_a_server_that_blocks_post_is_asked_by_get_in_short_addresses(tmp_path: Path, code: int) -> None:
    server = Server([10_000_000 + each for each in range(300)])

    def blocked(handler: o.Handler, asked: Document) -> Any:
        if handler.command == "POST":
            handler.reply(code, o.PAGE, Content_Type="text/html")
            return None
        return normal(handler, asked)

    def normal(handler: o.Handler, _: Document) -> Any:
        server.faults.pop("layer")
        try:
            return server.layer(handler)
        finally:
            server.faults["layer"] = blocked

    server.faults["layer"] = blocked
    assert numbers(server.fetch(tmp_path)) == list(range(300))
    assert {each["method"] for each in server.asked} == {"GET"}
    assert max(len(each.get("objectIds", "")) for each in server.asked) <= 1500


def test_the_servers_own_words_are_told(tmp_path: Path) -> None:
    server = Server([1])
    server.faults["ids"] = lambda *_: FAILED
    assert "(Unable to complete operation.; Unable to complete Query.)" in server.refusal(tmp_path).cause
    server.faults = {"page": lambda *_: {"error": {"code": 400, "message": "", "details": "<b>Bad</b> field"}}}
    assert "its error 400: Bad field" in server.refusal(tmp_path).cause
    server.faults = {"layer": lambda *_: {"status": "error", "messages": ["Service not started"]}}
    refusal = server.refusal(tmp_path)
    assert isinstance(refusal, TransientError)
    assert "Service not started" in refusal.cause
    server.faults = {"layer": lambda *_: {"error": {"code": 498, "message": "Invalid Token"}}}
    assert "requires a token (Invalid Token)" in server.refusal(tmp_path).cause


@pytest.mark.parametrize("counts", [4, 3, None])
def test_rows_of_one_object_id_all_come(tmp_path: Path, counts: int | None) -> None:
    server = Server([1, 2, 2, 3], most=3)
    server.faults["count"] = lambda *_: {"count": counts}
    assert numbers(server.fetch(tmp_path)) == [0, 1, 2, 3]


def test_numbers_that_do_not_agree_and_rows_that_are_alike_are_told(tmp_path: Path) -> None:
    server = Server([1, 2, 2, 3])
    server.faults["count"] = lambda *_: {"count": 9}
    assert "counts 9 rows, lists 3 object ids and sends 4 rows" in server.refusal(tmp_path).cause
    server = Server([1, 2, 2])
    server.rows[2] = server.rows[1]
    refusal = server.refusal(tmp_path)
    assert "has duplicates among 2 rows with OBJECTID 2" in refusal.cause
    assert "OBJECTID <> 2" in refusal.remedy


@pytest.mark.parametrize(("counts", "flag"), [(True, False), (False, True), (False, False)])
def test_a_capped_list_of_ids_is_gone_on_with(tmp_path: Path, *, counts: bool, flag: bool) -> None:
    server = Server(list(range(1, 26)), most=10)
    if not counts:
        server.faults["count"] = lambda *_: FAILED

    def capped(_: o.Handler, asked: Document) -> Document:
        above = int(asked["where"].rpartition("> ")[2]) if "> " in asked["where"] else 0
        found = list(range(above + 1, 26))
        return {"objectIds": found[:10], **({"exceededTransferLimit": True} if flag and len(found) > 10 else {})}

    server.faults["ids"] = capped
    assert numbers(server.fetch(tmp_path)) == list(range(25))


def test_a_list_that_stays_capped_is_refused_with_its_numbers(tmp_path: Path) -> None:
    server = Server(list(range(1, 26)))
    server.faults["ids"] = lambda *_: {"objectIds": list(range(1, 11))}
    refusal = server.refusal(tmp_path)
    assert isinstance(refusal, SourceError)
    assert "counts 25 rows, lists 10 object ids and sends 10 rows" in refusal.cause


def test_a_server_may_give_one_row_at_a_time(tmp_path: Path) -> None:
    assert numbers(Server([1, 2, 3], most=1).fetch(tmp_path)) == [0, 1, 2]


@pytest.mark.parametrize("name", ["curveRings", "curvePaths"])
def test_lines_are_asked_for_and_a_curve_all_the_same_is_refused(tmp_path: Path, name: str) -> None:
    server = Server([1, 2])
    server.rows[1]["geometry"] = {name: [[[0, 0], {"a": [[1, 0], [0.5, 0], 0, 1]}]]}
    refusal = server.refusal(tmp_path)
    assert f"sends a true curve ({name})" in refusal.cause
    assert "OBJECTID 2" in refusal.cause
    assert server.asked[-1]["returnTrueCurves"] == "false"


def test_heights_are_asked_for_where_there_are_some(tmp_path: Path) -> None:
    flat, high = Server([1]), Server([1], hasZ=True, hasM=True)
    flat.fetch(tmp_path / "flat")
    assert not any("returnZ" in each for each in flat.asked)
    high.fetch(tmp_path / "high")
    assert [each["returnZ"] for each in high.asked if "objectIds" in each] == ["true"]
    assert as_json(tmp_path / "high" / "Parks.json")["hasZ"] is True


def test_a_layer_without_object_ids_comes_in_one_answer_or_in_ordered_pages(tmp_path: Path) -> None:
    assert numbers(Server([1, 2, 3], id_field=None).fetch(tmp_path / "one")) == [0, 1, 2]
    can = {"advancedQueryCapabilities": {"supportsPagination": True, "supportsOrderBy": True}}
    paged = Server([1, 2, 3, 4, 5], most=2, id_field=None, **can)
    assert numbers(paged.fetch(tmp_path / "paged")) == [0, 1, 2, 3, 4]
    assert {each.get("orderByFields") for each in paged.asked if "outFields" in each} == {"OBJECTID,n"}
    refusal = Server([1, 2, 3], most=2, id_field=None).refusal(tmp_path / "many")
    assert "no object ids and 3 rows, and sends at most 2 per request" in refusal.cause


def test_ids_beyond_a_double_stay_what_they_are(tmp_path: Path) -> None:
    rows = Server([2**53 + 1, 2**53]).fetch(tmp_path)
    assert [row["attributes"]["OBJECTID"] for row in rows] == [2**53, 2**53 + 1]


def test_subtypes_and_an_unknown_time_zone_are_kept_beside_the_rows(tmp_path: Path) -> None:
    types = [{"id": 1, "name": "one", "domains": {"n": {"type": "inherited"}}, "templates": [1]}]
    Server([1], typeIdField="n", types=types, datesInUnknownTimezone=True).fetch(tmp_path)
    told = json.loads((tmp_path / "Parks.json").read_text())
    assert told["types"] == [{"id": 1, "name": "one", "domains": {"n": {"type": "inherited"}}}]
    assert (told["typeIdField"], told["datesInUnknownTimezone"]) == ("n", True)
