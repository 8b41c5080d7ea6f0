"""The chain as software-defined assets: nine steps per product, and one catalogue and one portal of all products.

`chain.run` defines the steps and their order; this module defines how Dagster runs them and shows their results.
`products.py` defines a product: a dataset partitioned by vintages, or a family partitioned by members. The observed
source before the chain is in `sensors/noticing.py`.
Concept: https://docs.dagster.io/guides/build/assets
"""

import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import dagster as dg

from d4c_pipeline.chain import run
from d4c_pipeline.chain.run import Judged
from d4c_pipeline.model.completeness import completeness_of
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.partition import Partition
from d4c_pipeline.model.version import Bump
from d4c_pipeline.orchestration import metadata
from d4c_pipeline.orchestration.failures import (
    BY_COMMAND,
    MATERIALIZE,
    as_dagster_failure,
    no_run_retries_in_vain,
    tries_again,
)
from d4c_pipeline.orchestration.launching import launch
from d4c_pipeline.orchestration.products import (
    SOURCE,
    Product,
    fetch_pool,
    freshness_of,
    of_dataset,
    owners_of,
    source_words,
)
from d4c_pipeline.orchestration.resources import (
    BY_COMMAND_LINE,
    PUBLISH,
    TITLE,
    VERSION,
    DeploymentResource,
    ProcessingDuckDB,
)
from d4c_pipeline.processing.checks.run import checks_of
from d4c_pipeline.processing.checks.verdict import Outcome
from d4c_pipeline.workspace.code_version import code_version_of_data, code_version_of_source

if TYPE_CHECKING:
    from d4c_pipeline.chain import copies, deposit

CATALOGUE_KEY = dg.AssetKey(["catalogue"])
PORTAL_KEY = dg.AssetKey(["portal"])
REVIEWED = "reviewed"
ARCHIVE_WEB_SEED = "archive_web_seed"
EVERY_STORE = "every_store"
# A blocking check that fails with ERROR stops the assets downstream; a warning is only shown.
_SEVERITY = {
    Outcome.PASS: dg.AssetCheckSeverity.ERROR,
    Outcome.WARNING: dg.AssetCheckSeverity.WARN,
    Outcome.FAILURE: dg.AssetCheckSeverity.ERROR,
}

_TITLED = (run.FIRST_STEP, "processed", run.PLANNING_STEP)
"""The steps that tag a run with the title of its member: those with which runs begin."""

Result = dg.MaterializeResult | dg.AssetCheckResult


@dataclass(frozen=True)
class StepPresentation:
    """How one step of `chain.run` appears as an asset: its results in the UI, and how it runs.

    `results` of a step's result and of the command that runs the chain of the partition again. `code_version` of a
    dataset: after a change the UI shows the step as out of date; nothing starts by itself. `pool` limits concurrency
    (see dagster.yaml). `checks`: the asset checks that it reports. A step that `may_wait` for a review reports its
    checks without a materialization: Dagster skips the steps downstream, and the run succeeds.
    """

    results: Callable[[Any, str], Sequence[Result]]
    kinds: frozenset[str] = frozenset()
    pool: str | None = None
    config: Mapping[str, dg.Field] = field(default_factory=dict[str, dg.Field])
    checks: tuple[dg.AssetCheckSpec, ...] = ()
    code_version: Callable[[Dataset], str] = lambda _: ""
    may_wait: bool = False


def _materialized(
    of: Callable[[Any], metadata.Metadata], version: Callable[[Any], str] | None = None
) -> Callable[[Any, str], Sequence[Result]]:
    def results(result: Any, _: str) -> Sequence[Result]:
        data_version = dg.DataVersion(version(result)) if version else None
        return [dg.MaterializeResult(metadata=of(result), data_version=data_version)]

    return results


def _of_processed(result: Judged, command: str) -> Sequence[Result]:
    passed = result.overridden
    override = f"{command.replace('d4c publish', 'd4c review override')} --check {{}} --reason '...'"
    return [
        dg.MaterializeResult(
            metadata=metadata.of_processed(result.build, result.verdicts),
            data_version=dg.DataVersion(result.build.sha256),
            check_results=[
                dg.AssetCheckResult(
                    check_name=verdict.check,
                    passed=verdict.outcome is Outcome.PASS,
                    # A failure that a reviewer overrode for this data is shown and blocks nothing.
                    severity=dg.AssetCheckSeverity.WARN if verdict.check in passed else _SEVERITY[verdict.outcome],
                    metadata=metadata.of_verdict(
                        verdict,
                        {
                            "command": command,
                            **({"override": override.format(verdict.check)} if verdict in result.blocking else {}),
                        },
                        passed.get(verdict.check),
                        rows=result.build.summary.rows,
                    ),
                )
                for verdict in result.verdicts
            ],
        )
    ]


def _of_copies(result: "copies.Distributed", command: str, *, again: str) -> Sequence[Result]:
    return [
        dg.MaterializeResult(
            metadata=metadata.of_copies(result),
            check_results=[
                dg.AssetCheckResult(
                    check_name=EVERY_STORE,
                    passed=not result.missed,
                    severity=dg.AssetCheckSeverity.WARN,
                    metadata=metadata.of_missed(result.missed, command, again),
                )
            ],
        )
    ]


