"""Uploads of submitters into the quarantine: by the form, and resumable by tus (core, creation, termination).

The file on the disk is the only state of an upload: its size is the offset, a lock on it lets one request write. What
is uploaded is never served. The servers for ASGI on PyPI have single releases and stores of their own, so that quota,
names and locks would lie elsewhere. https://tus.io/protocols/resumable-upload
"""

from __future__ import annotations

import base64
import binascii
import fcntl
import os
import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import orjson
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from d4c_pipeline.appraisal import quarantine
from d4c_pipeline.files.disk import require_room, storage_errors, write_file
from d4c_pipeline.model.errors import StorageError
from d4c_pipeline.model.submission import SubmissionRecord, SubmissionState
from d4c_pipeline.services.bodies import FILES, require_type
from d4c_pipeline.services.problems import ProblemError, answer_problem

VERSION = "1.0.0"
MOST_OF_FORM = 2 << 30
"""The most bytes of one form; tus takes files up to the quota."""
_EXTENSIONS = "creation,termination"
_ID = re.compile(r"[A-Za-z0-9_-]{22}")
_OFFSET = "application/offset+octet-stream"
_FORM_ROOM = 1 << 16  # bytes of a form beside its files
_FLUSHED = 1 << 20
_REMEDY = "Send less, or tell us where the files can be fetched"


@dataclass(frozen=True)
class Upload:
    """An upload by tus: where its bytes lie, its length, and the name of its file. `done`: it is complete."""

    path: Path
    length: int
    name: str
    done: bool

    @property
    def offset(self) -> int:
        """The bytes that arrived."""
        return self.length if self.done else self.path.stat().st_size


