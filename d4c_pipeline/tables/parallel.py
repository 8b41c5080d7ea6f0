"""Runs work in threads in the order of its items, and computes the memory that a build may use.

Arrow, GEOS, PROJ and numpy release the interpreter lock, so threads suffice. The functions here change the speed, never
the results.
"""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from d4c_pipeline.model.errors import DefinitionError

Key = TypeVar("Key")
Item = TypeVar("Item")
Result = TypeVar("Result")

# A share of the memory of the container or machine, never of free memory, which depends on other runs.
_SHARE = 2
# The share of a build's memory for data: sorting and encoding need copies.
_IN_MEMORY_SHARE = 16
# More does not make a build faster.
_IN_MEMORY_MOST = 256 << 20
_CGROUP = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
_UNITS = {"b": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30,
          "ti": 1 << 40}  # fmt: skip


def workers(threads: int | None) -> int:
    """Return the number of threads to use: `threads`, else the number of cores available to this process."""
    return max(1, threads or len(os.sched_getaffinity(0)))


def in_order(work: Callable[[Item], Result], items: Iterable[Item], threads: int | None) -> Iterator[Result]:
    """Yield `work(item)` for each item in order, computed ahead in threads; the caller's thread iterates `items`.

    At most one item more than the number of threads is in progress or waiting. An error of `work` is raised in place of
    its result. Closing the iterator ends all work.
    """
    count = workers(threads)
    if count == 1:
        yield from map(work, items)
        return
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(count, thread_name_prefix="d4c-processing") as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                del item  # so that waiting does not keep the last item in memory
                if len(waiting) > count:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def beside(work: Callable[[Item], object], items: Iterable[Item], threads: int | None) -> Iterator[Item]:
    """Yield each of `items` after a call of `work` with it: one call at a time, in order, in a separate thread.

    For work that accumulates and can't run in parallel. An error of `work` is raised in place of its item.
    """

    def done(item: Item) -> Item:
        work(item)
        return item

    if workers(threads) == 1:
        yield from map(done, items)
        return
    with ThreadPoolExecutor(1, thread_name_prefix="d4c-beside") as pool:
        waiting: deque[Future[Item]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(done, item))
                del item  # so that waiting does not keep the last item in memory
                if len(waiting) > 2:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def coming(work: Callable[[Key], Result], keys: Sequence[Key], threads: int | None) -> Mapping[Key, Result]:
    """Return `work(key)` by key: started for all keys in order; a lookup waits for its result.

    An error of `work` is raised by the lookup of its key.
    """
    count = workers(threads)
    if count == 1:
        return {key: work(key) for key in keys}
    pool = ThreadPoolExecutor(count, thread_name_prefix="d4c-processing")
    futures = {key: pool.submit(work, key) for key in keys}
    pool.shutdown(wait=False)  # the pool ends with its last task
    return _Coming(futures)


class _Coming(Mapping[Key, Result]):
    def __init__(self, futures: Mapping[Key, Future[Result]]) -> None:
        self._futures = futures

    def __getitem__(self, key: Key) -> Result:
        return self._futures[key].result()

    def __iter__(self) -> Iterator[Key]:
        return iter(self._futures)

    def __len__(self) -> int:
        return len(self._futures)


def in_own_thread(items: Iterable[Item]) -> Iterator[Item]:
    """Yield `items`, iterated in one thread that Python started, whatever thread the consumer uses.

    For consumers with threads of their own, such as DuckDB: Python's state of such a thread is freed between two items,
    while PROJ still points to it.
    """
    iterator, end = iter(items), object()
    with ThreadPoolExecutor(1, thread_name_prefix="d4c-source") as pool:
        while (item := pool.submit(next, iterator, end).result()) is not end:
            yield item  # pyright: ignore[reportReturnType] - the end mark is not yielded


def memory_ceiling() -> int:
    """Return the bytes of memory available to this process: the cgroup's limit, or the machine's memory if smaller."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    stated = [path.read_text("ascii").strip() for path in _CGROUP if path.is_file()]
    return min([machine, *(int(text) for text in stated if text.isdigit())])


def most_memory() -> int:
    """Return the bytes of memory at which a build is ended: nine tenths of the ceiling.

    A build plans with less (`memory_bytes`); this limit is for files whose memory no plan foresees.
    """
    return memory_ceiling() * 9 // 10


def memory_bytes(memory_limit: str | None) -> int:
    """Return the bytes of `memory_limit` (in DuckDB's notation: `4GB`, `512MiB`), by default half of the ceiling.

    Raises DefinitionError for another notation.
    """
    if memory_limit is None:
        return memory_ceiling() // _SHARE
    found = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([kmgt]?i?)b?\s*", memory_limit.lower())
    if found is None:
        raise DefinitionError(f"'{memory_limit}' is not an amount of memory", "Write it as 4GB or 512MiB")
    return int(float(found[1]) * _UNITS[found[2] or "b"])


def in_memory_bytes(memory_limit: str | None) -> int:
    """Return the bytes of data that a build holds in memory before it uses files."""
    return min(_IN_MEMORY_MOST, memory_bytes(memory_limit) // _IN_MEMORY_SHARE)
