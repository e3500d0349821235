"""Which deployment a command talks to."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ops.running import (
    RunningStack,
    as_environment,
    forget_running,
    read_running,
    resolve_settings,
    signing_secret,
    write_running,
)
from schemas.settings import Settings


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder of our own, and nothing else in the environment."""
    for name in [name for name in os.environ if name.startswith("IM_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("IM_HOME", str(tmp_path))
    return tmp_path


def write_down(home: Path, **settings: object) -> None:
    """Writes down a stack as `im up` does."""
    running = Settings.model_validate({"home": home, **settings})
    write_running(home, RunningStack(environment=as_environment(running), started_at=1))


def test_commands_find_the_stack_that_runs(home: Path) -> None:
    """All settings come back as they were resolved, durations and limits included."""
    write_down(home, kafka_bootstrap="127.0.0.1:19092", push_limit=100, sync_lifetime=3600)
    found = resolve_settings()
    assert found.kafka_bootstrap == "127.0.0.1:19092"
    assert found.limits.push_again_below == 80
    assert found.sync_lifetime.total_seconds() == 3600


def test_the_environment_comes_before_the_running_stack(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a person says now is meant."""
    write_down(home, kafka_bootstrap="127.0.0.1:19092", namespace="there")
    monkeypatch.setenv("IM_NAMESPACE", "here")
    found = resolve_settings()
    assert (found.namespace, found.kafka_bootstrap) == ("here", "127.0.0.1:19092")


def test_defaults_hold_where_nothing_runs(home: Path) -> None:
    """Before the first `im up`, and after `im down`."""
    assert resolve_settings().kafka_bootstrap == "127.0.0.1:9092"
    write_down(home, kafka_bootstrap="127.0.0.1:19092")
    forget_running(home)
    assert resolve_settings().kafka_bootstrap == "127.0.0.1:9092"


def test_what_was_written_by_half_is_not_believed(home: Path) -> None:
    """A crash while writing leaves nothing that could mislead."""
    write_down(home)
    path = home / "run/stack.json"
    path.write_bytes(path.read_bytes()[:20])
    assert read_running(home) is None


def test_the_secret_is_made_once_and_kept_private(home: Path) -> None:
    """Tokens stay valid over restarts, and only the owner can read what signs them."""
    secret = signing_secret(Settings())
    assert len(secret) >= 32
    assert (home / "secret").stat().st_mode & 0o777 == 0o600
    assert signing_secret(Settings()) == secret
    assert resolve_settings().jwt_secret.get_secret_value() == secret


def test_a_secret_that_is_set_is_used_and_not_written(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever manages secrets elsewhere finds none on the disk."""
    monkeypatch.setenv("IM_JWT_SECRET", "s" * 40)
    assert signing_secret(Settings()) == "s" * 40
    assert not (home / "secret").exists()
    assert "IM_JWT_SECRET" not in as_environment(Settings())
