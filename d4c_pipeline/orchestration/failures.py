"""What a failure means to Dagster: which one is worth a retry, and how its cause and remedy reach the UI.

The types of failures belong to `model.errors`; a bug (any other exception) is left alone, so that it shows itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from d4c_pipeline.model.errors import D4CError, TransientError

RETRIES = dg.RetryPolicy(max_retries=3, delay=15, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)
"""How often and after which waits a step is tried again. Not a policy of the assets themselves: Dagster applies that to
every exception, so that a bug would be tried four times and an interrupted run would go on."""


@contextmanager
def explained(*, retries: bool, attempt: int = 1) -> Iterator[None]:
    """Turn an explained error into a Dagster failure with cause and remedy; a transient one asks for another attempt.

    `attempt` is the number of this one, from 1. Raises dg.RetryRequested (its cause is the failure) or dg.Failure.
    """
    try:
        yield
    except D4CError as error:
        failure = dg.Failure(
            description=str(error),
            metadata={"cause": error.cause, "remedy": error.remedy or "none known", "kind": type(error).__name__},
            allow_retries=False,
        )
        failure.__cause__ = error
        if retries and isinstance(error, TransientError):
            raise dg.RetryRequested(RETRIES.max_retries, RETRIES.calculate_delay(attempt)) from failure
        raise failure from error
