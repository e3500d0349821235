"""`docker-compose.yml`: settings and processes that exist, and no rights of the machine."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, Final

import pytest
import yaml

from backends.stages.stage_names import SOURCES
from schemas.environment import variable
from schemas.settings import Settings
from tests.support.image import ROOT

SERVICES: Final[dict[str, dict[str, Any]]] = yaml.safe_load(
    (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
)["services"]
OURS: Final = {name: each for name, each in SERVICES.items() if each["image"] == "im-timeline"}


def test_each_stage_has_a_container() -> None:
    """The file has the preparation, the sequencer, each sink and the gateway."""
    assert OURS.keys() >= {"prepare", "gateway", *SOURCES}


@pytest.mark.parametrize("name", OURS)
def test_each_variable_is_a_setting(name: str) -> None:
    """A container has no variable that the settings would refuse."""
    known = {variable(field) for field in Settings.model_fields}
    assert OURS[name]["environment"].keys() - known == set()


@pytest.mark.parametrize("name", OURS)
def test_each_command_exists(name: str) -> None:
    """A container runs `im`, or a module with an entry point."""
    command = OURS[name]["command"]
    assert command[0] == "im" or (
        command[:2] == ["python", "-m"] and find_spec(f"{command[2]}.__main__")
    )


@pytest.mark.parametrize("name", OURS)
def test_a_container_has_no_rights(name: str) -> None:
    """A container cannot write to its image, and has no capability and no way to gain one."""
    service = OURS[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not service.keys() & {"privileged", "cap_add", "user"}


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_on_this_machine(name: str) -> None:
    """Each published port is bound to 127.0.0.1."""
    ports = SERVICES[name].get("ports", [])
    assert all(port.startswith("127.0.0.1:") for port in ports)


@pytest.mark.parametrize("name", OURS)
def test_a_process_is_healthy_when_it_is_ready(name: str) -> None:
    """Docker asks `/readyz` at the port of the metrics, which is not published."""
    service = OURS[name]
    port = service["environment"]["IM_METRICS_PORT"]
    if name == "prepare":
        assert service["healthcheck"] == {"disable": True}
        return
    assert f"http://127.0.0.1:{port}/readyz" in service["healthcheck"]["test"]
    assert not [each for each in service.get("ports", []) if each.endswith(f":{port}")]
