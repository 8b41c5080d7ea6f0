"""What an S3 store does beyond the contract: what it sends, what it does not believe, what it says of failures."""

from __future__ import annotations

import hashlib
import io
import socket
import uuid
from pathlib import Path

import httpx
import pytest

from d4c_pipeline.files.hashing import feed, hash_file
from d4c_pipeline.model.errors import BusyError, D4CError, IntegrityError, PermanentError, StorageError, TransientError
from d4c_pipeline.stores.s3 import S3Store
from d4c_pipeline.stores.s3_client import Bucket
from d4c_pipeline.torrents.pieces import PieceHasher
from d4c_pipeline.torrents.web_seeds import try_web_seed
from d4c_pipeline_tests.fakes.s3 import BUCKET, PART, Answer, FakeS3, Request

ADDRESS = "releases/stops/2024/v0.1.0/stops.parquet"
IMMUTABLE, SHORT = "public, max-age=31536000, immutable", "public, no-cache"


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small"
    path.write_bytes(b"PAR1 and more")
    return path


def own(server: FakeS3) -> S3Store:
    return server.store(uuid.uuid4().hex)


@pytest.mark.parametrize(
    ("address", "kind", "cache", "disposition"),
    [
        (ADDRESS, "application/vnd.apache.parquet", IMMUTABLE, 'attachment; filename="stops.parquet"'),
        (
            "releases/stops/2024/v0.1.0/README.md",
            "text/markdown; charset=utf-8",
            IMMUTABLE,
            'inline; filename="README.md"',
        ),
        (
            "raw/stops/2024/0123456789ab/arrêts.csv",
            "text/csv",
            IMMUTABLE,
            "inline; filename=\"arr_ts.csv\"; filename*=UTF-8''arr%C3%AAts.csv",
        ),
        ("processed/stops.gpkg", "application/geopackage+sqlite3", SHORT, 'attachment; filename="stops.gpkg"'),
        ("catalogue/catalog.json", "application/json", SHORT, 'inline; filename="catalog.json"'),
        ("torrents/stops.torrent", "application/x-bittorrent", SHORT, 'attachment; filename="stops.torrent"'),
    ],
)
def test_readers_are_told_what_it_is_and_how_long_it_holds(
    s3_store: S3Store, small: Path, address: str, kind: str, cache: str, disposition: str
) -> None:
    if address.startswith(("raw/", "releases/")):
        s3_store.put_immutable(small, address, hash_file(small))
    else:
        s3_store.replace(small, address)
    head = s3_store._objects.head(address)
    assert head is not None
    assert (head["ContentType"], head["CacheControl"]) == (kind, cache)
    assert head["ContentDisposition"] == disposition
    assert head["Metadata"] == {"sha256": hashlib.sha256(b"PAR1 and more").hexdigest()}


def test_what_is_public_serves_as_a_web_seed(s3_store: S3Store, large: Path) -> None:
    s3_store.put_immutable(large, ADDRESS, hash_file(large))
    at = {"Bucket": s3_store.bucket.name, "Key": s3_store.bucket.key(ADDRESS)}
    s3_store._client.put_object_acl(**at, ACL="public-read")
    assert large.stat().st_size > 10 << 20
    with large.open("rb", buffering=0) as stream:
        feed(stream, hasher := PieceHasher(1 << 20))
    assert try_web_seed(s3_store.url(ADDRESS), hasher.finish()).reason == "5 of 11 pieces are right"
    answer = httpx.get(s3_store.url(ADDRESS), headers={"Range": "bytes=4-9"}, trust_env=False)
    assert (answer.status_code, answer.content) == (206, large.read_bytes()[4:10])


# What the server verifies


def test_what_the_server_verified_is_not_read_back(fake: FakeS3, small: Path, large: Path) -> None:
    store = own(fake)
    store.put_immutable(small, ADDRESS, hash_file(small))
    assert fake.requests == ["PUT", "HEAD", "HEAD", "PUT"]  # a trial of the server, the object, the bucket, the bytes
    fake.requests.clear()
    store.put_immutable(large, f"{ADDRESS}.large", hash_file(large))
    assert sorted(fake.requests) == [
        "GET uploads",
        "GET uploads",
        "HEAD",
        "HEAD",
        "POST complete",
        "POST create",
        "PUT part",
        "PUT part",
        "PUT part",
    ]


def test_what_it_did_not_verify_is_read_back(moto: FakeS3, small: Path) -> None:
    store = own(moto)
    moto.requests.clear()
    store.put_immutable(small, ADDRESS, hash_file(small))
    assert moto.requests == ["PUT", "DELETE", "HEAD", "HEAD", "PUT", "GET"]


