"""Lanes: what waits in one holds up nothing else."""

from __future__ import annotations

import threading
import time
from http import HTTPStatus

import anyio
import anyio.to_thread
import pytest

from d4c_pipeline.services.lanes import Lane
from d4c_pipeline.services.problems import ProblemError

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_a_full_lane_leaves_the_threads_of_others_free() -> None:
    """60 costly calls wait for one place; a pool of 40 threads would be full of them."""
    lane, release = Lane("subsets", 1), threading.Event()
    order: list[int] = []

    async def costly(number: int) -> None:
        await lane.run(release.wait, 10)
        order.append(number)

    async with anyio.create_task_group() as tasks:
        for number in range(60):
            tasks.start_soon(costly, number)
        await anyio.sleep(0.1)
        with anyio.fail_after(1):
            assert await anyio.to_thread.run_sync(lambda: "cheap") == "cheap"
            assert await Lane("searches", 1).run(lambda: "other") == "other"
        assert order == []
        release.set()
    assert order == list(range(60))


async def test_never_more_calls_than_places() -> None:
    lane, busy, most = Lane("subsets", 3), 0, 0
    lock = threading.Lock()

    def call() -> None:
        nonlocal busy, most
        with lock:
            busy += 1
            most = max(most, busy)
        time.sleep(0.02)
        with lock:
            busy -= 1

    async with anyio.create_task_group() as tasks:
        for _ in range(12):
            tasks.start_soon(lane.run, call)
    assert most == 3


async def test_a_call_that_waits_too_long_is_refused_and_the_lane_goes_on() -> None:
    lane, release = Lane("subsets", 1, wait_seconds=0.1), threading.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lane.run, lambda: release.wait(10))
        await anyio.sleep(0.05)
        with pytest.raises(ProblemError) as refused:
            await lane.run(lambda: None)
        release.set()
        assert (refused.value.status, refused.value.detail) == (
            HTTPStatus.SERVICE_UNAVAILABLE, "The server is busy with other subsets",
        )  # fmt: skip
        assert refused.value.headers["Retry-After"] == "10"
    assert await lane.run(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        await lane.run(lambda: 1 / 0)
    assert await lane.run(lambda: 8) == 8
