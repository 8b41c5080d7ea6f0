"""Objects of a bucket, from moto's server; the marker `s3` runs the same against a real one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from d4c_pipeline.model.errors import D4CError, NeedsPersonError, SourceError
from d4c_pipeline.model.release import NativeFile
from d4c_pipeline.model.sources import S3Source
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.sources.s3 import S3Objects
from d4c_pipeline.transport.patience import Patience
from d4c_pipeline_tests.support.arrivals import path_of, retained

QUICK = Patience(attempts=2, first_wait=0.01, longest_wait=0.05, connect_timeout=2, read_timeout=5)
V2021 = Vintage.parse("2021")
# Its own: the fakes of S3 in one process share their buckets.
BUCKET = "census-files"
BODY = bytes(range(256)) * 4000


@pytest.fixture(scope="module", params=["moto", pytest.param("real", marks=pytest.mark.s3)])
def endpoint(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "real":
        yield request.getfixturevalue("s3_lane")[0]
        return
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield f"http://127.0.0.1:{server.get_host_and_port()[1]}"
    server.stop()


@pytest.fixture
def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", os.environ.get("D4C_S3_KEY", "testkey"))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", os.environ.get("D4C_S3_SECRET", "testsecret"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    resource = boto3.resource("s3", endpoint_url=endpoint, region_name="us-east-1")
    made = resource.create_bucket(Bucket=BUCKET)
    yield made
    made.objects.delete()
    made.delete()


def objects(endpoint: str, vintages: tuple[Vintage, ...] | None = (V2021,), **declared: Any) -> S3Objects:
    source = S3Source(kind="s3", **{"bucket": BUCKET, "endpoint": endpoint, "anonymous": False, **declared})
    return S3Objects(source, origins={}, vintages=vintages, patience=QUICK)


def test_objects_of_a_prefix_come_signed_and_are_known_again(endpoint: str, bucket: Any, tmp_path: Path) -> None:
    bucket.put_object(Key="census/2021/on/a b.bin", Body=BODY)
    bucket.put_object(Key="census/2021/notes.txt", Body=b"x")
    bucket.put_object(Key="census/2021/on/", Body=b"")
    bucket.put_object(Key="census/2016/c.bin", Body=b"x")
    source = objects(endpoint, prefix="census/{vintage}/", pattern="*.bin")
    (got,) = source.fetch(V2021, tmp_path)
    assert (got.name, got.size) == ("a b.bin", len(BODY))
    assert got.url == f"s3://{BUCKET}/census/2021/on/a%20b.bin", "no signature is kept"
    assert path_of(got).read_bytes() == BODY
    assert "Signature" not in (tmp_path / ".fetch.jsonl").read_text()
    (mark,) = source.observe(V2021).files
    assert (mark.length, mark.etag) == (len(BODY), got.etag)
    (again,) = source.fetch(V2021, tmp_path / "again", [retained(got)])
    assert isinstance(again, NativeFile)
    before = source.observe(V2021)
    bucket.put_object(Key="census/2021/on/a b.bin", Body=BODY[:-1])
    assert source.observe(V2021) != before


def test_vintages_are_the_folders_below_the_prefix(endpoint: str, bucket: Any) -> None:
    for key in ("census/v2021/a.bin", "census/v2016/a.bin", "census/other/a.bin", "census/v20x6/a.bin", "v1999/a.bin"):
        bucket.put_object(Key=key, Body=b"x")
    found = objects(endpoint, None, prefix="census/v{vintage:yyyy}/").discover()
    assert [str(vintage) for vintage in found] == ["2016", "2021"]
    assert [str(each) for each in objects(endpoint, None, prefix="v{vintage}").discover()] == ["1999"]


def test_a_prefix_without_vintage_has_the_day_of_its_newest_object(endpoint: str, bucket: Any, tmp_path: Path) -> None:
    day = bucket.put_object(Key="a.bin", Body=b"x").last_modified.date().isoformat()
    source = objects(endpoint, None)
    assert [str(vintage) for vintage in source.discover()] == [day]
    with pytest.raises(SourceError, match=f"serves vintage {day} now, not 2021"):
        source.fetch(V2021, tmp_path)


def test_more_than_a_thousand_objects_are_listed(endpoint: str, bucket: Any) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: bucket.put_object(Key=f"many/{number:04d}.bin", Body=b"x"), range(1005)))
    assert len(objects(endpoint, prefix="many/").observe(V2021).files) == 1005


def test_nothing_there_is_refused(endpoint: str, bucket: Any) -> None:
    with pytest.raises(SourceError, match=f"No object at s3://{BUCKET}/none/"):
        objects(endpoint, prefix="none/").observe(V2021)
    with pytest.raises(SourceError, match="No vintage found at"):
        objects(endpoint, None, prefix="none/{vintage}").discover()
    with pytest.raises(SourceError, match="does not exist"):
        objects(endpoint, bucket="no-such-bucket").observe(V2021)


def test_without_credentials_a_person_is_asked(endpoint: str, bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    with pytest.raises(NeedsPersonError, match="No credentials"):
        objects(endpoint).observe(V2021)


def test_nobody_listening_is_transient() -> None:
    with pytest.raises(D4CError, match="can't be reached"):
        objects("http://127.0.0.1:9", anonymous=True).observe(V2021)


def test_what_stands_for_a_folder_is_no_object(endpoint: str, bucket: Any, tmp_path: Path) -> None:
    for key, body in (("2021/", b""), ("2021/on/", b""), ("2021/on_$folder$", b""), ("2021/on/a.csv", b"a\n1\n")):
        bucket.put_object(Key=key, Body=body)
    assert [one.name for one in objects(endpoint, prefix="2021/").fetch(V2021, tmp_path)] == ["a.csv"]


def test_keys_of_all_characters_come(endpoint: str, bucket: Any, tmp_path: Path) -> None:
    keys = ["p/a+b &?#%20=é.csv", "p/données (1).csv", "p//twice.csv", "p/ spaced .csv", "p/quo'te\".csv"]
    for key in keys:
        bucket.put_object(Key=key, Body=key.encode())
    source = objects(endpoint, prefix="p/")
    fetched = source.fetch(V2021, tmp_path)
    assert sorted(path_of(one).read_bytes().decode() for one in fetched) == sorted(keys)
    assert [one.url for one in fetched] == [mark.url for mark in source.observe(V2021).files]


@pytest.mark.parametrize("endpoint", ["moto"], indirect=True)  # radosgw knows no archives
def test_an_object_in_an_archive_is_named(endpoint: str, bucket: Any) -> None:
    bucket.put_object(Key="p/a.csv", Body=b"a", StorageClass="GLACIER")
    with pytest.raises(NeedsPersonError, match=r"/p/a\.csv is archived \(storage class GLACIER"):
        objects(endpoint, prefix="p/").observe(V2021)
    bucket.put_object(Key="p/b.txt", Body=b"b")
    (left,) = objects(endpoint, prefix="p/", pattern="*.txt").observe(V2021).files
    assert left.url == "s3://census-files/p/b.txt", "the remedy: left out by the pattern"


def test_a_replaced_object_is_seen_within_the_second(endpoint: str, bucket: Any) -> None:
    bucket.put_object(Key="p/a.csv", Body=b"a")
    before = objects(endpoint, prefix="p/").observe(V2021)
    bucket.put_object(Key="p/a.csv", Body=b"b")
    assert objects(endpoint, prefix="p/").observe(V2021).digest != before.digest


def test_a_bucket_whose_readers_pay_is_asked_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testkey")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testsecret")
    source = objects("http://127.0.0.1:9", requester_pays=True)
    signed = source._sign(source._client(), "s3://census-files/a.csv")
    assert "x-amz-request-payer=requester&" in signed
    assert "X-Amz-SignedHeaders=host&" in signed, "no header that the fetch would have to send"
    with pytest.raises(ValueError, match="requester_pays wants anonymous: false"):
        S3Source(kind="s3", bucket=BUCKET, requester_pays=True)
