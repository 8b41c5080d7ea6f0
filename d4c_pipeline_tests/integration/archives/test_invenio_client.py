"""What the client does beyond the contract: lost answers, odd answers, and refusals a person can act on."""

from __future__ import annotations

import resource
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from d4c_pipeline.archives.invenio.client import InvenioArchive
from d4c_pipeline.archives.invenio.publication import Waits
from d4c_pipeline.archives.port import Draft
from d4c_pipeline.metadata.record import RecordMetadata
from d4c_pipeline.model.errors import NeedsPersonError, PermanentError, TransientError
from d4c_pipeline.transport.patience import Patience
from d4c_pipeline_tests.fakes.deposits import QUICK_WAITS, SURE
from d4c_pipeline_tests.fakes.faults import Fault, Kind
from d4c_pipeline_tests.fakes.invenio import TOKEN, FakeInvenio
from d4c_pipeline_tests.fakes.invenio_state import State

Metadata = Callable[..., RecordMetadata]
_UPLOADS = """
import sys
from pathlib import Path
from d4c_pipeline.archives.invenio.client import InvenioArchive
from d4c_pipeline.archives.port import Draft
url, token, record, path = sys.argv[1:]
archive = InvenioArchive("fake", url, token, test=True)
draft = Draft(record, "", None, None, None, None)
file = archive.upload(draft, "huge.bin", Path(path))
# Not what the kernel counts for a child: that begins with what its parent had.
own = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
print(file.size, file.md5, own["VmHWM"].split()[0])
"""


@pytest.fixture
def archive(fake: FakeInvenio) -> Iterator[InvenioArchive]:
    with closing(make(fake)) as made:
        yield made


def make(fake: FakeInvenio, *, token: str = TOKEN, test: bool = True, waits: Waits = QUICK_WAITS) -> InvenioArchive:
    return InvenioArchive("fake", fake.url, token, test=test, patience=SURE, waits=waits, pause=fake.pause)


@pytest.fixture
def hello(tmp_path: Path) -> Path:
    path = tmp_path / "hello"
    path.write_bytes(b"hello")
    return path


# Lost answers


def test_a_draft_whose_answer_was_lost_is_adopted(
    fake: FakeInvenio, archive: InvenioArchive, metadata: Metadata
) -> None:
    fake.begin(Fault(Kind.GATEWAY_TIMEOUT_AFTER, 0))
    draft = archive.create_draft(metadata())

    assert [one.id for one in fake.state.drafts()] == [draft.record_id]
    assert fake.calls == ["POST /records", "GET /user/records", "GET /records/{id}/draft"]


def test_it_is_looked_for_after_the_search_has_caught_up(fake: FakeInvenio, metadata: Metadata) -> None:
    fake.state.search_lag = 0.3
    with closing(InvenioArchive("fake", fake.url, TOKEN, test=True, patience=SURE, waits=Waits(search=0.4))) as archive:
        fake.begin(Fault(Kind.RESET_AFTER, 0))
        draft = archive.create_draft(metadata())
    assert [one.id for one in fake.state.drafts()] == [draft.record_id]


def test_a_draft_that_was_never_created_is_asked_for_again(
    fake: FakeInvenio, archive: InvenioArchive, metadata: Metadata
) -> None:
    fake.begin(Fault(Kind.INTERNAL, 0))
    draft = archive.create_draft(metadata())

    assert [one.id for one in fake.state.drafts()] == [draft.record_id]
    assert fake.calls == ["POST /records", "GET /user/records", "POST /records"]


def test_several_drafts_behind_a_lost_answer_ask_for_a_person(
    fake: FakeInvenio, archive: InvenioArchive, metadata: Metadata
) -> None:
    archive.create_draft(metadata())
    fake.begin(Fault(Kind.RESET_AFTER, 0))
    with pytest.raises(NeedsPersonError, match=r"has 2 drafts of urn:d4c:.*/records/2, .*/records/4\. Delete all but"):
        archive.create_draft(metadata())


