"""`d4c doctor`: checks of a deployment, each with its remedy."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Annotated

import typer
from rich.markup import escape

from d4c_pipeline.commands.common import AsJson, Debug, Defs, Home, environment_with, out, print_json, read_settings

_SECONDS = 60.0
_STYLES = {"ok": "green", "warning": "yellow", "failed": "bold red"}


def doctor(
    seconds: Annotated[float, typer.Option(help="Time for all checks together.", min=1)] = _SECONDS,
    home: Home = None,
    defs: Defs = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Check the deployment and say how to mend it: settings, disks, clock, ledger, stores, archive, Dagster.

    Exit code 1 if a check failed; a warning stops no publication. Tries the archive's token with a draft that it
    deletes, and each store with a small file.
    """
    from d4c_pipeline.model.errors import D4CError
    from d4c_pipeline.upkeep.doctor.checklist import checks_of_deployment, checks_of_machine
    from d4c_pipeline.upkeep.doctor.findings import Health, diagnose

    environment = environment_with(home, defs)
    checks = checks_of_machine(environment)
    try:
        settings = read_settings(home, defs, debug)
    except D4CError:
        settings = None  # the check of the settings reports it; without them there is no deployment to check
    if settings is not None:
        from d4c_pipeline.orchestration.diagnosis import dagster_checks

        checks += [*checks_of_deployment(settings, environment), *dagster_checks(settings)]
    findings = diagnose(checks, seconds)
    bad = sum(finding.health is Health.FAILED for finding in findings)
    if as_json:
        print_json({"healthy": not bad, "findings": [asdict(finding) for finding in findings]})
    else:
        for finding in findings:
            verdict = f"[{_STYLES[finding.health]}]{finding.health:<8}[/{_STYLES[finding.health]}]"
            out.print(f"{verdict} {escape(f'{finding.subject:<16}')} {escape(finding.line)}")
        warnings = sum(finding.health is Health.WARNING for finding in findings)
        out.print(f"{len(findings)} findings: {bad} failed, {warnings} warnings")
    sys.stdout.flush()
    if bad:
        raise typer.Exit(1)
