"""Tables of operation: leases and runs, backfills, observations of sources, failures, alerts."""

from __future__ import annotations

from sqlalchemy import JSON, Boolean, Column, ForeignKey, Integer, String, Table, Text

from d4c_pipeline.ledger.schema.naming import metadata
from d4c_pipeline.ledger.utc_datetime import UtcDateTime

lease = Table(
    "lease",
    metadata,
    Column("key", String(200), primary_key=True),
    Column("holder", Text, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
)

# Partitions that a run of Dagster works on; the rows of a killed run stay until somebody ended it.
active_run = Table(
    "active_run",
    metadata,
    Column("run", String(60), primary_key=True),
    Column("subject", String(120), primary_key=True),
    Column("partition", String(120), nullable=False),
    Column("step", String(60), nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
)

# Sources that a person paused: nothing is requested from them.
pause = Table(
    "pause",
    metadata,
    Column("subject", String(120), primary_key=True),
    Column("reason", Text, nullable=False),
    Column("who", Text, nullable=False),
    Column("paused_at", UtcDateTime, nullable=False),
)

# Backfills by command: many vintages processed again, for a reason.
backfill = Table(
    "backfill",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("scope", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("who", Text, nullable=False),
    Column("state", String(20), nullable=False),
    Column("begun_at", UtcDateTime, nullable=False),
    Column("ended_at", UtcDateTime),
)

backfill_part = Table(
    "backfill_part",
    metadata,
    Column("backfill_id", Integer, ForeignKey("backfill.id"), primary_key=True),
    Column("dataset", String(120), primary_key=True),
    Column("vintage", String(20), primary_key=True),
    # Empty until it ended.
    Column("outcome", String(20), nullable=False),
    # The release, or the cause of a failure.
    Column("detail", Text, nullable=False),
    Column("ended_at", UtcDateTime),
)

# A vintage whose source served the retained content of another vintage: it has no release.
same_vintage = Table(
    "same_vintage",
    metadata,
    Column("dataset", String(120), primary_key=True),
    Column("vintage", String(20), primary_key=True),
    Column("same_as", String(20), nullable=False),
    Column("noted_at", UtcDateTime, nullable=False),
)

# Fingerprints of the source of a partition (a vintage of a dataset, a member of a family).
observation = Table(
    "observation",
    metadata,
    Column("subject", String(120), primary_key=True),
    Column("partition", String(60), primary_key=True),
    # The source's last state; its state at the last fetch of 'raw'; that state once the chain completed.
    Column("seen", String(64)),
    Column("retained", String(64)),
    Column("settled", String(64)),
    Column("seen_at", UtcDateTime),
    Column("changed_at", UtcDateTime),
)

listing = Table(
    "listing",
    metadata,
    Column("subject", String(120), primary_key=True),
    # The last accepted listing, which an empty or shrunken listing is compared with.
    Column("entries", JSON, nullable=False),
    Column("listed_at", UtcDateTime, nullable=False),
)

member = Table(
    "member",
    metadata,
    Column("family", String(120), primary_key=True),
    Column("key", String(60), primary_key=True),
    Column("facts", JSON, nullable=False),
    Column("listed_at", UtcDateTime, nullable=False),
)

# Present failures; the next success of the step deletes the row.
failure = Table(
    "failure",
    metadata,
    Column("subject", String(120), primary_key=True),
    Column("partition", String(60), primary_key=True),
    Column("step", String(20), primary_key=True),
    Column("kind", String(60), nullable=False),
    Column("transient", Boolean, nullable=False),
    Column("cause", Text, nullable=False),
    Column("remedy", Text, nullable=False),
    Column("run", String(60)),
    Column("times", Integer, nullable=False),
    Column("first_at", UtcDateTime, nullable=False),
    Column("last_at", UtcDateTime, nullable=False),
)

# Alerts by cause, day and address. `error`: why the delivery failed, null after a delivery.
alert = Table(
    "alert",
    metadata,
    Column("cause", String(64), primary_key=True),
    Column("day", String(10), primary_key=True),
    Column("address", String(120), primary_key=True),
    Column("at", UtcDateTime, nullable=False),
    Column("error", Text),
)
