"""What Prometheus reads of a ledger: every number counted by the database, at an address of the file server."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from d4c_pipeline.ledger import Ledger
from d4c_pipeline.model.release import NativeFile, PlannedRelease, Release
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.services.file_server import app
from d4c_pipeline.services.metrics import PATH, route

DASHBOARD = Path(__file__).parents[3] / "docs" / "grafana.json"
Series = dict[tuple[str, ...], float]


async def scrape(settings: Settings, folder: Path) -> tuple[int, dict[str, Series]]:
    """The status of a scrape, and the values of each metric by its labels, these in the order of their names."""
    transport = httpx.ASGITransport(app=app({"/": folder}, [route(settings)]))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        answer = await client.get(PATH)
    families = text_string_to_metric_families(answer.text) if answer.status_code == 200 else ()
    found: dict[str, Series] = {}
    for family in families:
        found[family.name] = {tuple(sample.labels.values()): sample.value for sample in family.samples}
    return answer.status_code, found


def test_every_number_of_the_ledger(ledger: Ledger, url: str, plan: Callable[..., Release], tmp_path: Path) -> None:
    planned = plan(ledger, "0.1.0", "2021")
    assert isinstance(planned, PlannedRelease)
    ledger.releases.mark_published(planned)
    plan(ledger, "0.1.0", "2022")
    moment = Vintage.parse("2021")
    native = NativeFile("a.zip", "https://a.example/a.zip", "c" * 64, 700, None, None, None, "raw/a/2021/cc/a.zip")
    ledger.natives.record("provinces", moment, [native], "ogl")
    for store, intact in (("primary", True), ("attic", False)):
        ledger.copies.record(
            planned, "data.parquet", store, address="releases/a", size=10, sha256="a" * 64, intact=intact
        )
    ledger.builds.record("provinces", moment, "d" * 64)
    ledger.observations.record_seen("provinces", {"2021": "x", "2022": "y"})
    ledger.observations.record_retained("provinces", "2021", "x", "x")
    ledger.observations.record_settled("provinces", "2021")
    for step in ("raw", "doi"):
        ledger.failures.record(
            "provinces", "2022", step, kind="SourceError", transient=step == "raw", cause="c", remedy="r", run=None
        )
    settings = Settings(home=tmp_path / "home", ledger_url=url)
    status, found = asyncio.run(scrape(settings, tmp_path))
    assert status == 200
    assert found["d4c_releases"] == {("provinces", "published"): 1, ("provinces", "planned"): 1}
    assert found["d4c_published_bytes"] == {("provinces",): 20}
    assert found["d4c_retained_bytes"] == {("provinces",): 700}
    assert found["d4c_copies"] == {("intact", "primary"): 1, ("damaged", "attic"): 1}
    assert found["d4c_copies_bytes"] == {("intact", "primary"): 10, ("damaged", "attic"): 10}
    assert found["d4c_failures"] == {("transient", "provinces"): 1, ("permanent", "provinces"): 1}
    assert found["d4c_builds_uncompared"] == {(): 1}
    assert found["d4c_runs_in_progress"] == {(): 0}
    assert found["d4c_partitions_due"] == {("provinces",): 1}
    assert 0 <= found["d4c_source_lag_seconds"][("provinces",)] < 60
    assert found["d4c_last_published_timestamp_seconds"][("provinces",)] > 1.7e9
    # The dashboard asks for series that exist, and leaves none out.
    panels = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
    asked = {name for panel in panels for each in panel["targets"] for name in re.findall(r"d4c_\w+", each["expr"])}
    assert asked | {"d4c_copies_bytes"} == found.keys()
