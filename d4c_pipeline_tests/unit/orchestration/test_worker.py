"""The worker of a cluster has the broker of its instance, the tasks that execute runs, and the pools of all steps."""

from __future__ import annotations

import re
from pathlib import Path

import dagster as dg
import pytest

from d4c_pipeline.model.errors import PermanentError
from d4c_pipeline.orchestration import assets, reviewing, worker
from d4c_pipeline.orchestration.resources import POOLS

SETTINGS = (Path(__file__).parents[3] / "dagster.yaml").read_text("utf-8")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    monkeypatch.setenv("D4C_BROKER_URL", "redis://127.0.0.1:9/3")
    worker.celery_app.cache_clear()
    return tmp_path


def test_an_instance_of_a_cluster_gives_the_worker_its_broker_and_pools(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "dagster.yaml").write_text(re.sub(r"^#cluster\| ", "", SETTINGS, flags=re.MULTILINE), "utf-8")
    app = worker.app
    assert app.conf.broker_url == "redis://127.0.0.1:9/3"
    assert {"execute_job", "resume_job"} <= app.tasks.keys()
    with dg.DagsterInstance.get() as instance:
        storage = instance.event_log_storage
        # Made before the first run: two runs that first use a pool at once fail on PostgreSQL.
        hosts = ("www12.statcan.gc.ca", "www150.statcan.gc.ca", "download.geonames.org", "naciscdn.org")
        assert storage.get_concurrency_keys() == {*POOLS, *(f"fetch:{host}" for host in hosts)}
        assert storage.get_concurrency_info("process").slot_count == 2

        # The next worker leaves them: on PostgreSQL, Dagster fails to create what exists.
        def fail(pool: str) -> bool:
            raise AssertionError(pool)

        monkeypatch.setattr(storage, "initialize_concurrency_limit_to_default", fail)
        worker._create_pools(instance, [])


def test_no_step_has_a_pool_that_no_worker_creates() -> None:
    used = {
        name
        for module in (assets, reviewing)
        for name in re.findall(r'pool="(\w+)"', Path(str(module.__file__)).read_text("utf-8"))
    }
    assert {*used, "fetch"} == set(POOLS)


def test_an_embedded_instance_needs_no_worker(home: Path) -> None:
    (home / "dagster.yaml").write_text(SETTINGS, "utf-8")
    with pytest.raises(PermanentError, match="launches runs by DefaultRunLauncher, not by Celery"):
        worker.celery_app()
