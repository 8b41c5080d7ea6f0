"""The one assembly point: the definitions of all datasets, the catalogue, daily jobs, resources.

A dataset is declared in its YAML; `definitions.py` reads the environment. Tests override resources.
"""

from __future__ import annotations

import hashlib
import importlib
import sys
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import dagster as dg
import yaml
from dagster_shared import yaml_utils

from d4c_pipeline.chain.run import LAST_STEP
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.family import Family
from d4c_pipeline.orchestration.alerting import alerting_definitions
from d4c_pipeline.orchestration.appraising import appraisal_definitions
from d4c_pipeline.orchestration.assets import CATALOGUE_KEY, PORTAL_KEY, catalogue_asset, portal_asset
from d4c_pipeline.orchestration.component import product_assets
from d4c_pipeline.orchestration.daily.attention import ATTENTION_JOB, ATTENTION_SCHEDULE, attention_asset
from d4c_pipeline.orchestration.daily.fixity import FIXITY_JOB, FIXITY_SCHEDULE, fixity_asset
from d4c_pipeline.orchestration.daily.health import (
    HEALTH_JOB,
    HEALTH_SCHEDULE,
    health_asset,
)
from d4c_pipeline.orchestration.daily.reconciliation import reconciliation_check
from d4c_pipeline.orchestration.daily.registration import registration_check
from d4c_pipeline.orchestration.daily.retention import RETENTION_JOB, RETENTION_SCHEDULE, retention_asset
from d4c_pipeline.orchestration.daily.standing_failures import failures_definitions
from d4c_pipeline.orchestration.daily.torrents import torrents_check
from d4c_pipeline.orchestration.daily.vocabularies import vocabulary_definitions
from d4c_pipeline.orchestration.dead_runs import dead_runs_sensor
from d4c_pipeline.orchestration.dry_running import plan_job
from d4c_pipeline.orchestration.jobs import publish_job
from d4c_pipeline.orchestration.maintenance import maintenance_jobs
from d4c_pipeline.orchestration.products import Product, product_of_declared
from d4c_pipeline.orchestration.resources import DeploymentResource, ProcessingDuckDB
from d4c_pipeline.orchestration.reviewing import review_job
from d4c_pipeline.orchestration.sensors.publishing import changes_are_published
from d4c_pipeline.orchestration.subsets import subset_definitions
from d4c_pipeline.orchestration.withdrawing import withdraw_job
from d4c_pipeline.workspace.datasets import load_definitions
from d4c_pipeline.workspace.shared_names import refuse_shared_names

_CATALOGUE_FOLLOWS = dg.AutomationConditionSensorDefinition(
    "catalogue_follows",
    target=dg.AssetSelection.assets(CATALOGUE_KEY, PORTAL_KEY),
    # Started by default, so that catalogue and portal follow a backfill without an operator.
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=30,
    description="Rebuilds the catalogue after a release becomes the latest, and the portal after the catalogue.",
)


def build_definitions(folders: Sequence[Path] = (), *, resources: Mapping[str, Any] | None = None) -> dg.Definitions:
    """Return the definitions of the shipped datasets and of those in `folders`.

    Raises DefinitionError, before Dagster loads them, when a definition is invalid, an id is declared twice, or two
    datasets share a release name.
    """
    declared = load_definitions(folders)
    refuse_shared_names(declared.values())
    loaded = dg.Definitions.merge(
        _defs_of(importlib.import_module("d4c_pipeline.defs"), component_types=True),
        *(_without_tree(_defs_of(_module_for(folder), component_types=False)) for folder in folders),
    )
    products = {name: product_of_declared(each) for name, each in declared.items()}
    jobs = _publish_jobs(products, loaded.assets or (), {**_resources(), **(resources or {})})
    return dg.Definitions.merge(
        loaded,
        failures_definitions(list(products)),
        alerting_definitions(list(declared.values())),
        subset_definitions(),
        appraisal_definitions(),
        _spanning(declared),
        dg.Definitions(
            jobs=jobs,
            schedules=[HEALTH_SCHEDULE, ATTENTION_SCHEDULE, RETENTION_SCHEDULE, FIXITY_SCHEDULE],
            sensors=[_CATALOGUE_FOLLOWS, changes_are_published(products.values(), jobs), dead_runs_sensor()],
            resources={**_resources(), **(resources or {})},
            executor=dg.in_process_executor,
        ),
    )