def _of_deposit(result: "deposit.Deposited | run.Waiting", _: str) -> Sequence[Result]:
    if isinstance(result, run.Waiting):
        return _checks_of_deposit(result, "not published yet", seed=True)
    seed = result.archive_seed
    reason = seed.reason if seed else "the archive has no public address"
    return [
        dg.MaterializeResult(metadata=metadata.of_deposit(result)),
        *_checks_of_deposit(None, reason, seed=seed is None or seed.ok),
    ]


def _checks_of_deposit(waiting: run.Waiting | None, reason: str, *, seed: bool) -> list[Result]:
    """The two checks of `deposit`: no pending review, and the archive works as a web seed."""
    return [
        dg.AssetCheckResult(
            check_name=REVIEWED,
            passed=waiting is None,
            severity=dg.AssetCheckSeverity.WARN,
            metadata=metadata.of_waiting(waiting),
        ),
        dg.AssetCheckResult(
            check_name=ARCHIVE_WEB_SEED,
            passed=seed,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={
                "expected": "the archive's public address serves the pieces of the torrent",
                "actual": reason,
                **(
                    {}
                    if seed
                    else {
                        "remedy": "None, if the archive was slow: the daily check adds the address once it serves",
                        "launch": dg.MetadataValue.url(launch("check_health")),
                    }
                ),
            },
        ),
    ]


def step_presentations(product: Product) -> Mapping[str, StepPresentation]:
    """Return the presentation of each step of a product, by name.

    Every check has the partitions of its asset, so that each vintage or member keeps its own verdict.
    """

    def spec(name: str, step: str, description: str, *, blocking: bool = False) -> dg.AssetCheckSpec:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", dg.PreviewWarning)  # one per check; the version is pinned
            return dg.AssetCheckSpec(
                name,
                asset=dg.AssetKey([product.id, step]),
                description=description,
                blocking=blocking,
                partitions_def=product.partitions,
            )

    return {
        "raw": StepPresentation(
            _materialized(metadata.of_raw, lambda result: ",".join(native.sha256 for native in result.natives)),
            kinds=frozenset({"source", "file"}),
            pool=fetch_pool(product.sample),
            code_version=code_version_of_source,
        ),
        "processed": StepPresentation(
            _of_processed,
            kinds=frozenset({"duckdb", "parquet"}),
            pool="process",
            code_version=code_version_of_data,
            checks=tuple(
                spec(check.name, "processed", check.description, blocking=True) for check in checks_of(product.sample)
            ),
        ),
        "checksums": StepPresentation(
            _materialized(metadata.of_checksums, lambda result: result.release.key),
            kinds=frozenset({"sha256"}),
            config={
                "at_least": dg.Field(
                    dg.Enum("Bump", [dg.EnumValue(bump.name) for bump in Bump]),
                    default_value=Bump.NONE.name,
                    description="The smallest bump to plan; a greater measured bump wins.",
                )
            },
        ),
        "doi": StepPresentation(_materialized(metadata.of_doi), kinds=frozenset({"doi"}), pool="archive"),
        "copies": StepPresentation(
            partial(_of_copies, again=launch(PUBLISH + product.id)),
            kinds=frozenset({"storage"}),
            checks=(
                spec(
                    EVERY_STORE,
                    "copies",
                    "Every mirror holds the release. A warning names each unreachable mirror, cause and remedy. The "
                    "next run of the chain pushes the release there.",
                ),
            ),
        ),
        "torrent": StepPresentation(_materialized(metadata.of_torrent), kinds=frozenset({"torrent"})),
        "stac_item": StepPresentation(_materialized(metadata.of_stac_item), kinds=frozenset({"json"})),
        "deposit": StepPresentation(
            _of_deposit,
            kinds=frozenset({"archive"}),
            pool="archive",
            may_wait=True,
            checks=(
                spec(REVIEWED, "deposit", "No review is pending. A warning gives the reason and the remedy."),
                spec(
                    ARCHIVE_WEB_SEED,
                    "deposit",
                    "The archive's public address serves the pieces of the torrent.",
                ),
            ),
        ),
        "latest": StepPresentation(_materialized(metadata.of_latest), kinds=frozenset({"http"})),
    }


def dataset_assets(dataset: Dataset, *, pooled: bool = True) -> list[dg.AssetsDefinition]:
    """The chain of one dataset; without pools, a run does not wait for the slots of other runs."""
    return chain_assets(of_dataset(dataset), pooled=pooled)


def chain_assets(product: Product, *, pooled: bool = True) -> list[dg.AssetsDefinition]:
    """The nine assets of a product, in order."""
    assets: list[dg.AssetsDefinition] = []
    upstream = SOURCE
    facts = {
        "license": product.sample.licence_words,
        "source": source_words(product.sample),
        "completeness of metadata": completeness_of(product.sample).words,
    }
    for name, presentation in step_presentations(product).items():
        shown = presentation if pooled else replace(presentation, pool=None)
        assets.append(_asset(product, run.STEPS[name], shown, upstream, facts))
        upstream = name
    return assets


