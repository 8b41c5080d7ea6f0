"""Two homes on one ledger and one primary store: each step may run in either, and a killed build is continued."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from d4c_pipeline.model.addresses import WORK
from d4c_pipeline.model.errors import IntegrityError, UnknownNameError
from d4c_pipeline.model.stores import FolderPlace, S3Place, Stores
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline.workspace.work import put_work
from d4c_pipeline_tests.integration.chain.conftest import Chain
from d4c_pipeline_tests.integration.chain.test_several_stores import chain_on, made_bucket
from d4c_pipeline_tests.support.inspection import tree
from d4c_pipeline_tests.support.samples import DAY, PLACES_URL, corrected, define
from d4c_pipeline_tests.support.steps import STEPS

VINTAGE = Vintage.parse("2021")


@dataclass
class Homes:
    """Two machines with a home each, and what lies in their common primary store."""

    first: Chain
    second: Chain
    place: FolderPlace | S3Place
    client: Any

    @property
    def work(self) -> list[str]:
        """The names of the files in the store that steps pass on."""
        if isinstance(self.place, FolderPlace):
            return [name for name in tree(self.place.path) if name.startswith(WORK)]
        found = self.client.list_objects_v2(Bucket=self.place.bucket, Prefix=f"d4c/{WORK}").get("Contents", ())
        return [each["Key"].removeprefix("d4c/") for each in found]

    def staged(self, chain: Chain) -> list[str]:
        return sorted(path.name for path in (chain.home / "staging" / "places" / "2021").rglob("*") if path.is_file())


@pytest.fixture(params=["folder", "moto", pytest.param("real", marks=pytest.mark.s3)])
def homes(
    tmp_path: Path, definitions: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Homes]:
    place: FolderPlace | S3Place
    if request.param == "folder":
        (tmp_path / "disk").mkdir()
        place, client = FolderPlace(kind="folder", path=tmp_path / "disk"), None
    else:
        place, client = made_bucket(request.param, request, monkeypatch)
    with chain_on(tmp_path, definitions, Stores(primary=place)) as first, ExitStack() as opened:
        settings = first.settings.model_copy(
            update={"home": tmp_path / "elsewhere", "ledger_url": f"sqlite:///{first.home / 'ledger.sqlite'}"}
        )
        settings.home.mkdir()
        # The local archive stands in for a server that both reach.
        (first.home / "archive").mkdir(exist_ok=True)
        (settings.home / "archive").symlink_to(first.home / "archive")
        second = Chain(settings, first.origin, opened.enter_context(Deployment.open(settings)))
        yield Homes(first, second, place, client)


def released(chain: Chain) -> dict[str, str]:
    """The checksums of the files of the newest release whose bytes depend on the data alone."""
    return {each.role: each.sha256 for each in chain.newest().artifacts if each.role in ("data", "profile", "code")}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What one home with a store of its own makes of the same source."""
    folder = tmp_path_factory.mktemp("alone")
    define(folder / "definitions")
    with chain_on(folder, folder / "definitions", Stores()) as chain:
        chain.run()
        return released(chain)


def test_every_step_may_run_in_another_home(homes: Homes, alone: dict[str, str]) -> None:
    for number, step in enumerate(STEPS):
        (homes.first, homes.second)[number % 2].run(step)
        if step == "processed":
            # The data, the profile and the list of both.
            assert sorted(name.rsplit("/", 1)[-1] for name in homes.work) == [
                "build.json",
                "data.parquet",
                "profile.json",
            ]
    assert released(homes.first) == alone
    assert homes.work == []
    ledger = homes.first.opened.ledger
    assert ledger.placements.below("primary", WORK) == ()
    build = ledger.builds.current("places", VINTAGE)
    assert build is not None
    assert build.release_id == homes.first.newest().id
    # A step that runs again finds that the build was published, in either home.
    for home in (homes.first, homes.second):
        assert home.run("checksums").unchanged
    # `latest` ran in the first home, which keeps nothing of a published release.
    assert homes.staged(homes.first) == []


def test_the_second_home_goes_on_where_the_first_was_killed(
    homes: Homes, alone: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class KilledError(Exception):
        pass

    put = type(homes.first.opened.primary).put_immutable
    asked: list[str] = []

    def die(store: Any, source: Path, address: str, digests: Any) -> Any:
        asked.append(address)
        if source.name == "profile.json":
            raise KilledError
        return put(store, source, address, digests)

    homes.first.run("raw")
    with monkeypatch.context() as patched:
        patched.setattr(type(homes.first.opened.primary), "put_immutable", die)
        with pytest.raises(KilledError):
            homes.first.run("processed")
    assert [name for name in homes.work if name.endswith("build.json")] == asked[:1]
    with pytest.raises(UnknownNameError, match="No finished build of places 2021"):
        homes.second.run("checksums")
    # What a build of other data left is found by the ledger's record alone.
    other = homes.first.home / "left.parquet"
    other.write_bytes(b"of a build that was killed long ago")
    with homes.first.opened.working_on(homes.first.dataset, VINTAGE):
        put_work(homes.first.opened, "places", VINTAGE, [other])
        put_work(homes.first.opened, "places", Vintage.parse("2019"), [other])
    homes.second.run("processed")
    assert sum(name.endswith("left.parquet") for name in homes.work) == 1  # that of 2019
    homes.second.run(*list(STEPS)[2:])
    assert homes.work == []
    assert released(homes.second) == alone


def test_the_newest_build_counts_whatever_staging_has(homes: Homes) -> None:
    homes.first.run("raw", "processed")
    older = homes.first.results["processed"].sha256
    homes.first.origin.put(PLACES_URL, corrected(), DAY + timedelta(days=1))
    homes.second.run("raw", "processed")
    newer = homes.second.results["processed"].sha256
    assert homes.first.run("checksums").release.data_sha256 == newer != older
    # The second home has the build, the first its plan; the third part of the way is the second's again.
    homes.second.run("doi", "copies", "torrent", "stac_item")
    homes.first.run("deposit", "latest")
    assert homes.first.newest().data_sha256 == newer
    assert homes.work == []


def test_a_damaged_file_of_the_work_is_never_used(homes: Homes) -> None:
    if not isinstance(homes.place, FolderPlace):
        pytest.skip("a folder can be damaged without a key")
    homes.first.run("raw", "processed")
    (name,) = (name for name in homes.work if name.endswith("data.parquet"))
    path = homes.place.path / name
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(IntegrityError, match="is not what 'processed' left"):
        homes.second.run("checksums")
    homes.second.run("processed", "checksums")  # puts the right bytes there
    homes.first.run(*list(STEPS)[3:])
    assert homes.work == []
