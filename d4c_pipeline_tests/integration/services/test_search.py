"""`/search`: words in both languages, facets, place, time, paging, and requests that are wrong."""

from collections.abc import Iterator
from typing import Any

import pytest

from d4c_pipeline_tests.support.found import Served, serving
from d4c_pipeline_tests.support.many_datasets import item_of, write
from d4c_pipeline_tests.support.ports import free_port

CENSUS = ("Census population", "Population du recensement")
ROADS = ("Road network of Montréal", "Réseau routier de Montréal")
STOPS = ("Transit stops", "Arrêts de transport en commun")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home, port = tmp_path_factory.mktemp("search"), free_port()
    write(
        home,
        [
            item_of("census", 2016, title=CENSUS, providers=[{"name": "Statistics Canada", "roles": ["producer"]}]),
            item_of("census", 2021, title=CENSUS, is_latest=False, deprecated=True),
            item_of("census", 2021, title=CENSUS, version="1.1.0",
                    providers=[{"name": "Bureau of Numbers", "roles": ["producer"]}]),
            item_of("gone", 2020, title=("Census of nothing", "Recensement"), withdrawn_at="2024-01-01T00:00:00Z",
                    withdrawn_reason="It was wrong"),
            item_of("islands", 2020, title=("Aleutian islands", "Îles Aléoutiennes"), west=178.5, south=51),
            item_of("roads", 2021, title=ROADS, licence="CC-BY-4.0", license="CC-BY-4.0", west=-74, south=45),
            item_of("stops", 2018, title=STOPS, keywords=(("transit", "bus"), ("autobus",)), description=(
                "Stops of the network.", "Arrêts du réseau.")),
        ],
        f"http://127.0.0.1:{port}",
    )  # fmt: skip
    with serving(home, port, ("search",)) as found:
        yield found


def search(served: Served, **parameters: Any) -> dict[str, Any]:
    answer = served.client.get("/search", params=parameters)
    assert answer.status_code == 200, answer.text
    return answer.json()


def datasets(found: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(each["dataset"], each["vintage"], each["version"]) for each in found["results"]]


def test_without_words_the_newest_release_of_each_dataset_is_found(served: Served) -> None:
    found = search(served)
    assert found["numberMatched"] == 4
    assert datasets(found) == [
        ("census", "2021", "1.1.0"),
        ("roads", "2021", "1.0.0"),
        ("islands", "2020", "1.0.0"),
        ("stops", "2018", "1.0.0"),
    ]


def test_all_versions_have_superseded_ones_but_no_withdrawn_ones(served: Served) -> None:
    found = search(served, versions="all")
    assert found["numberMatched"] == 6
    assert {"gone"} & {dataset for dataset, _, _ in datasets(found)} == set()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("census", ["census"]),
        ("CENSUSES", ["census"]),
        ("recensement", ["census"]),
        ("montreal", ["roads"]),
        ("Montréal", ["roads"]),
        ("reseaux routiers", ["roads"]),
        ("arrets", ["stops"]),
        ("bureau numbers", ["census"]),
        ("network", ["roads", "stops"]),  # in the title, then in the description
        ("2018", ["stops"]),
        ("the census of the", ["census"]),
    ],
)
def test_words_are_found_in_both_languages_whatever_accents_and_endings(
    served: Served, words: str, expected: list[str]
) -> None:
    found = search(served, q=words)
    assert [dataset for dataset, _, _ in datasets(found)] == expected
    assert found["matched"] == "all"


def test_a_year_in_the_words_prefers_the_release_of_that_year(served: Served) -> None:
    assert datasets(search(served, q="census 2016")) == [("census", "2016", "1.0.0")]


def test_a_language_limits_words_and_texts(served: Served) -> None:
    assert search(served, q="recensement", lang="en")["numberMatched"] == 0
    french = search(served, q="recensement", lang="fr")["results"]
    assert french[0]["title"] == "Population du recensement, 2021, v1.1.0"
    assert french[0]["keywords"] == ["limites"]


def test_any_word_counts_when_no_release_has_all(served: Served) -> None:
    found = search(served, q="census unicorn")
    assert (found["matched"], [dataset for dataset, _, _ in datasets(found)]) == ("any", ["census"])