def test_a_publication_whose_answer_was_lost_is_not_asked_for_again(
    fake: FakeInvenio, archive: InvenioArchive, metadata: Metadata, hello: Path
) -> None:
    draft = archive.create_draft(metadata())
    archive.upload(draft, "data.parquet", hello)
    fake.begin(Fault(Kind.GATEWAY_TIMEOUT_AFTER, 1))
    record = archive.publish(draft)

    assert record.doi == "10.5072/zenodo.2"
    assert fake.calls == ["GET /records/{id}/draft", "POST /records/{id}/draft/actions/publish", "GET /records/{id}"]


def test_a_publication_that_takes_its_time_is_waited_for(
    fake: FakeInvenio, archive: InvenioArchive, metadata: Metadata, hello: Path
) -> None:
    draft = archive.create_draft(metadata())
    archive.upload(draft, "data.parquet", hello)
    held = fake.snapshot()
    real = fake.state.answer
    asked = 0

    def slow(method: str, path: str, *rest: object) -> object:
        """The record appears at the third look, long after the gateway gave up."""
        nonlocal asked
        if method == "GET" and path == f"/records/{draft.record_id}":
            asked += 1
            if asked < 3:
                return held.answer(method, path, *rest)  # type: ignore[arg-type]
        return real(method, path, *rest)  # type: ignore[arg-type]

    fake.state.answer = slow  # type: ignore[method-assign, assignment]
    fake.begin(Fault(Kind.GATEWAY_TIMEOUT_AFTER, 1))
    assert archive.publish(draft).record_id == draft.record_id
    assert fake.calls.count("POST /records/{id}/draft/actions/publish") == 1
    assert fake.calls.count("GET /records/{id}") == 3


def test_bytes_whose_commit_was_lost_are_not_sent_again(
    fake: FakeInvenio, archive: InvenioArchive, metadata: Metadata, hello: Path
) -> None:
    draft = archive.create_draft(metadata())
    fake.begin(Fault(Kind.RESET_AFTER, 2))
    assert archive.upload(draft, "data.parquet", hello).md5 == "5d41402abc4b2a76b9719d911017c592"
    assert [call.rpartition("/")[2] for call in fake.calls] == ["files", "content", "commit", "{name}"]


# Odd answers


def test_a_pending_file_that_makes_a_draft_unreadable_is_deleted(
    fake: FakeInvenio, archive: InvenioArchive, metadata: Metadata
) -> None:
    draft = archive.create_draft(metadata())
    fake.state.unreadable_when_pending = True
    announce(fake, draft, "left.bin")

    assert archive.draft(draft.record_id) == draft
    assert fake.state.records[draft.record_id].files == {}


def test_pending_files_are_no_files_and_can_be_dropped(
    fake: FakeInvenio, archive: InvenioArchive, metadata: Metadata, hello: Path
) -> None:
    draft = archive.create_draft(metadata())
    archive.upload(draft, "data.parquet", hello)
    announce(fake, draft, "left.bin")
    assert [file.name for file in archive.list_files(draft)] == ["data.parquet"]
    with pytest.raises(PermanentError, match="files: One or more files have not completed their transfer"):
        archive.publish(draft)

    archive.drop_pending(draft)
    assert archive.publish(draft).files[0].name == "data.parquet"


def announce(fake: FakeInvenio, draft: Draft, name: str) -> None:
    fake.state.answer("POST", f"/records/{draft.record_id}/draft/files", {}, "1", [{"key": name}], None, "")


def test_errors_beside_a_new_draft_leave_no_draft_behind(
    fake: FakeInvenio, archive: InvenioArchive, metadata: Metadata
) -> None:
    fake.begin(Fault(Kind.ERRORS_AFTER, 0))
    with pytest.raises(PermanentError, match=r"answered a new draft with errors: metadata\.injected: Something is wr"):
        archive.create_draft(metadata())
    assert fake.state.drafts() == []


def test_errors_beside_metadata_name_the_field(fake: FakeInvenio, archive: InvenioArchive, metadata: Metadata) -> None:
    draft = archive.create_draft(metadata())
    fake.begin(Fault(Kind.ERRORS_AFTER, 0))
    with pytest.raises(PermanentError) as caught:
        archive.put_metadata(draft, metadata(version="0.2.0"))
    assert str(caught.value) == (
        f"The archive answered the metadata of record {draft.record_id} with errors: metadata.injected: Something is "
        "wrong. Correct the named fields in the dataset's YAML and run again: the draft stays and is corrected."
    )