class Uploads:
    """The uploads of all submissions of a home. `find` returns a submission by its token.

    `most`: bytes of all files of one submission; `together`: of all submissions, None for no limit.
    """

    def __init__(
        self, home: Path, most: int, together: int | None, find: Callable[[Request], SubmissionRecord]
    ) -> None:
        self._home, self._most, self._together, self._find = home, most, together, find

    def routes(self) -> Sequence[BaseRoute]:
        """Return the routes of tus, below the private address of a submission."""
        return [
            Route("/submission/{token}/uploads", self._answered(self.options), methods=["OPTIONS"]),
            Route("/submission/{token}/uploads", self._answered(self.create), methods=["POST"]),
            Route("/submission/{token}/uploads/{upload}", self._answered(self.head), methods=["HEAD"]),
            Route("/submission/{token}/uploads/{upload}", self._answered(self.patch), methods=["PATCH"]),
            Route("/submission/{token}/uploads/{upload}", self._answered(self.delete), methods=["DELETE"]),
        ]

    def names(self, number: int) -> list[str]:
        """Return the names of the complete files of a submission."""
        folder = quarantine.submission_folder(self._home, number) / "upload"
        return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []

    async def take_form(self, request: Request) -> SubmissionRecord:
        """Put the files of a form into the quarantine; return the submission. Raises ProblemError for a refusal."""
        record = self._open(request)
        require_type(request, FILES)
        stated = request.headers.get("Content-Length", "")
        if not stated.isdecimal():
            raise ProblemError(HTTPStatus.LENGTH_REQUIRED, "The length of the form is not stated", "Send its length")
        self._require_room(record, int(stated) - _FORM_ROOM, MOST_OF_FORM)
        try:
            async with request.form(max_files=quarantine.MOST_FILES, max_fields=10) as form:
                files = [each for each in form.getlist("files") if isinstance(each, UploadFile) and each.filename]
                if not files:  # also a form whose parts are cut off
                    raise ProblemError(
                        HTTPStatus.BAD_REQUEST, "The form has no file", "Send files in parts with the name 'files'"
                    )
                self._require_places(record, len(files))
                await run_in_threadpool(self._keep, record, files)
        except MultiPartException as error:
            raise ProblemError(HTTPStatus.BAD_REQUEST, f"The form can't be read: {error}", "Send it again") from error
        return record

    async def options(self, _request: Request) -> Response:
        """Answer what tus can do here."""
        headers = {"Tus-Version": VERSION, "Tus-Extension": _EXTENSIONS, "Tus-Max-Size": str(self._most)}
        return Response(status_code=HTTPStatus.NO_CONTENT, headers=headers)

    async def create(self, request: Request) -> Response:
        """Create an upload of a stated length."""
        record = self._open(request)
        stated = request.headers.get("Upload-Length", "")
        if not stated.isdecimal() or len(stated) > 15:
            raise ProblemError(HTTPStatus.BAD_REQUEST, "Upload-Length is no number of bytes", "State the file's length")
        self._require_room(record, int(stated), self._most)
        self._require_places(record, 1)
        name = _name(request.headers.get("Upload-Metadata", ""))
        identifier = secrets.token_urlsafe(16)
        folder = self._folder(record)
        with storage_errors(f"write in {folder}"):
            quarantine.upload_folder(self._home, record.id)
            folder.mkdir(mode=0o700, exist_ok=True)
            (folder / identifier).touch(mode=0o600)
        self._write(folder, identifier, int(stated), name, done=False)
        if int(stated) == 0:
            self._finish(record, identifier, self._upload(record, identifier))
        return Response(
            status_code=HTTPStatus.CREATED, headers={"Location": f"{request.url.path.rstrip('/')}/{identifier}"}
        )

    async def head(self, request: Request) -> Response:
        """Answer the offset at which an upload goes on."""
        upload = self._upload(self._find(request), request.path_params["upload"])
        headers = {"Upload-Offset": str(upload.offset), "Upload-Length": str(upload.length)}
        return Response(status_code=HTTPStatus.OK, headers=headers)

    async def patch(self, request: Request) -> Response:
        """Append bytes at the offset; the last of them complete the file."""
        record, identifier = self._open(request), request.path_params["upload"]
        upload = self._upload(record, identifier)
        if request.headers.get("Content-Type") != _OFFSET:
            raise ProblemError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"The body is no {_OFFSET}", "Send that type")
        if upload.done or request.headers.get("Upload-Offset") != str(upload.offset):
            raise _conflict(upload)
        with _locked(upload.path) as descriptor:
            at = os.fstat(descriptor).st_size
            if str(at) != request.headers["Upload-Offset"]:  # another request wrote meanwhile
                raise _conflict(upload)
            try:
                at = await self._receive(request, descriptor, at, upload.length)
            finally:
                with storage_errors(f"write {upload.path}"):
                    await run_in_threadpool(os.fsync, descriptor)
            if at == upload.length:
                self._open(request)  # the submission may have been sent meanwhile
                await run_in_threadpool(self._finish, record, identifier, upload)
        return Response(status_code=HTTPStatus.NO_CONTENT, headers={"Upload-Offset": str(at)})

    async def delete(self, request: Request) -> Response:
        """Delete an upload or its file."""
        record, identifier = self._open(request), request.path_params["upload"]
        upload = self._upload(record, identifier)
        path = upload.path if not upload.done else quarantine.upload_folder(self._home, record.id) / upload.name
        path.unlink(missing_ok=True)
        (self._folder(record) / f"{identifier}.json").unlink(missing_ok=True)
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def _receive(self, request: Request, descriptor: int, at: int, length: int) -> int:
        """Append the body at `at`; return the new offset. What arrived before a broken connection stays."""
        pending = bytearray()

        def flush() -> None:
            with storage_errors("write an upload"):
                view = memoryview(pending)
                while view:
                    view = view[os.write(descriptor, view) :]

        try:
            async for chunk in request.stream():
                if at + len(pending) + len(chunk) > length:
                    raise ProblemError(
                        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                        f"The file has more than the {length} bytes that were stated",
                        "Create an upload with the right length",
                        headers={"Connection": "close"},
                    )
                pending += chunk
                if len(pending) >= _FLUSHED:
                    await run_in_threadpool(flush)
                    at, pending = at + len(pending), bytearray()
        except ClientDisconnect:
            await run_in_threadpool(flush)
            raise
        await run_in_threadpool(flush)
        return at + len(pending)

    def _keep(self, record: SubmissionRecord, files: Sequence[UploadFile]) -> None:
        folder = quarantine.upload_folder(self._home, record.id)
        for each in files:
            part = self._folder(record) / secrets.token_urlsafe(16)
            with storage_errors(f"write in {folder}"):
                part.parent.mkdir(mode=0o700, exist_ok=True)
                with part.open("xb") as target:
                    while content := each.file.read(_FLUSHED):
                        target.write(content)
            self._named(record, part, str(each.filename))

    def _finish(self, record: SubmissionRecord, identifier: str, upload: Upload) -> None:
        """Give a complete file its name, then mark the upload."""
        name = self._named(record, upload.path, upload.name)
        self._write(upload.path.parent, identifier, upload.length, name, done=True)

    def _named(self, record: SubmissionRecord, part: Path, name: str) -> str:
        """Move a complete file to a free name like `name`, and return that."""
        folder = quarantine.upload_folder(self._home, record.id)
        while True:
            free = quarantine.safe_name(name, self.names(record.id))
            with storage_errors(f"write in {folder}"):
                try:
                    os.link(part, folder / free)
                except FileExistsError:
                    continue  # another upload took the name
                part.unlink()
                return free

    def _upload(self, record: SubmissionRecord, identifier: str) -> Upload:
        folder = self._folder(record)
        stated = folder / f"{identifier}.json"
        if _ID.fullmatch(identifier) is None or not stated.is_file():
            raise ProblemError(HTTPStatus.NOT_FOUND, "There is no such upload", "Create another one")
        facts = orjson.loads(stated.read_bytes())
        path = folder / identifier
        done = facts["done"] or not path.exists()
        return Upload(path, facts["length"], facts["name"], done)

    def _write(self, folder: Path, identifier: str, length: int, name: str, *, done: bool) -> None:
        write_file(folder / f"{identifier}.json", orjson.dumps({"length": length, "name": name, "done": done}))

    def _folder(self, record: SubmissionRecord) -> Path:
        return quarantine.submission_folder(self._home, record.id) / "partial"

    def _open(self, request: Request) -> SubmissionRecord:
        record = self._find(request)
        if not may_upload(record):
            raise ProblemError(
                HTTPStatus.CONFLICT, f"Submission {record.id} takes no files now", "Its private page shows its state"
            )
        return record

    def _require_places(self, record: SubmissionRecord, count: int) -> None:
        folder = self._folder(record)
        begun = sum(path.suffix != ".json" for path in folder.iterdir()) if folder.is_dir() else 0
        if len(self.names(record.id)) + begun + count > quarantine.MOST_FILES:
            raise ProblemError(
                HTTPStatus.CONFLICT,
                f"A submission has at most {quarantine.MOST_FILES} files",
                "Pack the files into one zip",
            )

    def _require_room(self, record: SubmissionRecord, size: int, most: int) -> None:
        # The stated lengths of unfinished uploads count, whatever arrived of them.
        folder = self._folder(record)
        begun = sum(self._upload(record, path.stem).length for path in folder.glob("*.json")) if folder.is_dir() else 0
        taken = max(begun, quarantine.held(self._home, record.id))
        if size > min(most, self._most - taken):
            raise ProblemError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"The file exceeds the quota of {self._most:,} bytes for a submission"
                if size > self._most - taken
                else f"A form takes at most {most:,} bytes",
                _REMEDY,
                headers={"Connection": "close"},
            )
        quarantine.upload_folder(self._home, record.id)
        if self._together is not None and quarantine.held(self._home) + size > self._together:
            raise ProblemError(
                HTTPStatus.INSUFFICIENT_STORAGE, "The uploads of others fill the quarantine", "Try again in some days"
            )
        try:
            require_room(quarantine.submission_folder(self._home, record.id), max(0, size), "an upload")
        except StorageError as error:
            # How much room there is, is nobody's business.
            raise ProblemError(HTTPStatus.INSUFFICIENT_STORAGE, "There is no room for the file", _REMEDY) from error

    def _answered(self, handler: Callable[[Request], Any]) -> Callable[[Request], Any]:
        """Return the handler with the headers of tus on every answer, also on those of problems."""

        async def endpoint(request: Request) -> Response:
            headers = {"Tus-Resumable": VERSION, "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
            if request.method != "OPTIONS" and request.headers.get("Tus-Resumable") != VERSION:
                refusal = ProblemError(
                    HTTPStatus.PRECONDITION_FAILED,
                    "The request states no version of tus that this server speaks",
                    f"Send Tus-Resumable: {VERSION}",
                    headers=headers | {"Tus-Version": VERSION},
                )
                return answer_problem(request, refusal)
            try:
                answer = await handler(request)
            except ProblemError as error:
                answer = answer_problem(request, error)
            answer.headers.update(headers)
            return answer

        return endpoint


def may_upload(record: SubmissionRecord) -> bool:
    """Return whether files can be added to a submission."""
    return record.state is SubmissionState.SUBMITTED and not record.files_complete


def _conflict(upload: Upload) -> ProblemError:
    return ProblemError(
        HTTPStatus.CONFLICT,
        f"The upload has {upload.offset} of {upload.length} bytes",
        "Ask for its offset (HEAD), then go on from there",
        headers={"Upload-Offset": str(upload.offset)},
    )


def _name(metadata: str) -> str:
    """Return the file name of `Upload-Metadata`: pairs of key and Base64, with commas."""
    for pair in metadata.split(","):
        key, _, value = pair.strip().partition(" ")
        if key == "filename":
            try:
                return quarantine.safe_name(base64.b64decode(value, validate=True).decode("utf-8"))
            except (binascii.Error, UnicodeDecodeError) as error:
                raise ProblemError(
                    HTTPStatus.BAD_REQUEST, "The file name of Upload-Metadata is no Base64 of UTF-8", "Encode it so"
                ) from error
    return "file"


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise ProblemError(
            HTTPStatus.LOCKED, "Another request writes this upload", "Try again when it has ended"
        ) from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)