def definitions_of(ids: Collection[str], folders: Sequence[Path], *, spanning: bool) -> dg.Definitions | None:
    """Return the chains and jobs of the products with these ids; None if one of them is not declared.

    They make the same runs as those of `build_definitions`, in a fraction of the time. `spanning`: with the assets and
    jobs that span all datasets, which need every declaration.
    """
    declared = load_definitions(folders, None if spanning else ids)
    if not set(ids) <= declared.keys():
        return None
    products = {name: product_of_declared(declared[name]) for name in sorted(ids)}
    assets = [asset for product in products.values() for asset in product_assets(product)]
    own = dg.Definitions(
        assets=assets,
        jobs=_publish_jobs(products, assets, _resources()),
        resources=_resources(),
        executor=dg.in_process_executor,
    )
    if not spanning:
        return own
    return dg.Definitions.merge(own, failures_definitions(list(declared)), appraisal_definitions(), _spanning(declared))


def _spanning(declared: Mapping[str, Dataset | Family]) -> dg.Definitions:
    """Return the assets, checks and jobs that span all datasets."""
    datasets = [each for each in declared.values() if isinstance(each, Dataset)]
    families = [each for each in declared.values() if isinstance(each, Family)]
    return dg.Definitions.merge(vocabulary_definitions(datasets), _assets_of_all(declared, datasets, families))


def _assets_of_all(
    declared: Mapping[str, Dataset | Family], datasets: Sequence[Dataset], families: Sequence[Family]
) -> dg.Definitions:
    return dg.Definitions(
        assets=[
            catalogue_asset([dg.AssetKey([name, LAST_STEP]) for name in declared], datasets),
            portal_asset(datasets),
            retention_asset(datasets, families),
            fixity_asset([*declared.values()]),
            health_asset(),
            attention_asset([*declared.values()]),
        ],
        asset_checks=[registration_check(), torrents_check(datasets), reconciliation_check()],
        jobs=[
            review_job(datasets, families),
            withdraw_job(datasets, families),
            plan_job(datasets, families),
            *maintenance_jobs(datasets, families),
            HEALTH_JOB,
            ATTENTION_JOB,
            RETENTION_JOB,
            FIXITY_JOB,
        ],
    )


def _resources() -> dict[str, Any]:
    return {"duckdb": ProcessingDuckDB(), "deployment": DeploymentResource()}


def _publish_jobs(
    products: Mapping[str, Product], assets: Iterable[object], resources: Mapping[str, Any]
) -> list[dg.JobDefinition]:
    """Return the job of each product over its assets."""
    chains: dict[str, list[dg.AssetsDefinition | dg.SourceAsset]] = {name: [] for name in sorted(products)}
    for asset in assets:
        if isinstance(asset, dg.AssetsDefinition | dg.SourceAsset) and asset.key.path[0] in chains:
            chains[asset.key.path[0]].append(asset)
    return [publish_job(products[name], chain, resources) for name, chain in chains.items()]


def _defs_of(module: ModuleType, *, component_types: bool) -> dg.Definitions:
    """Return the definitions below a module; `component_types`: and the UI's page of all installed types (0.7 s)."""
    folder = Path(next(iter(module.__path__)))
    with warnings.catch_warnings(), parsing_by_libyaml():
        # Dagster links each asset to its line of YAML with beta classes and warns for each.
        warnings.simplefilter("ignore", dg.BetaWarning)
        tree = dg.ComponentTree.from_module(defs_module=module, project_root=folder.parent)
        return tree.build_defs(None if component_types else folder.absolute())


@contextmanager
def parsing_by_libyaml() -> Iterator[None]:
    """Let Dagster parse YAML with libyaml during the block: equal values and positions in a quarter of the time.

    Nothing changes where PyYAML is built without libyaml. A file that is no YAML raises yaml.MarkedYAMLError with the
    line; `load_definitions` has refused it before, with its name.
    """
    if not yaml.__with_libyaml__:
        yield
        return
    quick = ModuleType("yaml")
    # Dagster would write the file's name into the error, which libyaml refuses: it must catch none.
    quick.__dict__.update({**yaml.__dict__, "SafeLoader": yaml.CSafeLoader, "MarkedYAMLError": ()})
    own: Any = yaml_utils
    own.yaml = quick
    try:
        yield
    finally:
        own.yaml = yaml


def _without_tree(found: dg.Definitions) -> dg.Definitions:
    """The same definitions without their component tree: Dagster merges one tree only, for the shipped datasets."""
    return dg.Definitions(
        assets=found.assets,
        asset_checks=found.asset_checks,
        jobs=found.jobs,
        schedules=found.schedules,
        sensors=found.sensors,
        resources=found.resources,
        executor=found.executor,
        loggers=found.loggers,
        metadata=found.metadata,
    )


def _module_for(folder: Path) -> ModuleType:
    """A namespace module for a folder outside any package, since Dagster's loader requires a module."""
    name = f"d4c_operator_defs_{hashlib.sha256(str(folder).encode()).hexdigest()[:12]}"
    module = ModuleType(name, f"Datasets of {folder}")
    module.__path__ = [str(folder)]
    module.__file__ = None  # like a namespace package; Dagster reads it
    sys.modules[name] = module
    return module
