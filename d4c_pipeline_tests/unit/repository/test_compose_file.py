"""docker-compose.yml as parsers of Compose read it: that of podman-compose, and Docker's own where it is installed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).parents[3]
OURS = {"code-location", "webserver", "daemon", "files", "seeder", "tracker"}
# nginx gets the volume, read-only, and none of the settings: they hold secrets.
CONFIGURED = OURS - {"files"}
# A password with everything that a URL, a shell or YAML could trip over.
PASSWORD = "a:b/c@d#e $f'g\"h"


def succeeds(command: list[str]) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def podman_compose(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Let podman-compose normalise a copy of the file in `folder`: beside the real one may lie an operator's .env."""
    shutil.copy(REPOSITORY / "docker-compose.yml", folder)
    # `config` starts no container, but asks for podman's version before anything else.
    podman = folder / "podman"
    podman.write_text("#!/bin/sh\necho podman version 5.4.0\n", encoding="utf-8")
    podman.chmod(0o755)
    words = [Path(sys.executable).parent / "podman-compose", "--podman-path", podman, "config"]
    return subprocess.run(words, env=environment(**variables), capture_output=True, text=True, check=False, cwd=folder)


def environment(**variables: str) -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith(("D4C_", "COMPOSE_"))} | variables


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("compose")


@pytest.fixture(scope="module")
def services(folder: Path) -> dict[str, Any]:
    result = podman_compose(folder, D4C_POSTGRES_PASSWORD=PASSWORD)
    assert result.returncode == 0, result.stderr
    return yaml.safe_load(result.stdout)["services"]


def test_it_holds_all_parts_and_the_one_that_ends_at_once(services: dict[str, Any]) -> None:
    assert set(services) == OURS | {"postgresql", "databases"}


def test_all_of_ours_come_from_the_one_dockerfile(services: dict[str, Any], folder: Path) -> None:
    images = {name: services[name]["image"] for name in OURS}
    for stage in ("tracker", "files"):
        assert images.pop(stage) == f"d4c-{stage}:local"
        assert services[stage]["build"]["target"] == stage
        assert f" AS {stage}\n" in (REPOSITORY / "Dockerfile").read_text("utf-8")
    assert set(images.values()) == {"d4c-pipeline:local"}
    assert {Path(services[name]["build"]["context"]).resolve() for name in OURS} == {folder.resolve()}


def test_there_is_no_default_password(tmp_path: Path) -> None:
    result = podman_compose(tmp_path)
    assert result.returncode != 0
    assert "put D4C_POSTGRES_PASSWORD into .env first" in result.stderr


def test_any_password_goes_through_because_none_stands_in_an_address(services: dict[str, Any]) -> None:
    for name in CONFIGURED:
        environment = services[name]["environment"]
        assert environment["PGPASSWORD"] == PASSWORD
        assert environment["D4C_LEDGER_URL"] == "postgresql+psycopg2://d4c@postgresql:5432/d4c"
    assert services["postgresql"]["environment"]["POSTGRES_PASSWORD"] == PASSWORD


def test_ports_are_published_on_loopback_alone(services: dict[str, Any]) -> None:
    published = {name: services[name]["ports"] for name in services if services[name].get("ports")}
    # Peers have to reach the seeder; nobody else has to reach anything.
    assert published.pop("seeder") == ["6881:6881", "6881:6881/udp", "127.0.0.1:8764:8764"]
    assert published == {
        "webserver": ["127.0.0.1:3000:3000"],
        "files": ["127.0.0.1:8763:8763"],
        "tracker": ["127.0.0.1:6969:6969", "127.0.0.1:6969:6969/udp"],
    }


def test_everything_that_stays_up_is_watched_and_restarted(services: dict[str, Any]) -> None:
    for name in OURS | {"postgresql"}:
        assert services[name]["restart"] == "unless-stopped", name
        assert services[name]["healthcheck"]["test"][0] == "CMD", name


def test_dagster_and_the_ledger_do_not_share_a_database(services: dict[str, Any]) -> None:
    environment = services["code-location"]["environment"]
    databases = {environment[key].rpartition("/")[2] for key in ("D4C_LEDGER_URL", "DAGSTER_POSTGRES_URL")}
    assert databases == {"d4c", "dagster"}


def test_docker_s_own_parser_reads_it_the_same(services: dict[str, Any], folder: Path) -> None:
    candidates = (["docker", "compose"], ["docker-compose"])
    installed = [words for words in candidates if shutil.which(words[0]) and succeeds([*words, "version"])]
    if not installed:
        pytest.skip("neither `docker compose` nor `docker-compose` is installed")
    result = subprocess.run(
        [*installed[0], "config", "--format", "json"],
        env=environment(D4C_POSTGRES_PASSWORD=PASSWORD),
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )
    assert result.returncode == 0, result.stderr
    assert set(json.loads(result.stdout)["services"]) == set(services)


def test_a_public_address_and_another_port_reach_every_part(tmp_path: Path) -> None:
    variables = {"D4C_POSTGRES_PASSWORD": "x", "D4C_STORE_URL": "https://data.example.ca", "D4C_PORT": "9000"}
    result = podman_compose(tmp_path, **variables)
    assert result.returncode == 0, result.stderr
    services = yaml.safe_load(result.stdout)["services"]
    assert {services[name]["environment"]["D4C_STORE_URL"] for name in CONFIGURED} == {"https://data.example.ca"}
    assert services["files"]["ports"] == ["127.0.0.1:9000:8763"]


def test_the_file_server_can_neither_write_nor_know_a_secret(services: dict[str, Any]) -> None:
    files = services["files"]
    assert files["volumes"] == ["d4c:/var/lib/d4c:ro"]
    assert not files.get("environment")
