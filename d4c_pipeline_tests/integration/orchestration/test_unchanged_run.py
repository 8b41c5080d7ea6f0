"""What a run of an unchanged dataset costs in this process: connections to SQLite and files opened for writing."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from d4c_pipeline.model.settings import Settings
from d4c_pipeline.orchestration.publishing import publish_vintage
from d4c_pipeline.workspace.datasets import load_datasets
from d4c_pipeline_tests.integration.orchestration.conftest import Project
from d4c_pipeline_tests.support.samples import PLACES_URL, define, geojson

_LISTENERS: list[Callable[[str, tuple[Any, ...]], None]] = []
_HOOKED: list[bool] = []
WRITING = os.O_WRONLY | os.O_RDWR


@contextmanager
def watched(home: Path) -> Iterator[tuple[list[str], list[str]]]:
    """The databases that this process connects to, and the files below `home` that it opens for writing."""
    connected: list[str] = []
    written: list[str] = []

    def listen(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "sqlite3.connect":
            connected.append(Path(str(arguments[0])).name)
        elif event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITING:
            path = os.fsdecode(arguments[0]) if isinstance(arguments[0], str | bytes) else ""
            if path.startswith(f"{home}/"):
                written.append(path.removeprefix(f"{home}/"))

    if not _HOOKED:  # a hook stays until the process ends
        _HOOKED.append(True)
        sys.addaudithook(lambda event, arguments: [each(event, arguments) for each in _LISTENERS] and None)
    _LISTENERS.append(listen)
    try:
        yield connected, written
    finally:
        _LISTENERS.remove(listen)


def test_an_unchanged_run_writes_no_page_and_connects_seldom(project: Project) -> None:
    define(project.definitions)
    project.origin.put(PLACES_URL, geojson())
    settings = Settings.from_environment().model_copy(update={"definitions": (project.definitions,)})
    declared = load_datasets([project.definitions])

    def publish() -> str:
        return publish_vintage(settings, declared["places"], "2021", list(declared.values()))["outcome"]

    assert publish() == "published"
    with watched(project.home) as (connected, written):
        assert publish() == "unchanged"
    # Staging was removed after the publication, so the data are built again; no page of the portal is written.
    assert written == ["staging/places/2021/build/.build.json.part"]
    assert len([name for name in connected if name in ("ledger.sqlite", ".state.sqlite")]) <= 6
    assert len(connected) <= 400, "Dagster opens a connection for each event"
