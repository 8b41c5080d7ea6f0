"""Subsets of releases that lie in a bucket only: the same bytes as of local files, read by ranges; or a sentence."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import geopandas
import numpy as np
import pytest
import shapely

from d4c_pipeline.model.addresses import RECORDS_MANIFEST
from d4c_pipeline.model.errors import TransientError
from d4c_pipeline.model.service_settings import JobSettings
from d4c_pipeline.model.settings import OWN_STORE, Settings
from d4c_pipeline.services.catalogue_index import CatalogueIndex
from d4c_pipeline.services.subset import FORMATS, Engine
from d4c_pipeline.services.subset.service import SubsetService
from d4c_pipeline.stores.folder import FolderStore
from d4c_pipeline.stores.port import Store
from d4c_pipeline.stores.s3 import S3Store
from d4c_pipeline.stores.s3_client import Bucket
from d4c_pipeline_tests.fakes.s3 import FakeS3, let_all_read
from d4c_pipeline_tests.support.ports import free_port
from d4c_pipeline_tests.support.subsets import Subsets

BOX = {"dataset": "places", "bbox": [-80.0, 43.0, -70.0, 47.0]}


@pytest.fixture(params=["moto", pytest.param("real", marks=pytest.mark.s3)])
def bucket(request: pytest.FixtureRequest) -> Iterator[tuple[Any, S3Store]]:
    """A client and an empty store whose files everybody may read."""
    name = f"s-{uuid.uuid4().hex}"
    if request.param == "real":
        url, key, secret = request.getfixturevalue("s3_lane")
        server = None
    else:
        server = FakeS3().start()
        url, key, secret = server.url, "testkey", "testsecret"
    client = boto3.client(
        "s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id=key, aws_secret_access_key=secret
    )
    client.create_bucket(Bucket=name)
    let_all_read(client, name)
    place = Bucket(name, "d4c", url, addressing="path", access_key=key, secret_key=secret)
    yield client, S3Store(place, f"{url}/{name}/d4c")
    if server is not None:
        server.stop()


@pytest.fixture
def subsets(tmp_path: Path) -> Iterator[Subsets]:
    with Engine(threads=2) as engine:
        yield Subsets(engine, tmp_path)


def answers(store: Store, folder: Path) -> dict[str, bytes]:
    """The bytes of a subset in every format, by a service over `store`."""
    index = CatalogueIndex(store, folder)
    index.renew()
    try:
        with SubsetService(index, folder / "results", JobSettings()) as service:
            found = {form: service.answer(service.plan({**BOX, "format": form}), "a").whole for form in FORMATS}
            assert {is_local(file) for file in service.plan(BOX).release.files} == {isinstance(store, FolderStore)}
            return {form: content for form, content in found.items() if content is not None}
    finally:
        index.snapshot.connection.close()


def is_local(file: str) -> bool:
    return not file.startswith("http")


def test_a_subset_of_a_bucket_is_that_of_a_folder(
    published: Settings, bucket: tuple[Any, S3Store], tmp_path: Path
) -> None:
    client, store = bucket
    home = published.home / OWN_STORE
    for path in sorted({*home.rglob("*.parquet"), home / RECORDS_MANIFEST}):
        key = store.bucket.key(path.relative_to(home).as_posix())
        client.put_object(Bucket=store.bucket.name, Key=key, Body=path.read_bytes())
    here = answers(FolderStore(home, "http://127.0.0.1:1/"), tmp_path / "here")
    assert sorted(here) == sorted(FORMATS)
    assert answers(store, tmp_path / "there") == here


def test_only_the_row_groups_of_the_area_are_read(
    bucket: tuple[Any, S3Store], tmp_path: Path, subsets: Subsets
) -> None:
    client, store = bucket
    random = np.random.default_rng(1)
    west = np.sort(random.uniform(-80, -70, 50_000))
    frame = geopandas.GeoDataFrame(
        {"id": range(50_000), "noise": random.random(50_000)}, geometry=shapely.points(west, 45.0), crs=4326
    )
    frame.to_parquet(path := tmp_path / "a b+é.parquet", write_covering_bbox=True, row_group_size=2_000)
    address = f"releases/places/2021/v1.0.0/{path.name}"
    client.put_object(Bucket=store.bucket.name, Key=store.bucket.key(address), Body=path.read_bytes())
    got = subsets.frame(store.url(address), bbox=[-75.1, 44, -75, 46])
    assert got["id"].tolist() == frame[(west >= -75.1) & (west <= -75)]["id"].tolist()
    planned = subsets.plan(store.url(address), bbox=[-75.1, 44, -75, 46])
    assert 0 < planned.bytes < path.stat().st_size / 10


def test_a_store_that_does_not_answer_is_a_sentence(subsets: Subsets) -> None:
    with pytest.raises(TransientError, match=r"^A file of the release can't be read\. Ask again later"):
        subsets.plan(f"http://127.0.0.1:{free_port()}/releases/a.parquet")