def test_metadata_that_did_not_come_back_as_sent_are_named(
    fake: FakeInvenio, archive: InvenioArchive, metadata: Metadata, monkeypatch: pytest.MonkeyPatch
) -> None:
    draft = archive.create_draft(metadata())
    shown = State._shown

    def forgetful(self: State, *args: object, **options: object) -> dict[str, object]:
        body = shown(self, *args, **options)  # type: ignore[arg-type]
        body["metadata"] |= {"version": "9.9.9", "title": body["metadata"]["title"].upper()}
        return body

    monkeypatch.setattr(State, "_shown", forgetful)
    with pytest.raises(PermanentError, match=r"did not keep the metadata of record 2 as sent: metadata\.version\. "):
        archive.put_metadata(draft, metadata())


def test_the_edit_of_a_published_record_is_no_draft(
    fake: FakeInvenio, archive: InvenioArchive, metadata: Metadata, hello: Path
) -> None:
    draft = archive.create_draft(metadata())
    archive.upload(draft, "data.parquet", hello)
    record = archive.publish(draft)
    fake.state.answer("POST", f"/records/{draft.record_id}/draft", {}, "1", None, None, "")

    assert archive.draft(draft.record_id) is None
    assert archive.find_drafts(metadata().identifier) == ()
    assert archive.find_published(metadata().identifier) == record
    assert list(archive.drafts()) == []
    with pytest.raises(PermanentError, match="is published and can't change"):
        archive.put_metadata(draft, metadata(version="9.9.9"))
    archive.discard(draft)
    assert fake.state.records[draft.record_id].editing  # a hand's work is not ours to delete
    assert archive.publish(draft) == record


def test_the_concept_is_no_record(archive: InvenioArchive, metadata: Metadata, hello: Path) -> None:
    draft = archive.create_draft(metadata())
    archive.upload(draft, "data.parquet", hello)
    archive.publish(draft)

    assert archive.read(draft.concept_id) is None


def test_searches_go_on_to_the_last_page(archive: InvenioArchive, metadata: Metadata) -> None:
    made = [archive.create_draft(metadata(str(number))).record_id for number in range(105)]
    assert [draft.record_id for draft in archive.drafts()] == made


# Refusals


def test_a_wrong_token_is_told_with_its_scopes(fake: FakeInvenio, metadata: Metadata) -> None:
    with closing(make(fake, token="wrong")) as archive, pytest.raises(NeedsPersonError) as caught:
        archive.create_draft(metadata())
    assert str(caught.value) == (
        "The archive refused POST /records: Permission denied (403). Check the archive's token: it may be wrong, "
        "expired, without the scopes deposit:write and deposit:actions, or of an account that does not own the record."
    )


def test_somebody_elses_draft_is_refused(fake: FakeInvenio, archive: InvenioArchive, metadata: Metadata) -> None:
    draft = archive.create_draft(metadata())
    fake.users["other"] = "7"
    with closing(make(fake, token="other")) as other, pytest.raises(NeedsPersonError, match="does not own the record"):
        other.put_metadata(draft, metadata())


def test_more_than_the_quota_is_told_and_leaves_nothing_pending(
    fake: FakeInvenio, archive: InvenioArchive, metadata: Metadata, tmp_path: Path
) -> None:
    fake.state.quota = 1000
    (tmp_path / "large").write_bytes(b"x" * 1001)
    draft = archive.create_draft(metadata())
    with pytest.raises(
        PermanentError, match=r"quota exceeded \(400\)\. .* request a larger quota, .* or split the dataset"
    ):
        archive.upload(draft, "large.bin", tmp_path / "large")
    assert fake.state.records[draft.record_id].files == {}


