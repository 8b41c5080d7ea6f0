"""The chain on a primary store in a bucket, and with mirrors that come and go."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest

from d4c_pipeline.model.addresses import CATALOGUE_PARQUET, RECORD_PARTS
from d4c_pipeline.model.errors import IntegrityError, StorageError, TransientError
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.model.stores import FolderPlace, S3Place, Stores
from d4c_pipeline.stores.s3 import S3Store
from d4c_pipeline.workspace import stores
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline_tests.fakes.s3 import Answer, FakeS3
from d4c_pipeline_tests.integration.chain.conftest import Chain
from d4c_pipeline_tests.support.inspection import tree
from d4c_pipeline_tests.support.ports import free_port
from d4c_pipeline_tests.support.samples import DAY, HOST, PLACES_URL, Origin, corrected, geojson

DATA = "ca_example_2021A000011124_d4c-datapkg-foundation_places_2021"
LATEST = f"processed/{DATA}.parquet"


@pytest.fixture(params=["moto", pytest.param("real", marks=pytest.mark.s3)])
def bucket(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[S3Place, Any]:
    """A bucket that anybody may read, as a store, and a client that sees it."""
    return made_bucket(request.param, request, monkeypatch)


def made_bucket(kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[S3Place, Any]:
    """Make such a bucket at moto's or the real server."""
    if kind == "real":
        url, key, secret = request.getfixturevalue("s3_lane")
    else:
        server: FakeS3 = request.getfixturevalue("moto")
        url, key, secret = server.url, "testkey", "testsecret"
    monkeypatch.setenv("OUR_KEY", key)
    monkeypatch.setenv("OUR_SECRET", secret)
    name = f"t-{uuid.uuid4().hex}"
    client = boto3.client(
        "s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id=key, aws_secret_access_key=secret
    )
    client.create_bucket(Bucket=name)
    anybody = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{name}/*"}
    client.put_bucket_policy(Bucket=name, Policy=json.dumps({"Version": "2012-10-17", "Statement": [anybody]}))
    return (
        S3Place(
            kind="s3",
            url=f"{url}/{name}/d4c",
            bucket=name,
            prefix="d4c",
            endpoint=url,
            addressing="path",
            access_key_env="OUR_KEY",
            secret_key_env="OUR_SECRET",
        ),
        client,
    )


def mirror_at(folder: Path) -> FolderPlace:
    return FolderPlace(kind="folder", name="attic", path=folder, url="https://attic.example.ca")


@contextmanager
def chain_on(tmp_path: Path, definitions: Path, declared: Stores) -> Iterator[Chain]:
    """The chain of the sample dataset; each run opens the deployment as a step does: again."""
    origin = Origin(tmp_path / "origin")
    origin.host(HOST)
    origin.put(PLACES_URL, geojson())
    primary = declared.primary
    settings = Settings(
        home=tmp_path / "home",
        definitions=(definitions,),
        origins=origin.origins,
        port=free_port(),
        stores=declared,
        store_url=primary.url if primary is not None else None,
    )
    with Deployment.open(settings) as opened:
        yield Chain(settings, origin, opened)
    origin.close()


def run_again(chain: Chain) -> Chain:
    """Run the whole chain on the deployment opened anew."""
    with Deployment.open(chain.settings) as opened:
        again = Chain(chain.settings, chain.origin, opened)
        again.run()
    return again


def objects(place: S3Place, client: Any) -> dict[str, str]:
    """The addresses of a bucket with the tags of what is there."""
    found = client.list_objects_v2(Bucket=place.bucket, Prefix="d4c/").get("Contents", ())
    return {one["Key"].removeprefix("d4c/"): one["ETag"] for one in found}


# A primary in a bucket


def test_the_whole_chain_on_a_bucket(tmp_path: Path, definitions: Path, bucket: tuple[S3Place, Any]) -> None:
    place, client = bucket
    with chain_on(tmp_path, definitions, Stores(primary=place)) as chain:
        chain.run()
        first = chain.newest()
        before = objects(place, client)
        url = chain.results["latest"].url
        assert url == f"{place.url}/{LATEST}"
        served = httpx.get(url, trust_env=False)
        assert served.headers["cache-control"] == "public, no-cache"
        assert sum(name.startswith("raw/places/2021/") for name in before) == 1
        assert {LATEST, CATALOGUE_PARQUET, "catalogue/catalog.json"} <= before.keys()
        # The bucket serves ranges, so that it stands in the torrent.
        (torrent,) = chain.results["torrent"].torrents.values()
        assert torrent.web_seeds[0] == f"{place.url}/releases/places/2021/v{first.version}/{first.name}.parquet"
        assert {copy.store for copy in chain.opened.ledger.copies.of(first)} == {"primary"}
        # Nothing of it stays on this machine.
        assert not (chain.home / "store").exists()
        assert not list((chain.home / "staging" / "places" / "2021").glob("re*/**/*"))

        again = run_again(chain)
        assert again.results["checksums"].unchanged
        assert not again.results["latest"].changed
        assert objects(place, client) == before

        chain.origin.put(PLACES_URL, corrected(), DAY + timedelta(days=1))
        third = run_again(chain)
        assert str(third.newest().version) == "0.1.1-beta"
        assert third.newest().change.bump.name == "PATCH"
        after = objects(place, client)
        assert {name for name in before if after.get(name) != before[name]} <= {
            name for name in before if name.startswith(("processed/", "catalogue/"))
        }
        assert httpx.get(url, trust_env=False).content != served.content


def test_staging_may_go_at_any_moment(tmp_path: Path, definitions: Path, bucket: tuple[S3Place, Any]) -> None:
    place, _ = bucket
    with chain_on(tmp_path, definitions, Stores(primary=place)) as chain:
        staging = chain.home / "staging" / "places" / "2021"
        chain.run("raw")
        # What was just retained is not fetched back for the build.
        (kept,) = (path for path in (staging / "retained").rglob("*") if path.is_file())
        assert kept.read_bytes() == geojson()
        kept.write_bytes(b"rot")
        chain.run("processed")
        assert kept.read_bytes() == geojson()
        chain.run("checksums", "doi", "copies")
        release = chain.opened.ledger.releases.living("places")[0]
        for path in (staging / "release").rglob("*.parquet"):
            path.unlink()
        chain.run("torrent", "stac_item", "deposit", "latest", "catalogue")
        assert chain.newest().id == release.id
        assert chain.opened.primary.verify(LATEST, release.data_files[0].size, release.data_files[0].sha256)


def test_a_retained_file_that_rotted_in_the_bucket_is_no_input(
    tmp_path: Path, definitions: Path, bucket: tuple[S3Place, Any]
) -> None:
    place, client = bucket
    with chain_on(tmp_path, definitions, Stores(primary=place)) as chain:
        (native,) = chain.run("raw").natives
        client.put_object(Bucket=place.bucket, Key=f"d4c/{native.address}", Body=b"?" * native.size)
        for path in (chain.home / "staging").rglob("places_2021.geojson"):
            path.unlink()
        with pytest.raises(IntegrityError, match=r"retained native file raw/places/.* is missing or damaged"):
            chain.run("processed")
        assert not list((chain.home / "staging").rglob("*.part"))


# Mirrors


def test_a_mirror_gets_everything_but_the_natives(tmp_path: Path, definitions: Path) -> None:
    (tmp_path / "attic").mkdir()
    with chain_on(tmp_path, definitions, Stores(mirrors=(mirror_at(tmp_path / "attic"),))) as chain:
        chain.run()
        assert chain.results["copies"].missed == ()
        kept = tree(tmp_path / "attic")
        assert kept == {name: is_ for name, is_ in tree(chain.home / "store").items() if not name.startswith("raw")}
        copies = chain.opened.ledger.copies.of(chain.newest())
        assert sorted({copy.store for copy in copies}) == ["attic", "primary"]
        # Nobody answers at its public address, so that it is no web seed.
        (left_out,) = (reason for reason in chain.results["torrent"].left_out if "attic" in reason)
        assert left_out.startswith("https://attic.example.ca/releases/places/2021/")


def test_a_mirror_that_is_down_stops_nothing_and_is_mended(tmp_path: Path, definitions: Path) -> None:
    attic = tmp_path / "attic"
    with chain_on(tmp_path, definitions, Stores(mirrors=(mirror_at(attic),))) as chain:
        chain.run()
        (missed,) = chain.results["copies"].missed
        assert missed == stores.Missed(
            "attic", f"The folder {attic} of store attic does not exist", "Mount its disk, or create the folder"
        )
        release = chain.newest()
        assert {copy.store for copy in chain.opened.ledger.copies.of(release)} == {"primary"}

        attic.mkdir()
        again = run_again(chain)
        assert again.results["copies"].missed == ()
        assert again.newest().id == release.id
        kept, everything = tree(attic), tree(chain.home / "store")
        # A snapshot of the catalogue from before is of no use to anybody who comes to the mirror now.
        (newest,) = chain.opened.ledger.torrents.snapshots()[:1]
        # Nor is the object by which stores are tried before a release, which was published.
        others = ("raw/", "catalogue/preflight.txt")
        ours = [name for name in everything if "/catalogue-" not in name and not name.startswith(others)]
        assert kept == {name: everything[name] for name in [*ours, newest.address, newest.torrent.address]}


def test_a_mirror_keeps_what_it_has_while_it_is_down(
    tmp_path: Path, definitions: Path, moto: FakeS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("d4c_pipeline.stores.s3_client._ATTEMPTS", 1)
    monkeypatch.setenv("OUR_KEY", "testkey")
    client = moto.client()
    name = f"t-{uuid.uuid4().hex}"
    client.create_bucket(Bucket=name)
    mirror = S3Place(
        kind="s3",
        name="r2",
        url=f"{moto.url}/{name}",
        bucket=name,
        prefix="d4c",
        endpoint=moto.url,
        addressing="path",
        access_key_env="OUR_KEY",
        secret_key_env="OUR_KEY",
    )
    with chain_on(tmp_path, definitions, Stores(mirrors=(mirror,))) as chain:
        chain.run()
        before = objects(mirror, client)
        assert LATEST in before
        chain.origin.put(PLACES_URL, corrected(), DAY + timedelta(days=1))
        moto.fault = lambda asked: (
            Answer("503 Slow Down", "SlowDown") if asked.environ["PATH_INFO"].startswith(f"/{name}/") else None
        )
        try:
            down = run_again(chain)
        finally:
            moto.fault = None
        (missed,) = down.results["copies"].missed
        assert missed.store == "r2"
        assert missed.cause.startswith("Can't read releases/places/2021/v0.1.1-beta/"), missed
        assert str(down.newest().version) == "0.1.1-beta"
        assert objects(mirror, client) == before  # a failed push deletes nothing

        again = run_again(chain)
        assert again.results["copies"].missed == ()
        newest = down.newest().data_files[0]
        store = again.opened.stores[1]
        assert isinstance(store, S3Store)
        assert store.verify(LATEST, newest.size, newest.sha256)
        after = objects(mirror, client)
        assert all(after[name] == tag for name, tag in before.items() if name.startswith("releases/"))
        # Beside the catalogue's snapshot of now, only what the new version brought.
        parts = {name for name in after if name.startswith(RECORD_PARTS)}
        new = {name for name in after.keys() - parts if name not in before and "/catalogue-" not in name}
        assert new == {name for name in tree(chain.home / "store") if "0.1.1-beta" in name}
        assert parts == {name for name in tree(chain.home / "store") if name.startswith(RECORD_PARTS)}


def test_other_bytes_on_a_mirror_stop_the_chain(tmp_path: Path, definitions: Path) -> None:
    attic = tmp_path / "attic"
    attic.mkdir()
    with chain_on(tmp_path, definitions, Stores(mirrors=(mirror_at(attic),))) as chain:
        chain.run()
        (data,) = (attic / "releases").rglob("*.parquet")
        data.chmod(0o644)
        data.write_bytes(b"other bytes")
        with pytest.raises(IntegrityError, match="attic holds other bytes at the immutable address"):
            chain.run("copies")
        assert data.read_bytes() == b"other bytes"


def test_a_primary_that_is_down_stops_the_chain(tmp_path: Path, definitions: Path) -> None:
    (tmp_path / "attic").mkdir()
    declared = Stores(
        primary=FolderPlace(kind="folder", path=tmp_path / "disk"), mirrors=(mirror_at(tmp_path / "attic"),)
    )
    with chain_on(tmp_path, definitions, declared) as chain:
        with pytest.raises(StorageError, match=r"The folder .*/disk of store primary does not exist"):
            chain.run()
        (tmp_path / "disk").mkdir()
        chain.run()
        assert tree(tmp_path / "disk").keys() > tree(tmp_path / "attic").keys()


def test_a_mirror_is_waited_for_once_in_a_step(tmp_path: Path) -> None:
    calls: list[str] = []

    class Named:
        def __init__(self, name: str) -> None:
            self.name = name

    spreading = stores.Spreading([Named("primary"), Named("a"), Named("b")])  # type: ignore[list-item]

    def put(store: Any) -> None:
        calls.append(store.name)
        if store.name == "a":
            raise TransientError("It is down", "Wait")

    spreading.everywhere(put)
    spreading.everywhere(put)
    assert calls == ["primary", "a", "b", "primary", "b"]
    assert spreading.missed == (stores.Missed("a", "It is down", "Wait"),)
