"""Which deployment a command talks to: the environment, then the stack that runs, then defaults.

`im up` writes down what it resolved, so that later commands find the same servers, topics and
limits without being told again. The secret has a file of its own, for its owner alone.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from devstack.settings import DevstackSettings
from schemas.settings import Settings

_PREFIX: Final = "IM_"
_SECRET_BYTES: Final = 48


class RunningStack(Struct, frozen=True, kw_only=True):
    """What `im up` resolved. ``environment`` has no secret; ``started_at`` in ms since 1970."""

    environment: dict[str, str]
    started_at: int


def resolve_settings() -> Settings:
    """The settings of the deployment that is meant.

    Raises:
        pydantic.ValidationError: A variable is out of its range.
    """
    home = Settings().home
    running = read_running(home)
    recorded = dict(running.environment) if running else {}
    if secret := _read_text(home / "secret"):
        recorded["IM_JWT_SECRET"] = secret
    return Settings.model_validate(
        {_field(name): value for name, value in recorded.items() if name not in os.environ}
    )


def read_running(home: Path) -> RunningStack | None:
    """What `im up` wrote down, or None if nothing was started here, or it was stopped."""
    text = _read_text(_file(home))
    try:
        return msgspec.json.decode(text, type=RunningStack) if text else None
    except msgspec.MsgspecError:
        return None  # written by half: `im up` starts afresh


def write_running(home: Path, running: RunningStack) -> None:
    """Writes down what runs."""
    path = _file(home)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.encode(running))


def forget_running(home: Path) -> None:
    """Removes what was written down."""
    _file(home).unlink(missing_ok=True)


def as_environment(settings: Settings | DevstackSettings) -> dict[str, str]:
    """The variables that make the same settings in another process, without the secret."""
    fields = settings.model_dump(mode="json", exclude={"jwt_secret"}, exclude_none=True)
    return {f"{_PREFIX}{name.upper()}": str(value) for name, value in fields.items()}


def signing_secret(settings: Settings) -> str:
    """The secret of tokens: the one that is set, or one made once and kept in the home folder."""
    if given := settings.jwt_secret.get_secret_value():
        return given
    path = settings.home / "secret"
    path.parent.mkdir(parents=True, exist_ok=True)
    if not _read_text(path):
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(_SECRET_BYTES))
    return path.read_text()


def _field(variable: str) -> str:
    return variable.removeprefix(_PREFIX).lower()


def _file(home: Path) -> Path:
    return home / "run" / "stack.json"


def _read_text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
