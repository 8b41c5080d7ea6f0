"""Tables of appraisal: submissions, their events, and the notices of these events."""

from __future__ import annotations

from sqlalchemy import JSON, Boolean, Column, ForeignKey, Index, Integer, String, Table, Text

from d4c_pipeline.ledger.schema.naming import metadata
from d4c_pipeline.ledger.utc_datetime import UtcDateTime

submission = Table(
    "submission",
    metadata,
    Column("id", Integer, primary_key=True),
    # The unguessable part of the private address.
    Column("token", String(43), nullable=False, unique=True),
    # The key that the sender chose, so that a request sent twice adds one row.
    Column("sent_as", String(64), unique=True),
    # The sha256 of the content; equal content of an unfinished submission is the same submission.
    Column("digest", String(64), nullable=False),
    Column("state", String(20), nullable=False),
    Column("revision", Integer, nullable=False),
    Column("title", Text, nullable=False),
    Column("submitter", Text, nullable=False),
    Column("content", JSON, nullable=False),
    Column("files_complete", Boolean, nullable=False),
    Column("assigned_to", Text),
    Column("assessment", JSON),
    Column("dataset", String(120)),
    Column("doi", String(120)),
    Column("submitted_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Index("ix_submission_state", "state"),
    Index("ix_submission_digest", "digest"),
)

submission_event = Table(
    "submission_event",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("submission_id", Integer, ForeignKey("submission.id"), nullable=False),
    Column("state", String(20), nullable=False),
    Column("who", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("detail", JSON, nullable=False),
    Index("ix_submission_event_submission_id", "submission_id"),
)

# Notices of events to submitters. `channel`: mail or webhook; `error`: why the last delivery failed, null after one.
submission_notice = Table(
    "submission_notice",
    metadata,
    Column("event_id", Integer, ForeignKey("submission_event.id"), primary_key=True),
    Column("channel", String(20), primary_key=True),
    Column("attempts", Integer, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("error", Text),
)
