"""A dataset published through Dagster into InvenioRDM: the fake of the tests, and a real one where it runs."""

from __future__ import annotations

import hashlib
import json
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import pytest

from d4c_pipeline.ledger import Ledger
from d4c_pipeline.model.release import DepositState, Release, Torrent
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.orchestration.build import build_definitions
from d4c_pipeline.orchestration.instance import embedded_instance
from d4c_pipeline.orchestration.resources import DeploymentResource
from d4c_pipeline.services.embedded import mounts
from d4c_pipeline.services.file_server import serving
from d4c_pipeline.upkeep.inventory import drafts, verify
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline_tests.fakes.invenio import TOKEN, FakeInvenio
from d4c_pipeline_tests.support.commands import D4C
from d4c_pipeline_tests.support.samples import DAY, PLACES_URL, Origin, corrected, declared, define, geojson

# What Dagster says of an attribute that the chain's assets read is not the matter here.
pytestmark = pytest.mark.filterwarnings("ignore:AssetExecutionContext:DeprecationWarning")

ACCEPT = {"Accept": "application/vnd.inveniordm.v1+json"}
FIRST = "ca_example_2021A000011124_d4c-datapkg-foundation_places_2021_v0.1.0-beta"
SECOND = FIRST.replace("0.1.0", "0.1.1")
NAME = {**declared()["name"]}
POLICY = {"stage": "beta", "initial_version": "0.1.0"}


class Server:
    """The InvenioRDM under test and what is asked of it beside our client."""

    def __init__(self, url: str, token: str, fake: FakeInvenio | None) -> None:
        self.url, self.token, self.fake = url, token, fake

    def get(self, path: str, **headers: str) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", headers=ACCEPT | headers, timeout=60)

    def mine(self, query: str) -> list[dict[str, Any]]:
        answer = httpx.get(
            f"{self.url}/api/user/records",
            params={"q": query, "allversions": "true", "size": 100},
            headers=ACCEPT | {"Authorization": f"Bearer {self.token}"},
            timeout=60,
        )
        return answer.json()["hits"]["hits"]


@pytest.fixture(params=["fake", pytest.param("invenio", marks=pytest.mark.invenio)])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    if request.param == "fake":
        with FakeInvenio() as fake:
            yield Server(fake.url, TOKEN, fake)
    else:
        url, token = request.getfixturevalue("invenio_lane")
        yield Server(url, token, None)


@pytest.fixture
def invenio(server: Server, d4c: D4C, origin: Origin, definitions: Path, monkeypatch: pytest.MonkeyPatch) -> D4C:
    """`d4c` on an empty home that publishes into the server; this process has the same settings."""
    d4c.settings |= {
        "D4C_ARCHIVE": "invenio",
        "D4C_ARCHIVE_URL": server.url,
        "D4C_ARCHIVE_TOKEN": server.token,
        "D4C_ARCHIVE_TEST": "1",
        "D4C_CODE_URL": "https://example.org/code",
        "D4C_PAGE_URL": "https://data.example.org/{dataset}/{vintage}",
        "D4C_CONTACT": "data@example.org",
    }
    for name, value in d4c.environment().items():
        if name.startswith("D4C_"):
            monkeypatch.setenv(name, value)
    # The server outlives the test, and another home would adopt what it has under the same names.
    theme = f"places_{uuid.uuid4().hex[:8]}"
    for name in ("FIRST", "SECOND"):
        monkeypatch.setitem(globals(), name, globals()[name].replace("_places_", f"_{theme}_"))
    monkeypatch.setitem(NAME, "theme", theme)
    # The vocabulary of a throw-away InvenioRDM knows few licences.
    define(definitions, name=NAME, license="cc-by-4.0", publication=POLICY, keywords=unheard_of())
    origin.put(PLACES_URL, geojson())
    return d4c


@contextmanager
def serving_store(invenio: D4C) -> Iterator[None]:
    """`d4c serve` for as long as readers are wanted."""
    settings = Settings.from_environment({**invenio.environment()})
    with serving(mounts(settings), port=settings.port):
        yield