def test_names_with_letters_of_all_kinds_arrive(archive: InvenioArchive, metadata: Metadata, hello: Path) -> None:
    draft = archive.create_draft(metadata())
    name = "résumé 100% #1?&=+;.txt"
    assert archive.upload(draft, name, hello).name == name
    with pytest.raises(PermanentError, match="has a file résumé 100% #1"):
        archive.upload(draft, name, hello)
    archive.delete_file(draft, name)
    assert archive.list_files(draft) == ()


def test_a_test_doi_in_a_production_archive_is_refused(fake: FakeInvenio, metadata: Metadata) -> None:
    with closing(make(fake, test=False)) as archive:
        draft = archive.create_draft(metadata())
        with pytest.raises(NeedsPersonError, match=r"10\.5072/zenodo\.2, a test DOI, but 'fake' is not a test"):
            archive.reserve_doi(draft)


def test_a_file_that_can_not_be_read_is_told(archive: InvenioArchive, metadata: Metadata, tmp_path: Path) -> None:
    draft = archive.create_draft(metadata())
    with pytest.raises(Exception, match=r"gone can't be read: No such file or directory\. Check disk and access"):
        archive.upload(draft, "gone", tmp_path / "gone")


def test_a_record_is_submitted_to_the_community_once(fake: FakeInvenio, metadata: Metadata, hello: Path) -> None:
    for community, record in (("data-for-canada", 2), ("no-such", 4)):
        with closing(
            InvenioArchive("fake", fake.url, TOKEN, test=True, community=community, patience=SURE, pause=fake.pause)
        ) as archive:
            draft = archive.create_draft(metadata(community))
            archive.upload(draft, "data.parquet", hello)
            archive.publish(draft)
            if community == "no-such":
                with pytest.raises(PermanentError, match=r"4 is published, but the community 'no-such' refuses it"):
                    archive.join_community(draft.record_id)
            else:
                archive.join_community(draft.record_id)
                archive.join_community(draft.record_id)
            assert draft.record_id == str(record)
    assert fake.state.submitted == {("2", "data-for-canada")}


# Pace, size


def test_the_limit_of_a_host_is_kept_by_all_threads(fake: FakeInvenio, metadata: Metadata) -> None:
    with closing(make(fake)) as archive:
        draft = archive.create_draft(metadata())
        fake.begin()
        fake.per_minute, fake.waits[:] = 4, []
        failed: list[BaseException] = []

        def read() -> None:
            try:
                archive.draft(draft.record_id)
            except TransientError as error:
                failed.append(error)

        threads = [threading.Thread(target=read) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        archive.list_files(draft)  # the fourth answer says that nothing remains
        fake.begin()
        archive.list_files(draft)

    assert failed == []
    assert fake.waits == [pytest.approx(57.0, abs=2.0)]


def test_two_gigabytes_are_uploaded_in_constant_memory(metadata: Metadata, tmp_path: Path) -> None:
    huge = tmp_path / "huge"
    with huge.open("wb") as file:
        file.truncate(2 << 30)  # sparse: takes no room
    with FakeInvenio(State(quota=4 << 30), keep=False) as fake, closing(make(fake)) as archive:
        draft = archive.create_draft(metadata())
        command = [sys.executable, "-c", _UPLOADS, fake.url, TOKEN, draft.record_id, str(huge)]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=200)
    size, md5, peak = done.stdout.split()

    assert (int(size), md5) == (2 << 30, "a981130cf2b7e09f4686dc273cf7187e")
    assert int(peak) / 1024 < 200  # MB, interpreter and libraries included
    assert resource.getpagesize()


def test_an_upload_that_stalls_is_given_up_and_tried_again(fake: FakeInvenio, metadata: Metadata, hello: Path) -> None:
    hasty = Patience(attempts=3, first_wait=0.01, connect_timeout=5.0, read_timeout=0.3)
    with closing(
        InvenioArchive("fake", fake.url, TOKEN, test=True, patience=hasty, waits=QUICK_WAITS, pause=fake.pause)
    ) as archive:
        draft = archive.create_draft(metadata())
        fake.begin(Fault(Kind.TIMEOUT_AFTER, 1))
        assert archive.upload(draft, "data.parquet", hello).size == 5
    assert [call.rpartition("/")[2] for call in fake.calls] == ["files", "content", "{name}", "content", "commit"]