@pytest.mark.parametrize("name", ["small", "large"])
def test_bytes_that_a_server_damaged_are_seen_and_taken_away(
    moto: FakeS3, name: str, request: pytest.FixtureRequest
) -> None:
    source: Path = request.getfixturevalue(name)
    store = own(moto)
    assert not store._verified

    def damage(asked: Request) -> None:
        if asked.kind in ("PUT", "PUT part"):
            environ = asked.environ
            body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
            environ["wsgi.input"] = io.BytesIO(body[:-1] + bytes([body[-1] ^ 1]))

    moto.fault = damage
    try:
        with pytest.raises(IntegrityError, match="returns other bytes than were written at releases/"):
            store.put_immutable(source, ADDRESS, hash_file(source))
        assert store.stat(ADDRESS) is None
        with pytest.raises(IntegrityError, match="returns other bytes than were written at processed/"):
            store.replace(source, "processed/stops.parquet")
    finally:
        moto.fault = None
    assert store.put_immutable(source, ADDRESS, hash_file(source)).changed


def test_bytes_damaged_on_the_way_are_refused_by_a_server_that_verifies(fake: FakeS3, small: Path) -> None:
    store = own(fake)

    def damage(asked: Request) -> None:
        if asked.kind == "PUT":
            asked.environ["HTTP_X_AMZ_CHECKSUM_SHA256"] = hashlib.sha256(b"").hexdigest()

    assert store._verified
    fake.fault = damage
    with pytest.raises(TransientError, match=r"Can't write releases/.* in store primary: the bytes arrived damaged"):
        store.put_immutable(small, ADDRESS, hash_file(small))


# Going on after a failure


@pytest.mark.parametrize("verifying", [True, False])
def test_only_the_missing_parts_are_sent_again(moto: FakeS3, large: Path, verifying: bool) -> None:
    moto.verifying = verifying
    store = own(moto)

    def refuse_last(asked: Request) -> Answer | None:
        last = asked.kind == "PUT part" and "partNumber=3" in asked.environ["QUERY_STRING"]
        return Answer("403 Forbidden", "AccessDenied") if last else None

    try:
        moto.fault = refuse_last
        with pytest.raises(StorageError, match="the server denies it"):
            store.put_immutable(large, ADDRESS, hash_file(large))
        assert store.open_uploads() == 1
        moto.fault = None
        moto.requests.clear()
        assert own_again(store).put_immutable(large, ADDRESS, hash_file(large)).changed
        assert moto.requests.count("PUT part") == 1
        assert store.open_uploads() == 0
        assert store.verify(ADDRESS, large.stat().st_size, hash_file(large).sha256)
    finally:
        moto.verifying, moto.fault = False, None


def own_again(store: S3Store) -> S3Store:
    """The same store in a new process."""
    return S3Store(store.bucket, store.base_url, part_size=PART)


@pytest.mark.parametrize("other", ["bytes", "tail", "length"])
def test_parts_of_another_file_are_not_taken_for_ours(
    s3_store: S3Store, large: Path, tmp_path: Path, other: str
) -> None:
    content = large.read_bytes()
    earlier = tmp_path / "earlier"
    changed = {"bytes": b"?" + content[1:], "tail": content[:-1] + b"?", "length": content + bytes(2 * PART)}
    earlier.write_bytes(changed[other])
    upload = s3_store._upload(ADDRESS, hash_file(earlier).sha256)
    number = upload._begun()
    # Of "tail" the part that is the same is there, and nothing else: only the metadata would be wrong.
    for index in (1,) if other == "tail" else (1, 2, 3, 4):
        block = changed[other][(index - 1) * PART : index * PART]
        if block:
            upload._send_part(number, index, block)
    digests = hash_file(large)
    assert s3_store.put_immutable(large, ADDRESS, digests).changed
    head = s3_store._objects.head(ADDRESS)
    assert head is not None
    assert head["Metadata"]["sha256"] == digests.sha256
    assert s3_store.verify(ADDRESS, digests.size, digests.sha256)
    assert s3_store.open_uploads() == 0


@pytest.mark.parametrize("kind", ["PUT", "POST complete"])
def test_an_answer_that_was_lost_is_no_conflict(moto: FakeS3, small: Path, large: Path, kind: str) -> None:
    store = own(moto)
    assert not store._verified
    source = small if kind == "PUT" else large
    times = 0

    def lose_first(asked: Request) -> Answer | None:
        """Do it, and answer 500 all the same: boto3 sends it again."""
        nonlocal times
        if asked.kind != kind or (times := times + 1) > 1:
            return None
        moto.fault = None
        body = b"".join(moto._moto(asked.environ, lambda *_: None))
        assert b"Error" not in body
        asked.environ["wsgi.input"] = io.BytesIO()
        return Answer("500 Internal Server Error", "InternalError")

    moto.fault = lose_first
    try:
        store.put_immutable(source, ADDRESS, hash_file(source))
    finally:
        moto.fault = None
    assert times == 1
    assert store.verify(ADDRESS, source.stat().st_size, hash_file(source).sha256)
    assert store.open_uploads() == 0