def torrents_of(home: Path, release: Release) -> list[Torrent]:
    with closing(Ledger.in_folder(home)) as ledger:
        return list(ledger.publications.torrents(release).values())


def unheard_of() -> dict[str, list[str]]:
    """Keywords that make a release of one test alone: the server outlives it and would know the same one again."""
    return {language: [uuid.uuid4().hex] for language in ("en", "fr")}


def materialize(home: Path) -> dg.ExecuteInProcessResult:
    """One run of the job `publish_places`, as the UI starts it."""
    settings = Settings.from_environment()
    job = build_definitions(settings.definitions).resolve_job_def("publish_places")
    with embedded_instance(settings) as instance:
        return job.execute_in_process(
            instance=instance,
            partition_key="2021",
            resources={"deployment": DeploymentResource(home=str(home), retries=False)},
            raise_on_error=False,
        )


def review(home: Path, **config: Any) -> dg.ExecuteInProcessResult:
    """One run of the job `review`, as the launchpad of the UI starts it."""
    settings = Settings.from_environment()
    job = build_definitions(settings.definitions).resolve_job_def("review")
    with embedded_instance(settings) as instance:
        return job.execute_in_process(
            instance=instance,
            run_config={"ops": {"decide": {"config": config}}},
            resources={"deployment": DeploymentResource(home=str(home), retries=False)},
            raise_on_error=False,
        )


def skipped(run: dg.ExecuteInProcessResult) -> set[str]:
    return {str(event.step_key) for event in run.all_events if event.event_type_value == "STEP_SKIPPED"}


def materialized(run: dg.ExecuteInProcessResult) -> list[tuple[str, str | None]]:
    events = [event.step_materialization_data.materialization for event in run.get_asset_materialization_events()]
    return [(event.asset_key.to_user_string(), event.partition) for event in events]


