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
from starlette.types import ASGIApp

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


if __name__ == "__main__":
    serve_dev() if sys.argv[1:2] == ["dev"] else serve_ui()
