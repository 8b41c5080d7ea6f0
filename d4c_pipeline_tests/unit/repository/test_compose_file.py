"""docker-compose.yml as parsers of Compose read it: that of podman-compose, and Docker's own where it is installed."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).parents[3]
STAGES = {"files", "tracker", "broker"}
OURS = {"code-location", "worker", "webserver", "daemon", "seeder", "services"} | STAGES
# Only these know addresses and secrets of the platform.
CONFIGURED = OURS - STAGES
DATABASE, STORE = {"postgres"}, {"store_access_key", "store_secret_key"}
SECRETS = {
    "postgresql": {"postgres_superuser"},
    "databases": {"postgres_superuser", "postgres"},
    "code-location": DATABASE | STORE | {"archive_token", "alerts", "submissions_mail"},
    "worker": DATABASE | STORE | {"archive_token"},
    "webserver": DATABASE,
    "daemon": DATABASE,
    "seeder": DATABASE | STORE,
    "services": DATABASE | STORE | {"oidc_client_secret", "submissions_mail"},
    "front": {"users"},
    "s3": STORE,
}
"""The secrets of each service; the others have none."""


def succeeds(command: list[str]) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def podman_compose(folder: Path, *options: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Let podman-compose normalise a copy of the file in `folder`: beside the real one may lie an operator's .env."""
    shutil.copy(REPOSITORY / "docker-compose.yml", folder)
    # `config` starts no container, but asks for podman's version before anything else.
    podman = folder / "podman"
    podman.write_text("#!/bin/sh\necho podman version 5.4.0\n", encoding="utf-8")
    podman.chmod(0o755)
    words = [Path(sys.executable).parent / "podman-compose", "--podman-path", podman, *options, "config"]
    return subprocess.run(words, env=environment(**variables), capture_output=True, text=True, check=False, cwd=folder)


def environment(**variables: str) -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith(("D4C_", "COMPOSE_"))} | variables


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("compose")


@pytest.fixture(scope="module")
def services(folder: Path) -> dict[str, Any]:
    result = podman_compose(folder)
    assert result.returncode == 0, result.stderr
    return yaml.safe_load(result.stdout)["services"]


def test_it_holds_all_parts_and_the_one_that_ends_at_once(services: dict[str, Any]) -> None:
    assert set(services) == OURS | {"postgresql", "databases"}


def test_all_of_ours_come_from_the_one_dockerfile(services: dict[str, Any], folder: Path) -> None:
    images = {name: services[name]["image"] for name in OURS}
    for stage in STAGES:
        assert images.pop(stage) == f"d4c-{stage}:local"
        assert services[stage]["build"]["target"] == stage
        assert f" AS {stage}\n" in (REPOSITORY / "Dockerfile").read_text("utf-8")
    assert set(images.values()) == {"d4c-pipeline:local"}
    assert {Path(services[name]["build"]["context"]).resolve() for name in OURS} == {folder.resolve()}


def test_each_service_gets_its_own_secrets_by_files_and_no_more(folder: Path) -> None:
    declared = yaml.safe_load((folder / "docker-compose.yml").read_text("utf-8"))
    assert {name: set(service.get("secrets", ())) for name, service in declared["services"].items()} == {
        name: SECRETS.get(name, set()) for name in declared["services"]
    }
    assert set(declared["secrets"]) == set.union(*SECRETS.values())
    for name, secret in declared["secrets"].items():
        assert secret == {"file": f"${{D4C_SECRETS:-./secrets}}/{name}"}


def test_no_environment_holds_a_secret(services: dict[str, Any]) -> None:
    for name, service in services.items():
        for variable, value in (service.get("environment") or {}).items():
            if any(word in variable for word in ("PASSWORD", "TOKEN", "SECRET", "_KEY")):
                assert variable.endswith(("_FILE", "_EXPIRES")), (name, variable)
                assert not value or value.startswith("/run/secrets/") or variable.endswith("_EXPIRES"), (name, variable)
        if name not in CONFIGURED:
            assert not any(variable.startswith("D4C_") for variable in service.get("environment") or {}), name


def test_a_secret_of_a_file_reaches_the_command_whatever_it_is(tmp_path: Path) -> None:
    password = "a:b/c@d#e $f'g\"h\\"  # everything that a shell could trip over
    (tmp_path / "postgres").write_text(password + "\n", "utf-8")
    words = [REPOSITORY / "with-secrets.sh", sys.executable, "-c", "import os; print(os.environ['PGPASSWORD'], end='')"]
    given = environment(PGPASSWORD_FILE=str(tmp_path / "postgres"))
    assert subprocess.run(words, env=given, capture_output=True, text=True, check=True).stdout == password
    given["PGPASSWORD_FILE"] = str(tmp_path / "none")
    refused = subprocess.run(words, env=given, capture_output=True, text=True, check=False)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "The secret PGPASSWORD can't be read" in refused.stderr


def test_an_s3_server_runs_only_where_it_is_asked_for(services: dict[str, Any], tmp_path: Path) -> None:
    assert "s3" not in services
    result = podman_compose(tmp_path, "--profile", "s3")
    assert result.returncode == 0, result.stderr
    server = yaml.safe_load(result.stdout)["services"]["s3"]
    assert server["ports"] == ["127.0.0.1:8333:8333"]
    assert server["volumes"] == ["s3:/var/lib/s3"]
    assert (server["restart"], server["cap_drop"], server["mem_limit"]) == ("unless-stopped", ["ALL"], "1g")
    assert server["healthcheck"]["test"][-1] == "http://127.0.0.1:8333/healthz"
    assert f" AS {server['build']['target']}\n" in (REPOSITORY / "Dockerfile").read_text("utf-8")


