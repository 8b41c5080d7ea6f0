"""What is different where a mirror is a bucket: tags tell of every write, metadata lie, any call may be the last."""

from __future__ import annotations

import random
import signal
import uuid
from dataclasses import replace
from pathlib import Path
from shutil import copytree

import pytest

from d4c_pipeline.model.fixity import CopyState, ExpectedCopy, FixityPolicy
from d4c_pipeline.model.release import Release
from d4c_pipeline.stores.s3 import S3Store
from d4c_pipeline.upkeep.fixity import audit, expected_copies
from d4c_pipeline.upkeep.repair import Outcome, repair
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline_tests.fakes import rot
from d4c_pipeline_tests.fakes.children import in_child
from d4c_pipeline_tests.fakes.s3 import Answer, FakeS3
from d4c_pipeline_tests.integration.stores import upload_crashes
from d4c_pipeline_tests.integration.upkeep.fixity.conftest import DATA

POLICY = FixityPolicy()
IN_MOTO = pytest.mark.parametrize("mirror", ["moto"], indirect=True)
IN_BUCKETS = pytest.mark.parametrize("mirror", ["moto", pytest.param("real", marks=pytest.mark.s3)], indirect=True)


def copy_of(at: Deployment, name: str = "data.parquet") -> ExpectedCopy:
    return next(copy for copy in expected_copies(at) if (copy.place, copy.name) == ("mirror", name))


@IN_BUCKETS
def test_other_bytes_of_the_same_size_under_right_metadata_are_found_the_next_time(
    at: Deployment, release: Release
) -> None:
    audit(at, POLICY)
    copy = copy_of(at)
    rot.harm_copy(at, copy, "flip", random.Random(1))
    store = rot.in_bucket(at, "mirror")
    assert store is not None
    head = store.bucket.client().head_object(Bucket=store.bucket.name, Key=store.bucket.key(copy.address))
    assert (head["ContentLength"], head["Metadata"]["sha256"]) == (copy.size, copy.sha256)
    found = audit(at, POLICY)
    # Of all copies this one alone was read: its tag is another than it was.
    assert ([look.copy for look in found.lost], found.read_bytes) == ([copy], copy.size)
    assert [one.outcome for one in repair(at)] == [Outcome.RESTORED]
    assert rot.content_of(at, copy) == DATA
    assert audit(at, POLICY).lost == ()


@IN_BUCKETS
def test_an_emptied_bucket_is_left_alone_until_a_person_looked(at: Deployment, release: Release) -> None:
    copies = [copy for copy in expected_copies(at) if copy.place == "mirror"]
    for copy in copies:
        rot.put_content(at, copy, None)
    found = audit(at, POLICY)
    assert dict(found.refused) == {"mirror": "it holds none of the 2 copies that the ledger knows of"}
    assert (found.lost, repair(at)) == ((), ())
    assert [one.outcome for one in repair(at, refill=["mirror"])] == [Outcome.RESTORED] * 2
    assert all(rot.is_right(at, copy) for copy in copies)
    assert audit(at, POLICY, full=True).lost == ()


@IN_MOTO
def test_a_key_that_may_not_read_any_more_makes_nothing_lost(at: Deployment, release: Release, moto: FakeS3) -> None:
    moto.fault = lambda request: Answer("403 Forbidden", "AccessDenied") if request.kind == "GET" else None
    try:
        found = audit(at, POLICY, full=True)
        assert ({look.copy.place for look in found.unreachable}, found.lost) == ({"mirror"}, ())
        moto.fault = lambda _request: Answer("403 Forbidden", "AccessDenied")
        assert list(audit(at, POLICY).refused) == ["mirror"]
        assert repair(at) == ()
    finally:
        moto.fault = None
    assert {copy.intact for copy in at.ledger.copies.of(release)} == {True}
    assert (audit(at, POLICY, full=True).lost, rot.set_aside(at, "mirror")) == ((), [])


def twin(store: S3Store) -> S3Store:
    """A bucket of its own with the same objects."""
    bucket, client = replace(store.bucket, name=f"fixity-{uuid.uuid4().hex}"), store.bucket.client()
    client.create_bucket(Bucket=bucket.name)
    for one in client.list_objects_v2(Bucket=store.bucket.name)["Contents"]:
        client.copy_object(Bucket=bucket.name, Key=one["Key"], CopySource=f"{store.bucket.name}/{one['Key']}")
    return S3Store(bucket, store.base_url, store.name)


@IN_BUCKETS
@pytest.mark.timeout(300)
def test_a_repair_killed_at_any_call_is_ended_by_the_next(
    at: Deployment, release: Release, home: Path, mirror: S3Store, tmp_path: Path
) -> None:
    copy = copy_of(at)
    rot.harm_copy(at, copy, "flip", random.Random(1))
    bad = rot.content_of(at, copy)
    assert [look.copy for look in audit(at, POLICY, full=True).lost] == [copy]
    at.ledger.close()
    killed = 0
    while True:
        # Before a call is sent and before its answer is read, in turns.
        moment = upload_crashes.MOMENTS[killed % 2]
        place, store = copytree(home, tmp_path / f"killed{killed}"), twin(mirror)

        def mend(place: Path = place, store: S3Store = store, fatal: int = killed, moment: str = moment) -> None:
            upload_crashes.count(fatal, moment)
            with rot.deployment(place, mirror=store) as there:
                repair(there)

        code = in_child(mend)
        with rot.deployment(place, mirror=store) as there:
            # Untouched, or out of service, or whole.
            assert rot.content_of(there, copy) in (bad, None, DATA), killed
            assert {one.outcome for one in repair(there)} <= {Outcome.RESTORED, Outcome.INTACT}, killed
            assert (rot.content_of(there, copy), rot.set_aside(there, "mirror")) == (DATA, [bad]), killed
            assert audit(there, POLICY, full=True).lost == (), killed
            assert there.ledger.fixity.known()[copy.key].state is CopyState.INTACT
            told = [event.kind for event in there.ledger.events.of("provinces") if event.kind.startswith("copy ")]
        assert (told.count("copy damaged"), told.count("copy quarantined")) == (1, 1), killed
        assert told.count("copy restored") + told.count("copy intact again") == 1, (killed, told)
        if code == 0:
            break
        assert code == -signal.SIGKILL, killed
        killed += 1
    # It looks, measures, moves aside (copies, deletes), tries the server, puts back and looks again.
    assert killed >= 10
