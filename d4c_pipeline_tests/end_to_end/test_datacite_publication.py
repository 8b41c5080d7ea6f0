"""`d4c publish` with DataCite as the archive, by its settings alone: DOIs of one's own over files in one's own store.

The stub answers as DataCite's documentation says. What the chain leaves behind in each step is tested in
`integration/chain/test_datacite_publication.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from d4c_pipeline.model.settings import Settings
from d4c_pipeline.services.embedded import mounts
from d4c_pipeline.services.file_server import serving
from d4c_pipeline_tests.fakes.datacite import ACCOUNT, PASSWORD, PREFIX, FakeDataCite
from d4c_pipeline_tests.support.commands import D4C
from d4c_pipeline_tests.support.samples import DAY, PLACES_URL, Origin, corrected, define, geojson


@pytest.fixture
def datacite() -> Iterator[FakeDataCite]:
    with FakeDataCite() as fake:
        yield fake


@pytest.fixture
def minting(datacite: FakeDataCite, d4c: D4C, origin: Origin, definitions: Path) -> Iterator[D4C]:
    """`d4c` on an empty home, whose store is served at a public address."""
    base = f"http://127.0.0.1:{d4c.port}"
    d4c.settings |= {
        "D4C_STORE_URL": base,
        "D4C_ARCHIVE": "datacite",
        "D4C_ARCHIVE_URL": datacite.url,
        "D4C_ARCHIVE_ACCOUNT": ACCOUNT,
        "D4C_ARCHIVE_TOKEN": PASSWORD,
        "D4C_ARCHIVE_TEST": "1",
        "D4C_DOI_PREFIX": PREFIX,
    }
    define(definitions, publication={"policy": "automatic", "first_release": "automatic"})
    origin.put(PLACES_URL, geojson())
    with serving(mounts(Settings(home=d4c.home, port=d4c.port)), port=d4c.port):
        yield d4c


def test_two_versions_are_published_by_the_command(minting: D4C, datacite: FakeDataCite, origin: Origin) -> None:
    done = minting("publish", "places")
    assert done.code == 0, done.stderr
    origin.put(PLACES_URL, corrected(), DAY + timedelta(days=1))
    assert minting("publish", "places").code == 0
    first, second = minting.ok("releases", "places")
    concept = first["concept_doi"]
    assert (first["doi"], second["doi"]) == (f"{concept}.v1", f"{concept}.v2")
    assert second["concept_doi"] == concept
    assert {doi: one["state"] for doi, one in datacite.dois.items()} == dict.fromkeys(
        (concept, first["doi"], second["doi"]), "findable"
    )
    # What the record names is there for readers, under the address that it names.
    said = datacite.dois[second["doi"]]
    assert [one["creatorName"] if "creatorName" in one else one["name"] for one in said["creators"]] == ["Example"]
    assert {httpx.head(url, trust_env=False).status_code for url in [said["url"], *said["contentUrl"]]} == {200}
    # Run again, nothing is minted.
    assert minting("publish", "places").code == 0
    assert len(datacite.dois) == 3


def test_a_wrong_password_is_told_before_anything_is_minted(minting: D4C, datacite: FakeDataCite) -> None:
    minting.settings["D4C_ARCHIVE_TOKEN"] = "wr0ng-password"
    said = minting("publish", "places")
    assert "wr0ng-password" not in said.stdout + said.stderr
    assert "account" in said.sentence or "password" in said.sentence
    assert datacite.dois == {}
