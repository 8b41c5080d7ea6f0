"""Ledger and store are lost: InvenioRDM gives the files back; DataCite has none, so a mirror gives them, or nobody."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from d4c_pipeline.model.settings import Settings
from d4c_pipeline.model.stores import FolderPlace, Stores
from d4c_pipeline.services.embedded import mounts
from d4c_pipeline.services.file_server import serving
from d4c_pipeline.upkeep.recovery import Recovered, from_archive
from d4c_pipeline.workspace.datasets import load_datasets
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline_tests.fakes.datacite import ACCOUNT, PASSWORD, PREFIX, FakeDataCite
from d4c_pipeline_tests.fakes.invenio import TOKEN, FakeInvenio
from d4c_pipeline_tests.integration.chain.conftest import Chain
from d4c_pipeline_tests.support.inspection import tree_of_facts
from d4c_pipeline_tests.support.samples import define

POLICY = {"stage": "beta", "policy": "automatic", "first_release": "automatic"}


@contextmanager
def published(chain: Chain, settings: Settings) -> Iterator[None]:
    """The sample dataset published with these settings; afterwards everything but the archive is lost."""
    define(settings.definitions[0], license="cc-by-4.0", publication=POLICY)
    with serving(mounts(settings), port=settings.port):
        with Deployment.open(settings) as opened:
            Chain(settings, chain.origin, opened).run()
        yield


def kept(home: Path) -> dict[str, str]:
    """Releases, `/processed/`, torrents and catalogue in a store."""
    left_out = ("raw/", "catalogue/preflight")
    return {name: digest for name, digest in tree_of_facts(home / "store").items() if not name.startswith(left_out)}


def recovered(settings: Settings) -> Recovered:
    for path in settings.home.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    with Deployment.open(settings) as opened:
        return from_archive(opened, load_datasets(settings.definitions))


def test_invenio_gives_the_files_back(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("D4C_ARCHIVE_TOKEN", TOKEN)
    with FakeInvenio() as fake:
        archive = {"archive": "invenio", "archive_url": fake.url, "archive_test": True}
        settings = chain.settings.model_copy(update=archive)
        with published(chain, settings):
            before, records = kept(settings.home), dict(fake.state.records)
            found = recovered(settings)
            assert (len(found.adopted), found.left_out) == (1, ())
            assert kept(settings.home) == before
            assert fake.state.records == records


@pytest.mark.parametrize("mirror_is", ["intact", "gone", "damaged"])
def test_datacite_has_no_files_so_an_intact_mirror_gives_them(
    chain: Chain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mirror_is: str
) -> None:
    monkeypatch.setenv("D4C_ARCHIVE_TOKEN", PASSWORD)
    mirror = FolderPlace(kind="folder", name="attic", path=tmp_path / "attic", url="https://attic.example.ca")
    mirror.path.mkdir()
    with FakeDataCite() as fake:
        archive = {"archive": "datacite", "archive_url": fake.url, "archive_account": ACCOUNT, "doi_prefix": PREFIX}
        where = {"store_url": f"http://127.0.0.1:{chain.settings.port}", "stores": Stores(mirrors=(mirror,))}
        settings = chain.settings.model_copy(update={**archive, **where, "archive_test": True})
        with published(chain, settings):
            before = kept(settings.home)
            (data,) = (mirror.path / "releases").rglob("*.parquet")
            if mirror_is == "gone":
                shutil.rmtree(mirror.path / "releases")
            elif mirror_is == "damaged":
                data.chmod(0o644)
                data.write_bytes(data.read_bytes()[:-1] + b"?")
            found = recovered(settings)
            if mirror_is == "intact":
                assert (len(found.adopted), found.left_out) == (1, ())
                assert kept(settings.home) == before
                return
            # The catalogue of the mirror, which lists the release, stays as it is.
            assert (found.adopted, found.catalogued) == ((), None)
            left_out, _ = found.left_out
            assert "keeps no files of its own, and no store has all of releases/places/2021/v0.1.0-be" in left_out.cause
            assert "from a backup into store primary, or name a mirror that has it" in left_out.remedy
            assert not (settings.home / "store" / data.relative_to(mirror.path)).exists()
