"""Submissions in the ledger: every change is one transaction that moves the state and appends its event.

A move names the state that it starts from, so of two managers who decide at once one decides and the other is told.
What a decision needs (a person, a reason, the policy) belongs to `appraisal`.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypedDict, Unpack

from sqlalchemy import Connection, Engine, RowMapping, func, insert, select, update

from d4c_pipeline.ledger import schema
from d4c_pipeline.ledger.database import reading
from d4c_pipeline.ledger.events import now
from d4c_pipeline.model.declared import REMEMBERED
from d4c_pipeline.model.errors import PermanentError, UnknownNameError
from d4c_pipeline.model.submission import (
    FINAL,
    MOVES,
    Submission,
    SubmissionEvent,
    SubmissionLine,
    SubmissionRecord,
    SubmissionState,
)

_TOKEN_BYTES = 32
_ADDING = 0x643473  # "d4s": PostgreSQL's advisory lock while a submission is added
_LINE = ("id", "state", "title", "submitter", "assigned_to", "dataset", "submitted_at", "updated_at")


class SubmissionFacts(TypedDict, total=False):
    """The columns that a move may write; an absent key leaves its column unchanged."""

    assessment: Mapping[str, Any] | None
    files_complete: bool
    dataset: str | None
    doi: str | None


@dataclass(frozen=True)
class DueNotice:
    """An event that a submitter has not been told by `channel` yet, after `attempts` failed deliveries.

    `error`: why the last one failed.
    """

    event: SubmissionEvent
    channel: str
    attempts: int
    last_at: datetime | None
    error: str | None = None


class Submissions:
    """Submissions, their events and notices in the ledger."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, submission: Submission, *, sent_as: str | None = None) -> tuple[SubmissionRecord, bool]:
        """Record a submission; return it and whether it is new.

        A request sent again under the same `sent_as`, or the content of an unfinished submission, adds nothing.
        """
        with self._engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                # Two processes that get the same submission at once: the second one sees the row of the first.
                connection.execute(select(func.pg_advisory_xact_lock(_ADDING)))
            if (known := self._known(connection, submission, sent_as)) is not None:
                return known, False
            moment = now()
            number = connection.execute(
                insert(schema.submission)
                .values(
                    token=secrets.token_urlsafe(_TOKEN_BYTES),
                    sent_as=sent_as,
                    state=SubmissionState.SUBMITTED.value,
                    revision=1,
                    files_complete=not submission.upload,
                    submitted_at=moment,
                    updated_at=moment,
                    **_content(submission),
                )
                .returning(schema.submission.c.id)
            ).scalar_one()
            _append(connection, number, SubmissionState.SUBMITTED, submission.submitter.name, "", {})
            return self._get(connection, number), True

    def get(self, number: int) -> SubmissionRecord:
        """Return the submission with that number. Raises UnknownNameError if there is none."""
        with reading(self._engine) as connection:
            return self._get(connection, number)

    def of_token(self, token: str) -> SubmissionRecord | None:
        """Return the submission whose private address has `token`."""
        with reading(self._engine) as connection:
            row = (
                connection.execute(select(schema.submission).where(schema.submission.c.token == token))
                .mappings()
                .first()
            )
        return None if row is None else _record(row)

    def lines(
        self, states: Collection[SubmissionState] = (), assigned_to: str | None = None, most: int | None = None
    ) -> tuple[SubmissionLine, ...]:
        """Return submissions, newest first: in `states` (all if empty), of one specialist, at most `most`."""
        table = schema.submission
        query = select(*(table.c[name] for name in _LINE)).order_by(table.c.id.desc())
        if states:
            query = query.where(table.c.state.in_([state.value for state in states]))
        if assigned_to is not None:
            query = query.where(table.c.assigned_to == assigned_to)
        if most is not None:
            query = query.limit(most)
        with reading(self._engine) as connection:
            return tuple(
                SubmissionLine(row.id, SubmissionState(row.state), *row[2:]) for row in connection.execute(query)
            )

    def counts(self) -> dict[SubmissionState, int]:
        """Return the number of submissions by state, without states that have none."""
        table = schema.submission
        with reading(self._engine) as connection:
            rows = connection.execute(select(table.c.state, func.count()).group_by(table.c.state)).all()
        return {SubmissionState(state): count for state, count in rows}

    def to_assess(self) -> tuple[int, ...]:
        """Return the numbers of submissions whose files are complete and that have no finished assessment."""
        table = schema.submission
        waiting = (SubmissionState.SUBMITTED.value, SubmissionState.ASSESSING.value)
        query = select(table.c.id).where(table.c.state.in_(waiting), table.c.files_complete).order_by(table.c.id)
        with reading(self._engine) as connection:
            return tuple(connection.execute(query).scalars())

    def with_source(self, addresses: Collection[str], other_than: int) -> tuple[SubmissionLine, ...]:
        """Return the other submissions, declined ones excepted, that have one of the source `addresses`."""
        table, wanted = schema.submission, set(addresses)
        query = select(*(table.c[name] for name in _LINE), table.c.content).where(
            table.c.id != other_than, table.c.state != SubmissionState.DECLINED.value
        )
        with reading(self._engine) as connection:
            return tuple(
                SubmissionLine(row.id, SubmissionState(row.state), *row[2:-1])
                for row in connection.execute(query)
                if wanted & set(row.content.get("sources", ()))
            )

    def with_files(self, sha256s: Collection[str], other_than: int) -> tuple[SubmissionLine, ...]:
        """Return the other submissions, declined ones excepted, whose assessed files have one of the checksums."""
        return self._assessed(_sha256s, set(sha256s), other_than)

    def with_content(self, digests: Collection[str], other_than: int) -> tuple[SubmissionLine, ...]:
        """Return the other submissions, declined ones excepted, of which an assessed table has one of the digests."""
        return self._assessed(_contents, set(digests), other_than)

    def _assessed(
        self, facts: Callable[[Mapping[str, Any] | None], set[str]], wanted: set[str], other_than: int
    ) -> tuple[SubmissionLine, ...]:
        if not wanted:
            return ()
        table = schema.submission
        query = select(*(table.c[name] for name in _LINE), table.c.assessment).where(
            table.c.id != other_than, table.c.state != SubmissionState.DECLINED.value, table.c.assessment.is_not(None)
        )
        with reading(self._engine) as connection:
            return tuple(
                SubmissionLine(row.id, SubmissionState(row.state), *row[2:-1])
                for row in connection.execute(query)
                if wanted & facts(row.assessment)
            )

    def move(
        self,
        number: int,
        state: SubmissionState,
        *,
        who: str,
        reason: str = "",
        revision: int | None = None,
        detail: Mapping[str, Any] | None = None,
        **facts: Unpack[SubmissionFacts],
    ) -> SubmissionRecord:
        """Move a submission to `state` and append the event.

        The same move by the same person for the same reason, sent again, changes nothing. `revision`: the revision that
        the person saw. Raises UnknownNameError for an unknown number, and PermanentError when the submission's state
        does not lead to `state`, or it changed since `revision`.
        """
        table = schema.submission
        with self._engine.begin() as connection:
            current = self._locked(connection, number)
            last = _last_event(connection, number)
            if current.state is state and last.state is state and (last.who, last.reason) == (who, reason):
                return current
            _refuse_stale(current, last, revision)
            if state not in MOVES[current.state]:
                raise PermanentError(
                    f"Submission {number} can't become {state}: it is {current.state} since {last.at:%Y-%m-%d %H:%M} "
                    f"UTC, by {last.who}",
                    f"See 'd4c submissions show {number}'",
                )
            connection.execute(
                update(table)
                .where(table.c.id == number)
                .values(state=state.value, revision=current.revision + 1, updated_at=now(), **facts)
            )
            _append(connection, number, state, who, reason, detail or {})
            return self._get(connection, number)

    def revise(self, number: int, submission: Submission, *, who: str, revision: int | None = None) -> SubmissionRecord:
        """Replace the content of a submission that needs changes, and submit it again. Errors as of `move`."""
        table = schema.submission
        with self._engine.begin() as connection:
            current = self._locked(connection, number)
            last = _last_event(connection, number)
            if current.state is SubmissionState.SUBMITTED and current.submission == submission:
                return current
            _refuse_stale(current, last, revision)
            if current.state is not SubmissionState.NEEDS_CHANGES:
                raise PermanentError(
                    f"Submission {number} is {current.state} and can't be changed",
                    "It can be changed when its state is needs_changes",
                )
            connection.execute(
                update(table)
                .where(table.c.id == number)
                .values(
                    state=SubmissionState.SUBMITTED.value,
                    revision=current.revision + 1,
                    assessment=None,
                    files_complete=not submission.upload,
                    updated_at=now(),
                    **_content(submission),
                )
            )
            _append(connection, number, SubmissionState.SUBMITTED, who, "", {})
            return self._get(connection, number)

    def complete_files(self, number: int) -> SubmissionRecord:
        """Record that the submitter uploads no more files; the assessment may begin."""
        table = schema.submission
        with self._engine.begin() as connection:
            current = self._locked(connection, number)
            if not current.files_complete:
                connection.execute(
                    update(table)
                    .where(table.c.id == number)
                    .values(files_complete=True, revision=current.revision + 1, updated_at=now())
                )
            return self._get(connection, number)

    def assign(self, number: int, specialist: str, *, who: str) -> SubmissionRecord:
        """Assign a specialist. Raises PermanentError when the submission has a final state."""
        table = schema.submission
        with self._engine.begin() as connection:
            current = self._locked(connection, number)
            if current.state in FINAL:
                raise PermanentError(f"Submission {number} is {current.state}", "Assign another one")
            if current.assigned_to != specialist:
                connection.execute(
                    update(table)
                    .where(table.c.id == number)
                    .values(assigned_to=specialist, revision=current.revision + 1, updated_at=now())
                )
                _append(connection, number, current.state, who, "", {"assigned_to": specialist})
            return self._get(connection, number)

    def events(self, number: int) -> tuple[SubmissionEvent, ...]:
        """Return the events of a submission, oldest first."""
        table = schema.submission_event
        with reading(self._engine) as connection:
            rows = connection.execute(
                select(table).where(table.c.submission_id == number).order_by(table.c.id)
            ).mappings()
            return tuple(_event(row) for row in rows)

    def due_notices(
        self,
        channels: Collection[str],
        most_attempts: int,
        states: Collection[SubmissionState] = tuple(SubmissionState),
    ) -> tuple[DueNotice, ...]:
        """Return the events not yet delivered by each of `channels`, oldest first, with fewer failed deliveries.

        `states`: only events of these.
        """
        event, notice = schema.submission_event, schema.submission_notice
        found: list[DueNotice] = []
        with reading(self._engine) as connection:
            for channel in channels:
                query = (
                    select(event, notice.c.attempts, notice.c.at.label("tried_at"))
                    .outerjoin(notice, (notice.c.event_id == event.c.id) & (notice.c.channel == channel))
                    .where(
                        event.c.state.in_([state.value for state in states]),
                        notice.c.event_id.is_(None)
                        | (notice.c.error.is_not(None) & (notice.c.attempts < most_attempts)),
                    )
                    .order_by(event.c.id)
                )
                found += [
                    DueNotice(_event(row), channel, row["attempts"] or 0, row["tried_at"])
                    for row in connection.execute(query).mappings()
                ]
        return tuple(sorted(found, key=lambda due: due.event.id))

    def failed_notices(self) -> tuple[DueNotice, ...]:
        """Return the notices whose last delivery failed, oldest first."""
        event, notice = schema.submission_event, schema.submission_notice
        query = (
            select(event, notice.c.channel, notice.c.attempts, notice.c.at.label("tried_at"), notice.c.error)
            .join(notice, notice.c.event_id == event.c.id)
            .where(notice.c.error.is_not(None))
            .order_by(event.c.id, notice.c.channel)
        )
        with reading(self._engine) as connection:
            return tuple(
                DueNotice(_event(row), row["channel"], row["attempts"], row["tried_at"], row["error"])
                for row in connection.execute(query).mappings()
            )

    def record_notice(self, event: SubmissionEvent, channel: str, *, error: str | None) -> None:
        """Record a delivery of an event by `channel`; `error`: why it failed."""
        table = schema.submission_notice
        with self._engine.begin() as connection:
            known = (table.c.event_id == event.id) & (table.c.channel == channel)
            changed = connection.execute(
                update(table).where(known).values(attempts=table.c.attempts + 1, at=now(), error=error)
            )
            if not changed.rowcount:
                connection.execute(
                    insert(table).values(event_id=event.id, channel=channel, attempts=1, at=now(), error=error)
                )

    def _known(self, connection: Connection, submission: Submission, sent_as: str | None) -> SubmissionRecord | None:
        table = schema.submission
        same = (table.c.digest == submission.digest) & table.c.state.not_in([state.value for state in FINAL])
        if sent_as is not None:
            same = same | (table.c.sent_as == sent_as)
        row = connection.execute(select(table).where(same).order_by(table.c.id)).mappings().first()
        return None if row is None else _record(row)

    def _get(self, connection: Connection, number: int) -> SubmissionRecord:
        row = connection.execute(select(schema.submission).where(schema.submission.c.id == number)).mappings().first()
        if row is None:
            raise UnknownNameError(f"There is no submission {number}", "See 'd4c submissions list'")
        return _record(row)

    def _locked(self, connection: Connection, number: int) -> SubmissionRecord:
        # SQLite's transaction holds the database; a server locks the row.
        query = select(schema.submission.c.id).where(schema.submission.c.id == number).with_for_update()
        connection.execute(query).first()
        return self._get(connection, number)


