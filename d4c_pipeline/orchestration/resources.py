"""Resources: the deployment and DuckDB of a run. Nothing is opened or read from the environment at import.

Concept: https://docs.dagster.io/guides/build/external-resources
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
import duckdb
from dagster_duckdb import DuckDBResource
from pydantic import Field, PrivateAttr

from d4c_pipeline.model.errors import PermanentError
from d4c_pipeline.model.settings import Settings, memory_amount, temp_folder
from d4c_pipeline.tables import duckdb_engine
from d4c_pipeline.workspace.deployment import Deployment


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
        settings = self.applied_to(Settings.from_environment())
        with duckdb_engine.connect(
            extensions=("spatial",), threads=settings.threads, memory_limit=settings.memory_limit, spill=settings.temp
        ) as connection:
            yield connection


PROCESS = "d4c/process"
"""The tag of runs in the process of a command, with that process (`ledger.leases.this_process`)."""


class DeploymentResource(dg.ConfigurableResource):
    """The deployment that the environment describes. `home` overrides D4C_HOME.

    `retries`: whether a transient failure of a step is tried again by Dagster; the command line says no, since its
    user is there to run it again.
    """

    home: str | None = None
    retries: bool = True

    def settings(self) -> Settings:
        """Return the settings. Raises PermanentError for an invalid variable."""
        changed = {"D4C_HOME": self.home} if self.home else {}
        return Settings.from_environment({**os.environ, **changed})

    @classmethod
    def of(cls, settings: Settings, *, retries: bool) -> dg.ResourceDefinition:
        """Return the resource of a run in the caller's process, with these settings and without the environment."""
        given = _Given(retries=retries)
        given._settings = settings  # noqa: SLF001 - Dagster's constructor accepts only configuration values
        return dg.ResourceDefinition.hardcoded_resource(given)

    @contextmanager
    def opened(self, engine: ProcessingDuckDB | None = None) -> Iterator[Deployment]:
        """Open the deployment for one step; `engine` has the limits of the step's processing."""
        settings = self.settings()
        with Deployment.open(engine.applied_to(settings) if engine is not None else settings) as deployment:
            yield deployment


class _Given(DeploymentResource):
    """The deployment of settings that the caller passes."""

    _settings: Settings = PrivateAttr()

    def settings(self) -> Settings:
        return self._settings
