"""What a failure means to Dagster: which one is worth a retry, and how its cause and remedy reach the UI.

The types of failures belong to `model.errors`; a bug (any other exception) is left alone, so that it shows itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from d4c_pipeline.model.errors import D4CError, TransientError

RETRY_POLICY = dg.RetryPolicy(max_retries=3, delay=15, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)
"""For transient failures only: the others forbid a retry when they are raised."""


@contextmanager
def explained(*, retries: bool) -> Iterator[None]:
    """Turn an explained error into a Dagster failure with cause and remedy; only a transient one may be retried."""
    try:
        yield
    except D4CError as error:
        raise dg.Failure(
            description=str(error),
            metadata={"cause": error.cause, "remedy": error.remedy or "none known", "kind": type(error).__name__},
            allow_retries=retries and isinstance(error, TransientError),
        ) from error
