"""helm-values.yaml against a closed schema, Dagster's own settings, and the models of the Kubernetes client.

No cluster and no Helm run here: the templates of the chart stay unchecked. The Job of a run is made by dagster-k8s, as
the daemon makes it.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from dagster._config import process_config
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.instance.config import dagster_instance_config_schema
from dagster._core.launcher import LaunchRunContext
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin
from dagster._core.run_coordinator import QueuedRunCoordinator
from dagster._core.test_utils import create_run_for_test, instance_for_test
from dagster_aws.s3.compute_log_manager import S3ComputeLogManager
from dagster_k8s import launcher as k8s_launcher
from dagster_k8s.launcher import K8sRunLauncher
from dagster_k8s.models import k8s_model_from_dict, k8s_snake_case_dict
from kubernetes import client

REPOSITORY = Path(__file__).parents[3]
VALUES: dict[str, Any] = yaml.safe_load((REPOSITORY / "helm-values.yaml").read_text(encoding="utf-8"))
SCHEMA = json.loads((Path(__file__).parent / "helm_values.schema.json").read_text(encoding="utf-8"))
LAUNCHER: dict[str, Any] = VALUES["runLauncher"]["config"]["k8sRunLauncher"]
CODE_LOCATION: dict[str, Any] = VALUES["dagster-user-deployments"]["deployments"][0]
INSTANCE: dict[str, Any] = VALUES["additionalInstanceConfig"]
COMPOSED = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text(encoding="utf-8"))


def at(values: Any, path: str) -> Any:
    for name in path.split("/") if path else ():
        values = values[int(name) if name.isdigit() else name]
    return values


def snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


def test_the_values_are_those_of_the_chart() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(VALUES, SCHEMA)


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("", "dagsterDeamon"),
        ("global", "postgresqlSecret"),
        ("dagsterWebserver", "enableReadonly"),
        ("dagster-user-deployments/deployments/0", "envSecret"),
        ("dagster-user-deployments/deployments/0/resources", "limit"),
        ("runLauncher/config/k8sRunLauncher", "env_secrets"),
        ("computeLogManager/config/s3ComputeLogManager", "endpointURL"),
    ],
)
def test_a_wrong_key_is_an_error(path: str, key: str) -> None:
    values = copy.deepcopy(VALUES)
    at(values, path)[key] = {}
    with pytest.raises(jsonschema.ValidationError, match=f"'{key}' was unexpected"):
        jsonschema.validate(values, SCHEMA)


@pytest.mark.parametrize(
    ("path", "key"), [("postgresql", "postgresqlPassword"), ("dagster-user-deployments/deployments/0", "env")]
)
def test_a_secret_has_no_place_in_the_values(path: str, key: str) -> None:
    values = copy.deepcopy(VALUES)
    at(values, path)[key] = "hunter2"
    with pytest.raises(jsonschema.ValidationError, match=f"'{key}' was unexpected"):
        jsonschema.validate(values, SCHEMA)


@pytest.mark.parametrize(
    "pod", [VALUES["dagsterWebserver"], VALUES["dagsterDaemon"], CODE_LOCATION], ids=["webserver", "daemon", "code"]
)
def test_the_objects_of_the_pods_are_those_of_kubernetes(pod: dict[str, Any]) -> None:
    def made(kind: Any, declared: dict[str, Any]) -> Any:
        return k8s_model_from_dict(kind, k8s_snake_case_dict(kind, declared))

    assert made(client.V1PodSecurityContext, pod["podSecurityContext"]).run_as_user == 8763
    assert made(client.V1SecurityContext, pod["securityContext"]).capabilities.drop == ["ALL"]
    assert made(client.V1ResourceRequirements, pod["resources"]).limits["memory"]
    volumes = {made(client.V1Volume, each).name for each in pod.get("volumes", [])}
    assert {made(client.V1VolumeMount, each).name for each in pod.get("volumeMounts", [])} == volumes
    with pytest.raises(Exception, match="limit"):
        made(client.V1ResourceRequirements, {**pod["resources"], "limit": {}})


def test_each_pod_has_the_secrets_that_its_service_has_in_compose() -> None:
    def named(values: dict[str, Any]) -> set[str]:
        return {each["name"].removeprefix("d4c-") for each in values.get("envSecrets", [])}

    def composed(service: str) -> set[str]:
        names = {"postgres": "ledger", "archive_token": "archive", "submissions_mail": "alerts"}
        secrets = COMPOSED["services"][service]["secrets"]
        return {names.get(name, "store" if name.startswith("store") else name) for name in secrets}

    assert named(CODE_LOCATION) == composed("code-location") | {"logs"}
    assert named(LAUNCHER) == composed("worker") | {"logs"}
    # The chart itself passes the password of Dagster's database.
    assert named(VALUES["dagsterWebserver"]) == (composed("webserver") - {"ledger"}) | {"logs"}
    assert named(VALUES["dagsterDaemon"]) == composed("daemon") - {"ledger"}


def test_the_instance_is_that_of_the_repository_where_the_chart_has_no_say() -> None:
    found = process_config(dagster_instance_config_schema(), INSTANCE)
    assert found.success, found.errors
    ours = yaml.safe_load((REPOSITORY / "dagster.yaml").read_text(encoding="utf-8"))
    by_chart = {"telemetry", "run_coordinator", "code_servers"}  # the last is of servers that Dagster starts itself
    assert set(INSTANCE) == set(ours) - by_chart
    differing = {name: INSTANCE[name] for name in INSTANCE if INSTANCE[name] != ours[name]}
    assert set(differing) == {"concurrency", "run_monitoring"}
    assert differing["concurrency"] == {**ours["concurrency"], "runs": {"max_concurrent_runs": 16}}
    assert differing["run_monitoring"] == {
        **ours["run_monitoring"],
        "start_timeout_seconds": 3600,
        "max_resume_run_attempts": 0,
    }


def test_the_queue_and_the_logs_are_configured_as_dagster_reads_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("D4C_LOGS_BUCKET", "logs")
    monkeypatch.setenv("D4C_LOGS_ENDPOINT", "https://s3.example.org")
    queue = VALUES["dagsterDaemon"]["runCoordinator"]["config"]["queuedRunCoordinator"]
    logs = VALUES["computeLogManager"]["config"]["s3ComputeLogManager"]
    for reader, declared in ((QueuedRunCoordinator, queue), (S3ComputeLogManager, logs)):
        found = process_config(reader.config_type(), {snake(name): value for name, value in declared.items()})
        assert found.success, found.errors


def test_a_run_is_a_job_with_its_limits_and_without_a_secret_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    posted: list[tuple[str, client.V1Job]] = []

    class Batch:
        def create_namespaced_job(self, body: client.V1Job, namespace: str, **_: object) -> None:
            posted.append((namespace, body))

    monkeypatch.setattr(k8s_launcher, "load_kubernetes_config", lambda **_: None)
    names = ("envConfigMaps", "envSecrets")
    config = {
        "service_account_name": "dagster",
        "instance_config_map": "dagster-instance",
        "dagster_home": VALUES["global"]["dagsterHome"],
        "job_namespace": "d4c",
        **{snake(name): value for name, value in LAUNCHER.items() if name not in {*names, "runK8sConfig"}},
        **{snake(name): [each["name"] for each in LAUNCHER[name]] for name in names},
        "run_k8s_config": {snake(name): value for name, value in LAUNCHER["runK8sConfig"].items()},
    }
    found = process_config(K8sRunLauncher.config_type(), config)
    assert found.success, found.errors
    launcher = K8sRunLauncher(**found.value, k8s_client_batch_api=Batch())
    image = "{repository}:{tag}".format(**CODE_LOCATION["image"])
    code = RepositoryPythonOrigin(
        "python", ModuleCodePointer("d4c_pipeline.definitions", "defs"), container_image=image
    )
    with instance_for_test() as instance:
        launcher.register_instance(instance)
        run = create_run_for_test(instance, "publish_places", job_code_origin=JobPythonOrigin("publish_places", code))
        launcher.launch_run(LaunchRunContext(run, workspace=None))

    ((namespace, job),) = posted
    pod = job.spec.template.spec
    (container,) = pod.containers
    assert namespace == "d4c"
    assert container.image == "registry.example.org/d4c-pipeline:1"
    assert container.args[:5] == ["python", "-m", "dagster", "api", "execute_run"]
    assert container.resources.limits == {"memory": "8Gi"}
    assert pod.security_context.run_as_user == 8763
    assert container.security_context.allow_privilege_escalation is False
    # A pod that died is not started again by Kubernetes, but by Dagster as a new run.
    assert (job.spec.backoff_limit, pod.restart_policy) == (0, "Never")
    assert job.spec.ttl_seconds_after_finished == 86400
    assert [each.secret_ref.name for each in container.env_from if each.secret_ref] == [
        "d4c-ledger",
        "d4c-store",
        "d4c-logs",
        "d4c-archive",
    ]
    assert {"home", "stores"} <= {each.name for each in pod.volumes}
    (home,) = (each for each in pod.volumes if each.name == "home")
    assert home.ephemeral.volume_claim_template.spec.resources.requests == {"storage": "100Gi"}
    mounted = {each.name: each.mount_path for each in container.volume_mounts}
    assert mounted["home"] == "/var/lib/d4c"
    assert {each.name for each in container.env} == {"DAGSTER_HOME", "DAGSTER_RUN_JOB_NAME"}, "no secret as a value"
