"""Judgements on data: results of checks and their overrides, bound to a checksum, and decisions of reviewers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, delete, insert, select

from d4c_pipeline.ledger import schema
from d4c_pipeline.ledger.database import reading
from d4c_pipeline.ledger.events import append, now
from d4c_pipeline.model.release import ArtifactRole, PlannedRelease, Release
from d4c_pipeline.model.vintage import Vintage

APPROVED = "approved"
REJECTED = "rejected"


@dataclass(frozen=True)
class CheckResult:
    """The verdict (`pass`, `warning` or `failure`) of one check on one data artifact.

    `checked_at`: when this verdict with this detail was first found.
    """

    check: str
    verdict: str
    detail: Mapping[str, Any]
    checked_at: datetime


@dataclass(frozen=True)
class Review:
    """A person's decision on a release: who, when and why."""

    decision: str
    who: str
    reason: str
    at: datetime


@dataclass(frozen=True)
class Override:
    """A person's decision that a failed check on certain data does not stop a publication: who, when and why."""

    check: str
    who: str
    reason: str
    at: datetime


class Judgements:
    """Check results and reviews in the ledger."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def record_check(
        self, dataset: str, vintage: Vintage, data_sha256: str, check: str, verdict: str, detail: Mapping[str, Any]
    ) -> None:
        """Record the verdict of `check` on the data with that checksum, replacing an earlier one.

        An equal verdict with an equal detail changes nothing: its new time alone would make the portal's pages of the
        dataset new.
        """
        table = schema.check_result
        same = select(table.c.verdict, table.c.detail, table.c.dataset, table.c.vintage).where(
            table.c.data_sha256 == data_sha256, table.c.check == check
        )
        with reading(self._engine) as connection:
            found = connection.execute(same).one_or_none()
        stored = json.loads(json.dumps(detail))  # as it comes back from the database
        if found is not None and tuple(found) == (verdict, stored, dataset, str(vintage)):
            return
        with self._engine.begin() as connection:
            connection.execute(delete(table).where(table.c.data_sha256 == data_sha256, table.c.check == check))
            connection.execute(
                insert(table).values(
                    data_sha256=data_sha256,
                    check=check,
                    dataset=dataset,
                    vintage=str(vintage),
                    verdict=verdict,
                    detail=dict(detail),
                    checked_at=now(),
                )
            )

    def checks(self, data_sha256: str) -> tuple[CheckResult, ...]:
        """Return the verdicts on the data with that checksum, sorted by check."""
        table = schema.check_result
        with reading(self._engine) as connection:
            rows = connection.execute(
                select(table).where(table.c.data_sha256 == data_sha256).order_by(table.c.check)
            ).mappings()
            return tuple(CheckResult(row["check"], row["verdict"], row["detail"], row["checked_at"]) for row in rows)

    def record_override(
        self, dataset: str, vintage: Vintage, data_sha256: str, check: str, *, who: str, reason: str
    ) -> None:
        """Record that `check` may fail on the data with that checksum, replacing an earlier override."""
        table = schema.check_override
        with self._engine.begin() as connection:
            connection.execute(delete(table).where(table.c.data_sha256 == data_sha256, table.c.check == check))
            connection.execute(
                insert(table).values(
                    data_sha256=data_sha256,
                    check=check,
                    dataset=dataset,
                    vintage=str(vintage),
                    who=who,
                    reason=reason,
                    at=now(),
                )
            )
            append(
                connection,
                "check overridden",
                dataset=dataset,
                vintage=str(vintage),
                check=check,
                data_sha256=data_sha256,
                who=who,
                reason=reason,
            )

    def overrides(self, data_sha256: str) -> tuple[Override, ...]:
        """Return the overrides for the data with that checksum, sorted by check."""
        table = schema.check_override
        with reading(self._engine) as connection:
            rows = connection.execute(
                select(table).where(table.c.data_sha256 == data_sha256).order_by(table.c.check)
            ).mappings()
            return tuple(Override(row["check"], row["who"], row["reason"], row["at"]) for row in rows)

    def record_review(self, release: PlannedRelease, decision: str, who: str, reason: str) -> None:
        """Record a person's decision on a release."""
        with self._engine.begin() as connection:
            connection.execute(
                insert(schema.review).values(release_id=release.id, decision=decision, who=who, reason=reason, at=now())
            )
            append(
                connection,
                f"release {decision}",
                dataset=release.dataset,
                vintage=str(release.vintage),
                release_id=release.id,
                who=who,
                reason=reason,
            )

    def rejection(self, data_sha256: str) -> Review | None:
        """Return the newest rejection of any release of the data with that checksum."""
        review, artifact = schema.review, schema.artifact
        query = (
            select(review)
            .join(artifact, artifact.c.release_id == review.c.release_id)
            .where(
                artifact.c.role == ArtifactRole.DATA.value,
                artifact.c.sha256 == data_sha256,
                review.c.decision == REJECTED,
            )
            .order_by(review.c.id.desc())
        )
        with reading(self._engine) as connection:
            row = connection.execute(query).mappings().first()
        return None if row is None else Review(row["decision"], row["who"], row["reason"], row["at"])

    def reviews(self, release: Release) -> tuple[Review, ...]:
        """Return the decisions on a release, oldest first."""
        table = schema.review
        with reading(self._engine) as connection:
            rows = connection.execute(
                select(table).where(table.c.release_id == release.id).order_by(table.c.id)
            ).mappings()
            return tuple(Review(row["decision"], row["who"], row["reason"], row["at"]) for row in rows)
