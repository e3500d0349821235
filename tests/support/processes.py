"""Starts the pipeline's processes for a test, and ends them in every way."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from schemas.environment import variable
from schemas.security_settings import SecuritySettings
from schemas.settings import Settings

ROOT: Final = Path(__file__).parents[2]
STOP_SECONDS: Final = 40.0
WAIT_SECONDS: Final = 180.0

_PASSED_ON: Final = (
    "namespace", "home", "kafka_bootstrap", "cassandra_hosts", "elasticsearch_url",
    "gateway_port", "partitions", "sync_partitions", "push_limit", "members_per_entry",
    "sync_layout", "sync_topics_limit",
    "new_device", "new_device_window", "max_text_bytes", "recall_by", "skip_inactive",
    "jwt_algorithm", "http_commands_per_second", "http_conversation_commands_per_second",
    "http_additions_per_hour", "http_members_per_command", "cors_origins", "operators",
    "log_format", "log_level", "traces", "traces_ratio",
    "outbound_allow", "outbound_ports", "outbound_http",
    "push_notifications", "push_content",
    "metrics_port",
)  # fmt: skip


def environment(settings: Settings) -> dict[str, str]:
    """The environment variables that give a child process these settings."""
    own = {f"IM_{name.upper()}": str(getattr(settings, name)) for name in _PASSED_ON}
    if settings.push_again_below is not None:
        own["IM_PUSH_AGAIN_BELOW"] = str(settings.push_again_below)
    own["IM_SYNC_LIFETIME"] = str(int(settings.sync_lifetime.total_seconds()))
    for name in ("recall_within", "edit_within", "write_wait", "drain_notice", "push_window"):
        own[f"IM_{name.upper()}"] = f"PT{getattr(settings, name).total_seconds():f}S"
    own |= _security(settings)
    own["IM_JWT_SECRET"] = settings.jwt_secret.get_secret_value()
    own["IM_PUSH_WEBHOOK_SECRET"] = settings.push_webhook_secret.get_secret_value()
    own["IM_PUSH_VAPID_KEY"] = settings.push_vapid_key.get_secret_value()
    own["IM_PUSH_VAPID_CONTACT"] = settings.push_vapid_contact
    own["IM_JWT_JWKS_URL"] = settings.jwt_jwks_url or ""
    return os.environ | own


def _security(settings: Settings) -> dict[str, str]:
    """The variables of secured servers; a secret that is in a file is passed as the file alone."""
    passed = {}
    for name in SecuritySettings.model_fields:
        value = getattr(settings, name)
        if isinstance(value, SecretStr):
            value = "" if getattr(settings, f"{name}_file") else value.get_secret_value()
        passed[variable(name)] = "" if value is None else str(value)
    return passed


@contextmanager
def running(
    settings: Settings, *module: str, log: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A running process of the pipeline, such as ``running(settings, "sinks", "message")``.

    Args:
        settings: The deployment.
        module: The arguments of ``python -m``.
        log: The file for the process's standard error.
    """
    errors = None if log is None else log.open("wb")
    process = subprocess.Popen(
        [sys.executable, "-m", *module], cwd=ROOT, env=environment(settings),
        stdout=subprocess.DEVNULL, stderr=errors,
    )  # fmt: skip
    if errors is not None:
        errors.close()  # the process has its own copy
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_SECONDS)


def wait_until(condition: Callable[[], object], what: str, seconds: float = WAIT_SECONDS) -> None:
    """Waits for a condition; an AssertionError names the condition that did not become true."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"after {seconds:.0f} s still not: {what}")
        time.sleep(0.05)
