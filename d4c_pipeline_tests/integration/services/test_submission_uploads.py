"""Uploads of submitters: by a form and by tus; what is uploaded stays in the quarantine and is never served."""

from __future__ import annotations

import base64
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from d4c_pipeline.appraisal import quarantine
from d4c_pipeline.model.errors import StorageError
from d4c_pipeline.model.submission import SubmissionState
from d4c_pipeline.services.submissions import uploads
from d4c_pipeline_tests.support.submission_face import Face, faced
from d4c_pipeline_tests.support.submitted import submission

TUS = {"Tus-Resumable": "1.0.0"}
CHUNK = TUS | {"Content-Type": "application/offset+octet-stream"}


@pytest.fixture
def face(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Face]:
    monkeypatch.setenv("D4C_SUBMISSIONS", "1")
    with faced(tmp_path) as opened:
        yield opened


@pytest.fixture
def place(face: Face) -> str:
    """The private address of a submission that takes files."""
    return f"/submission/{face.ledger.submissions.add(submission(sources=None, upload=True))[0].token}"


def created(face: Face, place: str, length: int, name: str = "trees.csv") -> httpx.Response:
    metadata = f"filetype dGV4dA==,filename {base64.b64encode(name.encode()).decode()}"
    return face.client.post(
        f"{place}/uploads", headers=TUS | {"Upload-Length": str(length), "Upload-Metadata": metadata}
    )


def patched(face: Face, address: str, offset: int, content: bytes) -> httpx.Response:
    return face.client.patch(address, content=content, headers=CHUNK | {"Upload-Offset": str(offset)})


def files(home: Path) -> dict[str, bytes]:
    folder = quarantine.submission_folder(home, 1) / "upload"
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_form_brings_files_under_safe_names_that_nobody_is_served(face: Face, place: str, tmp_path: Path) -> None:
    assert 'type="file"' in face.client.get(place).text
    sent = [
        ("files", ("../../etc/passwd", b"root")),
        ("files", ("a.csv", b"1")),
        ("files", ("A.csv", b"2")),
        ("files", (".hidden", b"3")),
    ]
    assert face.client.post(f"{place}/files?lang=en", files=sent).status_code == 303
    assert files(tmp_path) == {"passwd": b"root", "a.csv": b"1", "A-2.csv": b"2", "hidden": b"3"}
    assert stat.S_IMODE((tmp_path / "quarantine").stat().st_mode) == 0o700
    page = face.client.get(place).text
    assert "<li>A-2.csv</li>" in page
    for path in (f"{place}/files/a.csv", f"{place}/uploads/a.csv", "/quarantine/1/upload/a.csv"):
        assert face.client.get(path).status_code in (404, 405)
    assert face.client.post(f"{place}/complete?lang=en").status_code == 303
    assert face.ledger.submissions.to_assess() == (1,)
    assert face.client.post(f"{place}/files", files=sent).status_code == 409
    assert created(face, place, 1).status_code == 409


def test_an_interrupted_upload_goes_on_where_it_broke(face: Face, place: str, tmp_path: Path) -> None:
    described = face.client.options(f"{place}/uploads")
    assert described.headers["Tus-Version"] == "1.0.0"
    assert described.headers["Tus-Extension"] == "creation,termination"
    assert described.headers["Tus-Max-Size"] == "20000000000"
    content = bytes(range(256)) * 20_000  # 5 MB
    answer = created(face, place, len(content), "Érables & co.csv")
    assert answer.status_code == 201
    address = answer.headers["Location"]
    host, port = face.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        head = f"PATCH {address} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(content)}\r\nUpload-Offset: 0\r\n"
        lines = "".join(f"{name}: {value}\r\n" for name, value in CHUNK.items())
        connection.sendall(f"{head}{lines}\r\n".encode() + content[:3_000_000])
    deadline = time.monotonic() + 10
    while (offset := int(face.client.head(address, headers=TUS).headers["Upload-Offset"])) == 0:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.1)
    offset = int(face.client.head(address, headers=TUS).headers["Upload-Offset"])
    assert 0 < offset <= 3_000_000
    assert patched(face, address, 0, content).status_code == 409
    assert patched(face, address, offset, content[offset:-1]).headers["Upload-Offset"] == str(len(content) - 1)
    assert files(tmp_path) == {}
    assert patched(face, address, len(content) - 1, content[-1:]).status_code == 204
    assert files(tmp_path) == {"Érables & co.csv": content}
    seen = face.client.head(address, headers=TUS)
    assert seen.headers["Upload-Offset"] == seen.headers["Upload-Length"] == str(len(content))
    assert seen.headers["Cache-Control"] == "no-store"
    assert patched(face, address, len(content), b"x").status_code == 409


