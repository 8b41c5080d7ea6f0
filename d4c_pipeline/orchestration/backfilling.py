"""Backfills by command: the chain of many vintages from `processed` on, one after the other, in this process.

Each vintage is a run that the UI shows, tagged with the number and the reason of the backfill. Nothing is fetched. The
catalogue and the portal follow once, at the end. The ledger has the outcome of each vintage (`ledger.backfills`), so
that a backfill that was killed or cancelled continues where it stopped. The UI starts its own backfills by Dagster.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from d4c_pipeline.chain import run
from d4c_pipeline.ledger import lease_keys
from d4c_pipeline.ledger.backfills import Backfill, BackfillOutcome, BackfillState
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import D4CError, PermanentError, UnknownNameError
from d4c_pipeline.model.family import Family
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.orchestration.products import Product, product_of
from d4c_pipeline.orchestration.publishing import materialize_chain
from d4c_pipeline.watch import families as members
from d4c_pipeline.workspace.datasets import pick
from d4c_pipeline.workspace.deployment import Deployment

FIRST = "processed"
"""The step at which a backfill begins: the native files are retained."""
BACKFILL_TAG, REASON_TAG = "d4c/backfill", "d4c/reason"
Done = Callable[[str, Vintage, BackfillOutcome, str], None]
"""Called after each vintage with its outcome and detail."""


def begin(
    deployment: Deployment,
    vintages: Sequence[tuple[Dataset, Vintage]],
    families: Sequence[Family],
    *,
    scope: str,
    reason: str,
    who: str,
) -> Backfill:
    """Record a backfill. Of a member of a family only its present vintage is processed.

    Raises PermanentError without a reason, or when a backfill of the same scope is unfinished.
    """
    if not reason.strip():
        raise PermanentError("A backfill needs a reason", "State it with --reason")
    unfinished = [each for each in deployment.ledger.backfills.all() if each.scope == scope]
    for each in unfinished:
        if each.state is BackfillState.RUNNING:
            raise PermanentError(
                f"Backfill {each.id} of {scope} is unfinished",
                f"Continue it with 'd4c backfill --resume {each.id}', or end it with 'd4c backfill --cancel {each.id}'",
            )
    parts: list[tuple[str, Vintage]] = []
    for dataset, vintage in vintages:
        is_member = any(family.key_of(dataset.id) is not None for family in families)
        if not is_member or members.vintage_in_hand(deployment, dataset) == vintage:
            parts.append((dataset.id, vintage))
    return deployment.ledger.backfills.begin(scope, parts, reason=reason.strip(), who=who)


def known_backfill(deployment: Deployment, number: int) -> Backfill:
    """Return a backfill. Raises UnknownNameError."""
    try:
        return deployment.ledger.backfills.get(number)
    except LookupError as error:
        raise UnknownNameError(f"There is no backfill {number}", "List them with 'd4c backfill --list'") from error


def cancel(deployment: Deployment, number: int) -> Backfill:
    """Cancel a backfill: the process that runs it stops after the vintage in progress. Raises UnknownNameError."""
    if known_backfill(deployment, number).state is BackfillState.RUNNING:
        deployment.ledger.backfills.set_state(number, BackfillState.CANCELLED)
    return known_backfill(deployment, number)


def work(
    settings: Settings,
    number: int,
    known: Mapping[str, Dataset],
    families: Sequence[Family],
    declared: Sequence[Dataset],
    done: Done,
) -> Backfill:
    """Process the vintages that are left, also those that failed before, and return the backfill.

    A vintage that fails stops no other. `known`: all datasets by id; `declared` as in `chain.run.catalogue`. Raises
    BusyError while another process works on the backfill, UnknownNameError.
    """
    with Deployment.open(settings) as deployment:
        backfills = deployment.ledger.backfills
        backfill = known_backfill(deployment, number)
        with deployment.ledger.leases.hold(lease_keys.of_backfill(number), wait=0) as lease:
            backfills.set_state(number, BackfillState.RUNNING)
            for dataset_id, vintage in backfills.left(number):
                lease.renew()
                if backfills.get(number).state is BackfillState.CANCELLED:
                    break
                try:
                    dataset = pick(dict(known), dataset_id)
                    outcome, detail = _one(settings, deployment, dataset, vintage, families, backfill)
                except D4CError as error:
                    outcome, detail = BackfillOutcome.FAILED, error.cause
                backfills.record(number, dataset_id, vintage, outcome, detail)
                done(dataset_id, vintage, outcome, detail)
            else:
                if not backfills.get(number).outcomes[BackfillOutcome.FAILED]:
                    backfills.set_state(number, BackfillState.DONE)
            run.catalogue(deployment, declared)
            run.portal(deployment, declared)
        return backfills.get(number)


def _one(
    settings: Settings,
    deployment: Deployment,
    dataset: Dataset,
    vintage: Vintage,
    families: Sequence[Family],
    backfill: Backfill,
) -> tuple[BackfillOutcome, str]:
    """Run the chain of a vintage. Raises what the run raises."""
    product, unit = product_of(dataset, vintage, families)
    key = unit.partition.key
    releases = deployment.ledger.releases
    before = releases.newest_published(dataset.id, vintage)
    _run(settings, product, key, backfill)
    planned, after = releases.planned(dataset.id, vintage), releases.newest_published(dataset.id, vintage)
    if planned is not None:
        return BackfillOutcome.REVIEW, planned.name
    if after is None:
        # The data is that of another vintage, which the step `checksums` found.
        return BackfillOutcome.UNCHANGED, str(deployment.ledger.natives.held_by(dataset.id, vintage))
    same = before is not None and before.id == after.id
    return (BackfillOutcome.UNCHANGED if same else BackfillOutcome.PUBLISHED), after.name


def _run(settings: Settings, product: Product, key: str, backfill: Backfill) -> None:
    materialize_chain(
        settings,
        product,
        key,
        [],
        f"d4c backfill --resume {backfill.id}",
        first=FIRST,
        site=False,
        tags={BACKFILL_TAG: str(backfill.id), REASON_TAG: backfill.reason},
    )
