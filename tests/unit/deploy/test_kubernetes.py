"""The manifests of Kubernetes: valid, with settings that the code accepts, and without rights."""

from __future__ import annotations

import tomllib
from datetime import timedelta
from importlib.util import find_spec
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Final

import kubernetes_validate
import pytest
import yaml
from prometheus_client import CollectorRegistry

from backends.monitoring.operators_server import operators_app
from backends.monitoring.process_health import ProcessHealth
from backends.stages.stage_names import PUSH_STAGE, SEQUENCER, SINKS
from gateway import bounds
from gateway.log.wake_ups import MAX_DRAIN_SECONDS
from ops.access.kafka_rules import Role
from ops.commands.acl import users_of
from ops.commands.app import app
from schemas.outbound_urls import policy_of
from schemas.settings import Settings, load_settings
from tests.support.image import ROOT, instructions

FOLDER: Final = ROOT / "deploy/kubernetes"
OBJECTS: Final[list[tuple[Path, dict[str, Any]]]] = [
    (file, each)
    for file in sorted(FOLDER.rglob("*.yaml"))
    for each in yaml.safe_load_all(file.read_text(encoding="utf-8"))
]
VERSIONS: Final = ("1.30", kubernetes_validate.latest_version())
PATHS: Final = "/etc/im"
"""The folder of mounted secrets and certificates."""


def of_kind(kind: str) -> dict[str, dict[str, Any]]:
    """Return the objects of a kind, by name."""
    return {each["metadata"]["name"]: each for _, each in OBJECTS if each["kind"] == kind}


DEPLOYMENTS: Final = of_kind("Deployment")
PODS: Final[dict[str, dict[str, Any]]] = {
    name: each["spec"]["template"] for name, each in (DEPLOYMENTS | of_kind("Job")).items()
}


def container(name: str) -> dict[str, Any]:
    """Return the one container of a pod."""
    (one,) = PODS[name]["spec"]["containers"]
    found: dict[str, Any] = one
    return found


def variables(name: str) -> dict[str, str]:
    """Return the variables of a container, those of the ConfigMap included."""
    one = container(name)
    assert one["envFrom"] == [{"configMapRef": {"name": "im-settings"}}]
    own = {each["name"]: each["value"] for each in one.get("env", [])}
    shared: dict[str, str] = of_kind("ConfigMap")["im-settings"]["data"]
    assert own.keys() & shared.keys() == set()
    return shared | own


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("file", "each"),
    OBJECTS,
    ids=[f"{file.stem}-{each['kind']}-{each['metadata']['name']}" for file, each in OBJECTS],
)
def test_an_object_is_valid(file: Path, each: dict[str, Any], version: str) -> None:
    """Each object conforms to the schema of Kubernetes, without unknown fields."""
    kubernetes_validate.validate(each, version, strict=True)
    if each["kind"] != "Namespace":
        assert each["metadata"]["namespace"] == "im-timeline", file


def test_each_stage_has_a_deployment() -> None:
    """Each stage and the gateway have at least two pods, and at most a pod for each partition."""
    assert DEPLOYMENTS.keys() == {SEQUENCER, *SINKS, PUSH_STAGE, "webhooks", "gateway"}
    for name, deployment in DEPLOYMENTS.items():
        assert 2 <= deployment["spec"]["replicas"] <= int(variables(name)["IM_PARTITIONS"])