@pytest.mark.timeout(600)
def test_two_versions_reviewed_in_the_ui_and_by_command(
    invenio: D4C, server: Server, origin: Origin, tmp_path: Path
) -> None:
    # The first release waits for a person: the run ends well, nothing is public.
    run = materialize(invenio.home)
    assert run.success
    assert skipped(run) == {"places__latest"}
    checks = {event.check_name: event for event in run.get_asset_check_evaluations()}
    reviewed = checks["reviewed"]
    assert (reviewed.passed, reviewed.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert str(reviewed.metadata["actual"].value).endswith(
        "waits for a review: it is the first release of this vintage"
    )
    assert "'review' of the UI" in str(reviewed.metadata["remedy"].value)
    assert "places/deposit" not in dict(materialized(run))
    with closing(Ledger.in_folder(invenio.home)) as ledger:
        (release,) = ledger.releases.living("places")
        deposit = ledger.deposits.of(release)
    assert deposit is not None
    assert (deposit.state, deposit.test) == (DepositState.AWAITING_REVIEW, True)
    assert server.get(f"/api/records/{deposit.record_id}").status_code == 404

    # Approved in the UI, which publishes it and shows so.
    wrong = review(invenio.home, release=SECOND, decision="approve", who="Ana", reason="looked at the map")
    assert not wrong.success
    run = review(invenio.home, release=FIRST, decision="approve", who="Ana", reason="looked at the map")
    assert run.success
    assert materialized(run) == [("places/deposit", "2021"), ("places/latest", "2021")]
    record = server.get(f"/api/records/{deposit.record_id}").json()
    said = record["metadata"]
    assert record["pids"]["doi"]["identifier"] == deposit.doi
    assert (said["title"], said["version"], said["publisher"]) == ("Places (2021)", "0.1.0-beta", "Data for Canada")
    assert said["additional_titles"][0]["title"] == "Lieux (2021)"
    assert said["identifiers"] == [{"identifier": release.identifier, "scheme": "urn"}]
    (torrent,) = torrents_of(invenio.home, release)
    assert [(entry["identifier"], entry["relation_type"]["id"]) for entry in said["related_identifiers"]] == [
        (PLACES_URL, "isderivedfrom"),
        ("https://example.org/code", "iscompiledby"),
        ("https://data.example.org/places/2021", "isdocumentedby"),
        (f"urn:btih:{torrent.info_hash}", "isidenticalto"),
    ]
    names = set(record["files"]["entries"])
    assert names == {
        f"{FIRST}.parquet",
        f"{FIRST}.parquet.torrent",
        "README.md",
        "checksums.sha256",
        "checksums-rest.sha256",
        "code.zip",
        "item.json",
        "manifest.json",
        "profile.json",
    }

    # Whoever downloads the record finds out what it is, and that it is whole.
    folder = tmp_path / "downloads"
    folder.mkdir()
    for name in names:
        answer = httpx.get(f"{server.url}/records/{deposit.record_id}/files/{name}?download=1", timeout=60)
        (folder / name).write_bytes(answer.content)
    whole = subprocess.run(
        ["sha256sum", "--check", "checksums.sha256", "checksums-rest.sha256"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert whole.returncode == 0, whole.stderr
    assert sorted(whole.stdout.splitlines()) == sorted(f"{name}: OK" for name in names - {"checksums-rest.sha256"})
    text = (folder / "README.md").read_text("utf-8")
    assert f"doi:{deposit.doi} (a test DOI" in text
    assert f"doi:{deposit.doi} (un DOI d'essai" in text
    assert "Data for Canada: data@example.org" in text
    assert json.loads((folder / "item.json").read_text("utf-8"))["properties"]["sci:doi"] == deposit.doi

    # The same again changes nothing; a correction is a new version that imports what is the same.
    assert invenio.ok("publish", "places")["outcome"] == "unchanged"
    origin.put(PLACES_URL, corrected(), DAY + timedelta(days=1))
    if server.fake is not None:
        server.fake.begin()
    second = invenio.ok("publish", "places")
    assert (second["outcome"], second["version"]) == ("published", "0.1.1-beta")
    if server.fake is not None:
        sent = [call for call in server.fake.calls if call.startswith("PUT") and "content" in call]
        assert sent, server.fake.calls[:5]
        assert not any("code.zip" in call for call in sent), "the code is the same and travels once"
        assert any("import" in call for call in server.fake.calls)
    assert second["concept_doi"] == invenio.ok("releases", "places")[0]["concept_doi"]
    assert invenio.ok("publish", "places")["outcome"] == "unchanged"

    # The archive and the ledger agree, and nothing is left over.
    with Deployment.open(Settings.from_environment()) as deployment:
        assert {file.state for file in verify(deployment, second["doi"])} == {"same"}
        owned = [release.identifier for release in deployment.ledger.releases.published("places")]
        assert not [draft for draft in drafts(deployment).orphans if draft.identifier in owned]
        release = deployment.ledger.releases.newest_published("places", Vintage.parse("2021"))
        assert release is not None
        data = next(artifact for artifact in release.artifacts if artifact.name == f"{SECOND}.parquet")
        newest = deployment.ledger.deposits.of(release)
        assert newest is not None
    assert server.get(f"/api/records/{newest.record_id}").json()["parent"]["id"] == record["parent"]["id"]
    served = httpx.get(f"{server.url}/records/{newest.record_id}/files/{data.name}", timeout=60)
    assert hashlib.sha256(served.content).hexdigest() == data.sha256


@pytest.mark.timeout(300)
@pytest.mark.parametrize("server", [pytest.param("invenio", marks=pytest.mark.invenio)], indirect=True)
def test_a_record_joins_its_community_once(invenio: D4C, server: Server, definitions: Path) -> None:
    slug = f"d4c-{uuid.uuid4().hex[:8]}"
    made = httpx.post(
        f"{server.url}/api/communities",
        json={
            "slug": slug,
            "metadata": {"title": "Canada"},
            "access": {"visibility": "public", "review_policy": "open"},
        },
        headers=ACCEPT | {"Authorization": f"Bearer {server.token}"},
        timeout=60,
    )
    assert made.status_code == 201
    define(
        definitions,
        name=NAME,
        license="cc-by-4.0",
        publication=POLICY | {"first_release": "automatic"},
        keywords=unheard_of(),
    )
    invenio.settings["D4C_ARCHIVE_COMMUNITY"] = slug
    doi = invenio.ok("publish", "places")["doi"]
    with closing(Ledger.in_folder(invenio.home)) as ledger:
        deposit = next(one for one in ledger.deposits.all() if one.doi == doi)
    there = server.get(f"/api/records/{deposit.record_id}/communities").json()["hits"]["hits"]
    assert [one["slug"] for one in there] == [slug]
    assert invenio.ok("publish", "places")["outcome"] == "unchanged"
    invenio.settings["D4C_ARCHIVE_COMMUNITY"] = "there-is-none-of-this-name"
    assert "the community 'there-is-none-of-this-name' refuses it" in invenio("publish", "places").sentence


@pytest.mark.timeout(300)
def test_a_rejection_in_the_ui_deletes_the_draft(invenio: D4C, server: Server) -> None:
    materialize(invenio.home)
    with closing(Ledger.in_folder(invenio.home)) as ledger:
        (release,) = ledger.releases.living("places")
    run = review(invenio.home, release=FIRST, decision="reject", who="Ben", reason="")
    assert not run.success
    failed = [event for event in run.all_events if event.is_step_failure]
    assert "A rejection needs a reason" in str(failed[0].event_specific_data)
    assert review(invenio.home, release=FIRST, decision="reject", who="Ben", reason="wrong source").success
    assert server.mine(f'metadata.identifiers.identifier:"{release.identifier}"') == []
    with closing(Ledger.in_folder(invenio.home)) as ledger:
        assert ledger.releases.living("places") == ()


@pytest.mark.timeout(300)
def test_a_rich_record_is_read_back(invenio: D4C, server: Server, definitions: Path) -> None:
    own_licence = {
        "title": {"en": "Open Licence – Example City", "fr": "Licence ouverte – Ville d’Exemple"},
        "url": "https://example.org/licence",
        "text_file": "LICENCE.txt",
    }
    text = "You may use these data.\nVous pouvez utiliser ces données.\n"
    home = define(
        definitions,
        name=NAME,
        license=own_licence,
        publication=POLICY | {"first_release": "automatic"},
        keywords=unheard_of(),
        contributors=[
            {"name": "Roy, Anne", "type": "person", "affiliation": "Université Laval", "role": "ContactPerson"},
            {"name": "Example Host", "ror": "https://ror.org/052gg0110", "role": "hostinginstitution"},
        ],
        funding=[
            {
                "funder": "Natural Sciences and Engineering Research Council of Canada",
                "ror": "https://ror.org/01h531d29",
                "number": "RGPIN-2021-01234",
                "title": {"en": "Rivers", "fr": "Rivières"},
                "url": "https://example.org/grants/1",
            },
            {"funder": "City of Example"},
        ],
        languages=["fra", "eng"],
        processing={
            "kind": "vector",
            "key": ["id"],
            "columns": {"population": {"description": {"en": "Number of inhabitants", "fr": "Nombre d’habitants"}}},
        },
    ).parent
    (home / "LICENCE.txt").write_text(text, "utf-8")
    # An address for readers, which the preflight reads an object through.
    invenio.settings["D4C_STORE_URL"] = store = f"http://127.0.0.1:{invenio.port}"
    with serving_store(invenio):
        doi = invenio.ok("publish", "places")["doi"]
    with closing(Ledger.in_folder(invenio.home)) as ledger:
        (release,) = ledger.releases.living("places")
        deposit = ledger.deposits.of(release)
    assert deposit is not None
    assert deposit.doi == doi
    record = server.get(f"/api/records/{deposit.record_id}").json()
    said = record["metadata"]

    people = [(one["person_or_org"], one["role"]["id"]) for one in said["contributors"]]
    assert [(one.get("family_name") or one["name"], role) for one, role in people] == [
        ("Roy", "contactperson"),
        ("Example Host", "hostinginstitution"),
    ]
    assert said["contributors"][0]["affiliations"][0]["name"] == "Université Laval"
    assert said["contributors"][1]["person_or_org"]["identifiers"] == [{"identifier": "052gg0110", "scheme": "ror"}]
    grant, city = said["funding"]
    known = server.get("/api/funders/01h531d29").status_code == 200
    assert grant["funder"].get("id") == ("01h531d29" if known else None)
    if not known:  # a vocabulary that lacks the funder: by name then
        assert grant["funder"]["name"] == "Natural Sciences and Engineering Research Council of Canada"
    assert (grant["award"]["number"], grant["award"]["title"]["fr"]) == ("RGPIN-2021-01234", "Rivières")
    assert grant["award"]["identifiers"][0]["identifier"] == "https://example.org/grants/1"
    assert city == {"funder": {"name": "City of Example"}}
    assert [one["id"] for one in said["languages"]] == ["fra", "eng"]
    (rights,) = said["rights"]
    assert rights["title"] == {"en": "Open Licence – Example City"}
    assert rights["link"] == "https://example.org/licence"
    assert rights["description"] == {"en": "The text of the licence is the file LICENSE of this record."}
    (torrent,) = torrents_of(invenio.home, release)
    place = f"{store}/releases/places/2021/v0.1.0-beta"
    assert [(entry["identifier"], entry["relation_type"]["id"]) for entry in said["related_identifiers"][3:]] == [
        (f"{place}/{FIRST}.parquet", "isidenticalto"),
        (f"urn:btih:{torrent.info_hash}", "isidenticalto"),
        (f"{store}/{torrent.address}", "hasmetadata"),
    ]
    technical = [one for one in said["additional_descriptions"] if one["type"]["id"] == "technical-info"]
    assert [one["lang"]["id"] for one in technical] == ["eng", "fra"]
    assert "population (int32): Number of inhabitants" in technical[0]["description"]
    kept = httpx.get(f"{server.url}/records/{deposit.record_id}/files/LICENSE", timeout=60)
    assert kept.text == text
    assert invenio.ok("publish", "places")["outcome"] == "unchanged"


def test_a_wrong_token_is_told_and_never_shown(invenio: D4C) -> None:
    invenio.settings["D4C_ARCHIVE_TOKEN"] = "s3cret-and-wrong"
    said = invenio("publish", "places")
    assert said.code == 1
    assert "token" in said.sentence
    assert "s3cret" not in said.stderr
    # Who only looks needs no token. Nothing is planned before the archive could be asked what it has.
    del invenio.settings["D4C_ARCHIVE_TOKEN"]
    assert invenio.ok("releases", "places") == []
    invenio.settings["D4C_ARCHIVE_TOKEN"] = "s3cret-and-wrong"
    shown = invenio("settings", "--json")
    assert "s3cret" not in shown.stdout
    assert shown.json["archive_token"] is True
    assert shown.json["archive"] == "invenio"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"D4C_ARCHIVE_TOKEN": ""}, "The archive requires a token and none is set."),
        ({"D4C_ARCHIVE": "zenodoo"}, "D4C_ARCHIVE is 'zenodoo'."),
        ({"D4C_ARCHIVE_URL": ""}, "D4C_ARCHIVE is 'invenio' and its address is not set."),
        ({"D4C_ARCHIVE": "datacite"}, "D4C_ARCHIVE is 'datacite', which needs D4C_ARCHIVE_ACCOUNT and D4C_DOI_PREFIX"),
    ],
)
def test_incomplete_settings_are_told_before_anything_is_done(
    d4c: D4C, changes: dict[str, str], sentence: str, definitions: Path
) -> None:
    define(definitions)
    d4c.settings |= {
        "D4C_ARCHIVE": "invenio",
        "D4C_ARCHIVE_URL": "http://127.0.0.1:1",
        "D4C_ARCHIVE_TOKEN": "x",
    } | changes
    assert d4c("publish", "places").sentence.startswith(sentence)
