"""What the protocols over subsets share in one server: the service of subsets, its lane, and the queue of jobs."""

from __future__ import annotations

from d4c_pipeline.model.service_settings import JobSettings
from d4c_pipeline.services.jobs import JobQueue
from d4c_pipeline.services.lanes import Lane
from d4c_pipeline.services.protocol import Services
from d4c_pipeline.services.subset.service import SubsetService

_AT_ONCE = 4
"""Subsets that are made at a time: files at an address take waiting, not work."""


def subset_lane(services: Services) -> Lane:
    """Return the lane in which the protocols of this server make subsets."""
    return services.lane("subsets", _AT_ONCE)


def subset_service(services: Services) -> SubsetService:
    """Return the subsets of this server."""
    folder = services.settings.home / "services" / "results"
    return services.shared("subsets", lambda: SubsetService(services.index, folder, JobSettings.from_environment()))


def job_queue(services: Services) -> JobQueue:
    """Return the jobs of this server."""
    settings = JobSettings.from_environment()
    return services.shared("jobs", lambda: JobQueue(settings.jobs_folder(services.settings.home), settings))
