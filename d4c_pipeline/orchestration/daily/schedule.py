"""The form of every daily schedule. The jobs belong to their modules."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg

if TYPE_CHECKING:
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition


def daily(job: UnresolvedAssetJobDefinition, cron: str, description: str) -> dg.ScheduleDefinition:
    """Return the schedule `<job>_daily`, in UTC, started by default."""
    return dg.ScheduleDefinition(
        name=f"{job.name}_daily",
        job=job,
        cron_schedule=cron,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=description,
    )
