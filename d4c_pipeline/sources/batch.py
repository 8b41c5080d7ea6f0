"""Many sources observed at once, within a budget of time: what a sensor's tick does.

Which sources are due, and what a changed fingerprint leads to, belongs to the caller.
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
    """Ask `questions` (such as `partial(source.observe, vintage)`) in their order, several at once, for `seconds`.

    Return the answer or the explained error of each that was answered in time. One that is missing in the result was
    not reached: begin with it next time. No question is begun after `seconds`; those under way then are waited for,
    each at most as long as its own time-outs allow. An error that is not explained is a bug and passes.
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
