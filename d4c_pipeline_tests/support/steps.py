"""The ten steps as plain functions, and a process that runs them all and dies where it is told to."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import Engine, event

from d4c_pipeline.chain import deposit, run
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import AwaitingReviewError
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.upkeep import retention
from d4c_pipeline.workspace.datasets import load_datasets
from d4c_pipeline.workspace.deployment import Deployment

Step = Callable[[Deployment, Dataset, Vintage], Any]


def _step(name: str) -> Step:
    def step(deployment: Deployment, dataset: Dataset, vintage: Vintage) -> Any:
        unit = run.Unit.of(dataset, vintage)
        result = run.run(deployment, unit.partition, name, lambda: unit)
        if isinstance(result, run.Waiting):
            raise AwaitingReviewError(result.cause, result.remedy)
        return result.build if isinstance(result, run.Judged) else result

    return step


STEPS: dict[str, Step] = {
    **{name: _step(name) for name in run.STEPS},
    "catalogue": lambda deployment, dataset, _vintage: run.catalogue(deployment, [dataset]),
}

# What Python's own audit tells of: the moments at which something appears under its name, or goes.
_ACTS = {"os.rename", "os.link", "os.remove", "os.rmdir", "os.mkdir"}


def run_all(fatal: str) -> None:
    """Run the chain of `places` 2021; die right before its durable act number `fatal` (from 0), `none` to live.

    Prints how many durable acts there were.
    """
    _run(fatal, list(STEPS))


def run_deposit(fatal: str) -> None:
    """Publish what was approved and what follows; die at the durable act number `fatal` of making it public."""
    settings = Settings.from_environment()
    dataset = load_datasets(settings.definitions)["places"]
    revealed = deposit.reveal
    done = _acts(fatal)

    def counted(*arguments: Any) -> None:
        done.counts = True
        revealed(*arguments)
        done.counts = False

    done.counts = False
    deposit.reveal = counted
    with Deployment.open(settings) as opened:
        for step in ("deposit", "latest", "catalogue"):
            _run_step(step, opened, dataset)
    sys.stdout.write(f"{done.number}\n")


def run_latest(fatal: str) -> None:
    """Do the same with the switch of `/processed/` alone."""
    _run(fatal, ["latest"])


def run_catalogue(fatal: str) -> None:
    """Do the same with a rebuild of the catalogue."""
    _dying(
        fatal,
        lambda opened, _dataset: run.catalogue(opened, tuple(load_datasets(opened.settings.definitions).values())),
    )


def run_retention(fatal: str) -> None:
    """Do the same with what retention does to the mirrors, as the dataset declares it now."""
    _dying(fatal, lambda opened, dataset: retention.apply(opened, [dataset]))


def _run(fatal: str, steps: Sequence[str]) -> None:
    _dying(fatal, *(partial(_run_step, step) for step in steps))


def _run_step(step: str, opened: Deployment, dataset: Dataset) -> None:
    STEPS[step](opened, dataset, Vintage.parse("2021"))


def _dying(fatal: str, *works: Callable[[Deployment, Dataset], object]) -> None:
    settings = Settings.from_environment()
    dataset = load_datasets(settings.definitions)["places"]
    done = _acts(fatal)
    for work in works:
        with Deployment.open(settings) as opened:
            work(opened, dataset)
    sys.stdout.write(f"{done.number}\n")


@dataclass
class _Acts:
    """How many durable acts there were, of those that count."""

    number: int = 0
    counts: bool = True


def _acts(fatal: str) -> _Acts:
    """Count durable acts from now on, and die right before number `fatal`."""
    done = _Acts()

    def act(name: str, _arguments: object = None) -> None:
        if name not in _ACTS or not done.counts:
            return
        if str(done.number) == fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        done.number += 1

    def on_commit(_connection: object) -> None:
        act("os.rename")

    event.listen(Engine, "commit", on_commit)
    sys.addaudithook(act)
    return done
