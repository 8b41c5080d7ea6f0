"""CKAN over real packages of open.canada.ca: what is chosen, what is dated, where requests may lead."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from d4c_pipeline.model.errors import SourceError
from d4c_pipeline.model.sources import CkanSource
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.sources.ckan import CkanPackage, described
from d4c_pipeline.transport.patience import Patience
from d4c_pipeline_tests.support import origin_server as o

QUICK = Patience(attempts=2, first_wait=0.01, longest_wait=0.05, connect_timeout=2, read_timeout=2)
ANALYTICS = "2916fad5-ebcc-4c86-b0f3-4f619b29f412"
NAMES = "e27c6eba-3c5d-4051-9db2-082dc6411c2c"
MODIFIED = Vintage.parse("2025-12-15T1140")
SHOW = "/data/api/3/action/package_show"


def package(fixtures: Path, name: str) -> dict[str, Any]:
    return json.loads((fixtures / "10_ckan_open_canada" / f"package_{name}.json").read_text("utf-8"))


@contextmanager
def portal(document: dict[str, Any], body: bytes = b"a,b\n1,2\n") -> Iterator[tuple[o.Origin, dict[str, str]]]:
    origin = o.Origin(lambda handler, _: handler.whole(Content_Type="text/csv"), body=body)
    origin.documents = {SHOW: {"success": True, "result": document}}
    with o.serving(origin):
        yield origin, {"https://open.canada.ca": origin.url}


def source(origins: dict[str, str], **declared: Any) -> CkanPackage:
    return CkanPackage(CkanSource(kind="ckan", package=ANALYTICS, **declared), origins=origins, patience=QUICK)


def test_the_vintage_is_when_the_package_was_modified(fixtures: Path) -> None:
    with portal(package(fixtures, ANALYTICS)) as (_, origins):
        assert source(origins).discover() == (MODIFIED,)


def test_resources_are_chosen_by_format_language_and_name(fixtures: Path, tmp_path: Path) -> None:
    with portal(package(fixtures, ANALYTICS)) as (origin, origins):
        chosen = source(origins, formats=["csv"], languages=["fr"], name="*top100datasets*")
        fetched = chosen.fetch(MODIFIED, tmp_path)
        assert [one.name for one in fetched] == [
            "opendataportal.siteanalytics.top100datasets.bilingual.csv",
            "ckan_package.json",
        ]
        assert "/resource/ba980e38-f110-466a-ad92-3ee0d5a60d49/" in fetched[0].url
        assert json.loads((tmp_path / "ckan_package.json").read_text("utf-8")) == package(fixtures, ANALYTICS)
        by_french_name = source(origins, name="Nombre de visites, téléchargements")
        (mark,) = by_french_name.observe(MODIFIED).files
        assert (mark.etag, mark.length) == ('"v1"', 8), "of the server of the file"
        assert mark.listed == '["6188b3b415283d9ee18f0a26886c3381", "2025-12-01T16:36:25.518259", 3120]', (
            "of the portal"
        )
        assert len(source(origins, formats=["CSV", "ZIP"]).observe(MODIFIED).files) > 10
        assert len(origin.asked) == 1


def test_observing_costs_one_request_and_sees_a_changed_resource(fixtures: Path) -> None:
    document = package(fixtures, ANALYTICS)
    with portal(document) as (origin, origins):
        before = source(origins, formats=["CSV"]).observe(MODIFIED)
        assert origin.requests == 1
        document["metadata_modified"] = "2026-01-01T00:00:00.1"
        assert source(origins, formats=["CSV"]).observe(MODIFIED) == before, "only the page was edited"
        document["resources"][2]["hash"] = "other"
        assert source(origins, formats=["CSV"]).observe(MODIFIED) != before


def test_nothing_that_fits_names_what_there_is(fixtures: Path) -> None:
    with (
        portal(package(fixtures, NAMES)) as (_, origins),
        pytest.raises(SourceError, match=r"there are .*\(ESRI REST\)"),
    ):
        source(origins, formats=["GPKG"]).observe(MODIFIED)


def test_a_folder_of_files_is_no_file(fixtures: Path, tmp_path: Path) -> None:
    document = package(fixtures, NAMES)
    with portal(document) as (origin, _):
        origin.behaviour = o.shows_a_page
        origins = dict.fromkeys(("https://open.canada.ca", "https://ftp.maps.canada.ca"), origin.url)
        with pytest.raises(SourceError, match="web page instead of data"):
            source(origins, formats=["SHP"], languages=["en"]).fetch(Vintage.parse("2025-11-28T1920"), tmp_path)


def test_what_the_portal_says_is_had_in_both_languages(fixtures: Path) -> None:
    said = described(package(fixtures, NAMES))
    assert said.title == ("Canadian Geographical Names - CGN", "Toponymes canadiens - TC")
    assert said.description[1].startswith("La Base de données toponymiques du Canada (BDTC) est la base")
    assert said.keywords[1][:2] == ("Canada", "Sciences de la Terre")
    assert described({"title": "Stops", "tags": [{"name": "transit"}]}).keywords == (("transit",), ())


@pytest.mark.parametrize("answer", [{"success": False, "error": {"message": "Not found"}}, [], {"success": True}])
def test_an_answer_without_a_package_is_told(answer: Any) -> None:
    origin = o.Origin(o.good, documents={SHOW: answer})
    with o.serving(origin), pytest.raises(SourceError, match="no package"):
        source({"https://open.canada.ca": origin.url}).discover()


def several(*resources: dict[str, Any]) -> dict[str, Any]:
    listed = [{"id": f"r{number}", "format": "CSV"} | one for number, one in enumerate(resources)]
    return {"name": "p", "metadata_modified": "2025-12-15T11:40:33", "resources": listed}


def test_a_file_that_is_listed_once_per_language_is_one_file(tmp_path: Path) -> None:
    url = "https://open.canada.ca/a.csv"
    document = several({"url": url, "language": ["en"]}, {"url": f"{url}#fr", "language": ["fr"]}, {"url": "/b.csv"})
    with portal(document) as (_, origins):
        names = [one.name for one in source(origins).fetch(MODIFIED, tmp_path)]
        assert names == ["a.csv", "b.csv", "ckan_package.json"]
        assert len(source(origins).observe(MODIFIED).files) == 2
        assert len(source(origins, languages=["fr-CA"]).observe(MODIFIED).files) == 1


def test_the_file_behind_a_link_is_observed_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    document = several({"url": "/a.csv", "last_modified": "2024-03-05T10:00:00"})
    with portal(document) as (origin, origins):
        before = source(origins).observe(MODIFIED).digest
        assert source(origins).observe(MODIFIED).digest == before
        seen = {before}
        origin.etag = '"v2"'
        seen.add(source(origins).observe(MODIFIED).digest)
        monkeypatch.setattr(o, "DATE", "Sun, 05 May 2024 23:30:00 GMT")
        seen.add(source(origins).observe(MODIFIED).digest)
        origin.body += b"3,4\n"
        seen.add(source(origins).observe(MODIFIED).digest)
        document["resources"][0]["url"] = "/moved.csv"
        seen.add(source(origins).observe(MODIFIED).digest)
        assert len(seen) == 5, "ETag, date, length and address"


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (several(), "there are none"),
        (several({"url": "/a.csv", "state": "deleted"}), r"there are r0 \(CSV\), withdrawn"),
        (several({"url": ""}), r"states no address of r0 \(CSV\)"),
        (several({"url": "/a.csv"}) | {"state": "deleted"}, "was withdrawn"),
        (several({"url": "/a.csv"}) | {"resources": None}, "there are none"),
    ],
)
def test_what_a_portal_took_back_is_told(document: dict[str, Any], words: str) -> None:
    with portal(document) as (_, origins), pytest.raises(SourceError, match=words):
        source(origins).observe(MODIFIED)


def test_a_package_that_is_dated_ahead_is_refused() -> None:
    ahead = several({"url": "/a.csv"}) | {"metadata_modified": "2099-01-01T00:00:00"}
    with portal(ahead) as (_, origins), pytest.raises(SourceError, match="p is dated 2099-01-01 00:00 UTC"):
        source(origins).discover()


def resource_at(url: str) -> dict[str, Any]:
    return {"metadata_modified": "2025-12-15T11:40:33", "resources": [{"id": "r", "url": url, "format": "CSV"}]}


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ftp://files.example.ca/a.csv", "which is not http"),
        ("file:///etc/passwd", "which is not http"),
        ("http://169.254.169.254/latest/meta-data", "no public address"),
        ("http://[::1]:9/a.csv", "no public address"),
        ("http://0x7f000001:9/a.csv", "no public address|can't be|not http"),
    ],
)
def test_a_resource_that_leads_inside_is_refused(url: str, words: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    connected: list[str] = []
    monkeypatch.setattr(
        "urllib3.connection.HTTPConnection._new_conn",
        lambda self: connected.append(self.host) or _Pretended(self.host),
    )
    declared = CkanSource(kind="ckan", package="p")
    package = CkanPackage(declared, origins={}, patience=QUICK)
    monkeypatch.setattr(package, "_package", lambda: resource_at(url))
    with pytest.raises(SourceError, match=words):
        package.fetch(MODIFIED, tmp_path)


class _Pretended:
    """A socket that is connected to the address itself, so that no test asks a cloud's metadata service."""

    def __init__(self, host: str) -> None:
        self._host = {"0x7f000001": "127.0.0.1"}.get(host, host)

    def getpeername(self) -> tuple[str, int]:
        return (self._host, 80)

    def close(self) -> None: ...


