"""The deployment that a command uses."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway.token_keys.key_source import with_secret
from ops.deployment.running import (
    RunningStack,
    as_environment,
    forget_running,
    live_settings,
    make_home,
    read_running,
    resolve_settings,
    secret_file,
    stopped_parts,
    write_running,
)
from ops.deployment.stages import programs
from schemas.errors import ConfigurationError
from schemas.settings import Settings, load_settings


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder of the test, and no other setting in the environment."""
    for name in [name for name in os.environ if name.startswith("IM_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("IM_HOME", str(tmp_path))
    return tmp_path


def write_down(home: Path, **settings: object) -> None:
    """Write the record of a running stack, as `im up` does."""
    running = Settings.model_validate({"home": home, **settings})
    write_running(home, RunningStack(environment=as_environment(running), started_at=1))


def test_commands_find_the_stack_that_runs(home: Path) -> None:
    """A command reads all resolved settings of the running stack, with durations and limits."""
    write_down(home, kafka_bootstrap="127.0.0.1:19092", push_limit=100, sync_lifetime=3600)
    found = resolve_settings()
    assert found.kafka_bootstrap == "127.0.0.1:19092"
    assert found.limits.push_again_below == 80
    assert found.sync_lifetime.total_seconds() == 3600


def test_the_environment_has_precedence_over_the_running_stack(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variable of the environment has precedence over the running stack."""
    write_down(home, kafka_bootstrap="127.0.0.1:19092", namespace="there")
    monkeypatch.setenv("IM_NAMESPACE", "here")
    found = resolve_settings()
    assert (found.namespace, found.kafka_bootstrap) == ("here", "127.0.0.1:19092")


def test_defaults_apply_where_nothing_was_started(home: Path) -> None:
    """Before the first `im up`, and after the record was removed, the defaults apply."""
    assert resolve_settings().kafka_bootstrap == "127.0.0.1:9092"
    write_down(home, kafka_bootstrap="127.0.0.1:19092")
    forget_running(home)
    assert resolve_settings().kafka_bootstrap == "127.0.0.1:9092"


def test_commands_fail_with_the_remedy_after_the_stack_was_stopped(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After `im down` another stack may have the ports, so commands fail with the remedy.

    Addresses in the environment make them work again.
    """
    running = Settings.model_validate({"home": home, "kafka_bootstrap": "127.0.0.1:19092"})
    parts = ["kafka", "gateway"]
    write_running(
        home, RunningStack(environment=as_environment(running), started_at=1, owned=parts)
    )
    assert stopped_parts(resolve_settings()) == {"kafka", "gateway"}
    with pytest.raises(ConfigurationError, match=r"is stopped: start it with `im up`"):
        live_settings()
    monkeypatch.setenv("IM_KAFKA_BOOTSTRAP", "10.0.0.1:9092")
    monkeypatch.setenv("IM_GATEWAY_PORT", "9000")
    assert stopped_parts(live_settings()) == set()


def test_a_partially_written_file_is_ignored(home: Path) -> None:
    """A truncated record is ignored."""
    write_down(home)
    path = home / "run/stack.json"
    path.write_bytes(path.read_bytes()[:20])
    assert read_running(home) is None


def test_the_secret_is_made_once_and_is_private(home: Path) -> None:
    """The secret is made once, survives restarts, and only the owner can read its file."""
    path = secret_file(Settings())
    assert path is not None
    secret = path.read_text()
    assert len(secret) >= 32
    assert path.stat().st_mode & 0o777 == 0o600
    assert secret_file(resolve_settings()) == path == home / "secret"
    assert resolve_settings().jwt_secret.get_secret_value() == secret


def test_a_secret_that_is_set_is_used_for_this_run_alone(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A secret of the environment is in a private file of the run, and in no other process."""
    monkeypatch.setenv("IM_JWT_SECRET", "s" * 40)
    path = secret_file(Settings())
    assert path is not None
    assert path == home / "run" / "jwt-secret"
    assert path.read_text() == "s" * 40
    assert path.stat().st_mode & 0o777 == 0o600
    assert not (home / "secret").exists()
    assert "IM_JWT_SECRET" not in as_environment(Settings())


def test_a_secret_can_be_in_a_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file of IM_JWT_SECRET_FILE is created if it is missing, and read otherwise."""
    path = home / "elsewhere" / "jwt"
    monkeypatch.setenv("IM_JWT_SECRET_FILE", str(path))
    assert secret_file(resolve_settings()) == path
    made = path.read_text()
    assert with_secret(load_settings()).jwt_secret.get_secret_value() == made
    assert resolve_settings().jwt_secret.get_secret_value() == made
    path.write_text("t" * 40 + "\n")
    assert resolve_settings().jwt_secret.get_secret_value() == "t" * 40


def test_a_secret_file_that_is_missing_ends_the_gateway(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing file ends the gateway with an error that names the variable and the file."""
    monkeypatch.setenv("IM_JWT_SECRET_FILE", str(home / "missing"))
    with pytest.raises(ConfigurationError, match=r"IM_JWT_SECRET_FILE: .*missing cannot be read"):
        with_secret(load_settings())


def test_only_the_gateway_receives_the_path_of_the_secret() -> None:
    """Only the gateway gets the path of the secret."""
    path = secret_file(Settings())
    with_file = [each.name for each in programs(Settings(), path) if str(path) in str(each)]
    assert with_file == ["gateway"]


def test_a_deployment_with_public_keys_has_no_secret(home: Path) -> None:
    """With another algorithm than HS256, no secret is made, read or passed to a process."""
    (home / "secret").write_text("s" * 40)
    write_down(home, jwt_algorithm="ES256", jwt_jwks_url="https://issuer.example/keys")
    settings = resolve_settings()
    assert settings.jwt_jwks_url == "https://issuer.example/keys"
    assert settings.jwt_secret.get_secret_value() == ""
    assert secret_file(settings) is None
    assert all(not each.environment for each in programs(settings, secret_file(settings)))
    assert as_environment(settings)["IM_JWT_ALGORITHM"] == "ES256"


def test_the_home_folder_is_private(home: Path) -> None:
    """The home folder contains queues, logs and data with texts, so only the owner reads it."""
    home.chmod(0o755)
    make_home(Settings())
    assert home.stat().st_mode & 0o777 == 0o700
