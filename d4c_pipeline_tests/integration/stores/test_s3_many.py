"""Many small contents in a bucket, and a copy inside it: the requests that they take, and what they do not believe."""

from __future__ import annotations

import hashlib
import io
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from d4c_pipeline.chain import catalogue
from d4c_pipeline.files.hashing import hash_file
from d4c_pipeline.model.errors import IntegrityError, PermanentError
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.model.stores import S3Place, Stores
from d4c_pipeline.stores.s3 import S3Store
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline_tests.fakes.s3 import PART, Answer, FakeS3, Request
from d4c_pipeline_tests.support.catalogued import ROLLING, fill, publish

NAMES = tuple(f"catalogue/set/{number:02}.json" for number in range(20))
SNAPSHOT, STAC = "snapshots/0123456789abcdef/catalogue.parquet", "catalogue/stac.parquet"


@pytest.fixture(params=[True, False], ids=["verifying", "believed"])
def server(request: pytest.FixtureRequest, moto: FakeS3) -> Iterator[FakeS3]:
    """Moto's server, which verifies the sha256 of a request or does not."""
    moto.verifying = request.param
    moto.requests.clear()
    yield moto
    moto.verifying, moto.fault = False, None


@pytest.fixture
def store(server: FakeS3) -> S3Store:
    return server.store(uuid.uuid4().hex)


def again(store: S3Store) -> S3Store:
    """The same store in a new process."""
    return S3Store(store.bucket, store.base_url, part_size=PART)


def contents(text: bytes) -> dict[str, bytes]:
    return {name: text + name.encode() for name in NAMES}


def tag(store: S3Store, address: str) -> str | None:
    """The tag that the server states."""
    facts = store.facts(address)
    assert facts is not None
    return facts.etag


def test_a_new_and_a_known_content_take_one_request_each(store: S3Store, server: FakeS3) -> None:
    tags = dict(store.replace_many(contents(b"one"), {}))
    # A trial whether the server verifies, which leaves an object where it does not.
    trial = [] if server.verifying else ["DELETE"]
    assert sorted(server.requests) == [*trial, *["PUT"] * 21]
    assert tags == {name: tag(store, name) for name in NAMES}
    server.requests.clear()
    later = dict(again(store).replace_many(contents(b"two"), tags))
    assert sorted(server.requests) == [*trial, *["PUT"] * 21]
    assert {name: store.read_bytes(name) for name in NAMES} == contents(b"two")
    server.requests.clear()
    store.replace_many(contents(b"three"), later)
    assert server.requests == ["PUT"] * 20


def test_what_is_remembered_wrongly_is_looked_at(store: S3Store, server: FakeS3) -> None:
    store.replace_many(contents(b"one"), {})
    store.replace(b"of another writer", NAMES[1])
    store.delete(NAMES[2])
    server.requests.clear()
    known = dict.fromkeys(NAMES, '"00000000000000000000000000000000"') | {NAMES[4]: None}
    del known[NAMES[5]]
    tags = store.replace_many(contents(b"two"), known)
    assert {name: store.read_bytes(name) for name in NAMES} == contents(b"two")
    assert tags == {name: tag(store, name) for name in NAMES}


def test_a_lost_memory_costs_a_look_and_changes_nothing(store: S3Store, server: FakeS3) -> None:
    tags = store.replace_many(contents(b"one"), {})
    before = store.facts(NAMES[0])
    many = contents(b"one") | {f"catalogue/more/{number}.json": b"more" for number in range(80)}
    store.replace_many(many, {})
    server.requests.clear()
    told = store.replace_many(many, {})
    # At most the eight that were on their way together were put in vain.
    assert server.requests.count("PUT") <= 8
    assert told == {name: tag(store, name) for name in many}
    assert {name: told[name] for name in NAMES} == tags
    assert store.facts(NAMES[0]) == before