def test_a_resource_on_the_loopback_is_reached_only_where_that_is_allowed(tmp_path: Path) -> None:
    with o.serving(o.Origin(o.good)) as inside, portal(resource_at(f"{inside.url}/data.zip")) as (_, origins):
        with pytest.raises(SourceError, match=r"127\.0\.0\.1, which is no public address") as caught:
            source(origins).fetch(MODIFIED, tmp_path)
        assert "private_addresses: true" in caught.value.remedy
        assert inside.asked == [], "nothing was said to it"
        fetched = source(origins, private_addresses=True).fetch(MODIFIED, tmp_path)
        assert fetched[0].size == len(inside.body)


def test_a_redirect_to_the_loopback_is_refused(tmp_path: Path) -> None:
    with o.serving(o.Origin(o.good)) as inside, portal(resource_at("https://open.canada.ca/go")) as (origin, origins):
        origin.behaviour = lambda handler, _: handler.reply(302, Location=f"{inside.url}/data.zip")
        with pytest.raises(SourceError, match="no public address"):
            source(origins).fetch(MODIFIED, tmp_path)
        assert inside.asked == []


def test_four_packages_of_the_daily_can_be_read(fixtures: Path) -> None:
    lines = (fixtures / "10_ckan_open_canada" / "statcan_daily_2017_packages.jsonl").read_text("utf-8").splitlines()
    for line in lines:
        said = described(json.loads(line))
        assert said.title[0]
        assert said.title[1]
