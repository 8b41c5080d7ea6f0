"""Tables of what is published: events, releases and their files, copies, torrents, the catalogue, checks, reviews."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Boolean, Column, ForeignKey, Index, Integer, String, Table, Text, text

from d4c_pipeline.ledger.schema.naming import metadata
from d4c_pipeline.ledger.utc_datetime import UtcDateTime

event = Table(
    "event",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("at", UtcDateTime, nullable=False),
    Column("kind", String(60), nullable=False),
    Column("dataset", String(120), index=True),
    Column("vintage", String(20)),
    Column("release_id", Integer),
    Column("detail", JSON, nullable=False),
)

dataset = Table(
    "dataset",
    metadata,
    Column("id", String(120), primary_key=True),
    # The declaration at the time of the last plan: the catalogue outlives the YAML.
    Column("declared", JSON, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
)

native_file = Table(
    "native_file",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("dataset", String(120), nullable=False),
    Column("vintage", String(20), nullable=False),
    Column("url", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("etag", Text),
    Column("last_modified", Text),
    Column("content_type", Text),
    Column("licence", String(60), nullable=False),
    Column("address", Text, nullable=False),
    Column("fetched_at", UtcDateTime, nullable=False),
    Column("seen_at", UtcDateTime, nullable=False),
    # The number of the vintage's last delivery with this file; times can't order deliveries.
    Column("delivery", Integer, nullable=False, server_default=text("0")),
    Index("uq_native_file_content", "dataset", "vintage", "url", "sha256", unique=True),
)

# The source's own description of a vintage at the last fetch.
source_description = Table(
    "source_description",
    metadata,
    Column("dataset", String(120), primary_key=True),
    Column("vintage", String(20), primary_key=True),
    Column("said", JSON, nullable=False),
    Column("said_at", UtcDateTime, nullable=False),
)

release = Table(
    "release",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("dataset", String(120), nullable=False),
    Column("vintage", String(20), nullable=False),
    Column("version", String(40), nullable=False),
    Column("name", Text, nullable=False, index=True),
    Column("state", String(20), nullable=False),
    Column("key", String(64), nullable=False),
    Column("bump", Integer, nullable=False),
    Column("reasons", JSON, nullable=False),
    Column("summary", JSON, nullable=False),
    Column("planned_at", UtcDateTime, nullable=False),
    Column("published_at", UtcDateTime),  # of a published release alone
    # Part of the hidden addresses (128 bits), so that nobody can guess where an unpublished release lies.
    Column("token", String(64)),
    # The standing withdrawal of a published release; the table `review` has the decisions.
    Column("withdrawn_at", UtcDateTime),
    Column("withdrawn_reason", Text),
    # One living release per version; an abandoned plan leaves its version free.
    Index(
        "uq_release_version",
        "dataset",
        "vintage",
        "version",
        unique=True,
        sqlite_where=text("state <> 'abandoned'"),
        postgresql_where=text("state <> 'abandoned'"),
    ),
    # At most one plan per vintage at a time: two workers can't plan two successors of a release.
    Index(
        "uq_release_plan",
        "dataset",
        "vintage",
        unique=True,
        sqlite_where=text("state = 'planned'"),
        postgresql_where=text("state = 'planned'"),
    ),
    # The order of the feeds.
    Index("ix_release_published_at_name", "published_at", "name"),
)

artifact = Table(
    "artifact",
    metadata,
    Column("release_id", Integer, ForeignKey("release.id"), primary_key=True),
    Column("name", String(255), primary_key=True),
    Column("role", String(20), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("md5", String(32), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("media_type", String(100), nullable=False),
)

deposit = Table(
    "deposit",
    metadata,
    Column("release_id", Integer, ForeignKey("release.id"), primary_key=True),
    Column("archive", String(60), nullable=False),
    Column("state", String(20), nullable=False),
    Column("record_id", String(60)),
    Column("concept_id", String(60)),
    Column("doi", Text),
    Column("concept_doi", Text),
    Column("test", Boolean, nullable=False),
    Column("url", Text),
    Column("files", JSON, nullable=False),
    # The metadata as last sent and as the archive kept them: any later difference is a person's edit.
    Column("described", JSON),
    Column("updated_at", UtcDateTime, nullable=False),
    # Registration of the DOI: an archive publishes even if the DOI agency is down, so it is checked later.
    Column("registered_at", UtcDateTime),
    Column("registration_checked_at", UtcDateTime),
)

copy = Table(
    "copy",
    metadata,
    Column("release_id", Integer, ForeignKey("release.id"), primary_key=True),
    Column("artifact", String(255), primary_key=True),
    Column("store", String(60), primary_key=True),
    Column("address", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("verified_at", UtcDateTime, nullable=False),
    Column("intact", Boolean, nullable=False),
)

# Pruned copies of a store; a copy that is about to be pruned has no row in `copy`.
pruned_copy = Table(
    "pruned_copy",
    metadata,
    Column("release_id", Integer, ForeignKey("release.id"), primary_key=True),
    Column("artifact", String(255), primary_key=True),
    Column("store", String(60), primary_key=True),
    Column("address", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("given_up_at", UtcDateTime, nullable=False),
    # The time of deletion; empty until the file is deleted.
    Column("deleted_at", UtcDateTime),
)

# The finished build of a vintage; `sha256` is that of its build.json. Its files go once its release is published.
build = Table(
    "build",
    metadata,
    Column("dataset", String(120), primary_key=True),
    Column("vintage", String(20), primary_key=True),
    Column("sha256", String(64), nullable=False),
    # The release that it was planned as or equals; a build that was never compared has none.
    Column("release_id", Integer, ForeignKey("release.id")),
    Column("built_at", UtcDateTime, nullable=False),
)

# The bytes that this home put into stores, recorded before: only they are replaced or deleted.
placement = Table(
    "placement",
    metadata,
    Column("store", String(60), primary_key=True),
    Column("address", String(400), primary_key=True),
    Column("sha256", String(64), primary_key=True),
    Column("size", BigInteger, nullable=False),
    # The store's tag of the stored bytes: while it is unchanged, they need not be read.
    Column("etag", Text),
    Column("release_id", Integer, ForeignKey("release.id"), index=True),
    Column("put_at", UtcDateTime, nullable=False),
)

fixity = Table(
    "fixity",
    metadata,
    Column("kind", String(20), primary_key=True),
    Column("place", String(60), primary_key=True),
    Column("address", Text, primary_key=True),
    Column("dataset", String(120), nullable=False),
    Column("vintage", String(20), nullable=False),
    Column("release_id", Integer, ForeignKey("release.id")),
    Column("state", String(20), nullable=False),
    Column("detail", Text, nullable=False),
    Column("looked_at", UtcDateTime, nullable=False),
    Column("read_at", UtcDateTime),
    # Bytes of the last full reading, which count against the day's budget.
    Column("read_bytes", BigInteger, nullable=False),
    Column("etag", Text),
    Column("quarantine", Text),
)

torrent = Table(
    "torrent",
    metadata,
    Column("release_id", Integer, ForeignKey("release.id"), primary_key=True),
    Column("artifact", String(255), primary_key=True),
    Column("info_hash", String(40), nullable=False),
    Column("info_hash_v2", String(64)),
    Column("magnet", Text, nullable=False),
    Column("piece_size", Integer, nullable=False),
    Column("web_seeds", JSON, nullable=False),
    Column("address", Text, nullable=False),
)

catalogue_snapshot = Table(
    "catalogue_snapshot",
    metadata,
    Column("sha256", String(64), primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("address", Text, nullable=False),
    Column("torrent", JSON, nullable=False),
    Column("made_at", UtcDateTime, nullable=False),
)

# Releases whose facts changed since the catalogue was built; a mark is new with each change.
catalogue_change = Table(
    "catalogue_change",
    metadata,
    Column("release_id", Integer, ForeignKey("release.id"), primary_key=True),
    Column("mark", BigInteger, nullable=False),
)

# The documents of the catalogue that a store holds, with the store's tag of each, where it stated one.
catalogue_document = Table(
    "catalogue_document",
    metadata,
    Column("store", String(60), primary_key=True),
    Column("address", String(400), primary_key=True),
    Column("sha256", String(64), nullable=False),
    Column("etag", Text),
)

catalogue_dataset = Table(
    "catalogue_dataset",
    metadata,
    Column("dataset", String(120), primary_key=True),
    Column("title", Text, nullable=False),
    Column("title_fr", Text, nullable=False, server_default=""),
    Column("releases", Integer, nullable=False),
    # A digest of its definition.
    Column("words", String(64), nullable=False),
)

# A digest of the facts that the records of a release state, and when a rebuild of the catalogue found them changed.
catalogue_record = Table(
    "catalogue_record",
    metadata,
    Column("release_id", Integer, ForeignKey("release.id"), primary_key=True),
    Column("sha256", String(64), nullable=False),
    Column("modified_at", UtcDateTime, nullable=False),
)

# One row. Requests are numbered; a rebuild satisfies all requests from before its start.
catalogue_state = Table(
    "catalogue_state",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("requested", Integer, nullable=False),
    Column("satisfied", Integer, nullable=False),
    Column("form", String(64), nullable=False),
    Column("local", Text, nullable=False),
    Column("result", JSON, nullable=False),
)

stac_item = Table(
    "stac_item",
    metadata,
    Column("release_id", Integer, ForeignKey("release.id"), primary_key=True),
    Column("item", JSON, nullable=False),
)

latest = Table(
    "latest",
    metadata,
    Column("address", String(400), primary_key=True),
    Column("release_id", Integer, ForeignKey("release.id"), nullable=False),
    # Empty until all files of the release are at their addresses.
    Column("sha256", String(64), nullable=False),
    Column("switched_at", UtcDateTime, nullable=False),
)

check_result = Table(
    "check_result",
    metadata,
    Column("data_sha256", String(64), primary_key=True),
    Column("check", String(80), primary_key=True),
    Column("dataset", String(120), nullable=False),
    Column("vintage", String(20), nullable=False),
    Column("verdict", String(10), nullable=False),
    Column("detail", JSON, nullable=False),
    Column("checked_at", UtcDateTime, nullable=False),
)

review = Table(
    "review",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("release_id", Integer, ForeignKey("release.id"), nullable=False, index=True),
    Column("decision", String(20), nullable=False),
    Column("who", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", UtcDateTime, nullable=False),
)

check_override = Table(
    "check_override",
    metadata,
    Column("data_sha256", String(64), primary_key=True),
    Column("check", String(80), primary_key=True),
    Column("dataset", String(120), nullable=False),
    Column("vintage", String(20), nullable=False),
    Column("who", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", UtcDateTime, nullable=False),
)
