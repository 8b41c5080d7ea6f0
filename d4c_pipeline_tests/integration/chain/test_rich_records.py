"""What a whole publication says of itself: its own licence, checksums of every file, copies and torrents, columns."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from d4c_pipeline.chain import doi
from d4c_pipeline.model.errors import AwaitingReviewError, DefinitionError
from d4c_pipeline.model.release import ArtifactRole
from d4c_pipeline.review import decisions
from d4c_pipeline.services.embedded import mounts
from d4c_pipeline.services.file_server import serving
from d4c_pipeline.workspace.code_archive import definition_digest
from d4c_pipeline.workspace.datasets import load_datasets
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline_tests.integration.chain.conftest import Chain
from d4c_pipeline_tests.integration.chain.test_adoption import facts, with_ledger_of, without_times
from d4c_pipeline_tests.support.samples import define

TEXT = "Vous pouvez utiliser ces données.\n\fYou may use these data.\n"
OWN: dict[str, Any] = {
    "license": {
        "title": {"en": "Open Licence - Example City", "fr": "Licence ouverte : Ville d'Exemple"},
        "url": "https://example.org/licence",
        "text_file": "LICENCE.txt",
    },
    "contributors": [
        {"name": "Open Data Office", "role": "ContactPerson", "email": "opendata@example.org"},
        {"name": "Example Host", "role": "hostinginstitution", "ror": "https://ror.org/052gg0110"},
    ],
    "funding": [
        {
            "funder": "NSERC",
            "ror": "https://ror.org/01h531d29",
            "number": "RGPIN-2021-01234",
            "title": {"en": "Rivers", "fr": "Rivières"},
        }
    ],
    "languages": ["fra", "iku"],
    "processing": {
        "kind": "vector",
        "key": ["id"],
        "columns": {"population": {"description": {"en": "Number of inhabitants", "fr": "Nombre d'habitants"}}},
    },
}


def define_rich(folder: Path, text: str = TEXT, **changes: Any) -> None:
    home = define(folder, **OWN, **changes).parent
    (home / "LICENCE.txt").write_text(text, "utf-8")


@pytest.fixture
def rich(chain: Chain, definitions: Path) -> Iterator[Chain]:
    """The chain of a dataset that declares all of it, its store at a public address that is served."""
    define_rich(definitions)
    settings = chain.settings.model_copy(update={"store_url": f"http://127.0.0.1:{chain.settings.port}"})
    with serving(mounts(settings), port=settings.port), Deployment.open(settings) as opened:
        yield Chain(settings, chain.origin, opened)


def folder_of(chain: Chain) -> Path:
    return chain.home / "store" / "releases" / "places" / "2021" / "v0.1.0-beta"


def test_everything_published_is_listed_and_whole(rich: Chain) -> None:
    rich.run()
    folder, names = folder_of(rich), {artifact.name for artifact in rich.newest().artifacts}
    assert {path.name for path in folder.iterdir()} == names
    lists = ["checksums.sha256", "checksums-rest.sha256"]
    listed = [line.split("  ")[1] for name in lists for line in (folder / name).read_text().splitlines()]
    # Nothing can list itself; of all the others each stands in one of the two.
    assert sorted(listed) == sorted(names - {"checksums-rest.sha256"})
    assert {"README.md", "item.json", "LICENSE", "checksums.sha256"} < set(listed)
    assert any(name.endswith(".torrent") for name in listed)
    checked = subprocess.run(["sha256sum", "--check", *lists], cwd=folder, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    (folder / "README.md").chmod(0o644)
    (folder / "README.md").write_bytes((folder / "README.md").read_bytes() + b" ")
    checked = subprocess.run(["sha256sum", "--check", *lists], cwd=folder, capture_output=True, text=True, check=False)
    assert "README.md: FAILED" in checked.stdout


def test_a_declared_licence_stands_in_release_item_readme_and_manifest(rich: Chain) -> None:
    rich.run()
    folder = folder_of(rich)
    assert (folder / "LICENSE").read_bytes() == TEXT.encode()
    item = json.loads((folder / "item.json").read_text("utf-8"))
    links = [(link["href"], link["type"]) for link in item["links"] if link["rel"] == "license"]
    base = f"{rich.settings.store_url}/releases/places/2021/v0.1.0-beta"
    assert links == [("https://example.org/licence", "text/html"), (f"{base}/LICENSE", "text/plain")]
    assert item["properties"]["license"] == "other"
    assert item["properties"]["d4c:languages"] == ["fra", "iku"]
    assert item["assets"]["license"]["href"] == f"{base}/LICENSE"
    population = next(one for one in item["properties"]["table:columns"] if one["name"] == "population")
    assert population["description"] == "Number of inhabitants"
    assert population["d4c:description_fr"] == "Nombre d'habitants"
    readme = (folder / "README.md").read_text("utf-8")
    english, french = readme.split("\n---\n")
    assert (
        "[Open Licence - Example City](https://example.org/licence)\n\n`LICENSE`: the text of the licence." in english
    )
    assert "[Licence ouverte : Ville d'Exemple](https://example.org/licence)" in french
    assert "Language of the data: fra, iku (ISO 639-3)." in english
    assert "- NSERC, grant RGPIN-2021-01234, Rivers\n" in english
    assert "- NSERC, subvention RGPIN-2021-01234, Rivières\n" in french
    assert "## Contact\n\nOpen Data Office: opendata@example.org\n" in english
    assert "| `population` | int32 | Nombre d'habitants |" in french
    assert "checksums.sha256 checksums-rest.sha256" in english
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    assert manifest["license"] == {"title": "Open Licence - Example City", "url": "https://example.org/licence"}


def test_the_local_record_names_copies_torrent_and_the_rest(rich: Chain) -> None:
    rich.run()
    (record,) = (rich.home / "archive" / "records").glob("*/record.json")
    said = json.loads(record.read_text("utf-8"))["metadata"]
    release = rich.newest()
    data = release.data_files[0].name
    (torrent,) = rich.opened.ledger.publications.torrents(release).values()
    base = rich.settings.store_url
    assert [(one["identifier"], one["relation"]) for one in said["related"][1:]] == [
        (f"{base}/releases/places/2021/v0.1.0-beta/{data}", "isidenticalto"),
        (f"urn:btih:{torrent.info_hash}", "isidenticalto"),
        (f"{base}/{torrent.address}", "hasmetadata"),
    ]
    assert said["formats"] == ["application/vnd.apache.parquet"]
    assert said["sizes"] == ["4 rows", f"{release.data_size} bytes"]
    assert (said["bounds"], said["valid"]) == ([-123.12, 46.343, -68.519, 63.747], "2021")
    assert [one["role"] for one in said["contributors"]] == ["contactperson", "hostinginstitution"]
    assert said["funding"][0]["ror"] == "01h531d29"
    assert said["licence"]["file"] == "LICENSE"
    assert "population (int32): Nombre d&#x27;habitants" in said["columns"]["fr"]


def test_what_waits_for_approval_hides_all_of_it_and_its_draft_names_where_it_will_be(
    rich: Chain, definitions: Path
) -> None:
    define_rich(definitions, publication={"stage": "beta", "initial_version": "0.1.0", "policy": "review"})
    with pytest.raises(AwaitingReviewError):
        rich.run_up_to("deposit")
    (release,) = decisions.waiting(rich.opened)
    store, names = rich.home / "store", {artifact.name for artifact in release.artifacts}
    assert {"LICENSE", "checksums.sha256", "checksums-rest.sha256"} < names
    assert {path.name for path in (store / "hidden" / str(release.token)).iterdir()} == names
    assert not folder_of(rich).exists()
    said = [one.identifier for one in doi.metadata_of(rich.opened, rich.dataset, release).related]
    data = f"{rich.settings.store_url}/releases/places/2021/v0.1.0-beta/{release.data_files[0].name}"
    assert data in said
    decisions.approve(rich.opened, release, who="Ana")
    rich.run("deposit")
    assert {path.name for path in folder_of(rich).iterdir()} == names
    assert [path.name for path in (store / "hidden").iterdir()] == ["preflight"]
    (record,) = (rich.home / "archive" / "records").glob("*/record.json")
    assert [one["identifier"] for one in json.loads(record.read_text("utf-8"))["metadata"]["related"]] == said
    for address in (data, f"{rich.settings.store_url}/torrents/{release.name}.torrent"):
        assert address in said
        assert httpx.get(address, trust_env=False).status_code == 200


def test_an_address_that_only_this_machine_reaches_is_in_no_record(chain: Chain) -> None:
    chain.run()
    (record,) = (chain.home / "archive" / "records").glob("*/record.json")
    said = json.loads(record.read_text("utf-8"))["metadata"]
    assert [one["relation"] for one in said["related"]] == ["isderivedfrom", "isidenticalto"]
    assert said["related"][1]["identifier"].startswith("urn:btih:")
    assert "127.0.0.1" not in json.dumps(said)


def test_before_anything_is_copied_the_draft_names_no_copy(rich: Chain) -> None:
    rich.run_up_to("doi")
    release = rich.opened.ledger.releases.planned("places", rich.dataset.vintage("2021"))
    assert release is not None
    said = doi.metadata_of(rich.opened, rich.dataset, release)
    assert [one.relation for one in said.related] == ["isderivedfrom"]


def test_a_lost_ledger_adopts_licence_and_both_lists(rich: Chain) -> None:
    rich.run()
    known = without_times(facts(rich))
    roles = {artifact.name: artifact.role for artifact in rich.newest().artifacts}
    assert (roles["LICENSE"], roles["checksums-rest.sha256"]) == (ArtifactRole.LICENCE, ArtifactRole.CHECKSUMS_REST)
    with with_ledger_of(rich, None) as again:
        again.run()
        assert without_times(facts(again)) == known


def test_another_text_of_the_licence_makes_another_plan(rich: Chain, definitions: Path) -> None:
    rich.run_up_to("stac_item")
    before = definition_digest(rich.dataset)
    define_rich(definitions, text=f"{TEXT}And more.\n")
    assert definition_digest(rich.dataset) != before
    rich.run()
    assert (folder_of(rich) / "LICENSE").read_bytes().endswith(b"And more.\n")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "can't be read"),
        (b"", "has no text"),
        ("Café".encode("latin-1"), "can't be read"),
        (b"a\x00b", r"has a control character \(U\+0000\)"),
        (b"x" * 1_000_001, "has 1,000,001 bytes"),
    ],
)
def test_a_text_that_no_release_can_keep_is_told_when_definitions_are_read(
    definitions: Path, content: bytes | None, said: str
) -> None:
    define_rich(definitions)
    file = definitions / "places" / "LICENCE.txt"
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(DefinitionError, match=said):
        load_datasets([definitions])