def test_what_tus_refuses(face: Face, place: str) -> None:
    wrong = face.client.post(f"{place}/uploads", headers={"Tus-Resumable": "0.2.2", "Upload-Length": "1"})
    assert (wrong.status_code, wrong.headers["Tus-Version"]) == (412, "1.0.0")
    assert created(face, place, 50_000_000_000).status_code == 413
    for length in ("-1", "x", "", "9" * 30):
        answer = face.client.post(f"{place}/uploads", headers=TUS | {"Upload-Length": length})
        assert answer.status_code == 400
    address = created(face, place, 3).headers["Location"]
    assert face.client.patch(address, content=b"abc", headers=TUS | {"Upload-Offset": "0"}).status_code == 415
    assert patched(face, address, 0, b"abcd").status_code == 413
    assert face.client.head(address, headers=TUS).headers["Upload-Offset"] == "0"
    assert face.client.head(f"{place}/uploads/{'x' * 22}", headers=TUS).status_code == 404
    assert face.client.head(f"{place}/uploads/..%2F..%2Fx", headers=TUS).status_code == 404
    assert face.client.head("/submission/guess/uploads/x", headers=TUS).status_code == 404
    assert face.client.delete(address, headers=TUS).status_code == 204
    assert face.client.head(address, headers=TUS).status_code == 404
    metadata = TUS | {"Upload-Length": "1", "Upload-Metadata": "filename ???"}
    assert face.client.post(f"{place}/uploads", headers=metadata).status_code == 400


def full(*_: object) -> None:
    raise StorageError("the disk has 3 bytes free")


def test_quota_and_number_of_files_count_what_was_begun(
    face: Face, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "require_room", lambda *_: None)
    assert created(face, place, 12_000_000_000).status_code == 201
    refused = created(face, place, 12_000_000_000)
    assert (refused.status_code, "exceeds the quota" in refused.json()["detail"]) == (413, True)
    monkeypatch.undo()
    monkeypatch.setattr(uploads, "require_room", full)
    assert created(face, place, 1).status_code == 507
    monkeypatch.undo()
    for number in range(quarantine.MOST_FILES):
        (quarantine.upload_folder(tmp_path, 1) / f"{number}.csv").write_bytes(b"")
    refused = created(face, place, 1)
    assert (refused.status_code, "at most 20 files" in refused.json()["detail"]) == (409, True)


def test_strangers_together_fill_no_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("D4C_SUBMISSIONS", "1")
    monkeypatch.setenv("D4C_QUARANTINE_BYTES", "1kB")
    with faced(tmp_path) as face:
        tokens = [
            face.ledger.submissions.add(submission(sources=None, upload=True, title=f"Trees {n}"))[0].token
            for n in range(2)
        ]
        address = created(face, f"/submission/{tokens[0]}", 900).headers["Location"]
        assert patched(face, address, 0, b"x" * 900).status_code == 204
        refused = created(face, f"/submission/{tokens[1]}", 200)
        assert (refused.status_code, refused.headers["Tus-Resumable"]) == (507, "1.0.0")


def test_files_of_a_finished_submission_are_deleted(face: Face, place: str, tmp_path: Path) -> None:
    address = created(face, place, 3).headers["Location"]
    assert patched(face, address, 0, b"a\n1").status_code == 204
    assert quarantine.held(tmp_path, 1) > 3
    face.ledger.submissions.complete_files(1)
    face.ledger.submissions.move(1, SubmissionState.ASSESSING, who="x")
    assert patched(face, address, 3, b"").status_code == 409
    quarantine.discard(tmp_path, 1)
    assert quarantine.held(tmp_path, 1) == 0
