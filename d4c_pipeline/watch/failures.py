"""Records failed steps in the ledger until the same step succeeds, with the command that recovers them.

The meaning of a failure belongs to `model.errors`; retrying belongs to the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

from d4c_pipeline.ledger import database
from d4c_pipeline.ledger.active_runs import ActiveRun
from d4c_pipeline.ledger.failures import Failed
from d4c_pipeline.model.errors import D4CError, TransientError, shortage
from d4c_pipeline.model.partition import Partition
from d4c_pipeline.model.secrets import sanitise
from d4c_pipeline.workspace.deployment import Deployment

DISCOVER = "discover"
OBSERVE = "observe"
SEED = "seed"
"""The step of a published file that the seeder can't serve (`upkeep.seeding_failures`)."""
RUN_DIED = "RunDied"
BUG_REMEDY = "Look at the traceback in the log of its run and report the bug"


@contextmanager
def outages_explained() -> Iterator[None]:
    """Turn an outage (an unreachable or locked database, no memory) into an error of ours."""
    try:
        yield
    except D4CError:
        raise
    except Exception as error:  # any other error passes unchanged
        explained = database.explained(error) or shortage(error)
        if explained is None:
            raise
        raise explained from error


@contextmanager
def remembered(
    deployment: Deployment,
    partition: Partition,
    step: str,
    *,
    run: str | None = None,
    unless: Callable[[D4CError], bool] = lambda _: False,
) -> Iterator[None]:
    """Record a failure of `step` of `partition`, or settle it after a success; errors are raised unchanged.

    `run` is Dagster's id. `unless` returns whether the caller retries an error, which is then not recorded.
    """
    failures = deployment.ledger.failures
    try:
        with outages_explained():
            yield
    except D4CError as error:
        if not unless(error):
            failures.record(
                partition.subject,
                partition.key,
                step,
                kind=type(error).__name__,
                transient=isinstance(error, TransientError),
                cause=error.cause,
                remedy=error.remedy,
                run=run,
            )
        raise
    except Exception as error:  # recorded and raised again: a bug must stay visible
        failures.record(
            partition.subject,
            partition.key,
            step,
            kind=type(error).__name__,
            transient=False,
            cause=sanitise(" ".join(f"A bug stopped it ({type(error).__name__}: {error})".split())),
            remedy=BUG_REMEDY,
            run=run,
        )
        raise
    failures.settle(partition.subject, partition.key, step)


def describe_failures(deployment: Deployment, subjects: Collection[str]) -> list[dict[str, Any]]:
    """Return the standing failures of the datasets and families with these ids, the oldest first, in stable keys.

    `command` recovers the step after `remedy`; `transient` means that the failure may resolve itself. A run whose
    process has ended counts, until it is ended in Dagster.
    """
    recorded = deployment.ledger.failures.standing()
    known = {(failed.subject, failed.partition, failed.run) for failed in recorded}
    died = [
        _died(active)
        for active in deployment.ledger.active_runs.dead()
        if (active.subject, active.partition, active.run) not in known
    ]
    return [
        {
            "dataset": failed.subject,
            "partition": failed.partition,
            "step": failed.step,
            "since": failed.first_at.isoformat(timespec="seconds"),
            "last": failed.last_at.isoformat(timespec="seconds"),
            "times": failed.times,
            "kind": failed.kind,
            "transient": failed.transient,
            "cause": failed.cause,
            "remedy": failed.remedy,
            "run": failed.run,
            "command": _command(deployment, failed),
        }
        for failed in sorted([*recorded, *died], key=lambda failed: failed.first_at)
        if failed.subject in subjects
    ]


def _died(active: ActiveRun) -> Failed:
    """Return the failure of a run whose process ended, before anybody ended the run."""
    return Failed(
        active.subject,
        active.partition,
        active.step or "start",
        kind=RUN_DIED,
        transient=True,
        cause="The process of this run was killed and the run is not ended yet",
        remedy="Start the daemon ('d4c ui'), which ends the run within a minute and retries it, or run the command",
        run=active.run,
        times=1,
        first_at=active.started_at,
        last_at=active.started_at,
    )


def _command(deployment: Deployment, failed: Failed) -> str:
    if failed.step in (DISCOVER, OBSERVE):
        return f"d4c notice {failed.subject}"
    member = deployment.ledger.members.of(failed.subject, failed.partition) is not None
    if failed.step == SEED:
        return "d4c verify --full" if member else f"d4c verify {failed.subject} --full"
    return f"d4c publish {failed.subject} --{'member' if member else 'vintage'} {failed.partition}"
