"""The rules of the roles as commands of Kafka's tool, and as requests to the broker."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, not in __all__
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from backends.kafka.clients import REQUEST_SECONDS, admin_client
from backends.kafka.kafka_security import failure_of
from ops.access.kafka_rules import AccessRule, Operation, ResourceKind, Role
from schemas.errors import ConfigurationError, ImError, ServerUnavailable
from schemas.settings import Settings

_KINDS: Final[Mapping[ResourceKind, ResourceType]] = {
    "topic": ResourceType.TOPIC,
    "group": ResourceType.GROUP,
    "transactional-id": ResourceType.TRANSACTIONAL_ID,
}
_OPERATIONS: Final[Mapping[Operation, AclOperation]] = {
    "All": AclOperation.ALL,
    "Create": AclOperation.CREATE,
    "Describe": AclOperation.DESCRIBE,
    "DescribeConfigs": AclOperation.DESCRIBE_CONFIGS,
    "Read": AclOperation.READ,
    "Write": AclOperation.WRITE,
}
_ANY_HOST: Final = "*"
_ANY: Final[Any] = None
"""Any name or host, in a filter. The library's types require a text."""


class AppliedRules(NamedTuple):
    """The result of `apply_rules`, as lines. ``other``: rules of these users that no role needs.

    They are not removed, because a user may have several tasks.
    """

    created: list[str]
    other: list[str]


def acl_commands(
    settings: Settings, rules: Mapping[Role, Iterable[AccessRule]], users: Mapping[Role, str]
) -> Iterator[str]:
    """The commands of ``kafka-acls`` that add the rules, one for each rule."""
    for role, of_role in rules.items():
        for rule in of_role:
            words = ["kafka-acls", "--bootstrap-server", settings.kafka_bootstrap, "--add"]
            words += ["--allow-principal", f"User:{users[role]}", f"--{rule.kind}", rule.name]
            if rule.is_prefix:
                words += ["--resource-pattern-type", "prefixed"]
            for operation in rule.operations:
                words += ["--operation", operation]
            yield shlex.join(words)


def apply_rules(
    settings: Settings, rules: Mapping[Role, Iterable[AccessRule]], users: Mapping[Role, str]
) -> AppliedRules:
    """Adds the missing rules.

    Raises:
        ConfigurationError: The broker has no authorizer.
        AccessRefused: The user of the settings may not change rules.
        ServerUnavailable: The broker does not answer.
    """
    wanted = {
        binding
        for role, of_role in rules.items()
        for rule in of_role
        for binding in _bindings(rule, users[role])
    }
    admin = admin_client(settings)
    try:
        there = {found for user in sorted(set(users.values())) for found in _found(admin, user)}
        missing = sorted(wanted - there)
        if missing:
            for created in admin.create_acls(missing, request_timeout=REQUEST_SECONDS).values():
                created.result(REQUEST_SECONDS)
    except KafkaException as error:
        raise _failure(settings, error) from error
    except TimeoutError as error:
        raise ServerUnavailable(f"Kafka did not answer within {REQUEST_SECONDS:.0f} s") from error
    return AppliedRules([*map(_shown, missing)], [*map(_shown, sorted(there - wanted))])


def _bindings(rule: AccessRule, user: str) -> Iterator[AclBinding]:
    pattern = ResourcePatternType.PREFIXED if rule.is_prefix else ResourcePatternType.LITERAL
    for operation in rule.operations:
        yield AclBinding(
            _KINDS[rule.kind], rule.name, pattern, f"User:{user}", _ANY_HOST,
            _OPERATIONS[operation], AclPermissionType.ALLOW,
        )  # fmt: skip


def _found(admin: AdminClient, user: str) -> list[AclBinding]:
    wanted = AclBindingFilter(
        ResourceType.ANY, _ANY, ResourcePatternType.ANY, f"User:{user}", _ANY,
        AclOperation.ANY, AclPermissionType.ANY,
    )  # fmt: skip
    answer = admin.describe_acls(wanted, request_timeout=REQUEST_SECONDS)
    found: list[AclBinding] = answer.result(REQUEST_SECONDS)
    return found


def _failure(settings: Settings, error: KafkaException) -> ImError:
    if error.args[0].code() == KafkaError.SECURITY_DISABLED:
        return ConfigurationError(
            "the broker has no authorizer, so rules have no effect: set authorizer.class.name, see"
            " docs/secured-servers.md"
        )
    return failure_of(settings, error)


def _shown(binding: AclBinding) -> str:
    kind = next(name for name, found in _KINDS.items() if found is binding.restype)
    operation, permission = str(binding.operation), str(binding.permission_type)
    prefixed = binding.resource_pattern_type is ResourcePatternType.PREFIXED
    name = f"{binding.name}*" if prefixed else binding.name
    words = (part.rpartition(".")[2].lower() for part in (permission, operation))
    return f"{binding.principal} {' '.join(words)} {kind} {name}"