def _sha256s(assessment: Mapping[str, Any] | None) -> set[str]:
    files: list[Mapping[str, Any]] = (assessment or {}).get("files", [])
    return {str(file.get("sha256")) for file in files}


def _contents(assessment: Mapping[str, Any] | None) -> set[str]:
    files: list[Mapping[str, Any]] = (assessment or {}).get("files", [])
    return {str(part["content"]) for file in files for part in file.get("parts", []) if "content" in part}


def _content(submission: Submission) -> dict[str, Any]:
    return {
        "digest": submission.digest,
        "title": submission.title,
        "submitter": submission.submitter.name,
        "content": submission.model_dump(mode="json", exclude_none=True),
    }


def _refuse_stale(current: SubmissionRecord, last: SubmissionEvent, revision: int | None) -> None:
    if revision is not None and revision != current.revision:
        raise PermanentError(
            f"Submission {current.id} changed meanwhile: it is {current.state} since {last.at:%Y-%m-%d %H:%M} UTC, by "
            f"{last.who}",
            "Read it again, then decide",
        )


def _append(
    connection: Connection, number: int, state: SubmissionState, who: str, reason: str, detail: Mapping[str, Any]
) -> None:
    connection.execute(
        insert(schema.submission_event).values(
            submission_id=number, state=state.value, who=who, reason=reason, at=now(), detail=dict(detail)
        )
    )


def _last_event(connection: Connection, number: int) -> SubmissionEvent:
    table = schema.submission_event
    query = select(table).where(table.c.submission_id == number).order_by(table.c.id.desc()).limit(1)
    return _event(connection.execute(query).mappings().one())


def _event(row: RowMapping) -> SubmissionEvent:
    return SubmissionEvent(
        id=row["id"],
        submission_id=row["submission_id"],
        state=SubmissionState(row["state"]),
        who=row["who"],
        reason=row["reason"],
        at=row["at"],
        detail=row["detail"],
    )


def _record(row: RowMapping) -> SubmissionRecord:
    return SubmissionRecord(
        id=row["id"],
        token=row["token"],
        sent_as=row["sent_as"],
        state=SubmissionState(row["state"]),
        revision=row["revision"],
        submission=Submission.model_validate(row["content"], context=REMEMBERED),
        files_complete=row["files_complete"],
        assigned_to=row["assigned_to"],
        assessment=row["assessment"],
        dataset=row["dataset"],
        doi=row["doi"],
        submitted_at=row["submitted_at"],
        updated_at=row["updated_at"],
    )
