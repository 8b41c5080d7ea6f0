"""STAC API: pystac-client over it, items as the documents of the catalogue have them, paging, and wrong requests."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pystac.errors import DeprecatedWarning
from pystac_client import Client
from stac_validator.validate import StacValidate

from d4c_pipeline.catalogue.validation import mismatches, schema_map
from d4c_pipeline.model.settings import OWN_STORE, Settings
from d4c_pipeline_tests.support.catalogued_home import served as serving_home
from d4c_pipeline_tests.support.found import Served, serving
from d4c_pipeline_tests.support.many_datasets import item_of, write
from d4c_pipeline_tests.support.ports import free_port
from d4c_pipeline_tests.support.restored import document_of, restored_items

pytestmark = pytest.mark.filterwarnings("ignore::pystac.errors.DeprecatedWarning")
HTTP = httpx.Client(timeout=30)
STORE = "http://127.0.0.1:8763"
OWN = {"self", "root", "parent", "collection", "canonical"}
CENSUS = ("Census population", "Population du recensement")
ROADS = ("Road network of Montréal", "Réseau routier de Montréal")


def get(url: str, path: str, **parameters: Any) -> dict[str, Any]:
    answer = HTTP.get(f"{url}/stac{path}", params=parameters)
    assert answer.status_code == 200, answer.text
    return answer.json()


def pages(url: str, path: str, **parameters: Any) -> Iterator[dict[str, Any]]:
    """Every page of a search, as `next` leads to them."""
    page = get(url, path, **parameters)
    while True:
        yield page
        following = next((each for each in page["links"] if each["rel"] == "next"), None)
        if following is None:
            return
        if following.get("method") == "POST":
            page = HTTP.post(following["href"], json=following["body"]).json()
        else:
            page = HTTP.get(following["href"]).json()


def client_of(url: str) -> Client:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a conformance class or link that pystac-client misses
        return Client.open(f"{url}/stac")


def test_items_of_the_parquet_files_are_the_documents(catalogued: Settings, published: Settings) -> None:
    for settings, count in ((catalogued, 60), (published, 5)):
        url = f"http://127.0.0.1:{settings.port}"
        found = restored_items(settings.home / OWN_STORE, url)
        assert len(found) == count
        for item, document in found:
            assert item == document
    keys = {key for item, _ in restored_items(published.home / OWN_STORE, STORE) for key in item["assets"]}
    assert {"data", "data-id-1", "torrent", "torrent-id-1", "checksums"} <= keys


def test_items_of_answers_are_the_documents_but_for_their_own_links(services_url: str, catalogued: Settings) -> None:
    items = [item for page in pages(services_url, "/search", limit=25) for item in page["features"]]
    assert len(items) == 59
    for item in items:
        document = document_of(item, catalogued.home / OWN_STORE, STORE)
        links = {each["rel"]: each["href"] for each in item["links"]}
        assert links["self"] == f"{services_url}/stac/collections/{item['collection']}/items/{item['id']}"
        assert links["canonical"] == document["links"][0]["href"]
        others = [each for each in item.pop("links") if each["rel"] not in OWN]
        assert others == [each for each in document.pop("links") if each["rel"] not in OWN]
        assert item == document
    shapes = {("data" in item["assets"], item["properties"]["deprecated"]) for item in items}
    assert shapes >= {(True, True), (True, False), (False, True)}  # parts, superseded


def test_a_withdrawn_release_stays_at_its_address_and_is_not_found(services_url: str, catalogued: Settings) -> None:
    found = restored_items(catalogued.home / OWN_STORE, STORE)
    (gone,) = [item for item, _ in found if "withdrawn_at" in item["properties"]]
    assert get(services_url, "/search", ids=gone["id"])["numberMatched"] == 0
    alone = get(services_url, f"/collections/{gone['collection']}/items/{gone['id']}")
    assert alone["properties"]["withdrawn_reason"] == "The boundaries were wrong"


def test_every_document_is_valid(services_url: str) -> None:
    page = get(services_url, "/search", limit=30)
    collections = get(services_url, "/collections")["collections"]
    for document in (get(services_url, ""), *page["features"][::7], *collections):
        assert mismatches(document) == []
        with_schemas = StacValidate(schema_map=schema_map())
        assert with_schemas.validate_dict(document), with_schemas.message
    described = get(services_url, "/api")
    declared = {f"{services_url}/stac{path}" for path in described["paths"]}
    for each in get(services_url, "")["links"]:
        if each["rel"] not in ("self", "root", "alternate"):
            assert each["href"] in declared


def test_pystac_client_reads_collections_and_items(services_url: str) -> None:
    client = client_of(services_url)
    names = [each.id for each in client.get_collections()]
    assert names == ["daily", "set_000000", "set_000001", "set_000002"]
    daily = client.get_collection("daily")
    assert daily is not None
    items = list(daily.get_items())
    assert len(items) == 10
    again = daily.get_item(items[0].id)
    assert again is not None
    assert again.properties["d4c:vintage"] == "1990-01-10"
    assert again.collection_id == "daily"
    assert items[0].get_root() is client
    assert len(list(client.get_items())) == 59
    found = client.collection_search(q="set 000001,taux", limit=3)
    assert [each.id for each in found.collections()] == names
    assert [each.id for each in client.collection_search(q="set 000001").collections()] == ["set_000001"]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_pystac_client_pages_filters_sorts_and_chooses_fields(services_url: str, method: str) -> None:
    client = client_of(services_url)
    search = client.search(method=method, limit=7, sortby="+title,-published")
    items = [item for page in search.pages_as_dicts() for item in page["features"]]
    assert (search.matched(), len({item["id"] for item in items})) == (59, 59)
    order = [(item["properties"]["title"], item["properties"]["published"]) for item in items]
    assert [title for title, _ in order] == sorted(title for title, _ in order)
    text = "\"d4c:vintage\" = '2011' AND rows > 1000"
    tree = {"op": "and", "args": [{"op": "=", "args": [{"property": "d4c:vintage"}, "2011"]},
                                  {"op": ">", "args": [{"property": "rows"}, 1000]}]}  # fmt: skip
    by_text = {item.id for item in client.search(method=method, filter=text, filter_lang="cql2-text").items()}
    by_tree = {item.id for item in client.search(method=method, filter=tree, filter_lang="cql2-json").items()}
    assert len(by_text) > 0
    assert by_text == by_tree == {
        item["id"] for item in items if item["properties"]["vintage"] == "2011" and item["properties"]["rows"] > 1000
    }  # fmt: skip
    chosen = client.search(method=method, fields=["properties.title", "-properties.d4c:title_fr"], max_items=1)
    (item,) = chosen.items_as_dicts()
    assert (set(item), set(item["properties"])) == ({"type", "id", "collection", "properties"}, {"title"})
    for both in (["-properties", "properties.rows"], ["properties.rows", "-properties.rows"]):
        (item,) = client.search(method=method, fields=both, max_items=1).items_as_dicts()
        assert set(item["properties"]) == {"rows"}
    (item,) = client.search(method=method, fields=["-links", "-properties.rows"], max_items=1).items_as_dicts()
    assert "links" not in item
    assert "rows" not in item["properties"]
    assert "bytes" in item["properties"]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home, port = tmp_path_factory.mktemp("stac"), free_port()
    write(
        home,
        [
            item_of("census", 2016, title=CENSUS, is_latest=False, deprecated=True),
            item_of("census", 2021, title=CENSUS),
            item_of("islands", 2020, title=("Aleutian islands", "Îles Aléoutiennes"), west=178.5, south=51),
            item_of("roads", 2019, title=ROADS, west=-74, south=45),
        ],
        f"http://127.0.0.1:{port}",
    )
    with serving(home, port, ("stac-api",)) as found:
        yield found


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"bbox": "170,50,-170,60"}, ["islands"]),
        ({"bbox": "-75,44,-70,46"}, ["roads"]),
        ({"bbox": "-75,44,0,-70,46,10"}, ["roads"]),
        ({"datetime": "2020-06-01T00:00:00Z/.."}, ["census", "islands"]),
        ({"datetime": "../2017-01-01T00:00:00Z"}, ["census"]),
        ({"datetime": "2019-05-05"}, ["roads"]),
        ({"q": "reseau montreal"}, ["roads"]),
        ({"q": "population,roads"}, ["census", "census", "roads"]),
        ({"collections": "roads,islands"}, ["islands", "roads"]),
        ({"filter": "title LIKE 'Census%' AND NOT is_latest"}, ["census"]),
        ({"intersects": '{"type": "Point", "coordinates": [-73.5, 45.5]}'}, ["roads"]),
    ],
)
def test_place_time_and_words_select_by_get_and_post(
    served: Served, parameters: dict[str, str], expected: list[str]
) -> None:
    found = get(served.url, "/search", **parameters)
    assert sorted(item["collection"] for item in found["features"]) == expected
    body: dict[str, Any] = {**parameters}
    if "bbox" in body:
        body["bbox"] = [float(each) for each in body["bbox"].split(",")]
    if "intersects" in body:
        body["intersects"] = json.loads(body["intersects"])
    if "filter" in body:
        body["filter-lang"] = "cql2-text"
    for name in {"collections", "q"} & body.keys():
        body[name] = body[name].split(",")
    answer = HTTP.post(f"{served.url}/stac/search", json=body).json()
    assert [item["id"] for item in answer["features"]] == [item["id"] for item in found["features"]]


def test_pages_go_on_when_the_catalogue_changes_between_them(tmp_path: Path) -> None:
    port = free_port()
    before = [item_of(f"set_{letter}", year, title=CENSUS) for letter in "bdfh" for year in (2011, 2016)]
    write(tmp_path, before, f"http://127.0.0.1:{port}")
    with serving(tmp_path, port, ("stac-api",)) as served:
        walk = pages(served.url, "/search", limit=3, sortby="collection,id")
        walk_of_collections = pages(served.url, "/collections", limit=1)
        seen = [item["id"] for item in next(walk)["features"]]
        first = next(walk_of_collections)["collections"][0]["id"]
        added = [item_of(f"set_{letter}", 2016, title=CENSUS) for letter in "aceg"]
        write(tmp_path, sorted([*before, *added], key=lambda item: item["id"]), f"http://127.0.0.1:{port}")
        assert served.index.renew()
        rest = [item["id"] for page in walk for item in page["features"]]
        assert first == "set_b"
        assert [page["collections"][0]["id"] for page in walk_of_collections] == [f"set_{each}" for each in "cdefgh"]
    assert seen == [item["id"] for item in before[:3]]
    assert not set(seen) & set(rest)
    assert {item["id"] for item in before} <= {*seen, *rest}
    # Of the new ones those that sort after the first page: e and g.
    assert {name for name in rest if "_set_e_" in name or "_set_g_" in name} == {
        item["id"] for item in added if item["collection"] in ("set_e", "set_g")
    }


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("search?bbox=1,2,3", "4 or 6 numbers"),
        ("search?bbox=0,0,500,1", "longitudes"),
        ("search?bbox=1,1,2,2&intersects={}", "Both bbox and intersects"),
        ("search?intersects=POINT", "not JSON"),
        ("search?datetime=2021-01-01/2020-01-01", "ends before it begins"),
        ("search?datetime=yesterday", "neither a time"),
        ("search?limit=0", "limit=0"),
        ("search?token=abc", "token"),
        ("search?sortby=geometry", "'geometry' is unknown"),
        ("search?filter=drop()", "'drop'"),
        ("search?filter=nothing=1", "'nothing' is not a property"),
        ("search?filter=" + "a" * 10_001, "10,001 bytes"),
        ("search?filter-lang=sql&filter=a", "filter-lang=sql is unknown"),
        ("search?filter-crs=EPSG:3347&filter=rows=1", "filter-crs"),
        ("search?colour=red", "'colour' is unknown"),
        ("search?q=%3F", "no letter or digit"),
        ("collections?limit=x", "limit=x"),
        ("collections/roads/items?colour=red", "'colour' is unknown"),
    ],
)
def test_a_wrong_request_is_a_problem_document_that_says_what_to_change(served: Served, path: str, part: str) -> None:
    answer = served.client.get(f"/stac/{path}")
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
    assert part in answer.json()["detail"]
    assert answer.json()["remedy"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"[]", 400),
        (b'{"bbox": "here"}', 400),
        (b'{"bbox": [1, 2, 3, true]}', 400),
        (b'{"sortby": [{"field": 1}]}', 400),
        (b'{"sortby": [{"field": "id", "direction": "up"}]}', 400),
        (b'{"fields": {"only": ["id"]}}', 400),
        (b'{"fields": ["id"]}', 400),
        (b'{"ids": [1]}', 400),
        (b'{"limit": 1.5}', 400),
        (b'{"token": 1}', 400),
        (b'{"filter": 5}', 400),
        (b'{"intersects": {"type": "Circle", "coordinates": [1, 2]}}', 400),
        (b'{"filter": {"op": "like", "args": [{"property": "title"}]}}', 400),
        (b" " * (2 << 20), 413),
    ],
)
def test_a_wrong_body_is_a_problem_document(served: Served, body: bytes, status: int) -> None:
    answer = served.client.post("/stac/search", content=body)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert answer.json()["remedy"]


def test_unknown_names_are_not_found(served: Served) -> None:
    for path in ("collections/no", "collections/no/items", "collections/no/queryables", "collections/roads/items/no"):
        answer = served.client.get(f"/stac/{path}")
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


def test_a_page_is_bounded_and_its_token_belongs_to_its_order(served: Served) -> None:
    first = get(served.url, "/search", limit=1, sortby="title")
    following = httpx.URL(next(each["href"] for each in first["links"] if each["rel"] == "next"))
    assert HTTP.get(following.copy_set_param("sortby", "-title")).status_code == 400
    assert HTTP.get(following.copy_set_param("token", following.params["token"] + "x")).status_code == 400
    assert get(served.url, "/search", limit=1_000_000)["numberReturned"] == 4


def test_the_service_is_on_when_settings_name_it(catalogued: Settings) -> None:
    with serving_home(catalogued.model_copy(update={"services": ("oai-pmh",)})) as url:
        assert HTTP.get(f"{url}/stac").status_code == 404


def test_every_page_of_deprecated_items_is_read_without_another_warning(services_url: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", DeprecatedWarning)
        assert sum(1 for _ in client_of(services_url).search(collections=["daily"], limit=4).items()) == 10
