"""The chain with DataCite as archive: DOIs of one's own over files in one's own store, two versions, one concept."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from d4c_pipeline.services.embedded import mounts
from d4c_pipeline.services.file_server import serving
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline_tests.fakes.datacite import ACCOUNT, PASSWORD, PREFIX, FakeDataCite
from d4c_pipeline_tests.integration.chain.conftest import Chain
from d4c_pipeline_tests.integration.chain.test_rich_records import define_rich
from d4c_pipeline_tests.support.samples import DAY, PLACES_URL, corrected


@pytest.fixture
def datacite() -> Iterator[FakeDataCite]:
    with FakeDataCite() as fake:
        yield fake


@pytest.fixture
def minting(
    chain: Chain, definitions: Path, datacite: FakeDataCite, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Chain]:
    """The chain of the sample dataset, its store served at a public address, its DOIs minted at DataCite."""
    define_rich(definitions, publication={"policy": "automatic", "first_release": "automatic"})
    monkeypatch.setenv("D4C_ARCHIVE_TOKEN", PASSWORD)
    settings = chain.settings.model_copy(
        update={
            "archive": "datacite",
            "archive_url": datacite.url,
            "archive_account": ACCOUNT,
            "doi_prefix": PREFIX,
            "archive_test": True,
            "store_url": f"http://127.0.0.1:{chain.settings.port}",
        }
    )
    with serving(mounts(settings), port=settings.port), Deployment.open(settings) as opened:
        yield Chain(settings, chain.origin, opened)


def test_two_versions_are_published_through_datacite(minting: Chain, datacite: FakeDataCite, tmp_path: Path) -> None:
    minting.run()
    (first,) = minting.opened.ledger.deposits.all()
    minting.origin.put(PLACES_URL, corrected(), DAY + timedelta(days=1))
    minting.run()
    first, second = minting.opened.ledger.deposits.all()
    assert first.doi is not None
    assert (first.doi, second.doi) == (f"{first.concept_doi}.v1", f"{first.concept_doi}.v2")
    assert {doi: one["state"] for doi, one in datacite.dois.items()} == dict.fromkeys(
        (first.concept_doi, first.doi, second.doi), "findable"
    )
    base = f"http://127.0.0.1:{minting.settings.port}/releases/places/2021"
    said = datacite.dois[str(second.doi)]
    names = [artifact.name for artifact in minting.newest().artifacts]
    assert sorted(said["contentUrl"]) == sorted(f"{base}/v0.1.1-beta/{name}" for name in names)
    assert said["url"] == f"{base}/v0.1.1-beta/README.md"
    assert said["fundingReferences"] == [
        {
            "funderName": "NSERC",
            "funderIdentifier": "https://ror.org/01h531d29",
            "funderIdentifierType": "ROR",
            "awardNumber": "RGPIN-2021-01234",
            "awardTitle": "Rivers",
        }
    ]
    assert [one["contributorType"] for one in said["contributors"]] == ["ContactPerson", "HostingInstitution"]
    assert said["language"] == "fr"
    assert [one["rights"] for one in said["rightsList"]] == [
        "Open Licence - Example City",
        "Licence ouverte : Ville d'Exemple",
    ]
    data = next(name for name in names if name.endswith(".parquet"))
    relations = [(one["relationType"], one["relatedIdentifier"]) for one in said["relatedIdentifiers"]]
    assert ("IsIdenticalTo", f"{base}/v0.1.1-beta/{data}") in relations
    assert any(one.startswith("urn:btih:") for relation, one in relations if relation == "IsIdenticalTo")
    versions = [one["relatedIdentifier"] for one in datacite.dois[str(first.concept_doi)]["relatedIdentifiers"]]
    assert versions == [first.doi, second.doi]
    # Run again, nothing is minted; another ledger adopts what is there.
    minting.run()
    assert len(datacite.dois) == 3
    minting.opened.ledger.close()
    for path in minting.home.glob("ledger.sqlite*"):
        path.unlink()
    with Deployment.open(minting.settings) as opened:
        Chain(minting.settings, minting.origin, opened).run()
        assert [one.doi for one in opened.ledger.deposits.all()] == [first.doi, second.doi]
    assert len(datacite.dois) == 3