@pytest.mark.parametrize("name", PODS)
def test_the_settings_of_a_process_are_accepted(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The product accepts the variables of each container, with the files that they name."""
    for variable, value in variables(name).items():
        path = tmp_path / value.removeprefix(f"{PATHS}/")
        if value.startswith(PATHS):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("a secret of a test, which has 32 bytes", encoding="utf-8")
        monkeypatch.setenv(variable, str(path) if value.startswith(PATHS) else value)
    settings = load_settings()

    assert settings.replication == 3
    assert settings.kafka_security_protocol == "SASL_SSL"
    assert settings.cassandra_tls
    assert settings.elasticsearch_url.startswith("https://")
    assert settings.metrics_port == container_ports(name)["monitor"]


def container_ports(name: str) -> dict[str, int]:
    """Return the ports of a container, by name. The preparation has no server."""
    ports = container(name).get("ports", [{"name": "monitor", "containerPort": 9464}])
    return {port["name"]: port["containerPort"] for port in ports}


@pytest.mark.parametrize("name", PODS)
def test_a_process_has_the_user_of_its_role(name: str) -> None:
    """A container names the user for whom `im acl` makes rules, and mounts that user's secret."""
    users = users_of(Settings(namespace="im"), [])
    roles: dict[str, Role] = {
        SEQUENCER: "workers", "gateway": "gateway", "prepare": "administrators",
        PUSH_STAGE: "push", "webhooks": "webhooks",
    }  # fmt: skip
    user = users[roles.get(name, "sinks")]
    found = {value for key, value in variables(name).items() if key.endswith("_USER")}
    secrets = [volume.get("secret", {}) for volume in PODS[name]["spec"]["volumes"]]

    assert found == {user}
    assert user in {secret.get("secretName") for secret in secrets}


@pytest.mark.parametrize("name", PODS)
def test_each_command_exists(name: str) -> None:
    """A container runs a command of `im`, or a module with an entry point and its stage."""
    command = container(name)["command"]
    if command[0] == "im":
        assert command[1] in app.info.cls.functions  # type: ignore[union-attr]  # the group
        return
    assert command[:2] == ["python", "-m"]
    assert find_spec(f"{command[2]}.__main__")
    if command[2] == "sinks":
        assert name in {command[3], f"sink-{command[3]}"}


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_the_paths_of_probes_exist(name: str) -> None:
    """Liveness and readiness are different paths, which the server of operators answers."""
    one = container(name)
    paths = {
        probe: one[probe]["httpGet"]
        for probe in ("startupProbe", "livenessProbe", "readinessProbe")
    }
    assert {get["port"] for get in paths.values()} == {"monitor"}
    assert paths["livenessProbe"] == paths["startupProbe"] != paths["readinessProbe"]
    answer = operators_app(CollectorRegistry(), ProcessHealth())
    for get in paths.values():
        statuses: list[str] = []

        def started(status: str, *_: object, found: list[str] = statuses) -> Any:
            found.append(status)

        list(answer({"PATH_INFO": get["path"]}, started))
        assert not statuses[0].startswith("404")


@pytest.mark.parametrize("name", PODS)
def test_a_process_has_no_rights(name: str) -> None:
    """A pod has the user of the image, no capability, no token, and read-only files."""
    (user,) = [each.argument for each in instructions() if each.word == "USER"]
    spec, one = PODS[name]["spec"], container(name)
    context = spec["securityContext"]
    assert f"{context['runAsUser']}:{context['runAsGroup']}" == user
    assert context["runAsNonRoot"] is True
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert one["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert spec["automountServiceAccountToken"] is False
    assert not spec.keys() & {"hostNetwork", "hostPID", "hostIPC"}


@pytest.mark.parametrize("name", PODS)
def test_no_variable_comes_from_a_service(name: str) -> None:
    """Kubernetes adds no variables of services, which could begin with ``IM_``."""
    assert PODS[name]["spec"]["enableServiceLinks"] is False


@pytest.mark.parametrize("name", PODS)
def test_secrets_are_files_of_volumes(name: str) -> None:
    """No secret is in a variable, and each named file is in a mounted volume."""
    one = container(name)
    mounts = {mount["mountPath"] for mount in one["volumeMounts"]}
    named = {value for value in variables(name).values() if value.startswith("/etc/")}
    assert {str(Path(value).parent) for value in named} == {
        m for m in mounts if m.startswith("/etc/")
    }
    assert not [
        each
        for each in variables(name)
        if each.endswith(("_PASSWORD", "_SECRET", "_API_KEY", "_VAPID_KEY"))
    ]
    volumes = {volume["name"] for volume in PODS[name]["spec"]["volumes"]}
    assert volumes == {mount["name"] for mount in one["volumeMounts"]}


def test_only_the_gateway_has_the_key_of_tokens() -> None:
    """No other pod mounts the secret that signs tokens."""
    mounting = {
        name
        for name, pod in PODS.items()
        for volume in pod["spec"]["volumes"]
        if volume.get("secret", {}).get("secretName") == "im-tokens"
    }
    assert mounting == {"gateway"}


@pytest.mark.parametrize("name", PODS)
def test_the_home_is_a_folder_that_the_process_makes(name: str) -> None:
    """The home is below the volume: a process may not change the rights of the volume itself."""
    home = Path(variables(name)["IM_HOME"])
    mounts = {mount["mountPath"] for mount in container(name)["volumeMounts"]}
    assert str(home.parent) in mounts
    assert str(home) not in mounts


def test_a_gateway_has_the_time_to_end() -> None:
    """The pod is killed after the last step of an orderly end, with a margin."""
    spec = PODS["gateway"]["spec"]
    notice = Settings(drain_notice=variables("gateway")["IM_DRAIN_NOTICE"]).drain_notice  # type: ignore[arg-type]  # a text
    assert notice > timedelta(seconds=5), "Kubernetes needs some seconds to remove the pod"
    steps = notice.total_seconds() + MAX_DRAIN_SECONDS + bounds.REQUEST_SECONDS
    assert steps + 10 <= spec["terminationGracePeriodSeconds"]


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_a_deployment_is_evicted_and_replaced_in_steps(name: str) -> None:
    """At most one pod of a stage ends at a time: in an eviction, and in a new version."""
    budget = of_kind("PodDisruptionBudget")[name]["spec"]
    deployment = DEPLOYMENTS[name]["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    assert budget["maxUnavailable"] == 1
    assert budget["selector"] == deployment["selector"]
    assert deployment["selector"]["matchLabels"].items() <= labels.items()
    rolling = deployment["strategy"]["rollingUpdate"]
    assert rolling["maxUnavailable"] + rolling["maxSurge"] == 1


@pytest.mark.parametrize("name", PODS)
def test_each_pod_has_memory_and_a_version(name: str) -> None:
    """A container has requests, a limit of memory, and the image of this version."""
    one = container(name)
    assert one["resources"]["requests"].keys() == {"cpu", "memory"}
    assert one["resources"]["limits"].keys() == {"memory"}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert one["image"] == f"im-timeline:{project['version']}"


def test_the_policies_name_pods_and_ports_that_exist() -> None:
    """By default nothing is permitted; each exception names existing pods and named ports."""
    policies = of_kind("NetworkPolicy")
    default = policies.pop("nothing-else")["spec"]
    assert default == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    named: set[str] = set()
    for policy in policies.values():
        selector = policy["spec"]["podSelector"]
        for match in selector.get("matchExpressions", []):
            named |= set(match["values"])
        named |= {selector.get("matchLabels", {}).get("app.kubernetes.io/name", "gateway")}
        for rule in policy["spec"].get("ingress", []):
            ports = {port["port"] for port in rule["ports"]}
            assert ports <= {"http", "monitor"}
    assert named <= PODS.keys()


def test_requests_to_strangers_leave_the_cluster() -> None:
    """The networks that the policy excludes are not public by the rule of the code, either."""
    (rule,) = of_kind("NetworkPolicy")["public-receivers"]["spec"]["egress"]
    policy = policy_of("", "443", http=False)
    excluded = [net for to in rule["to"] for net in to["ipBlock"]["except"]]
    assert len(excluded) > 8
    for network in map(ip_network, excluded):
        assert not policy.permits(network[1] if network.num_addresses > 1 else network[0])


def test_the_service_and_the_autoscaler_lead_to_the_gateway() -> None:
    """The service selects the pods of the gateway at its port; both options name them."""
    service = of_kind("Service")["gateway"]["spec"]
    labels = PODS["gateway"]["metadata"]["labels"]
    assert service["selector"].items() <= labels.items()
    assert [port["targetPort"] for port in service["ports"]] == ["http"]
    assert container_ports("gateway")["http"] == Settings.model_fields["gateway_port"].default
    scaled = of_kind("HorizontalPodAutoscaler")["gateway"]["spec"]["scaleTargetRef"]
    assert (scaled["kind"], scaled["name"]) == ("Deployment", "gateway")
