"""What the process of a run loads: the definitions of the products that the run materializes, and no others.

Dagster reconstructs the code location in every run. A run of one of 200 datasets would build 2,000 assets first.
`build.py` builds everything for the code server, which decides what a run may contain.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import AbstractSet, Any  # noqa: UP035 - as Dagster writes it

import dagster as dg
from dagster._core.definitions.assets.job.asset_job import IMPLICIT_ASSET_JOB_NAME
from dagster._core.definitions.definitions_load_context import DefinitionsLoadContext, DefinitionsLoadType
from dagster._core.definitions.repository_definition import SINGLETON_REPOSITORY_NAME, RepositoryData

from d4c_pipeline.orchestration.build import build_definitions, definitions_of
from d4c_pipeline.orchestration.resources import PUBLISH


def is_run_worker() -> bool:
    """Whether Dagster loads the definitions to execute a run that a code server has planned."""
    return DefinitionsLoadContext.get().load_type is DefinitionsLoadType.RECONSTRUCTION


def definitions_of_a_run(folders: Sequence[Path]) -> dg.Definitions:
    """Return definitions that build only the products of the job that Dagster takes from them."""

    class Reconstructed(dg.Definitions):
        def get_repository_def(self) -> dg.RepositoryDefinition:
            return RunRepository(folders)

    return Reconstructed()


class RunRepository(dg.RepositoryDefinition):
    """The repository of the code location in `folders`, whose jobs are built with the products that they need.

    Any other question is answered by all definitions, built on the first one.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        super().__init__(SINGLETON_REPOSITORY_NAME, repository_data=_Everything(folders))
        self._folders = folders

    def get_maybe_subset_job_def(
        self,
        job_name: str,
        op_selection: Iterable[str] | None = None,
        asset_selection: AbstractSet[dg.AssetKey] | None = None,
        asset_check_selection: AbstractSet[dg.AssetCheckKey] | None = None,
    ) -> dg.JobDefinition:
        """Return the job, restricted to a selection, from the definitions of its products."""
        content = content_of(job_name, asset_selection, asset_check_selection)
        if content is None and op_selection is None:
            return DeferredJob(lambda: self.get_job(job_name))
        own = None if content is None else definitions_of(content[0], self._folders, spanning=content[1])
        job = self.get_job(job_name) if own is None else own.resolve_job_def(job_name)
        return job.get_subset(
            op_selection=op_selection, asset_selection=asset_selection, asset_check_selection=asset_check_selection
        )


class DeferredJob(dg.JobDefinition):
    """The job of all assets, built when an attribute is first used.

    A run's process asks for its job without the selection first, to see early that the definitions load, and uses only
    the job with the selection, which is that of a few assets.
    """

    def __init__(self, build: Callable[[], dg.JobDefinition]) -> None:
        self.__dict__["build"] = build  # nothing else is set, so that every other attribute is missing at first

    def __getattr__(self, name: str) -> Any:
        build = self.__dict__.pop("build", None)
        if build is None:
            raise AttributeError(name)
        self.__dict__.update(build().__dict__)
        return getattr(self, name)


def content_of(
    job: str, assets: AbstractSet[dg.AssetKey] | None, checks: AbstractSet[dg.AssetCheckKey] | None
) -> tuple[frozenset[str], bool] | None:
    """Return the products of a run, and whether it has assets or ops that span all datasets; None if unknown."""
    if job.startswith(PUBLISH):
        return frozenset({job.removeprefix(PUBLISH)}), False
    if job != IMPLICIT_ASSET_JOB_NAME:
        return frozenset(), True
    if assets is None and checks is None:
        return None
    keys = {*(assets or ()), *(check.asset_key for check in checks or ())}
    products = frozenset(key.path[0] for key in keys if len(key.path) > 1)
    return products, any(len(key.path) == 1 for key in keys)


class _Everything(RepositoryData):
    """All definitions of the folders, built when they are first needed."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = folders

    @cached_property
    def _all(self) -> dg.RepositoryDefinition:
        return build_definitions(self._folders).get_repository_def()

    def get_top_level_resources(self) -> Any:
        return self._all.get_top_level_resources()

    def get_env_vars_by_top_level_resource(self) -> Any:
        return self._all.get_env_vars_by_top_level_resource()

    def get_all_jobs(self) -> Any:
        return self._all.get_all_jobs()

    def get_all_schedules(self) -> Any:
        return self._all.schedule_defs

    def get_all_sensors(self) -> Any:
        return self._all.sensor_defs

    def get_source_assets_by_key(self) -> Any:
        return self._all.source_assets_by_key

    def get_assets_defs_by_key(self) -> Any:
        return self._all.assets_defs_by_key

    def get_asset_checks_defs_by_key(self) -> Any:
        return self._all.asset_checks_defs_by_key

    def get_component_tree(self) -> Any:
        return self._all.get_component_tree()
