"""`d4c alert`: sends what waits for a person to the addresses of alerts."""

from __future__ import annotations

from typing import Annotated

import typer

from d4c_pipeline.commands.common import AsJson, Debug, Defs, Home, out, print_json, read_settings


def alert(
    test: Annotated[bool, typer.Option("--test", help="Send one test message instead, also twice a day.")] = False,
    home: Home = None,
    defs: Defs = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Send what waits for a person to the addresses in D4C_ALERTS, as the sensor does."""
    from uuid import uuid4

    from d4c_pipeline.model.alerting import AlertSettings
    from d4c_pipeline.model.errors import PermanentError, TransientError
    from d4c_pipeline.orchestration.daily.attention import launch_of
    from d4c_pipeline.upkeep.alerts import Alert, alerts_of, send
    from d4c_pipeline.upkeep.attention import needs_attention
    from d4c_pipeline.workspace.datasets import load_datasets, load_families
    from d4c_pipeline.workspace.deployment import Deployment

    settings, alerting = read_settings(home, defs, debug), AlertSettings.from_environment()
    if not alerting.places():
        raise PermanentError("D4C_ALERTS names no address", "Set it, or D4C_ALERTS_FILE; see docs/operations.md")
    declared = [*load_datasets(settings.definitions).values(), *load_families(settings.definitions).values()]
    with Deployment.open(settings) as deployment:
        if test:
            alerts = [Alert("d4c: a test of alerts", f"It comes from {settings.publisher}.", (f"test {uuid4().hex}",))]
        else:
            alerts = alerts_of(needs_attention(deployment, declared), launch_of, alerting.ui)
        sent = send(deployment.ledger, alerts, alerting)
    if as_json:
        print_json({"delivered": sent.delivered, "failed": list(sent.failed)})
    else:
        out.print(f"{sent.delivered} messages delivered")
    if sent.failed:
        raise TransientError(f"{', '.join(sent.failed)} did not accept it", "'d4c todo' says why; correct D4C_ALERTS")
