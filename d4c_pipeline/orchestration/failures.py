"""Failures in Dagster: which to retry, and how cause and remedy appear in the UI.

`model.errors` defines the types of failures. A bug (any other exception) passes through unchanged.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from d4c_pipeline.model.errors import D4CError, TransientError
from d4c_pipeline.watch.failures import outages_explained

# https://docs.dagster.io/deployment/execution/run-retries
_RETRY_AFTER_STEP_FAILURE = "dagster/retry_on_asset_or_op_failure"

RETRIES = dg.RetryPolicy(max_retries=3, delay=15, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)
"""Number and delay of a step's retries. Not a retry policy of the assets: Dagster applies such a policy to every
exception, so it would run a bug four times and continue an interrupted run."""


def tries_again(error: BaseException, *, retries: bool, attempt: int) -> bool:
    """Whether Dagster retries a step that failed with `error` in this attempt, counted from 1."""
    return retries and isinstance(error, TransientError) and attempt <= RETRIES.max_retries


MATERIALIZE = "materialize '{step}' of this partition"
"""The instruction for rerunning a step in the UI."""
BY_COMMAND = ""
"""Empty: the command line names its own command, which reruns every step."""


@contextmanager
def as_dagster_failure(*, retries: bool, attempt: int = 1, rerun: str = MATERIALIZE) -> Iterator[None]:
    """Convert a D4CError into a Dagster failure with cause and remedy; a transient one requests a retry.

    `attempt` counts from 1. `rerun` names the way to rerun a step (`D4CError.worded`). Raises dg.RetryRequested (its
    cause is the failure) or dg.Failure.
    """
    try:
        with outages_explained():
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
    """Tag the run of a permanent failure, so that Dagster does not retry the run.

    Our dagster.yaml disables run retries after failed steps; another instance may enable them. Dagster still retries a
    run whose process died.
    """
    try:
        yield
    except dg.RetryRequested:
        raise
    except Exception as error:  # classified and raised again
        if not isinstance(error.__cause__, TransientError):
            instance.add_run_tags(run_id, {_RETRY_AFTER_STEP_FAILURE: "false"})
        raise
