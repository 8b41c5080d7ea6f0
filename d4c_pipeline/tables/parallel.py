"""Work spread over threads in the order it came, and how much memory a build may use.

Arrow, GEOS, PROJ and numpy let other threads run while they work, so threads suffice. What is done belongs to those
who hand it here; nothing here changes a result, only how fast it comes.
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

# A share of what the container or the machine has in all, never of what happens to be free: other runs come and go.
_SHARE = 2
# Of what a build may use, so much of the data lies in memory at once: sorting and encoding want copies beside it.
_IN_MEMORY_SHARE = 16
# More makes nothing faster.
_IN_MEMORY_MOST = 256 << 20
_CGROUP = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
_UNITS = {"b": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30,
          "ti": 1 << 40}  # fmt: skip


def workers(threads: int | None) -> int:
    """Return how many threads to use: those asked for, else one for each core this process may run on."""
    return max(1, threads or len(os.sched_getaffinity(0)))


def in_order(work: Callable[[Item], Result], items: Iterable[Item], threads: int | None) -> Iterator[Result]:
    """Yield `work(item)` for each item in their order, some items ahead; `items` is drawn from by the caller's thread.

    At most one item more than there are threads is under way or waits to be fetched. An error of `work` is raised where
    its result would have come; nothing is left running when the iterator is closed.
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
                del item  # not to hold the last one while waiting
                if len(waiting) > count:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def beside(work: Callable[[Item], object], items: Iterable[Item], threads: int | None) -> Iterator[Item]:
    """Yield each of `items` after `work` was called with it: one call at a time, in order, in a thread of its own.

    For what adds up and can't be spread. An error of `work` is raised before its item would have come.
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
                del item  # not to hold the last one while waiting
                if len(waiting) > 2:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def coming(work: Callable[[Key], Result], keys: Sequence[Key], threads: int | None) -> Mapping[Key, Result]:
    """Return `work(key)` by key: begun for all in their order, and waited for when it is asked for.

    An error of `work` is raised to whoever asks for that key.
    """
    count = workers(threads)
    if count == 1:
        return {key: work(key) for key in keys}
    pool = ThreadPoolExecutor(count, thread_name_prefix="d4c-processing")
    futures = {key: pool.submit(work, key) for key in keys}
    pool.shutdown(wait=False)  # it takes nothing more, and ends with the last of these
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
    """Yield `items`, drawn one at a time in one thread that Python started, whoever asks for them.

    For readers that draw in threads of their own, such as DuckDB: what Python keeps for such a thread dies between two
    draws, while PROJ goes on pointing at it.
    """
    iterator, end = iter(items), object()
    with ThreadPoolExecutor(1, thread_name_prefix="d4c-source") as pool:
        while (item := pool.submit(next, iterator, end).result()) is not end:
            yield item  # pyright: ignore[reportReturnType] - all but the mark of the end are items


def memory_ceiling() -> int:
    """Return the bytes of memory this process may ever have: the cgroup's limit, or the machine's memory if smaller."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    stated = [path.read_text("ascii").strip() for path in _CGROUP if path.is_file()]
    return min([machine, *(int(text) for text in stated if text.isdigit())])


def most_memory() -> int:
    """Return how many bytes a build may use before it is ended: nine tenths of the ceiling.

    What it works with by its own reckoning is less (`memory_bytes`): this is for files that no reckoning foresees.
    """
    return memory_ceiling() * 9 // 10


def memory_bytes(memory_limit: str | None) -> int:
    """Return the bytes that `memory_limit` means (DuckDB's words: `4GB`, `512MiB`), by default half of the ceiling.

    Raises DefinitionError for other words.
    """
    if memory_limit is None:
        return memory_ceiling() // _SHARE
    found = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([kmgt]?i?)b?\s*", memory_limit.lower())
    if found is None:
        raise DefinitionError(f"'{memory_limit}' is no amount of memory", "Write it as 4GB or 512MiB")
    return int(float(found[1]) * _UNITS[found[2] or "b"])


def in_memory_bytes(memory_limit: str | None) -> int:
    """Return how many bytes of data a build holds in memory before it works with files instead."""
    return min(_IN_MEMORY_MOST, memory_bytes(memory_limit) // _IN_MEMORY_SHARE)
