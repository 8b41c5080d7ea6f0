"""The form of every schedule. The jobs belong to their modules."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg

if TYPE_CHECKING:
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition


def scheduled(job: UnresolvedAssetJobDefinition, rhythm: str, cron: str, description: str) -> dg.ScheduleDefinition:
    """Return the schedule `<job>_<rhythm>`, in UTC, started by default."""
    return dg.ScheduleDefinition(
        name=f"{job.name}_{rhythm}",
        job=job,
        cron_schedule=cron,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=description,
    )


def daily(job: UnresolvedAssetJobDefinition, cron: str, description: str) -> dg.ScheduleDefinition:
    """Return the schedule `<job>_daily`, in UTC, started by default."""
    return scheduled(job, "daily", cron, description)
