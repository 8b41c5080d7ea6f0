"""The checks of Dagster that `d4c doctor` runs: its home, its storage, its daemon, our definitions.

Nothing is created: a home without an instance is left as it is. Other checks belong to `upkeep.doctor`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import yaml
from dagster._daemon.controller import get_daemon_statuses
from dagster_shared.check import CheckError
from sqlalchemy.exc import DBAPIError

from d4c_pipeline.ledger import database
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.orchestration.build import build_definitions
from d4c_pipeline.orchestration.instance import missing_sections
from d4c_pipeline.upkeep.doctor.findings import Check, Finding, failed, good, warning


def dagster_checks(settings: Settings) -> list[Check]:
    """Return the checks of Dagster."""
    return [
        Check("dagster", lambda: instance_findings(settings)),
        Check("dagster", lambda: loading_findings(settings)),
    ]


def instance_findings(settings: Settings) -> Iterator[Finding]:
    """Check DAGSTER_HOME: its settings file, its storage, and whether a daemon runs that starts queued runs."""
    named = os.environ.get("DAGSTER_HOME")
    home = Path(named).expanduser().absolute() if named else settings.home / "dagster"
    file = home / "dagster.yaml"
    if not file.exists():
        if named and not home.is_dir():
            yield failed("dagster", f"DAGSTER_HOME is {home}, no folder", "Create it, or correct DAGSTER_HOME")
        else:
            yield good("dagster", f"{home} has no instance yet; the first run creates it")
        return
    try:
        with dg.DagsterInstance.from_config(str(home)) as instance:
            runs = instance.get_runs_count()
            statuses = get_daemon_statuses(instance, instance.get_required_daemon_types())
    except (yaml.YAMLError, CheckError, dg.DagsterInvalidConfigError, dg.DagsterInvariantViolationError) as error:
        detail = f"{file} can't be used: {' '.join(str(error).split())}"
        yield failed("dagster", detail, "Correct it, or delete it: the next command writes the default one")
        return
    except DBAPIError as error:
        ours = database.explained(error)
        detail = ours.cause if ours else f"The storage of {home} can't be read: {' '.join(str(error.orig).split())}"
        yield failed("dagster", detail, ours.remedy if ours else "Correct storage in dagster.yaml, or its password")
        return
    yield good("dagster", f"{home}: {runs} runs recorded")
    if missing := missing_sections(file.read_text(encoding="utf-8")):
        detail = f"{file} lacks {', '.join(missing)}: Dagster's default for it is off"
        yield warning(
            "dagster", detail, "Copy the section from the dagster.yaml of this version; 'enabled: false' in it is off"
        )
    silent = sorted(name for name, status in statuses.items() if not status.healthy)
    if silent:
        detail = f"No daemon works for {', '.join(silent).lower()}: schedules, sensors and queued runs wait"
        yield warning("daemon", detail, "Start 'd4c ui' or the service 'daemon'; 'd4c publish' needs none")
    else:
        yield good("daemon", "answers")


def loading_findings(settings: Settings) -> Iterator[Finding]:
    """Check that Dagster can build the definitions of all datasets."""
    definitions = build_definitions(settings.definitions)
    assets = len(list(definitions.resolve_all_asset_specs()))
    yield good("dagster", f"the definitions load: {assets} assets")