def started_s3(folder: Path, key: str, secret: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run s3.sh with a `weed` that prints the lines of its input, then its words."""
    weed = folder / "weed"
    weed.write_text('#!/bin/sh\n[ "$1" = shell ] && cat\nprintf "%s\\n" "$@" "$WEED_LEVELDB2_DIR"\n', encoding="utf-8")
    weed.chmod(0o755)
    (folder / "key").write_text(key + "\n", "utf-8")
    (folder / "secret").write_text(secret + "\n", "utf-8")
    given = environment(
        PATH=f"{folder}:{os.environ['PATH']}",
        TMPDIR=str(folder),
        D4C_STORE_ACCESS_KEY_FILE=str(folder / "key"),
        D4C_STORE_SECRET_KEY_FILE=str(folder / "secret"),
        WEED_LEVELDB2_DIR="",
    )
    return subprocess.run([REPOSITORY / "s3.sh", *words], env=given, capture_output=True, text=True, check=False)


def test_the_s3_server_knows_one_key_and_shows_nothing_hidden(tmp_path: Path) -> None:
    result = started_s3(tmp_path, "AKIA/x+=", "s3cret_.-", "/srv/s3")
    assert (result.returncode, result.stderr) == (0, "")
    identities = tmp_path / "identities.json"
    assert identities.stat().st_mode & 0o777 == 0o600
    ours, anybody = json.loads(identities.read_text("utf-8"))["identities"]
    assert ours["credentials"] == [{"accessKey": "AKIA/x+=", "secretKey": "s3cret_.-"}]
    assert ours["actions"] == ["Read:d4c", "Write:d4c", "List:d4c"]
    public = ("raw", "releases", "processed", "torrents", "snapshots", "catalogue")
    assert anybody == {"name": "anonymous", "actions": [f"Read:d4c/{name}/*" for name in public]}
    words = result.stdout.splitlines()
    assert {"server", "-dir=/srv/s3", f"-s3.config={identities}", "-s3.iam=false"} <= set(words)
    # The master, the volumes and the filer ask for no credentials.
    assert {"-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3.ip.bind=0.0.0.0"} <= set(words)
    assert words[-1] == "/srv/s3/filer"


@pytest.mark.parametrize(("key", "secret"), [("", "secret"), ("key", ""), ("key", 'a"b'), ("k\\y", "secret")])
def test_the_s3_server_does_not_start_with_keys_that_it_could_not_write_down(
    key: str, secret: str, tmp_path: Path
) -> None:
    result = started_s3(tmp_path, key, secret, "/srv/s3")
    assert (result.returncode, result.stdout) == (1, "")
    assert "fill secrets/store_access_key and secrets/store_secret_key" in result.stderr
    assert not (tmp_path / "identities.json").exists()


def test_the_bucket_of_the_s3_server_is_made_by_its_script(tmp_path: Path) -> None:
    result = started_s3(tmp_path, "key", "secret", "bucket")
    assert result.stdout.splitlines()[0] == "s3.bucket.create -name d4c"


def test_memory_is_limited_and_a_stop_lets_runs_end(services: dict[str, Any]) -> None:
    assert {name for name, service in services.items() if not service.get("mem_limit")} == set()
    assert services["worker"]["stop_grace_period"] == "30m"
    # Runs are with the workers alone, so a new code location or daemon ends none.
    assert [name for name, service in services.items() if "celery" in service.get("command", ())] == ["worker"]


def test_a_team_adds_datasets_by_a_folder(services: dict[str, Any]) -> None:
    for name in CONFIGURED:
        assert services[name]["environment"]["D4C_DEFS"] == "/srv/defs"
        assert any(str(volume).endswith("/defs:/srv/defs:ro") for volume in services[name]["volumes"]), name


def test_every_file_that_the_dockerfile_copies_is_sent_to_the_builder() -> None:
    sent = (REPOSITORY / ".dockerignore").read_text("utf-8").splitlines()
    copied = re.findall(
        r"^COPY (?:--chmod=\S+ )?(?!--from)(.+) \S+$", (REPOSITORY / "Dockerfile").read_text("utf-8"), re.M
    )
    names = {name for line in copied for name in line.split()}
    assert {"nginx.conf", "Caddyfile", "with-secrets.sh", "d4c_pipeline"} <= names
    assert sorted(name for name in names if f"!{name}" not in sent) == []


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
        assert services[name]["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL"), name


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
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )
    assert result.returncode == 0, result.stderr
    assert set(json.loads(result.stdout)["services"]) == set(services)


def test_a_public_address_and_another_port_reach_every_part(tmp_path: Path) -> None:
    variables = {"D4C_STORE_URL": "https://data.example.ca", "D4C_PORT": "9000"}
    result = podman_compose(tmp_path, **variables)
    assert result.returncode == 0, result.stderr
    services = yaml.safe_load(result.stdout)["services"]
    assert {services[name]["environment"]["D4C_STORE_URL"] for name in CONFIGURED} == {"https://data.example.ca"}
    assert services["files"]["ports"] == ["127.0.0.1:9000:8763"]


def test_the_file_server_can_neither_write_nor_know_a_secret(services: dict[str, Any]) -> None:
    files = services["files"]
    assert files["volumes"] == ["d4c:/var/lib/d4c:ro"]
    assert not files.get("environment")
