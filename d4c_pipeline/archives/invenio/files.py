"""The files of a draft at InvenioRDM: announced, sent, committed; imported, listed, deleted.

Each of a file's three calls can fail half-way, and bytes sent to a committed file delete it, so every pass but the
first reads the state of the file. The files of a draft are chosen by `archives.deposit`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote

from d4c_pipeline.archives.invenio.answers import (
    complete_files,
    errors_of,
    explain_refusal,
    file_of,
    is_complete,
    pending_names,
    refuse_errors,
)
from d4c_pipeline.archives.port import Draft, RemoteFile, check_file_name, check_files
from d4c_pipeline.model.errors import D4CError, PermanentError, StorageError, TransientError
from d4c_pipeline.transport.patience import Patience, persist
from d4c_pipeline.transport.rest import Answer, Refusal, Repeat, RestClient, file_body, json_body


class DraftFiles:
    """The files of drafts. `require` returns the archive's body of a draft, or raises the error for a missing draft.

    `max_files` and `max_bytes` are the limits of a record.
    """

    def __init__(
        self,
        api: RestClient,
        require: Callable[[Draft], Mapping[str, Any]],
        *,
        patience: Patience,
        pause: Callable[[float], None],
        max_files: int,
        max_bytes: int,
    ) -> None:
        self._api, self._require = api, require
        self._patience, self._pause = patience, pause
        self._max_files, self._max_bytes = max_files, max_bytes

    def list(self, draft: Draft) -> tuple[RemoteFile, ...]:
        """Return the complete files, by name."""
        return complete_files(self._listed(draft))

    def drop_pending(self, draft: Draft) -> None:
        """Delete incomplete files."""
        for name in pending_names(self._listed(draft)):
            self.delete(draft, name)

    def drop_pending_of_unreadable(self, record_id: str) -> bool:
        """Delete incomplete files of an unreadable draft. Return whether there were any."""
        files = f"/records/{quote(record_id)}/draft/files"
        pending = pending_names(self._api.request("GET", files, passing=(404,)).body)
        for name in pending:
            self._api.request("DELETE", f"{files}/{quote(name, safe='')}", passing=(404,))
        return bool(pending)

    def delete(self, draft: Draft, name: str) -> None:
        """Delete a file. A missing file counts as deleted."""
        check_file_name(name)
        if self._api.request("DELETE", _path(draft, name), passing=(404,)).status == 404:
            self._require(draft)

    def import_all(self, draft: Draft) -> tuple[RemoteFile, ...]:
        """Link the files of the previous version into a draft without files, and return the draft's files."""
        path = f"/records/{quote(draft.record_id)}/draft/actions/files-import"
        answer = self._api.request("POST", path, passing=(400, 404))
        if answer.status < 300:
            refuse_errors(answer.body, f"the import of files into record {draft.record_id}")
        # 400: the draft has files; 404: no previous version, or no such draft
        return self.list(draft)

    def upload(self, draft: Draft, name: str, path: Path) -> RemoteFile:
        """Upload a file, with retries. Raises PermanentError if the draft already has a file of that name.

        Raises StorageError if the file can't be read.
        """
        check_file_name(name)
        passes = count(1)
        try:
            check_files({name: path.stat().st_size}, max_files=self._max_files, max_bytes=self._max_bytes)
            return persist(
                lambda: self._pass(draft, name, path, again=next(passes) > 1),
                f"{self._api.base_url}{_path(draft, name)}",
                self._patience,
                self._pause,
            )
        except OSError as error:
            raise StorageError(f"{path} can't be read: {error.strerror}", "Check disk and access, run again") from error

    def _pass(self, draft: Draft, name: str, path: Path, *, again: bool) -> RemoteFile:
        """Make one pass over a file's three calls, from the state of an earlier pass."""
        there = (self._state(draft, name) if again else None) or self._announce(draft, name)
        if there is not None and is_complete(there):
            if again:
                return file_of(there)
            raise PermanentError(
                f"Draft {draft.record_id} already has a file {name}", "Delete it from the draft before the upload"
            )
        try:
            self._took(
                self._api.request("PUT", f"{_path(draft, name)}/content", body=file_body(path), repeat=Repeat.UNSAFE),
                name,
            )
        except PermanentError:  # over the quota, for example: the announced file would block publication
            self.delete(draft, name)
            raise
        committed = self._api.request("POST", f"{_path(draft, name)}/commit", repeat=Repeat.UNSAFE)
        return file_of(self._took(committed, name))

    def _announce(self, draft: Draft, name: str) -> Mapping[str, Any] | None:
        """Announce a file. Return its state if it was announced before. Raises the error of a refusal."""
        files = f"/records/{quote(draft.record_id)}/draft/files"
        answer = self._api.request(
            "POST", files, body=json_body([{"key": name}]), repeat=Repeat.UNSAFE, passing=(400, 404)
        )
        if answer.status < 300:
            self._took(answer, name)
            return None
        self._require(draft)
        there = self._state(draft, name)
        if there is None:
            sizes = {file.name: file.size for file in self.list(draft)}
            check_files({**sizes, name: 1}, max_files=self._max_files, max_bytes=self._max_bytes)
            raise refused("POST", files, answer)
        return there

    def _took(self, answer: Answer, name: str) -> Mapping[str, Any]:
        # Observed: bytes sent to a committed file get 200 with "errors", and delete the file.
        if errors := errors_of(answer.body):
            raise TransientError(f"The archive did not accept the file {name}: {'; '.join(errors)}", "Run again")
        return answer.body

    def _state(self, draft: Draft, name: str) -> Mapping[str, Any] | None:
        answer = self._api.request("GET", _path(draft, name), passing=(404,))
        return None if answer.status == 404 else self._took(answer, name)

    def _listed(self, draft: Draft) -> Mapping[str, Any]:
        answer = self._api.request("GET", f"/records/{quote(draft.record_id)}/draft/files", passing=(404,))
        if answer.status == 404:
            self._require(draft)
        return refuse_errors(answer.body, f"the request for the files of record {draft.record_id}")


def refused(method: str, path: str, answer: Answer) -> D4CError:
    """Return the error for a response with a passing status that is a refusal."""
    return explain_refusal(Refusal(method, path, answer.status, str(answer.body.get("message", "")), answer.body))


def _path(draft: Draft, name: str) -> str:
    return f"/records/{quote(draft.record_id)}/draft/files/{quote(name, safe='')}"