def _asset(
    product: Product, step: run.Step, presentation: StepPresentation, upstream: str, facts: Mapping[str, str]
) -> dg.AssetsDefinition:
    dataset = product.sample

    @dg.asset(
        key=[product.id, step.name],
        deps=[dg.AssetKey([product.id, upstream])],
        description=f"{step.description}\n\n**{product.title.en}** / {product.title.fr}",
        partitions_def=product.partitions,
        group_name=product.id,
        kinds=set(presentation.kinds),
        pool=presentation.pool,
        config_schema=dict(presentation.config) or None,
        check_specs=list(presentation.checks),
        code_version=presentation.code_version(dataset) or None,
        owners=owners_of(dataset),
        freshness_policy=freshness_of(dataset) if step.name == run.LAST_STEP else None,
        tags={"d4c/step": step.name, "d4c/series": dataset.series},
        metadata=facts,
        output_required=not presentation.may_wait,
    )
    def asset(
        context: dg.AssetExecutionContext, deployment: DeploymentResource, duckdb: ProcessingDuckDB
    ) -> Iterator[Result]:
        op = context.op_execution_context
        partition = Partition(product.id, context.partition_key)
        attempt = op.retry_number + 1
        started = time.monotonic()

        def find() -> run.Unit:
            unit = product.unit(opened, partition.key, step.name)
            if unit.listed_as is not None and step.name in _TITLED:
                # Dagster has no titles of partitions, and the key of a member says little.
                context.instance.add_run_tags(context.run.run_id, {TITLE: unit.dataset.title.en})
            return unit

        with (
            no_run_retries_in_vain(context.instance, context.run.run_id),
            as_dagster_failure(
                retries=deployment.retries,
                attempt=attempt,
                rerun=BY_COMMAND if BY_COMMAND_LINE.items() <= context.run.tags.items() else MATERIALIZE,
            ),
            deployment.opened(duckdb) as opened,
        ):
            result = run.run(
                opened,
                partition,
                step.name,
                find,
                at_least=Bump[(op.op_config or {}).get("at_least", Bump.NONE.name)],
                by=context.run.run_id,
                passing=partial(tries_again, retries=deployment.retries, attempt=attempt),
            )
        if step.name == run.PLANNING_STEP:
            context.instance.add_run_tags(context.run.run_id, {VERSION: str(result.release.version)})
        seconds = round(time.monotonic() - started, 3)
        for each in presentation.results(result, product.command(partition.key)):
            # Dagster's own plot of durations mixes partitions and counts the time in the queue.
            timed = isinstance(each, dg.MaterializeResult)
            yield each._replace(metadata={**(each.metadata or {}), "seconds": seconds}) if timed else each

    return asset


def catalogue_asset(latest_keys: Iterable[dg.AssetKey], datasets: Sequence[Dataset]) -> dg.AssetsDefinition:
    """The catalogue of all datasets, downstream of every `latest`."""

    @dg.asset(
        key=CATALOGUE_KEY,
        deps=list(latest_keys),
        description="One row per published release: the STAC GeoParquet and the static STAC tree, from the ledger.",
        group_name="catalogue",
        kinds={"parquet", "json"},
        automation_condition=dg.AutomationCondition.any_deps_updated().since_last_handled()
        & ~dg.AutomationCondition.in_progress(),
    )
    def asset(context: dg.AssetExecutionContext, deployment: DeploymentResource) -> dg.MaterializeResult:
        attempt = context.op_execution_context.retry_number + 1
        with as_dagster_failure(retries=deployment.retries, attempt=attempt), deployment.opened() as opened:
            result = run.catalogue(opened, datasets)
            for omission in result.left_out:
                context.log.warning(
                    "%s is not in the catalogue: %s. %s.", omission.dataset, omission.cause, omission.remedy
                )
            for release in result.without_records:
                context.log.warning("%s has no records: %s. %s.", release.release, release.cause, release.remedy)
            return dg.MaterializeResult(metadata=metadata.of_catalogue(result, opened))

    return asset


def portal_asset(datasets: Sequence[Dataset]) -> dg.AssetsDefinition:
    """The pages of all releases, downstream of the catalogue."""

    @dg.asset(
        key=PORTAL_KEY,
        deps=[CATALOGUE_KEY],
        description="The static site in English and French: only pages whose facts changed are rendered.",
        group_name="catalogue",
        kinds={"html"},
        automation_condition=dg.AutomationCondition.any_deps_updated().since_last_handled()
        & ~dg.AutomationCondition.in_progress(),
    )
    def asset(context: dg.AssetExecutionContext, deployment: DeploymentResource) -> dg.MaterializeResult:
        attempt = context.op_execution_context.retry_number + 1
        with as_dagster_failure(retries=deployment.retries, attempt=attempt), deployment.opened() as opened:
            result = run.portal(opened, datasets)
            for omission in result.left_out:
                context.log.warning("%s has no new pages: %s. %s.", omission.dataset, omission.cause, omission.remedy)
            return dg.MaterializeResult(metadata=metadata.of_portal(result))

    return asset
