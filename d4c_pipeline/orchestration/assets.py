"""The chain as software-defined assets: the source and nine steps per product, and the one catalogue of all.

One table says which step an asset calls and how its result is shown; the order of the table is the order of the chain.
What a product is (a dataset, whose partitions are vintages, or a family, whose partitions are members) is said by
`products.py`; sensors and the observation of sources are in `noticing.py`.
Concept: https://docs.dagster.io/guides/build/assets
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import dagster as dg

from d4c_pipeline.chain import catalogue, checksums, copies, deposit, doi, latest, processed, raw, stac_item, torrent
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import AwaitingReviewError
from d4c_pipeline.model.partition import Partition
from d4c_pipeline.model.version import Bump
from d4c_pipeline.orchestration import metadata
from d4c_pipeline.orchestration.failures import (
    explained,
    no_run_retries_in_vain,
    remember_failed_checks,
    tries_again,
)
from d4c_pipeline.orchestration.products import Product, Unit, of_dataset, source_words
from d4c_pipeline.orchestration.resources import DeploymentResource, ProcessingDuckDB
from d4c_pipeline.orchestration.sensors.automation import SOURCE, condition_of
from d4c_pipeline.processing.checks.run import checks_of
from d4c_pipeline.processing.checks.verdict import Outcome
from d4c_pipeline.review import verdicts
from d4c_pipeline.watch.failures import remembered
from d4c_pipeline.workspace import progress
from d4c_pipeline.workspace.deployment import Deployment

CATALOGUE_KEY = dg.AssetKey(["catalogue"])
FIRST_STEP = "raw"
PLANNING_STEP = "checksums"
LAST_STEP = "latest"
REVIEWED = "reviewed"
STEPS = (FIRST_STEP, "processed", PLANNING_STEP, "doi", "copies", "torrent", "stac_item", "deposit", LAST_STEP)
ARCHIVE_WEB_SEED = "archive_web_seed"
EVERY_STORE = "every_store"
# A check blocks what comes after it when it fails with an error; a warning is only shown.
_SEVERITY = {
    Outcome.PASS: dg.AssetCheckSeverity.ERROR,
    Outcome.WARNING: dg.AssetCheckSeverity.WARN,
    Outcome.FAILURE: dg.AssetCheckSeverity.ERROR,
}

Result = dg.MaterializeResult | dg.AssetCheckResult
Work = Callable[[Deployment, Unit, Mapping[str, Any]], dg.MaterializeResult | Sequence[Result]]


@dataclass(frozen=True)
class Step:
    """One asset of the chain: its name, what it does (in words and in code), and how it runs.

    `pool` limits how many of its kind run at once (see dagster.yaml). `checks` name the asset checks it reports. One
    that `may_wait` for a person then reports its checks without being materialized: what follows is skipped, and the
    run ends well.
    """

    name: str
    description: str
    work: Work
    kinds: frozenset[str] = frozenset()
    pool: str | None = None
    config: Mapping[str, dg.Field] = field(default_factory=dict[str, dg.Field])
    checks: tuple[dg.AssetCheckSpec, ...] = ()
    may_wait: bool = False


def _raw(deployment: Deployment, unit: Unit, _: Mapping[str, Any]) -> dg.MaterializeResult:
    observations, where = deployment.ledger.observations, unit.partition
    known = observations.get(where.subject, where.key)
    result = raw.retain(deployment, unit.dataset, unit.vintage)
    before = known.seen if known else None
    if result.fingerprint is not None:
        # Of a member the listing decides what is due, and its time may not be the one that the table itself states.
        listed = None if unit.listed_as is None else before or unit.listed_as
        observations.record_retained(where.subject, where.key, listed or result.fingerprint, before)
    content = ",".join(native.sha256 for native in result.natives)
    return dg.MaterializeResult(metadata=metadata.of_raw(result), data_version=dg.DataVersion(content))


def _processed(deployment: Deployment, unit: Unit, _: Mapping[str, Any]) -> dg.MaterializeResult:
    result = processed.process(deployment, unit.dataset, unit.vintage)
    judged = verdicts.judge(deployment, unit.dataset, unit.vintage, result)
    passed = verdicts.overridden(deployment, result.sha256)
    return dg.MaterializeResult(
        metadata=metadata.of_processed(result),
        data_version=dg.DataVersion(result.sha256),
        check_results=[
            dg.AssetCheckResult(
                check_name=verdict.check,
                passed=verdict.outcome is Outcome.PASS,
                # What a person let pass on this very data is shown and blocks nothing.
                severity=dg.AssetCheckSeverity.WARN if verdict.check in passed else _SEVERITY[verdict.outcome],
                metadata=metadata.of_verdict(verdict, passed.get(verdict.check)),
            )
            for verdict in judged
        ],
    )


def _checksums(deployment: Deployment, unit: Unit, config: Mapping[str, Any]) -> dg.MaterializeResult:
    result = checksums.plan(deployment, unit.dataset, unit.vintage, Bump[config["at_least"]])
    return dg.MaterializeResult(metadata=metadata.of_checksums(result), data_version=dg.DataVersion(result.release.key))


def _doi(deployment: Deployment, unit: Unit, _: Mapping[str, Any]) -> dg.MaterializeResult:
    return dg.MaterializeResult(metadata=metadata.of_doi(doi.reserve_doi(deployment, unit.dataset, unit.vintage)))


def _copies(deployment: Deployment, unit: Unit, _: Mapping[str, Any]) -> dg.MaterializeResult:
    result = copies.distribute(deployment, unit.dataset, unit.vintage)
    return dg.MaterializeResult(
        metadata=metadata.of_copies(result),
        check_results=[
            dg.AssetCheckResult(
                check_name=EVERY_STORE,
                passed=not result.missed,
                severity=dg.AssetCheckSeverity.WARN,
                metadata=metadata.of_missed(result.missed),
            )
        ],
    )


def _torrent(deployment: Deployment, unit: Unit, _: Mapping[str, Any]) -> dg.MaterializeResult:
    return dg.MaterializeResult(metadata=metadata.of_torrent(torrent.make(deployment, unit.dataset, unit.vintage)))


def _stac_item(deployment: Deployment, unit: Unit, _: Mapping[str, Any]) -> dg.MaterializeResult:
    return dg.MaterializeResult(
        metadata=metadata.of_stac_item(stac_item.describe(deployment, unit.dataset, unit.vintage))
    )


def _deposit(deployment: Deployment, unit: Unit, _: Mapping[str, Any]) -> Sequence[Result]:
    try:
        result = deposit.publish(deployment, unit.dataset, unit.vintage)
    except AwaitingReviewError as waiting:
        return _of_deposit(waiting, "nothing is published yet", seed=True)
    seed = result.archive_seed
    reason = seed.reason if seed else "the archive has no public address"
    return [
        dg.MaterializeResult(metadata=metadata.of_deposit(result)),
        *_of_deposit(None, reason, seed=seed is None or seed.ok),
    ]


def _of_deposit(waiting: AwaitingReviewError | None, reason: str, *, seed: bool) -> list[Result]:
    """The two checks of `deposit`: whether it waits for a person, and whether the archive serves as a web seed."""
    return [
        dg.AssetCheckResult(
            check_name=REVIEWED,
            passed=waiting is None,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={"waits": waiting.cause, "remedy": waiting.remedy} if waiting else {"waits": "for nobody"},
        ),
        dg.AssetCheckResult(
            check_name=ARCHIVE_WEB_SEED,
            passed=seed,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={"reason": reason},
        ),
    ]


def _latest(deployment: Deployment, unit: Unit, _: Mapping[str, Any]) -> dg.MaterializeResult:
    result = latest.switch(deployment, unit.dataset, unit.vintage)
    deployment.ledger.observations.record_settled(unit.partition.subject, unit.partition.key)
    return dg.MaterializeResult(metadata=metadata.of_latest(result))


def chain(dataset: Dataset, product: str | None = None) -> tuple[Step, ...]:
    """The steps of a dataset, in order; or of the product of that id, of whose shape `dataset` is."""
    product = product or dataset.id
    return (
        Step(
            FIRST_STEP,
            "Fetches the native files of a vintage, verified, and retains them.",
            _raw,
            kinds=frozenset({"source", "file"}),
            pool="fetch",
        ),
        Step(
            "processed",
            "Converts, cleans and sorts the native data and writes it as (Geo)Parquet, with its profile.",
            _processed,
            kinds=frozenset({"duckdb", "parquet"}),
            pool="process",
            checks=tuple(
                dg.AssetCheckSpec(
                    check.name,
                    asset=dg.AssetKey([product, "processed"]),
                    description=check.description,
                    blocking=True,
                )
                for check in checks_of(dataset)
            ),
        ),
        Step(
            PLANNING_STEP,
            "Hashes the artifacts, compares with the newest published release and decides the version.",
            _checksums,
            config={
                "at_least": dg.Field(
                    dg.Enum("Bump", [dg.EnumValue(bump.name) for bump in Bump]),
                    default_value=Bump.NONE.name,
                    description="The smallest bump an operator wants; a greater measured one wins.",
                )
            },
        ),
        Step("doi", "Reserves the DOI in the archive, in a draft that can be undone.", _doi, pool="archive"),
        Step(
            "copies",
            "Puts the release at its immutable address in every store, verified.",
            _copies,
            checks=(
                dg.AssetCheckSpec(
                    EVERY_STORE,
                    asset=dg.AssetKey([product, "copies"]),
                    description="Every mirror took the release: a warning names those that were down, why, and what "
                    "helps. They get it when the chain is run again.",
                ),
            ),
        ),
        Step("torrent", "Makes the torrent with web seeds that were seen to serve these very bytes.", _torrent),
        Step("stac_item", "Describes the release as a validated STAC item.", _stac_item, kinds=frozenset({"json"})),
        Step(
            "deposit",
            "Uploads every artifact to the archive, verifies them there and publishes, where the policy asks for it "
            "after a person approved. Nothing undoes it.",
            _deposit,
            pool="archive",
            may_wait=True,
            checks=(
                dg.AssetCheckSpec(
                    REVIEWED,
                    asset=dg.AssetKey([product, "deposit"]),
                    description="The release waits for nobody: a warning tells why it does, and how it goes on.",
                ),
                dg.AssetCheckSpec(
                    ARCHIVE_WEB_SEED,
                    asset=dg.AssetKey([product, "deposit"]),
                    description="The archive's public address serves the pieces of the torrent.",
                ),
            ),
        ),
        Step(LAST_STEP, "Switches /processed/ to the newest release, never backwards.", _latest),
    )


def dataset_assets(dataset: Dataset, *, pooled: bool = True) -> list[dg.AssetsDefinition]:
    """The chain of one dataset; without its pools for a run that must not wait for the slots of others."""
    return chain_assets(of_dataset(dataset), pooled=pooled)


def chain_assets(product: Product, *, pooled: bool = True) -> list[dg.AssetsDefinition]:
    """The nine assets of a product, in order."""
    assets: list[dg.AssetsDefinition] = []
    upstream = SOURCE
    for step in chain(product.sample, product.id):
        assets.append(_asset(product, step if pooled else replace(step, pool=None), upstream))
        upstream = step.name
    return assets


def _asset(product: Product, step: Step, upstream: str) -> dg.AssetsDefinition:
    dataset = product.sample

    @dg.asset(
        key=[product.id, step.name],
        deps=[dg.AssetKey([product.id, upstream])],
        description=f"{step.description}\n\n**{product.title.en}** / {product.title.fr}",
        partitions_def=product.partitions,
        group_name=product.id,
        kinds=set(step.kinds),
        pool=step.pool,
        config_schema=dict(step.config) or None,
        check_specs=list(step.checks),
        automation_condition=condition_of(upstream),
        tags={"d4c/step": step.name, "d4c/series": dataset.series},
        metadata={"license": dataset.licence_words, "source": source_words(dataset)},
        output_required=not step.may_wait,
    )
    def asset(
        context: dg.AssetExecutionContext, deployment: DeploymentResource, duckdb: ProcessingDuckDB
    ) -> Iterator[Result]:
        op = context.op_execution_context
        partition = Partition(product.id, context.partition_key)
        attempt = op.retry_number + 1
        with (
            no_run_retries_in_vain(context.instance, context.run.run_id),
            explained(retries=deployment.retries, attempt=attempt),
            deployment.opened(duckdb) as opened,
        ):
            passing = partial(tries_again, retries=deployment.retries, attempt=attempt)
            with remembered(opened, partition, step.name, run=context.run.run_id, unless=passing):
                unit = product.unit(opened, partition.key, step.name)
                progress.report(progress.Progress(unit.dataset.id, str(unit.vintage), step.name))
                done = step.work(opened, unit, op.op_config or {})
            results = [done] if isinstance(done, dg.MaterializeResult) else done
            remember_failed_checks(opened, partition, step.name, results, run=context.run.run_id)
        yield from results

    return asset


def catalogue_asset(latest_keys: Iterable[dg.AssetKey], datasets: Sequence[Dataset]) -> dg.AssetsDefinition:
    """The catalogue over all datasets, downstream of what readers see last."""

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
        with explained(retries=deployment.retries, attempt=attempt), deployment.opened() as opened:
            result = catalogue.rebuild(opened, datasets)
            for one in result.left_out:
                context.log.warning("%s is not in the catalogue: %s. %s.", one.dataset, one.cause, one.remedy)
            return dg.MaterializeResult(metadata=metadata.of_catalogue(result, opened))

    return asset
