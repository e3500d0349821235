"""Each setting reaches its processes in docker-compose.yml, and is described."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from schemas.environment import secret_fields, variable
from schemas.settings import Settings

ROOT: Final = Path(__file__).parents[3]
PIPELINE: Final = {
    "prepare": {"kafka", "cassandra", "elasticsearch", "jwt"},
    "sequencer": {"kafka"},
    "sink-message": {"kafka", "cassandra"},
    "sink-sync": {"kafka", "cassandra"},
    "sink-search": {"kafka", "elasticsearch"},
    "sink-push": {"kafka", "cassandra"},
    "webhooks": {"kafka"},
    "gateway": {"kafka", "cassandra", "elasticsearch", "jwt"},
}
"""The services, and the servers whose settings each of them needs; ``jwt`` for bearer tokens."""

NEVER: Final = {
    "IM_GATEWAY_PORT",  # the file publishes another port of the machine instead
    "IM_WORKERS",  # for `im up` alone: `docker compose up --scale sequencer=2`
}
NO_DEFAULT: Final = (
    "IM_KAFKA_USER",
    "IM_CASSANDRA_PASSWORD_FILE",
    "IM_SYNC_LIFETIME",
    "IM_WRITE_WAIT",
)


def environments() -> dict[str, dict[str, Any]]:
    """The environment of each service of the pipeline."""
    services = yaml.safe_load(ROOT.joinpath("docker-compose.yml").read_text())["services"]
    return {
        name: service["environment"]
        for name, service in services.items()
        if service["image"] == "im-timeline"
    }


def of_server(server: str) -> set[str]:
    """The variables of a server, or of tokens."""
    return {variable(name) for name in Settings.model_fields if name.startswith(f"{server}_")}


def test_each_setting_reaches_a_container() -> None:
    """Compose passes every setting to the pipeline, and no variable that is not a setting."""
    passed = {name for environment in environments().values() for name in environment}
    assert passed == {variable(name) for name in Settings.model_fields} - NEVER


@pytest.mark.parametrize("service", PIPELINE)
def test_a_container_has_the_settings_of_its_servers_alone(service: str) -> None:
    """A process gets the addresses and credentials of the servers that it uses, and no others."""
    environment = environments()[service]
    for server in ("kafka", "cassandra", "elasticsearch", "jwt"):
        has = of_server(server) & environment.keys()
        assert has == (of_server(server) if server in PIPELINE[service] else set()), server


def test_a_setting_without_a_value_is_not_set() -> None:
    """A setting is passed only if it is set: a default of Compose would differ one day."""
    gateway = environments()["gateway"]
    assert {gateway[name] for name in NO_DEFAULT} == {None}


def test_no_secret_is_in_the_file() -> None:
    """The file has no value for any secret."""
    secrets = {variable(name) for name in secret_fields(Settings)}
    assert "IM_KAFKA_PASSWORD" in secrets
    for environment in environments().values():
        assert {environment.get(name) for name in secrets} == {None}


def test_each_setting_is_described() -> None:
    """README.md or a page in docs names every setting; of a secret, at least one of its two."""
    pages = [ROOT / "README.md", *ROOT.joinpath("docs").glob("*.md")]
    text = "".join(page.read_text() for page in pages)
    secrets = {f"{name}_file": name for name in secret_fields(Settings)}
    names = [variable(secrets.get(name, name)) for name in Settings.model_fields]
    assert not [name for name in names if f"`{name}`" not in text]