def test_a_server_that_compares_tags_without_quotes_is_understood_by_one_request(
    store: S3Store, server: FakeS3
) -> None:
    tags = store.replace_many(contents(b"one"), {})

    def refuse_quotes(asked: Request) -> Answer | None:
        quoted = asked.kind == "PUT" and asked.environ.get("HTTP_IF_MATCH", "").startswith('"')
        return Answer("412 Precondition Failed", "PreconditionFailed") if quoted else None

    server.requests.clear()
    server.fault = refuse_quotes
    store.replace_many(contents(b"two"), tags)
    assert sorted(server.requests) == ["HEAD", *["PUT"] * 21]
    assert store.read_bytes(NAMES[19]) == contents(b"two")[NAMES[19]]


def test_small_contents_that_a_server_damaged_are_seen(store: S3Store, server: FakeS3) -> None:
    tags = store.replace_many(contents(b"one"), {})

    def damage(asked: Request) -> None:
        if asked.kind == "PUT" and asked.environ["PATH_INFO"].endswith("07.json"):
            body = asked.environ["wsgi.input"].read(int(asked.environ["CONTENT_LENGTH"]))
            asked.environ["wsgi.input"] = io.BytesIO(body[:-1] + b"?")

    if server.verifying:
        pytest.skip("it refuses the bytes itself")
    server.fault = damage
    with pytest.raises(IntegrityError, match=r"returns other bytes than were written at catalogue/set/07\.json"):
        store.replace_many(contents(b"two"), tags)


def test_an_immutable_address_is_refused_before_any_request(store: S3Store, server: FakeS3) -> None:
    with pytest.raises(PermanentError, match="is immutable"):
        store.replace_many({NAMES[0]: b"x", "raw/stops/2024/0123456789ab/a.csv": b"x"}, {})
    assert server.requests == []


# A copy inside the bucket


@pytest.fixture
def snapshot(store: S3Store, tmp_path: Path) -> Path:
    path = tmp_path / "stac.parquet"
    path.write_bytes(b"PAR1 and the catalogue")
    store.put_immutable(path, SNAPSHOT, hash_file(path))
    return path


def test_a_bucket_copies_an_object_in_one_request(store: S3Store, server: FakeS3, snapshot: Path) -> None:
    digests = hash_file(snapshot)
    store.replace(b"before", STAC)
    server.requests.clear()
    stored = store.share(SNAPSHOT, STAC, digests)
    assert server.requests == ["PUT"]
    head = store._objects.head(STAC)
    assert stored is not None
    assert head is not None
    assert (stored.etag, stored.sha256, stored.changed) == (head["ETag"], digests.sha256, True)
    # Readers are told what they are told of a file that was put there.
    assert (head["CacheControl"], head["Metadata"]) == ("public, no-cache", {"sha256": digests.sha256})
    assert head["ContentDisposition"] == 'attachment; filename="stac.parquet"'
    assert not store.replace(snapshot, STAC).changed
    with pytest.raises(PermanentError, match="is immutable"):
        store.share(STAC, SNAPSHOT, digests)


def test_what_can_not_be_copied_is_left_to_an_upload(store: S3Store, server: FakeS3, snapshot: Path) -> None:
    digests = hash_file(snapshot)
    store.replace(b"before", STAC)
    assert store.share(snapshot, STAC, digests) is None
    assert store.share("snapshots/fedcba9876543210/catalogue.parquet", STAC, digests) is None
    server.fault = lambda asked: (
        Answer("501 Not Implemented", "NotImplemented") if "HTTP_X_AMZ_COPY_SOURCE" in asked.environ else None
    )
    assert store.share(SNAPSHOT, STAC, digests) is None
    assert store.read_bytes(STAC) == b"before"


def test_a_damaged_copy_is_deleted(store: S3Store, server: FakeS3, snapshot: Path) -> None:
    digests = hash_file(snapshot)
    at = {"Bucket": store.bucket.name, "Key": store.bucket.key(SNAPSHOT)}
    server.client().put_object(**at, Body=b"PAR1 and the catalog?!")
    assert store.share(SNAPSHOT, STAC, digests) is None
    assert store.stat(STAC) is None


