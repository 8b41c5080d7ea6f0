"""Dagster's webserver behind our guard, with Dagster's own options: `python -m d4c_pipeline.orchestration.webserver`.

`dev` as the first argument runs `dagster dev` with this webserver in place of Dagster's. `ui_guard` decides which
requests pass. The patched functions belong to the pinned Dagster; a test starts the real webserver.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import dagster as dg
from dagster._core.scheduler.instigation import InstigatorState, SensorInstigatorData
from starlette.types import ASGIApp

from d4c_pipeline.model.errors import PermanentError
from d4c_pipeline.model.ui_access import UiAccess
from d4c_pipeline.orchestration.resources import SIGNED_IN_TAG
from d4c_pipeline.orchestration.ui_guard import SIGNED_IN, Guard

_DAGSTERS_OWN = "dagster_webserver"
_OURS = "d4c_pipeline.orchestration.webserver"


def serve_ui() -> None:
    """Run the webserver with the options of `dagster-webserver`; read-only if sign-in is not configured.

    Raises PermanentError when a setting of the UI can't be understood.
    """
    from dagster_webserver import cli as dagsters  # noqa: PLC0415 - `dev` has no use for it

    cli: Any = dagsters
    access = UiAccess.from_environment()
    if access.read_only and "--read-only" not in sys.argv:
        sys.argv.append("--read-only")
    # The guard checks the real peer; uvicorn would let X-Forwarded-For replace it.
    os.environ["FORWARDED_ALLOW_IPS"] = ""
    cli.create_app_from_workspace_process_context = _guarding(cli.create_app_from_workspace_process_context, access)
    cli.cli(auto_envvar_prefix="DAGSTER_WEBSERVER")


def serve_dev() -> None:
    """Run `dagster dev` with our webserver."""
    from dagster._cli import cli  # noqa: PLC0415
    from dagster._cli import dev as dagsters  # noqa: PLC0415

    dev: Any = dagsters
    dev.open_ipc_subprocess = _opening_ours(dev.open_ipc_subprocess)
    cli(["dev", *sys.argv[2:]], prog_name="dagster")


def _opening_ours(opening: Callable[..., Any]) -> Callable[..., Any]:
    def opened(parts: Sequence[str], **options: Any) -> Any:
        return opening([_OURS if part == _DAGSTERS_OWN else part for part in parts], **options)

    return opened


def _guarding(making: Callable[..., ASGIApp], access: UiAccess) -> Callable[..., ASGIApp]:
    def guarded(workspace: Any, *arguments: Any, **options: Any) -> ASGIApp:
        sign_runs(workspace.instance)
        tick_after_reset(workspace.instance)
        return Guard(making(workspace, *arguments, **options), access)

    return guarded


def sign_runs(instance: dg.DagsterInstance) -> None:
    """Tag every run that this process stores with the signed-in user, and drop the tag that a request sends."""
    storage = instance.run_storage
    storing = storage.add_run

    def add_run(dagster_run: dg.DagsterRun) -> dg.DagsterRun:
        tags = {name: value for name, value in dagster_run.tags.items() if name != SIGNED_IN_TAG}
        if (who := SIGNED_IN.get()) is not None:
            tags[SIGNED_IN_TAG] = who
        return storing(dagster_run.with_tags(tags))

    storage.add_run = add_run


def tick_after_reset(instance: dg.DagsterInstance) -> None:
    """Make "Reset cursor" of a sensor effective at once: this process forgets when the sensor ticked last.

    Dagster's daemon waits for the minimum interval otherwise, which is ten minutes for an observation.
    """
    storage = instance.schedule_storage
    if storage is None:
        raise PermanentError("Dagster's instance has no storage of sensors", "Correct dagster.yaml")
    storing = storage.update_instigator_state

    def update(state: InstigatorState) -> InstigatorState:
        data = state.instigator_data
        if isinstance(data, SensorInstigatorData) and data.cursor is None:
            data = SensorInstigatorData(
                last_run_key=data.last_run_key, min_interval=data.min_interval, sensor_type=data.sensor_type
            )
            state = state.with_data(data)
        return storing(state)

    storage.update_instigator_state = update


if __name__ == "__main__":
    serve_dev() if sys.argv[1:2] == ["dev"] else serve_ui()
