"""What a failure means to Dagster: cause, remedy, and whether it may be tried again."""

from __future__ import annotations

import dagster as dg
import pytest

from d4c_pipeline.model import errors
from d4c_pipeline.orchestration.failures import RETRIES, as_dagster_failure


def told(failure: dg.Failure) -> dict[str, object]:
    return {key: value.value for key, value in failure.metadata.items()}


@pytest.mark.parametrize("kind", [errors.TransientError, errors.BusyError])
def test_what_passes_by_itself_is_tried_again(kind: type[errors.D4CError]) -> None:
    with pytest.raises(dg.RetryRequested) as caught, as_dagster_failure(retries=True, attempt=2):
        raise kind("The thing broke", "Mend it")
    assert caught.value.max_retries == 3
    assert caught.value.seconds_to_wait is not None
    assert 0 <= caught.value.seconds_to_wait <= 2 * 30
    failure = caught.value.__cause__
    assert isinstance(failure, dg.Failure)
    assert told(failure) == {"cause": "The thing broke", "remedy": "Mend it", "kind": kind.__name__}
    assert isinstance(failure.__cause__, kind)


@pytest.mark.parametrize(
    ("kind", "retries"),
    [
        (errors.SourceError, True),
        (errors.DataError, True),
        (errors.UnknownNameError, True),
        (errors.IntegrityError, True),
        (errors.StorageError, True),
        (errors.TransientError, False),
    ],
)
def test_anything_else_stops_at_once_with_cause_and_remedy(kind: type[errors.D4CError], retries: bool) -> None:
    with pytest.raises(dg.Failure) as caught, as_dagster_failure(retries=retries):
        raise kind("The thing broke", "Mend it")
    assert caught.value.allow_retries is False
    assert caught.value.description == "The thing broke. Mend it."
    assert told(caught.value) == {"cause": "The thing broke", "remedy": "Mend it", "kind": kind.__name__}
    assert isinstance(caught.value.__cause__, kind)


def test_no_secret_reaches_the_ui() -> None:
    with pytest.raises(dg.Failure) as caught, as_dagster_failure(retries=True):
        raise errors.SourceError("https://me:hunter2@example.ca/?token=abc answered 403")
    assert caught.value.description == "https://example.ca/?token=*** answered 403."


@pytest.mark.parametrize("bug", [ZeroDivisionError, KeyboardInterrupt])
def test_a_bug_and_an_interruption_pass_as_they_are(bug: type[BaseException]) -> None:
    with pytest.raises(bug), as_dagster_failure(retries=True):
        raise bug


def test_three_more_attempts_after_15_30_and_60_seconds_give_or_take() -> None:
    assert RETRIES.max_retries == 3
    for attempt, expected in enumerate((15, 30, 60), 1):
        assert 0 <= RETRIES.calculate_delay(attempt) <= 2 * expected
