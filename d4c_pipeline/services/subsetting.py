"""What the protocols over subsets share in one server: the service of subsets, its lane, and the queue of jobs."""

from __future__ import annotations

from d4c_pipeline.model.addresses import CATALOGUE_PARQUET
from d4c_pipeline.model.service_settings import JobSettings
from d4c_pipeline.services.jobs import JobQueue
from d4c_pipeline.services.lanes import Lane
from d4c_pipeline.services.protocol import Services
from d4c_pipeline.services.subset.service import SubsetService

_AT_ONCE, _AT_ONCE_REMOTE = 2, 8
"""Subsets that are made at a time: of files here, and of files at an address, which take waiting rather than work."""
_PLANNED_AT_ONCE = 4


def subset_lane(services: Services) -> Lane:
    """Return the lane in which the protocols of this server make subsets."""
    return services.lane("subsets", _AT_ONCE if _is_here(services) else _AT_ONCE_REMOTE)


def planning_lane(services: Services) -> Lane:
    """Return the lane in which requests of subsets are read and planned, which reads the footers of new releases."""
    return services.lane("requests of subsets", _PLANNED_AT_ONCE if _is_here(services) else _AT_ONCE_REMOTE)


def _is_here(services: Services) -> bool:
    return services.index.store.local_path(CATALOGUE_PARQUET) is not None


def subset_service(services: Services) -> SubsetService:
    """Return the subsets of this server."""
    folder = services.settings.home / "services" / "results"
    return services.shared("subsets", lambda: SubsetService(services.index, folder, JobSettings.from_environment()))


def job_queue(services: Services) -> JobQueue:
    """Return the jobs of this server."""
    settings = JobSettings.from_environment()
    return services.shared("jobs", lambda: JobQueue(settings.jobs_folder(services.settings.home), settings))
