"""OGC API Records: OWSLib over it, records in two languages, paging, searches, valid documents, wrong requests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import yaml
from jsonschema import Draft202012Validator, FormatChecker
from owslib.ogcapi.records import Records

from d4c_pipeline.metadata.records.ogc_record import geometry
from d4c_pipeline.model.settings import Settings
from d4c_pipeline_tests.support.catalogued_home import served
from d4c_pipeline_tests.support.schemas import SCHEMAS

HTTP = httpx.Client(timeout=30)
ITEMS = "/collections/catalogue/items"
NAME = "ca_statcan_2021A000011124_d4c-datapkg-statistical_set_000000_{}"
SUPERSEDED, WITHDRAWN = NAME.format("2021_v1.0.0"), NAME.format("2006_v1.2.0")
PUBLISHED = 59  # of 60 releases one is withdrawn
# The building blocks in OpenAPI that pycsw ships are those of the draft: these are as in version 1.0.
BLOCKS = SCHEMAS / "pycsw/core/schemas/ogc/ogcapi/records/part1/1.0/ogcapi-records-1.yaml"
# And these are what version 1.0 has otherwise.
LANGUAGE = {"type": "object", "required": ["code"], "properties": {"name": {"minLength": 1}}}
LIST = {"type": "array", "minItems": 1}
RECORD = {
    "required": ["id", "type", "time", "geometry", "properties", "links"],
    "properties": {
        "type": {"const": "Feature"},
        "time": {
            "type": "object",
            "properties": {
                "interval": {"minItems": 2, "maxItems": 2, "items": {"type": "string", "pattern": r"^\d{4}(-\d\d){2}$"}}
            },
        },
        "geometry": {"oneOf": [{"type": "null"}, {"$ref": "#/components/schemas/geometryGeoJSON"}]},
        "links": {**LIST, "items": {"$ref": "#/components/schemas/link", "required": ["rel", "href"]}},
        "properties": {
            "required": ["type", "title"],
            "properties": {
                "created": {"type": "string", "format": "date-time"},
                "updated": {"type": "string", "format": "date-time"},
                "keywords": {**LIST, "items": {"type": "string"}},
                "language": LANGUAGE,
                "languages": {**LIST, "items": LANGUAGE},
                "resourceLanguages": {**LIST, "items": LANGUAGE},
                "externalIds": {**LIST, "items": {"required": ["value"]}},
                "formats": {**LIST, "items": {"anyOf": [{"required": ["name"]}, {"required": ["mediaType"]}]}},
                "license": {"type": "string"},
                "themes": {
                    **LIST,
                    "items": {
                        "required": ["scheme", "concepts"],
                        "properties": {"concepts": {**LIST, "items": {"type": "object", "required": ["id"]}}},
                    },
                },
                "contacts": {
                    **LIST,
                    "items": {
                        "anyOf": [{"required": ["name"]}, {"required": ["organization"]}],
                        "properties": {
                            "roles": {**LIST, "items": {"type": "string"}},
                            "links": {"items": {"required": ["href", "rel", "type"]}},
                            "emails": {"items": {"required": ["value"]}},
                        },
                    },
                },
            },
        },
    },
}


def get(url: str, path: str, **parameters: Any) -> dict[str, Any]:
    answer = HTTP.get(f"{url}/records{path}", params=parameters)
    assert answer.status_code == 200, answer.text
    return answer.json()


def pages(url: str, **parameters: Any) -> Iterator[dict[str, Any]]:
    """Every page of a search, as `next` leads to them."""
    page = get(url, ITEMS, **parameters)
    while True:
        yield page
        following = hrefs(page, "next")
        if not following:
            return
        page = HTTP.get(following[0]).json()


def hrefs(document: dict[str, Any], relation: str) -> list[str]:
    return [each["href"] for each in document["links"] if each["rel"] == relation]


def valid(document: dict[str, Any], schema: dict[str, Any]) -> None:
    if not BLOCKS.is_file():
        pytest.skip(".venv/schemas does not exist: run `make setup`")
    components = yaml.safe_load(BLOCKS.read_text("utf-8"))["components"]
    validator = Draft202012Validator({**schema, "components": components}, format_checker=FormatChecker())
    assert [f"{each.json_path}: {each.message}" for each in validator.iter_errors(document)] == []


def block(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def test_every_document_is_valid(services_url: str) -> None:
    valid(get(services_url, ""), block("landingPage"))
    valid(get(services_url, "/conformance"), block("confClasses"))
    valid(get(services_url, "/collections"), block("collections"))
    valid(get(services_url, "/collections/catalogue"), block("collectionInfo"))
    for language in ("en", "fr"):
        page = get(services_url, ITEMS, limit=250, lang=language)
        assert len(page["features"]) == PUBLISHED
        valid(page, {"properties": {"features": {"items": RECORD}, "links": {"items": block("link")}}})
    described = get(services_url, "/api")
    declared = {f"{services_url}/records{path}" for path in described["paths"]}
    own = [*get(services_url, "")["links"], *get(services_url, "/collections/catalogue")["links"]]
    links = {each["href"].partition("?")[0].removesuffix("/") for each in own}
    assert links <= {each.removesuffix("/") for each in declared}
    assert {each["name"] for each in described["paths"][ITEMS]["get"]["parameters"]} == {
        "bbox", "datetime", "limit", "token", "filter", "filter-lang", "filter-crs", "sortby", "q", "lang", "ids",
        "type", "externalIds",
    }  # fmt: skip


def test_the_collection_says_what_it_covers(services_url: str) -> None:
    (catalogue,) = get(services_url, "/collections")["collections"]
    assert catalogue == get(services_url, "/collections/catalogue")
    assert (catalogue["id"], catalogue["itemType"]) == ("catalogue", "record")
    assert catalogue["extent"]["spatial"]["bbox"] == [[-141.03, 41.66, -52.6, 83.15]]
    assert catalogue["extent"]["temporal"]["interval"] == [["1990-01-01T00:00:00Z", "2021-12-31T23:59:59Z"]]
    assert catalogue["contacts"][0]["emails"] == [{"value": "data@example.ca"}]
    assert get(services_url, "/collections/catalogue", lang="fr")["title"] == "Catalogue de Data for Canada"


def test_a_record_is_in_both_languages_and_leads_to_the_other(services_url: str) -> None:
    english, french = (get(services_url, f"{ITEMS}/{SUPERSEDED}", lang=each) for each in ("en", "fr"))
    assert english["properties"]["title"] == "Provinces and territories, 2021, v1.0.0"
    assert french["properties"]["title"] == "Provinces et territoires, Québec compris, 2021, v1.0.0"
    assert (english["properties"]["keywords"], french["properties"]["keywords"]) == (["boundaries"], ["limites"])
    assert (english["properties"]["language"]["code"], french["properties"]["language"]["code"]) == ("en", "fr")
    (other,) = (each for each in english["links"] if each.get("title") == "français")
    assert HTTP.get(other["href"]).json() == french
    answer = HTTP.get(f"{services_url}/records{ITEMS}/{SUPERSEDED}", headers={"Accept-Language": "fr-CA, en;q=0.5"})
    assert (answer.json(), answer.headers["content-language"]) == (french, "fr")
    assert "Accept-Language" in answer.headers["vary"]
    same = HTTP.get(answer.url, headers={"Accept-Language": "fr-CA", "If-None-Match": answer.headers["etag"]})
    other_language = HTTP.get(answer.url, headers={"If-None-Match": answer.headers["etag"]})
    assert (same.status_code, other_language.status_code) == (304, 200)


def test_a_record_states_the_release(services_url: str) -> None:
    record = get(services_url, f"{ITEMS}/{SUPERSEDED}", lang="en")
    properties = record["properties"]
    assert record["time"] == {"interval": ["2021-01-01", "2021-12-31"]}
    assert record["geometry"]["coordinates"][0][0] == [-91.1111, 51.1111]
    assert (properties["type"], properties["created"]) == ("dataset", "2026-01-01T00:00:27Z")
    assert (properties["license"], properties["deprecated"]) == ("OGL-Canada-2.0", True)
    assert properties["externalIds"][0] == {"scheme": "doi", "value": "10.5072/d4c.27"}
    api = f"{services_url}/records{ITEMS}"
    assert hrefs(record, "self") == [f"{api}/{SUPERSEDED}"]
    assert f"{api}/{NAME.format('2021_v1.1.0')}" in hrefs(record, "successor-version")
    enclosures = hrefs(record, "enclosure")
    assert any(each.endswith(".parquet") for each in enclosures)
    assert all(each["href"].startswith("http") for each in record["links"])


def test_a_withdrawn_release_stays_at_its_address_and_is_not_found(services_url: str) -> None:
    assert get(services_url, ITEMS, ids=WITHDRAWN)["numberMatched"] == 0
    assert get(services_url, f"{ITEMS}/{WITHDRAWN}")["properties"]["deprecated"] is True


@pytest.mark.parametrize("order", ["", "title", "-created,title", "+vintage", "-doi"])
def test_pages_repeat_and_skip_nothing(services_url: str, order: str) -> None:
    found = list(pages(services_url, limit=7, sortby=order, lang="en"))
    records = [record for page in found for record in page["features"]]
    assert {page["numberMatched"] for page in found} == {PUBLISHED}
    assert [page["numberReturned"] for page in found] == [7] * 8 + [3]
    assert len({record["id"] for record in records}) == PUBLISHED
    assert records == get(services_url, ITEMS, limit=250, sortby=order, lang="en")["features"]
    if order in ("", "-created,title"):
        moments = [record["properties"]["created"] for record in records]
        assert moments == sorted(moments, reverse=True)
    if order == "title":
        titles = [record["properties"]["title"] for record in records]
        assert titles == sorted(titles)


@pytest.mark.parametrize(
    ("parameters", "count"),
    [
        ({"bbox": "-92,51,-90,53"}, 35),
        ({"bbox": "170,50,-170,60"}, 0),
        ({"datetime": "../2005-12-31"}, 22),
        ({"datetime": "2011-06-01"}, 10),
        ({"datetime": "2011-06-01T00:00:00Z/.."}, 26),
        ({"q": "daily exchange"}, 20),  # a phrase
        ({"q": "exchange daily"}, 0),
        ({"q": "TAUX,boundary"}, 59),
        ({"q": "quebec compris,nothing at all"}, 39),
        ({"type": "service"}, 0),
        ({"type": "service,dataset"}, 59),
        ({"ids": f"{SUPERSEDED},{NAME.format('2021_v1.3.0')},nothing"}, 2),
        ({"externalIds": "10.5072/D4C.20"}, 1),
        ({"externalIds": "doi:10.5072/d4c.20,https://doi.org/10.5072/d4c.21"}, 2),
        ({"externalIds": f"urn:d4c:{'0' * 62}1b"}, 1),
        ({"externalIds": "doi:10.5072/d4c"}, 0),
        ({"filter": "vintage = '2011' AND type = 'dataset'"}, 10),
        ({"filter": "created > TIMESTAMP('2026-01-01T00:00:28Z')"}, 4),
        ({"filter": "title LIKE 'Prov%'", "bbox": "-92,51,-90,53"}, 15),
        ({"filter": '{"op": "=", "args": [{"property": "vintage"}, "2011"]}', "filter-lang": "cql2-json"}, 10),
    ],
)
def test_searches_find(services_url: str, parameters: dict[str, str], count: int) -> None:
    assert get(services_url, ITEMS, limit=1, **parameters)["numberMatched"] == count


def test_owslib_reads_the_catalogue(services_url: str) -> None:
    client = Records(f"{services_url}/records")
    assert client.records() == ["catalogue"]
    assert "http://www.opengis.net/spec/ogcapi-records-1/1.0/conf/records-api" in client.conformance()["conformsTo"]
    assert client.api()["openapi"].startswith("3.0")
    assert "externalIds" not in client.collection_queryables("catalogue")["properties"]
    found = client.collection_items("catalogue", bbox=[-92, 51, -90, 53], sortby=("title", "desc"), limit=3)
    titles = [each["properties"]["title"] for each in found["features"]]
    assert (found["numberMatched"], titles[0]) == (35, "Provinces and territories, 2021, v1.2.0")
    assert (
        client.collection_items("catalogue", q="taux", datetime_="2011-06-01", filter="rows > 0")["numberMatched"] > 0
    )
    assert client.collection_item("catalogue", SUPERSEDED)["id"] == SUPERSEDED
    with pytest.raises(RuntimeError, match="'colour' is not a property"):
        client.collection_items("catalogue", filter="colour = 'red'")


@pytest.mark.parametrize(
    ("query", "part"),
    [
        ("bbox=1,2,3", "4 or 6 numbers"),
        ("datetime=yesterday", "neither a time"),
        ("limit=0", "limit=0"),
        ("limit=1&limit=2", "given 2 times"),
        ("token=abc", "token"),
        ("sortby=nothing", "'nothing' is unknown"),
        ("filter=drop()", "'drop'"),
        ("filter=nothing=1", "'nothing' is not a property"),
        ("filter=" + "a" * 10_001, "10,001 bytes"),
        ("filter-lang=sql&filter=a", "filter-lang=sql is unknown"),
        ("filter-lang=cql2-json&filter={", "not JSON"),
        ("filter-crs=EPSG:3347&filter=rows=1", "filter-crs"),
        ("colour=red", "'colour' is unknown"),
        ("q=%3F", "no letter or digit"),
        ("q=" + "a," * 11, "10 terms"),
        ("lang=de", "'de' is unknown"),
    ],
)
def test_a_wrong_request_is_a_problem_document_that_says_what_to_change(
    services_url: str, query: str, part: str
) -> None:
    answer = HTTP.get(f"{services_url}/records{ITEMS}?{query}")
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
    assert part in answer.json()["detail"]
    assert answer.json()["remedy"]


def test_a_token_belongs_to_its_order(services_url: str) -> None:
    following = httpx.URL(hrefs(get(services_url, ITEMS, limit=1, sortby="title"), "next")[0])
    assert HTTP.get(following.copy_set_param("sortby", "-title")).status_code == 400
    assert HTTP.get(following.copy_set_param("token", following.params["token"] + "x")).status_code == 400


def test_unknown_names_are_not_found(services_url: str) -> None:
    for path in ("/collections/no", "/collections/no/items", "/collections/no/queryables", f"{ITEMS}/no"):
        answer = HTTP.get(f"{services_url}/records{path}")
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


def test_the_service_is_on_when_settings_name_it(catalogued: Settings) -> None:
    with served(catalogued.model_copy(update={"services": ("oai-pmh",)})) as url:
        assert HTTP.get(f"{url}/records").status_code == 404


def test_flat_boxes_and_several_are_geometries_of_their_kind() -> None:
    assert geometry([(1, 2, 1, 2)]) == {"type": "Point", "coordinates": [1, 2]}
    assert geometry([(1, 2, 3, 2)]) == {"type": "LineString", "coordinates": [[1, 2], [3, 2]]}
    both = geometry([(170, 50, 180, 60), (-180, 50, -170, 60)])
    assert (both["type"], [each[0][0] for each in both["coordinates"]]) == ("MultiPolygon", [[170, 50], [-180, 50]])
    assert geometry([(1, 2, 1, 2), (0, 0, 1, 1)])["type"] == "GeometryCollection"
