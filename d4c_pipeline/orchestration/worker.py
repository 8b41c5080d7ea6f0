"""The worker of a cluster: `celery -A d4c_pipeline.orchestration.worker worker` executes runs that the daemon queued.

Broker and result store are those of the run launcher in the instance's `dagster.yaml`, so that both sides have one
configuration. Choosing and retrying runs belongs to Dagster's daemon. Needs the extra `cluster`.
Concept: https://docs.dagster.io/deployment/execution/celery
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
from sqlalchemy.exc import DBAPIError

from d4c_pipeline.model.errors import PermanentError
from d4c_pipeline.model.family import Family
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.orchestration.products import fetch_pool
from d4c_pipeline.orchestration.resources import POOLS
from d4c_pipeline.telemetry.json_logs import log_as_json
from d4c_pipeline.workspace.datasets import load_definitions

if TYPE_CHECKING:
    from celery import Celery


@cache
def celery_app() -> Celery:
    """Return the Celery application of the instance at DAGSTER_HOME, with the tasks that execute runs.

    Raises PermanentError when that instance launches runs by other means.
    """
    from celery.signals import setup_logging  # noqa: PLC0415 - of the extra `cluster`
    from dagster_celery.launcher import CeleryRunLauncher  # noqa: PLC0415 - of the extra `cluster`
    from dagster_celery.make_app import make_app  # noqa: PLC0415
    from dagster_celery.tasks import create_execute_job_task, create_resume_job_task  # noqa: PLC0415

    with dg.DagsterInstance.get() as instance:
        launcher = instance.run_launcher
        if not isinstance(launcher, CeleryRunLauncher):
            raise PermanentError(
                f"The instance {instance.root_directory} launches runs by {type(launcher).__name__}, not by Celery",
                "Uncomment the lines marked 'cluster|' in its dagster.yaml, or start no worker",
            )
        _create_pools(instance, Settings.from_environment().definitions)
        app = make_app(launcher.app_args())
    if Settings.from_environment().log == "json":
        setup_logging.connect(_log_as_json)  # Celery then leaves logging alone
    create_execute_job_task(app)
    create_resume_job_task(app)
    return app


def _log_as_json(**_: object) -> None:
    """Receive Celery's signal, with the options of its command."""
    log_as_json("dagster")
    logging.getLogger("celery").setLevel(logging.INFO)


def _create_pools(instance: dg.DagsterInstance, folders: Sequence[Path]) -> None:
    """Create the pools of steps before the first run: those of every chain, and of each origin host in `folders`.

    On PostgreSQL, Dagster 1.13 can't create a pool that exists (it goes on in the failed transaction), so of two runs
    that first use a pool at the same time one fails. Workers start together too: the second one finds the pool.
    """
    storage = instance.event_log_storage
    declared = load_definitions(folders).values()
    hosts = {fetch_pool(each.sample if isinstance(each, Family) else each) for each in declared}
    for pool in sorted({*POOLS, *hosts}):
        if pool in storage.get_concurrency_keys():
            continue
        try:
            storage.initialize_concurrency_limit_to_default(pool)
        except DBAPIError:
            if pool not in storage.get_concurrency_keys():
                raise


def __getattr__(name: str) -> Celery:
    """Return the application as `app`, which Celery's command looks up; importing this module opens nothing."""
    if name == "app":
        return celery_app()
    raise AttributeError(name)
