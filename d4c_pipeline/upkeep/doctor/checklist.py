"""The list of checks of a deployment, in the order of their display.

The checks themselves belong to `machine` and `services`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

from d4c_pipeline.model.errors import D4CError
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.upkeep.doctor import machine, services
from d4c_pipeline.upkeep.doctor.findings import Check, Finding


def checks_of_machine(environment: Mapping[str, str]) -> list[Check]:
    """Return the checks that need no settings, that of the settings first."""
    return [
        Check("settings", lambda: machine.settings_findings(environment)),
        Check("packages", machine.package_findings),
        Check("duckdb", machine.extension_findings),
    ]


def checks_of_deployment(settings: Settings, environment: Mapping[str, str]) -> list[Check]:
    """Return the checks of what the settings name."""
    stores = range(1 + len(settings.stores.mirrors))
    return [
        Check("secrets", partial(machine.secret_file_findings, settings)),
        Check("home", partial(machine.home_findings, settings)),
        Check("disk", partial(machine.disk_findings, settings)),
        Check("clock", partial(_clock, settings)),
        Check("ports", partial(machine.port_findings, settings)),
        Check("ledger", partial(services.ledger_findings, settings)),
        *(Check(f"store {place}", partial(services.store_findings, settings, place)) for place in stores),
        Check(f"archive {settings.archive}", partial(services.archive_findings, settings)),
        Check("definitions", partial(services.definition_findings, settings, environment)),
    ]


def _clock(settings: Settings) -> Iterator[Finding]:
    try:
        facts = services.ledger_facts(settings)
    except D4CError:
        facts = None  # reported by the check of the ledger
    return machine.clock_findings(settings, facts.clock if facts else None)