# Other writers


def test_who_was_first_at_an_immutable_address_stays(s3_store: S3Store, small: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"other bytes")
    second = own_again(s3_store)
    looks = 0

    def put_in_between(address: str) -> int | None:
        nonlocal looks
        looks += 1
        if looks == 1:
            s3_store.put_immutable(other, address, hash_file(other))
            return None
        return s3_store.stat(address)

    second.stat = put_in_between  # type: ignore[method-assign]
    with pytest.raises(IntegrityError, match="holds other bytes"):
        second.put_immutable(small, ADDRESS, hash_file(small))
    assert s3_store.read_bytes(ADDRESS) == b"other bytes"


def test_a_large_file_does_not_complete_over_another(s3_store: S3Store, large: Path, small: Path) -> None:
    second = own_again(s3_store)
    looks = 0

    def put_in_between(address: str) -> int | None:
        nonlocal looks
        looks += 1
        if looks == 2:  # when the parts are there
            s3_store.put_immutable(small, address, hash_file(small))
        return s3_store.stat(address)

    second.stat = put_in_between  # type: ignore[method-assign]
    with pytest.raises(IntegrityError, match="holds other bytes"):
        second.put_immutable(large, ADDRESS, hash_file(large))
    assert s3_store.read_bytes(ADDRESS) == small.read_bytes()
    assert s3_store.open_uploads() == 0


@pytest.mark.parametrize("before", [None, b"oldest"])
def test_a_switch_that_was_overtaken_changes_nothing(s3_store: S3Store, before: bytes | None) -> None:
    address = "processed/stops.parquet"
    if before is not None:
        s3_store.replace(before, address)
    with pytest.raises(BusyError, match=r"Another process wrote processed/stops\.parquet"):
        s3_store.replace(b"older", address, guard=lambda: own_again(s3_store).replace(b"newest", address))
    assert s3_store.read_bytes(address) == b"newest"


# What is said of failures


@pytest.mark.parametrize(
    ("status", "code", "kind", "said"),
    [
        ("403 Forbidden", "AccessDenied", StorageError, "the server denies it"),
        ("403 Forbidden", "InvalidAccessKeyId", StorageError, "does not know the access key"),
        ("403 Forbidden", "SignatureDoesNotMatch", StorageError, "the secret does not belong to the access key"),
        ("403 Forbidden", "RequestTimeTooSkewed", StorageError, "this machine's clock is wrong"),
        ("403 Forbidden", "QuotaExceeded", StorageError, "the quota is used up"),
        ("507 Insufficient Storage", "InsufficientStorage", StorageError, "the server is full"),
        ("503 Slow Down", "SlowDown", TransientError, "the server asks to slow down"),
        ("500 Internal Server Error", "InternalError", TransientError, "the server failed"),
        ("409 Conflict", "ConditionalRequestConflict", TransientError, "another process is writing"),
        ("400 Bad Request", "EntityTooLarge", PermanentError, r"refuses it \(EntityTooLarge a fault\)"),
    ],
)
def test_what_a_server_answers_is_told_with_a_remedy(
    moto: FakeS3, small: Path, monkeypatch: pytest.MonkeyPatch, status: str, code: str, kind: type[D4CError], said: str
) -> None:
    monkeypatch.setattr("d4c_pipeline.stores.s3_client._ATTEMPTS", 1)
    store = own(moto)
    assert not store._verified
    moto.fault = lambda asked: Answer(status, code) if asked.kind == "PUT" else None
    try:
        with pytest.raises(kind, match=rf"Can't write {ADDRESS} in store primary: .*{said}") as caught:
            store.put_immutable(small, ADDRESS, hash_file(small))
    finally:
        moto.fault = None
    assert caught.value.remedy
    assert "testsecret" not in f"{caught.value!r} {store.bucket!r}"
    assert store.stat(ADDRESS) is None


@pytest.mark.parametrize("condition", ["HTTP_IF_NONE_MATCH", "HTTP_IF_MATCH"])
def test_a_server_that_knows_no_conditions_is_looked_at_first(moto: FakeS3, small: Path, condition: str) -> None:
    store = own(moto)
    address = "processed/stops.parquet"
    store.replace(b"old", address)
    moto.fault = lambda asked: Answer("501 Not Implemented", "NotImplemented") if condition in asked.environ else None
    try:
        if condition == "HTTP_IF_MATCH":
            # It is GET too that carries this one, when reading back.
            moto.fault = lambda asked: (
                Answer("501 Not Implemented", "NotImplemented")
                if condition in asked.environ and asked.kind == "PUT"
                else None
            )
            assert store.replace(small, address).changed
        else:
            assert store.put_immutable(small, ADDRESS, hash_file(small)).changed
    finally:
        moto.fault = None
    assert store.read_bytes(address if condition == "HTTP_IF_MATCH" else ADDRESS) == small.read_bytes()


