"""The seeder's settings: read from an environment, with clear refusals."""

from __future__ import annotations

from pathlib import Path

import pytest

from d4c_pipeline.model.errors import PermanentError
from d4c_pipeline.model.seeding import FetchPolicy, SeedingSettings, byte_count


def test_without_variables_it_takes_part_in_the_swarm_and_fetches_nothing() -> None:
    settings = SeedingSettings.from_environment({})
    assert settings == SeedingSettings()
    assert (settings.dht, settings.lsd, settings.upnp, settings.fetch) == (True, True, False, FetchPolicy())
    assert (settings.metrics_host, settings.metrics_port) == ("127.0.0.1", 8764)


def test_every_variable(tmp_path: Path) -> None:
    assert SeedingSettings.from_environment(
        {
            "D4C_SEED_LISTEN": "127.0.0.1:7000, [::1]:7000",
            "D4C_SEED_DHT": "0",
            "D4C_SEED_DHT_NODES": "router.example.org:6881, 10.0.0.1:1",
            "D4C_SEED_LSD": "0",
            "D4C_SEED_UPNP": "1",
            "D4C_SEED_UPLOAD_LIMIT": "5MB",
            "D4C_SEED_DOWNLOAD_LIMIT": "1.5 MiB",
            "D4C_SEED_METRICS_HOST": "10.0.0.2",
            "D4C_SEED_METRICS_PORT": "0",
            "D4C_SEED_REFRESH": "60",
            "D4C_TRACKER_WHITELIST": str(tmp_path / "list"),
            "D4C_OPERATOR_KEY": str(tmp_path / "key"),
            "D4C_SEED_FETCH": "0",
            "D4C_SEED_DATASETS": "stops, places",
            "D4C_SEED_BUDGET": "2TB",
        }
    ) == SeedingSettings(
        listen="127.0.0.1:7000,[::1]:7000",
        dht=False,
        dht_nodes=(("router.example.org", 6881), ("10.0.0.1", 1)),
        lsd=False,
        upnp=True,
        upload_limit=5_000_000,
        download_limit=1_572_864,
        metrics_host="10.0.0.2",
        metrics_port=0,
        refresh=60,
        whitelist=tmp_path / "list",
        key_file=tmp_path / "key",
        fetch_datasets=frozenset({"stops", "places"}),
        fetch_budget=2 * 10**12,
    )


def test_a_budget_alone_is_one_for_everything() -> None:
    assert SeedingSettings.from_environment({"D4C_SEED_BUDGET": "1GB"}).fetch == FetchPolicy(True, frozenset(), 10**9)


@pytest.mark.parametrize(
    ("listen", "loopback"),
    [
        ("127.0.0.1:0", True),
        ("127.0.0.1:1,[::1]:1", True),
        ("lo:1", True),
        ("0.0.0.0:1", False),
        ("127.0.0.1:1,[::]:1", False),
        ("eth0:1", False),
    ],
)
def test_loopback_is_told_from_the_world(listen: str, loopback: bool) -> None:
    assert SeedingSettings.from_environment({"D4C_SEED_LISTEN": listen}).is_loopback is loopback


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("D4C_SEED_LISTEN", "here", "D4C_SEED_LISTEN is 'here'"),
        ("D4C_SEED_DHT_NODES", "a", "D4C_SEED_DHT_NODES has 'a'"),
        ("D4C_SEED_DHT_NODES", "a:70000", "D4C_SEED_DHT_NODES has 'a:70000'"),
        ("D4C_SEED_METRICS_PORT", "70000", "D4C_SEED_METRICS_PORT is '70000'"),
        ("D4C_SEED_REFRESH", "soon", "D4C_SEED_REFRESH is 'soon'"),
        ("D4C_SEED_BUDGET", "much", "'much' is no amount of bytes"),
        ("D4C_SEED_UPLOAD_LIMIT", "5", "'5' is no amount of bytes"),
    ],
)
def test_what_can_not_be_understood_is_refused(name: str, value: str, words: str) -> None:
    with pytest.raises(PermanentError, match=words):
        SeedingSettings.from_environment({name: value})


def test_amounts() -> None:
    assert [byte_count(text) for text in ("", "1B", "2kB", "3 KiB", "0.5GB", "1TiB")] == [
        None, 1, 2000, 3072, 500_000_000, 1 << 40
    ]  # fmt: skip
