"""Resources: the deployment and DuckDB of a run. Nothing is opened or read from the environment at import.

Concept: https://docs.dagster.io/guides/build/external-resources
"""

from __future__ import annotations

import logging
import os
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import dagster as dg
from dagster_duckdb import DuckDBResource
from pydantic import Field, PrivateAttr

from d4c_pipeline.ledger import Ledger
from d4c_pipeline.model.errors import D4CError, PermanentError
from d4c_pipeline.model.settings import Settings, memory_amount, temp_folder
from d4c_pipeline.orchestration.instance import kept_open
from d4c_pipeline.telemetry.spans import flush
from d4c_pipeline.workspace.deployment import Deployment, opened_ledger

if TYPE_CHECKING:
    import duckdb

_log = logging.getLogger(__name__)


class ProcessingDuckDB(DuckDBResource):
    """DuckDB as the processing opens it, and what it may take: shown in the UI, applied to every step.

    A setting that is left out is that of the environment.
    """

    database: str = Field(default=":memory:", description="The processing works in memory and on its own files.")
    threads: int | None = Field(default=None, ge=1, description="Threads of a build; else D4C_THREADS or all cores.")
    memory_limit: str | None = Field(
        default=None, description="Memory of a build, such as 4GB; else D4C_MEMORY_LIMIT or half of what there is."
    )
    temp_directory: str | None = Field(
        default=None, description="Folder for what does not fit into memory; else D4C_TEMP or the vintage's staging."
    )

    def applied_to(self, settings: Settings) -> Settings:
        """Return `settings` with the values of this resource. Raises PermanentError for an invalid value."""
        if self.connection_config or self.database != ":memory:":
            raise PermanentError(
                "The resource duckdb has a database or a connection_config, of which the processing knows nothing",
                "Set its threads, memory_limit or temp_directory",
            )
        changed = {
            "threads": self.threads,
            "memory_limit": memory_amount(self.memory_limit or ""),
            "temp": temp_folder(self.temp_directory or ""),
        }
        return settings.model_copy(update={name: value for name, value in changed.items() if value})

    @contextmanager
    def get_connection(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Open DuckDB with spatial from its wheel and the settings of the processing; downloads nothing."""
        from d4c_pipeline.tables import duckdb_engine  # noqa: PLC0415

        settings = self.applied_to(Settings.from_environment())
        with duckdb_engine.connect(
            extensions=("spatial",), threads=settings.threads, memory_limit=settings.memory_limit, spill=settings.temp
        ) as connection:
            yield connection


PARTITION = "dagster/partition"
"""Dagster's tag with the partition of a run."""
BY_COMMAND_LINE = {"d4c/by": "command line"}
"""The tags of a run that the command line launched."""
POOLS = ("fetch", "process", "archive")
"""The pools of steps, whose concurrency an operator limits; each origin host also has one (`products.fetch_pool`)."""
PUBLISH = "publish_"
"""The name of the job of a dataset or family, before its id."""
DATASET = "d4c/dataset"
"""The tag of a run with the dataset or family that it publishes."""
VERSION = "d4c/version"
"""The tag of a run with the version of the release that it made or found unchanged, once `checksums` decided it."""
TITLE = "d4c/title"
"""The tag of a run of a family's member, with the title of the member."""
SOURCE_VERSION = "d4c/source_version"
"""The tag of a run by the sensor, with the data version of the source that it publishes."""
SIGNED_IN_TAG = "d4c/signed_in_as"
"""The tag of a run with the user who launched it in the UI. Only the webserver sets it; a request can't."""
PROCESS = ".dagster/d4c_process"
"""The tag of runs in the process of a command, with that process (`ledger.leases.this_process`). The UI hides tags with
this prefix of Dagster's."""


class DeploymentResource(dg.ConfigurableResource):
    """The deployment that the environment describes. `home` overrides D4C_HOME.

    `retries`: whether a transient failure of a step is tried again by Dagster; the command line says no, since its
    user is there to run it again.
    """

    home: str | None = None
    retries: bool = True
    _subjects: frozenset[str] = PrivateAttr(default=frozenset())
    _ledger: Ledger | None = PrivateAttr(default=None)

    def settings(self) -> Settings:
        """Return the settings. Raises PermanentError for an invalid variable."""
        changed = {"D4C_HOME": self.home} if self.home else {}
        return Settings.from_environment({**os.environ, **changed})

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Generator[DeploymentResource]:
        """Keep the heartbeat of the run that uses this resource (`ledger.active_runs`); sensors have no run."""
        if context.run is None:
            yield self
            return
        subjects = self._subjects or _subjects(context.run)
        if len(subjects) == 1 and DATASET not in context.run.tags and context.instance is not None:
            # A run that was launched from the asset graph has no job of its dataset.
            context.instance.add_run_tags(context.run.run_id, {DATASET: next(iter(subjects))})
        with ExitStack() as held:
            if context.instance is not None:
                held.enter_context(kept_open(context.instance, context.run.run_id))
            try:
                ledger = held.enter_context(opened_ledger(self.settings()))
                key = context.run.tags.get(PARTITION, "")
                held.enter_context(ledger.active_runs.hold(context.run.run_id, subjects, key))
                self._ledger = ledger  # its steps use it too, so that each need not connect and check the schema
            except D4CError as error:
                # The first step opens the same ledger and reports the cause with its remedy.
                _log.warning("This run has no heartbeat in the ledger: %s", error)
            try:
                yield self
            finally:
                self._ledger = None
                flush()

    @classmethod
    def of(cls, settings: Settings, product: str, *, retries: bool) -> dg.ResourceDefinition:
        """Return the resource of a run in the caller's process, with these settings and without the environment.

        `product` is the dataset or family that the run materializes.
        """
        given = _Given(retries=retries)
        given._subjects = frozenset({product})  # noqa: SLF001 - as below
        given._settings = settings  # noqa: SLF001 - Dagster's constructor accepts only configuration values

        @dg.resource
        def during_a_run(context: dg.InitResourceContext) -> Iterator[DeploymentResource]:
            with given.yield_for_execution(context) as resource:
                yield resource

        return during_a_run

    @contextmanager
    def opened(self, engine: ProcessingDuckDB | None = None) -> Iterator[Deployment]:
        """Open the deployment for one step; `engine` has the limits of the step's processing."""
        settings = self.settings()
        limited = engine.applied_to(settings) if engine is not None else settings
        with Deployment.open(limited, ledger=self._ledger) as deployment:
            yield deployment


def _subjects(run: dg.DagsterRun) -> frozenset[str]:
    """Return the datasets and families whose chain a run materializes; the catalogue and daily assets are none."""
    if run.asset_selection is None and run.job_name.startswith(PUBLISH):
        return frozenset({run.job_name.removeprefix(PUBLISH)})
    return frozenset(key.path[0] for key in run.asset_selection or () if len(key.path) == 2)


class _Given(DeploymentResource):
    """The deployment of settings that the caller passes."""

    _settings: Settings = PrivateAttr()

    def settings(self) -> Settings:
        return self._settings