def test_many_are_deleted_with_their_unfinished_uploads_in_a_few_requests(store: S3Store, server: FakeS3) -> None:
    store.replace_many(contents(b"one"), {})
    store._upload(NAMES[9], hashlib.sha256(b"").hexdigest())._begun()
    server.requests.clear()
    store.delete(*NAMES)
    # One list for all, then those of the one address that has an upload.
    assert server.requests == ["POST", "GET uploads", "GET uploads", "DELETE upload"]
    assert store.open_uploads() == 0
    assert store.stat(NAMES[9]) is None


# One release more


def deployment_on(home: Path, store: S3Store) -> Settings:
    """The settings of a home whose primary store is that bucket."""
    place = S3Place(
        kind="s3",
        url=store.base_url,
        bucket=store.bucket.name,
        prefix=store.bucket.prefix,
        endpoint=store.bucket.endpoint,
        addressing="path",
        access_key_env="OUR_KEY",
        secret_key_env="OUR_SECRET",
    )
    return Settings(home=home, stores=Stores(primary=place), store_url=store.base_url)


def requests_of_one_release(settings: Settings, number: int, dataset: str, vintage: str, version: str) -> list[str]:
    """Publish a release in a new process and return the requests to the bucket, each by what it does."""
    seen: list[str] = []

    def see(request: Any, **_: Any) -> None:
        seen.append(f"{request.method} {request.url.partition('?')[0].rpartition('/d4c/')[2]}")

    with Deployment.open(settings, archive=False) as opened:
        publish(opened.ledger, number, dataset, vintage, version)
        primary = opened.primary
        assert isinstance(primary, S3Store)
        primary._client.meta.events.register("before-send.s3", see)
        catalogue.rebuild(opened)
    return seen


@pytest.mark.parametrize("kind", ["verifying", "believed", pytest.param("real", marks=pytest.mark.s3)])
def test_one_release_more_takes_at_most_45_requests_to_a_bucket(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    if kind == "real":
        store: S3Store = request.getfixturevalue("real_store")
    else:
        moto: FakeS3 = request.getfixturevalue("fake" if kind == "verifying" else "moto")
        name = f"t-{uuid.uuid4().hex}"
        moto.client().create_bucket(Bucket=name)
        store = S3Store(replace(moto.bucket(), name=name), f"{moto.url}/{name}/d4c")
    monkeypatch.setenv("OUR_KEY", str(store.bucket.access_key))
    monkeypatch.setenv("OUR_SECRET", str(store.bucket.secret_key))
    settings = deployment_on(tmp_path / "home", store)
    with Deployment.open(settings, archive=False) as opened:
        fill(opened.ledger, 25, rolling=5)
        catalogue.rebuild(opened)
    cases = [
        requests_of_one_release(settings, 26, "set_000000", "2021", "1.9.0"),
        requests_of_one_release(settings, 27, ROLLING, "1990-03-01", "1.0.0"),
        # More snapshots than are kept: the oldest is deleted.
        *(requests_of_one_release(settings, number, "set_000000", "2021", f"1.{number}.0") for number in range(28, 32)),
    ]
    assert [len(seen) for seen in cases if len(seen) > 45] == [], cases
    for seen in cases:
        assert seen.count(f"PUT {STAC}") == 1
        assert f"GET {STAC}" not in seen
        # Ceph compares tags without quotes: one look learns that.
        assert len([each for each in seen if each.startswith("HEAD ") and each.endswith(".json")]) <= (kind == "real")
    snapshot = store.read_bytes(STAC)
    with Deployment.open(settings, archive=False) as opened:
        known = opened.ledger.torrents.snapshots()[0]
        assert (len(snapshot), hashlib.sha256(snapshot).hexdigest()) == (known.size, known.sha256)
        documents = catalogue_of(store)
        opened.ledger.catalogue.forget_form()
        catalogue.rebuild(opened)
    assert catalogue_of(store) == documents


def catalogue_of(store: S3Store) -> dict[str, str]:
    """The objects of the catalogue in a bucket, each with its tag."""
    pages = store._client.get_paginator("list_objects_v2").paginate(Bucket=store.bucket.name, Prefix="d4c/catalogue/")
    return {each["Key"]: each["ETag"] for page in pages for each in page.get("Contents", ())}