def test_a_bucket_that_does_not_exist_is_no_empty_store(s3_store: S3Store, small: Path) -> None:
    bucket = Bucket(**{**vars(s3_store.bucket), "name": "d4c-nowhere"})
    for deed in (
        lambda store: store.stat(ADDRESS),
        lambda store: store.put_immutable(small, ADDRESS, hash_file(small)),
    ):
        with pytest.raises(StorageError, match=r"the bucket does not exist\. Create the bucket, or correct its name"):
            deed(S3Store(bucket, "http://x"))


@pytest.mark.s3
def test_a_real_server_refuses_a_wrong_secret_and_an_unknown_key(real_store: S3Store, small: Path) -> None:
    for change, said in (
        ({"secret_key": "wrong"}, "the secret does not belong to the access key"),
        ({"access_key": "unknown"}, "the server does not know the access key"),
    ):
        store = S3Store(Bucket(**{**vars(real_store.bucket), **change}), "http://x", "mirror")
        with pytest.raises(StorageError, match=said):  # a HEAD has no words: a GET is asked for them
            store.stat(ADDRESS)
        with pytest.raises(StorageError, match=rf"Can't read {ADDRESS} in store mirror: {said}") as caught:
            store.open(ADDRESS)
        assert "testsecret" not in str(caught.value)


def test_a_server_that_does_not_answer_is_transient(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("d4c_pipeline.stores.s3_client._ATTEMPTS", 1)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but nobody listens
        endpoint = f"http://127.0.0.1:{taken.getsockname()[1]}"
        store = S3Store(Bucket(BUCKET, "", endpoint, access_key="a", secret_key="b"), "http://x")
        with pytest.raises(TransientError, match="the server can't be reached"):
            store.put_immutable(small, ADDRESS, hash_file(small))


def test_without_a_key_it_is_said_where_one_belongs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    store = S3Store(Bucket(BUCKET, endpoint="http://127.0.0.1:9"), "http://x")
    with pytest.raises(StorageError, match=r"no access key is set\. Set the store's key, see docs/stores\.md"):
        store.stat(ADDRESS)
    with pytest.raises(PermanentError, match="profile"):
        S3Store(Bucket(BUCKET, profile="none"), "http://x").stat(ADDRESS)


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        ("403 Forbidden", "RequestTimeTooSkewed", "this machine's clock is wrong"),
        ("403 Forbidden", "SignatureDoesNotMatch", "the secret does not belong to the access key"),
        ("403 Forbidden", "InvalidAccessKeyId", "the server does not know the access key"),
        ("400 Bad Request", "AuthorizationHeaderMalformed", "the region is not the server's"),
    ],
)
def test_an_error_of_head_is_told_by_its_cause(
    moto: FakeS3, monkeypatch: pytest.MonkeyPatch, status: str, code: str, said: str
) -> None:
    # An answer to HEAD has no body: without a second request all of these are "403".
    monkeypatch.setattr("d4c_pipeline.stores.s3_client._ATTEMPTS", 1)
    store = own(moto)
    moto.fault = lambda asked: Answer(status, code) if asked.kind in ("HEAD", "GET") else None
    try:
        with pytest.raises(StorageError, match=said):
            store.stat(ADDRESS)
    finally:
        moto.fault = None


def test_a_server_without_parts_gets_the_file_as_a_whole(moto: FakeS3, large: Path) -> None:
    store = own(moto)
    unknown = ("POST create", "PUT part", "GET uploads", "GET parts", "POST complete", "DELETE upload")
    seen: list[str] = []

    def fault(asked: Request) -> Answer | None:
        seen.append(asked.kind)
        query = asked.environ.get("QUERY_STRING", "")
        parts = asked.kind in unknown or "uploads" in query or "uploadId" in query
        return Answer("501 Not Implemented", "NotImplemented") if parts else None

    moto.fault = fault
    try:
        assert store.put_immutable(large, ADDRESS, hash_file(large)).changed
        assert not store.put_immutable(large, ADDRESS, hash_file(large)).changed
        assert store.replace(large, "processed/stops.parquet").changed
        assert store.verify("processed/stops.parquet", large.stat().st_size, hash_file(large).sha256)
        store.delete("processed/stops.parquet")
        assert store.open_uploads() == 0
    finally:
        moto.fault = None
    assert store.read_bytes(ADDRESS) == large.read_bytes()
