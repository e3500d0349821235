"""The deployment that a command uses: from the environment, else the last `im up`, else defaults.

`im up` records its settings, so that later commands use the same servers, topics and limits. The
record outlives `im down`: a command after `im down` fails and does not reach another stack at the
default ports. The secret is in a separate file.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct
from pydantic import SecretStr

from devstack.layout import Layout
from devstack.settings import DevstackSettings
from devstack.supervision import Supervisor
from gateway.token_keys.key_source import with_secret
from schemas.environment import PREFIX, secret_fields, variable
from schemas.errors import ConfigurationError
from schemas.settings import Settings, load_settings

_SECRET_BYTES: Final = 48


class RunningStack(Struct, frozen=True, kw_only=True):
    """The settings that `im up` recorded. ``environment`` does not contain the secret.

    ``started_at``: milliseconds since 1970. ``owned``: names of the parts that `im up` started.
    """

    environment: dict[str, str]
    started_at: int
    owned: list[str] = []


_ADDRESSES: Final = {
    "kafka": "IM_KAFKA_BOOTSTRAP",
    "cassandra": "IM_CASSANDRA_HOSTS",
    "elasticsearch": "IM_ELASTICSEARCH_URL",
    "gateway": "IM_GATEWAY_PORT",
}
"""The variable that sets the address of each part."""


def live_settings() -> Settings:
    """The settings, as from `resolve_settings`, for a command that contacts the servers.

    Raises:
        ConfigurationError: As `resolve_settings`; or the stack that `im up` started here is
            stopped. Another stack may use its ports now.
    """
    settings = resolve_settings()
    if stopped_parts(settings):
        raise ConfigurationError(
            f"the stack in {settings.home.absolute()} is stopped: start it with `im up`"
        )
    return settings


def stopped_parts(settings: Settings) -> set[str]:
    """The parts that `im up` started here and that are stopped now.

    Excludes a part whose address is set in the environment: `im up` does not own that part.
    """
    running = read_running(settings.home)
    owned = {part for part in (running.owned if running else ()) if not _is_named(part)}
    if owned and Supervisor(Layout(settings.home.absolute())).is_running():
        return set()
    return owned


def _is_named(part: str) -> bool:
    return bool(os.environ.get(_ADDRESSES[part]))


def resolve_settings() -> Settings:
    """The settings of the deployment that a command uses, with the secret of tokens if any.

    Raises:
        ConfigurationError: A variable is out of range or unknown, or the file of the secret
            cannot be read.
    """
    home = load_settings().home
    running = read_running(home)
    recorded = dict(running.environment) if running else {}
    values = {_field(name): value for name, value in recorded.items() if name not in os.environ}
    ours = {name: value for name, value in values.items() if name in Settings.model_fields}
    settings = load_settings(ours)
    if settings.jwt_algorithm != "HS256" or settings.jwt_secret.get_secret_value():
        return settings
    path = settings.jwt_secret_file
    if path is None:
        return settings.model_copy(update={"jwt_secret": SecretStr(_read_text(home / "secret"))})
    return with_secret(settings) if path.exists() else settings


def read_running(home: Path) -> RunningStack | None:
    """The record of the last `im up`, or None if nothing was started here."""
    text = _read_text(_file(home))
    try:
        return msgspec.json.decode(text, type=RunningStack) if text else None
    except msgspec.MsgspecError:
        return None  # a crash truncated the record: `im up` writes a new one


def write_running(home: Path, running: RunningStack) -> None:
    """Record the settings of a stack."""
    path = _file(home)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.encode(running))


def forget_running(home: Path) -> None:
    """Remove the record."""
    _file(home).unlink(missing_ok=True)


def as_environment(settings: Settings | DevstackSettings) -> dict[str, str]:
    """The variables that give another process the same settings, without secrets.

    A process that `im up` starts inherits the secrets of the servers from the environment.
    """
    secret = {"jwt_secret_file", *secret_fields(type(settings))}
    fields = settings.model_dump(mode="json", exclude=secret, exclude_none=True)
    return {variable(name): str(value) for name, value in fields.items()}


def secret_file(settings: Settings) -> Path | None:
    """The path of the file that holds the secret of tokens; None for an algorithm without secret.

    Only the owner may read the file.

    A secret from IM_JWT_SECRET is written to a file in ``run``. Otherwise the file is the one
    that IM_JWT_SECRET_FILE names, else ``secret`` in the home folder, created if missing.
    """
    if settings.jwt_algorithm != "HS256":
        return None
    given = settings.jwt_secret.get_secret_value()
    if given and given != _read_text(settings.home / "secret"):
        return _write_private(settings.home / "run" / "jwt-secret", given)
    path = settings.jwt_secret_file or settings.home / "secret"
    if not _read_text(path):
        _write_private(path, secrets.token_urlsafe(_SECRET_BYTES))
    return path.absolute()


def make_home(settings: Settings) -> None:
    """Create the home folder. Only its owner may enter it."""
    settings.home.mkdir(parents=True, exist_ok=True)
    settings.home.chmod(0o700)


def _write_private(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    return path.absolute()


def _field(name: str) -> str:
    return name.removeprefix(PREFIX).lower()


def _file(home: Path) -> Path:
    return home / "run" / "stack.json"


def _read_text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
