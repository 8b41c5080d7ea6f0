"""Publication at InvenioRDM, the only call that can't be undone, and the submission to a community.

Three concurrent requests gave one record and two errors, and a gateway may time out long before the archive finishes:
so the record is polled until it is published. `archives.deposit` decides whether to publish a draft.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from urllib.parse import quote

from d4c_pipeline.archives.invenio.files import DraftFiles, refused
from d4c_pipeline.archives.port import Draft, PublishedRecord
from d4c_pipeline.model.errors import D4CError, PermanentError, TransientError
from d4c_pipeline.transport.rest import Answer, Repeat, RestClient, UncertainError, json_body


@dataclass(frozen=True)
class Waits:
    """Waits besides those for responses; all times in seconds.

    `publish`: the longest wait for the record after a lost response, polled every `poll`, before the request is
    repeated. `search`: the time after which a search finds new records.
    """

    publish: float = 120.0
    poll: float = 3.0
    search: float = 5.0


class Publication:
    """Publishes drafts. `read` returns a published record by its id, None if it is not published."""

    def __init__(
        self,
        api: RestClient,
        files: DraftFiles,
        read: Callable[[str], PublishedRecord | None],
        *,
        attempts: int,
        waits: Waits,
        pause: Callable[[float], None],
    ) -> None:
        self._api, self._files, self._read = api, files, read
        self._attempts, self._waits, self._pause = attempts, waits, pause

    def publish(self, draft: Draft) -> PublishedRecord | None:
        """Publish a draft and return the record; None if there is neither draft nor record.

        Raises PermanentError if the archive refuses the draft, TransientError if the outcome is unknown.
        """
        path = f"/records/{quote(draft.record_id)}/draft/actions/publish"
        for attempt in count(1):
            try:
                answer = self._api.request("POST", path, repeat=Repeat.UNSAFE, passing=(400, 404))
            except UncertainError:
                record = self._awaited(draft.record_id, self._waits.publish)
                if record is None and attempt >= self._attempts:
                    raise
            else:
                if answer.status == 404:  # published or deleted by another client
                    return self._read(draft.record_id)
                if answer.status == 400:
                    raise self._unpublishable(draft, path, answer)
                record = self._awaited(draft.record_id, self._waits.publish)
                if record is None:
                    raise TransientError(
                        f"The archive does not show record {draft.record_id} yet", "Run again in a while"
                    )
            if record is not None:
                return record
        raise AssertionError("count() has no end")

    def submit(self, record_id: str, community: str) -> None:
        """Submit a published record to a community. Raises PermanentError if the community refuses it."""
        path = f"/records/{quote(record_id)}/communities"
        answer = self._api.request("POST", path, body=json_body({"communities": [{"id": community}]}), passing=(400,))
        errors = answer.body.get("errors") or ()
        # "The record is already included", "There is already an open inclusion request": already done.
        wrong = [str(error.get("message")) for error in errors if "already" not in str(error.get("message"))]
        if wrong or (answer.status == 400 and not errors):
            raise PermanentError(
                f"Record {record_id} is published, but the community '{community}' refuses it"
                f" ({'; '.join(wrong) or answer.body.get('message')})",
                "Correct D4C_ARCHIVE_COMMUNITY",
                rerun="deposit",
            )

    def _awaited(self, record_id: str, longest: float) -> PublishedRecord | None:
        """Read a record until it is published or `longest` seconds have passed."""
        waited = 0.0
        while (record := self._read(record_id)) is None and waited < longest:
            self._pause(self._waits.poll)
            waited += self._waits.poll
        return record

    def _unpublishable(self, draft: Draft, path: str, answer: Answer) -> D4CError:
        if not self._files.list(draft):
            return PermanentError(f"Draft {draft.record_id} has no files", "Upload the release's files first")
        return refused("POST", path, answer)
