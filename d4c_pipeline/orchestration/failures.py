"""What a failure means to Dagster: which one is worth a retry, and how its cause and remedy reach the UI.

The types of failures belong to `model.errors`; a bug (any other exception) is left alone, so that it shows itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from d4c_pipeline.model.errors import D4CError, TransientError
from d4c_pipeline.watch.failures import outages_told

# https://docs.dagster.io/deployment/execution/run-retries
_RETRY_AFTER_STEP_FAILURE = "dagster/retry_on_asset_or_op_failure"

RETRIES = dg.RetryPolicy(max_retries=3, delay=15, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)
"""How often and after which waits a step is tried again. Not a policy of the assets themselves: Dagster applies that to
every exception, so that a bug would be tried four times and an interrupted run would go on."""


def tries_again(error: BaseException, *, retries: bool, attempt: int) -> bool:
    """Whether a step that failed with `error` in its attempt of this number, from 1, is tried again."""
    return retries and isinstance(error, TransientError) and attempt <= RETRIES.max_retries


MATERIALIZE = "materialize '{step}' of this partition"
"""How a step is run again in the UI."""
BY_COMMAND = ""
"""The command line names its own command, which runs every step again."""


@contextmanager
def as_dagster_failure(*, retries: bool, attempt: int = 1, rerun: str = MATERIALIZE) -> Iterator[None]:
    """Turn an explained error into a Dagster failure with cause and remedy; a transient one asks for another attempt.

    `attempt` is the number of this one, from 1. `rerun` words how a step is run again (`D4CError.worded`). Raises
    dg.RetryRequested (its cause is the failure) or dg.Failure.
    """
    try:
        with outages_told():
            yield
    except D4CError as error:
        remedy = error.worded(rerun)
        failure = dg.Failure(
            description=error.sentence(rerun),
            metadata={"cause": error.cause, "remedy": remedy or "none known", "kind": type(error).__name__},
            allow_retries=False,
        )
        failure.__cause__ = error
        if retries and isinstance(error, TransientError):
            raise dg.RetryRequested(RETRIES.max_retries, RETRIES.calculate_delay(attempt)) from failure
        raise failure from error


@contextmanager
def no_run_retries_in_vain(instance: dg.DagsterInstance, run_id: str) -> Iterator[None]:
    """Tag the run of a failure that does not pass by itself, so that Dagster does not start the run again for it.

    Our dagster.yaml says the same of all failed steps; an instance of somebody else's retries them unless told. A run
    whose process died is started again all the same.
    """
    try:
        yield
    except dg.RetryRequested:
        raise
    except Exception as error:  # told apart and passed on
        if not isinstance(error.__cause__, TransientError):
            instance.add_run_tags(run_id, {_RETRY_AFTER_STEP_FAILURE: "false"})
        raise