def test_facets_count_what_was_found_and_limit_it(served: Served) -> None:
    found = search(served, facet="all")["facets"]
    assert found["licence"] == [{"value": "OGL-Canada-2.0", "count": 3}, {"value": "CC-BY-4.0", "count": 1}]
    assert found["region"] == [{"value": "ca", "count": 4}]
    assert found["package"] == [{"value": "d4c-datapkg-statistical", "count": 4}]
    assert found["format"] == [{"value": "parquet", "count": 4}]
    assert [each["value"] for each in found["year"]] == ["2021", "2020", "2018"]
    assert {"value": "transportation", "count": 2} in found["subject"]
    limited = search(served, licence="CC-BY-4.0", facet="year")
    assert (limited["numberMatched"], limited["facets"]) == (1, {"year": [{"value": "2021", "count": 1}]})
    assert search(served, year=["2018", "2020"])["numberMatched"] == 2
    assert datasets(search(served, year="2016")) == [("census", "2016", "1.0.0")]


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ("-73,45,-72.5,45.5", {"roads"}),
        ("179,50,-170,53", {"islands"}),  # across the 180th meridian
        ("-170,50,179,53", {"islands"}),
        ("10,50,20,53", set()),
        ("-80,45,0,-70,50,100", {"census", "stops", "roads"}),
    ],
)
def test_a_box_selects_also_across_the_180th_meridian(served: Served, box: str, expected: set[str]) -> None:
    assert {dataset for dataset, _, _ in datasets(search(served, bbox=box))} == expected


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        ("2018-05-05", {"stops"}),
        ("2018-12-31T23:00:00Z", {"stops"}),
        ("2019-06-01/2020-02-01", {"islands"}),
        ("../2016-06-01", {"census"}),
        ("2021-01-01/..", {"census", "roads"}),
        ("2021-01-01/", {"census", "roads"}),
    ],
)
def test_a_time_selects_periods_that_it_touches(served: Served, time: str, expected: set[str]) -> None:
    assert {dataset for dataset, _, _ in datasets(search(served, datetime=time))} == expected


def test_a_filter_in_cql2_selects(served: Served) -> None:
    found = search(served, filter="rows > 10 AND A_CONTAINS(keywords, ('bus'))")
    assert datasets(found) == [("stops", "2018", "1.0.0")]


def test_pages_have_links(served: Served) -> None:
    first = search(served, limit=3, q="")
    links = {each["rel"]: each["href"] for each in first["links"]}
    assert links["next"].startswith(f"{served.url}/search?")
    second = served.client.get(links["next"]).json()
    assert datasets(second) == [("stops", "2018", "1.0.0")]
    assert {each["rel"] for each in second["links"]} == {"self", "prev"}


def test_results_lead_to_page_and_item(served: Served) -> None:
    links = search(served, q="stops")["results"][0]["links"]
    assert served.client.get(links[0]["href"]).json()["id"].startswith("ca_statcan_2021A000011124")
    assert links[1]["href"] == f"{served.url}/en/datasets/stops/2018/1.0.0/"


def test_suggestions_complete_and_correct(served: Served) -> None:
    assert search(served, q="road netw")["suggestions"] == ["road network"]
    assert search(served, q="censsus")["suggestions"][0] == "census"


def test_an_answer_is_revalidated(served: Served) -> None:
    first = served.client.get("/search?q=census")
    again = served.client.get("/search?q=census", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert served.client.head("/search?q=census").status_code == 200


@pytest.mark.parametrize(
    ("parameters", "part"),
    [
        ("bbox=1,2,3", "does not have 4 or 6 numbers"),
        ("bbox=a,b,c,d", "not a list of numbers"),
        ("bbox=nan,0,1,1", "list of numbers"),
        ("bbox=0,50,10,40", "south"),
        ("bbox=0,0,500,1", "longitudes"),
        ("bbox=0,-91,1,1", "latitudes"),
        ("datetime=yesterday", "neither a time nor an interval"),
        ("datetime=2020-13-01", "neither a time nor an interval"),
        ("datetime=2020", "neither a time nor an interval"),
        ("datetime=2020-01-01/2021-01-01/2022-01-01", "neither a time nor an interval"),
        ("datetime=../..", "no limit"),
        ("datetime=2021-01-01/2020-01-01", "ends before it begins"),
        ("limit=-1", "not a number from 1"),
        ("limit=0", "not a number from 1"),
        ("limit=ten", "not a number from 1"),
        ("offset=-1", "not a number from 0"),
        ("offset=10001", "not a number from 0"),
        ("lang=de", "language 'de' is unknown"),
        ("facet=colour", "facet 'colour' is unknown"),
        ("versions=old", "'old' is unknown"),
        ("sort=size", "'size' is unknown"),
        ("colour=red", "parameter 'colour' is unknown"),
        ("q=a&q=b", "given 2 times"),
        ("q=" + "a" * 501, "501 characters"),
        ("q=%3F%21", "no letter or digit"),
        ("filter=nothing=1", "'nothing' is not a property"),
        ("filter=" + "a" * 10_001, "10,001 bytes"),
    ],
)
def test_a_wrong_request_is_a_problem_document_that_says_what_to_change(
    served: Served, parameters: str, part: str
) -> None:
    answer = served.client.get(f"/search?{parameters}")
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
    assert part in answer.json()["detail"]
    assert answer.json()["remedy"]
