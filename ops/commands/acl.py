"""`im acl`."""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias, get_args

import typer

from ops.access.acl_bindings import acl_commands, apply_rules
from ops.access.kafka_rules import Role, kafka_rules
from ops.access.store_grants import cassandra_grants, cassandra_roles, search_api_keys
from ops.console import Json, emit
from ops.deployment.running import resolve_settings
from schemas.errors import ConfigurationError
from schemas.settings import Settings

AccessTarget: TypeAlias = Literal["kafka", "cassandra", "elasticsearch"]
Users: TypeAlias = dict[Role, str]

_ROLES: Final[tuple[Role, ...]] = get_args(Role)

_Target = Annotated[AccessTarget, typer.Argument(help="The server whose rules are printed.")]
_Users = Annotated[
    list[str] | None,
    typer.Option(
        "--user", metavar="ROLE=USER",
        help=f"The user of a role ({', '.join(_ROLES)}); by default NAMESPACE-ROLE.",
    ),
]  # fmt: skip
_Apply = Annotated[bool, typer.Option("--apply", help="Add the rules that Kafka does not have.")]


def acl(
    server: _Target = "kafka", user: _Users = None, *, apply: _Apply = False, json: Json = False
) -> None:
    """Print the least permissions of each role, as commands or statements; --apply adds them."""
    settings = resolve_settings()
    users = users_of(settings, user or [])
    if not apply:
        for line in printed_rules(settings, server, users):
            emit({"server": server, "rule": line}) if json else typer.echo(line)
        return
    if server != "kafka":
        raise ConfigurationError(
            f"--apply is for kafka alone: execute the output of `im acl {server}` as a superuser"
        )
    applied = apply_rules(settings, kafka_rules(settings), users)
    if json:
        emit({"created": applied.created, "other": applied.other})
        return
    for line in applied.created:
        typer.echo(f"created {line}")
    for line in applied.other:
        typer.echo(f"not needed: {line}")
    if not applied.created:
        typer.echo("Kafka has all rules")


def users_of(settings: Settings, given: list[str]) -> Users:
    """The user of each role.

    Raises:
        ConfigurationError: A value is not ROLE=USER.
    """
    users: Users = {role: f"{settings.namespace}-{role}" for role in _ROLES}
    for value in given:
        name, _, user = value.partition("=")
        role = next((role for role in _ROLES if role == name), None)
        if role is None or not user:
            raise ConfigurationError(f"--user {value}: must be ROLE=USER, ROLE one of {_ROLES}")
        users[role] = user
    return users


def printed_rules(settings: Settings, server: AccessTarget, users: Users) -> list[str]:
    """The rules of a server as lines, in the form of the server's own tool."""
    if server == "kafka":
        return [*acl_commands(settings, kafka_rules(settings), users)]
    if server == "elasticsearch":
        return [*search_api_keys(settings, users)]
    return [
        "-- before `im prepare`; then give each role a password: ALTER ROLE … WITH PASSWORD = '…'",
        *(f"{statement};" for statement in cassandra_roles(settings, users)),
        "-- after `im prepare`",
        *(f"{statement};" for statement in cassandra_grants(settings, users)),
    ]
