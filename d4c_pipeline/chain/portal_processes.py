"""Runs the collection and rendering of many datasets in several processes, since both hold the interpreter lock.

What a process does belongs to `chain.portal`.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from d4c_pipeline.model.errors import TransientError

Item = TypeVar("Item")
Result = TypeVar("Result")
_RENEW_SECONDS = 10.0


def in_processes(
    work: Callable[[Item], Result],
    items: Sequence[Item],
    count: int,
    renew: Callable[[], None],
    begin: tuple[Callable[..., None], tuple[Any, ...]],
) -> Iterator[Result]:
    """Yield `work(item)` of each item as it is done, by `count` new processes.

    `begin`: a function and its arguments that each process calls first. `renew` is called every few seconds. An error
    of `work` is raised here, and ends the other processes after their present item. Raises TransientError when a
    process dies.
    """
    # A fork would share the open ledger and the threads of this process.
    context = multiprocessing.get_context("spawn")
    function, arguments = begin
    pool = ProcessPoolExecutor(count, mp_context=context, initializer=function, initargs=arguments)
    try:
        pending: set[Future[Result]] = {pool.submit(work, item) for item in items}
        while pending:
            done, pending = wait(pending, timeout=_RENEW_SECONDS, return_when=FIRST_COMPLETED)
            renew()
            for future in done:
                yield future.result()
    except BrokenProcessPool as error:
        raise TransientError(
            f"One of {count} processes that build the portal ended: it had no memory, or was stopped",
            "Run it again, with D4C_THREADS=1 where memory is scarce: what was built is kept",
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)
