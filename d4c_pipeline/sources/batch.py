"""Concurrent observation of many sources within a time budget, for the tick of a sensor.

The caller decides which sources are due and what follows from a changed fingerprint.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

from d4c_pipeline.model.errors import D4CError

Key = TypeVar("Key")
Result = TypeVar("Result")


def ask_all(
    questions: Mapping[Key, Callable[[], Result]],
    *,
    seconds: float,
    at_once: int = 8,
    clock: Callable[[], float] = time.monotonic,
) -> dict[Key, Result | D4CError]:
    """Run `questions` (such as `partial(source.observe, vintage)`) in their order, several at once, for `seconds`.

    Returns the result or the explained error of each question that was run. A key missing from the result was not
    reached: start with it next time. No question starts after `seconds`; questions in progress then are awaited, each
    up to its own time-outs. An unexplained error is a bug and propagates.
    """
    deadline = clock() + seconds
    answers: dict[Key, Result | D4CError] = {}
    running: dict[Future[Result], Key] = {}

    def take(done: set[Future[Result]]) -> None:
        for future in done:
            key = running.pop(future)
            try:
                answers[key] = future.result()
            except D4CError as error:
                answers[key] = error

    with ThreadPoolExecutor(at_once, thread_name_prefix="observe") as pool:
        for key, question in questions.items():
            if len(running) >= at_once:
                take(wait(running, timeout=max(0.0, deadline - clock()), return_when="FIRST_COMPLETED").done)
            if clock() >= deadline:
                break
            running[pool.submit(question)] = key
        take(wait(running).done)
    return {key: answers[key] for key in questions if key in answers}
