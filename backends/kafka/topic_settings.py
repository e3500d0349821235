"""Compares the settings of existing topics with the settings that the deployment needs.

Only settings that can lose or refuse records are compared. `Topic.config` has the values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, not in __all__
    AdminClient,
    ConfigResource,
    ResourceType,
)
from confluent_kafka.cimpl import NewTopic

from schemas.errors import ConfigurationError, ServerUnavailable

_UNLIMITED: Final = -1


def _same(found: str, wanted: str) -> bool:
    return _words(found) == _words(wanted)


def _at_least(found: str, wanted: str) -> bool:
    return int(found) >= int(wanted)


def _as_long(found: str, wanted: str) -> bool:
    return int(found) == _UNLIMITED or (int(wanted) != _UNLIMITED and _at_least(found, wanted))


_RULES: Final[Mapping[str, tuple[Callable[[str, str], bool], str]]] = {
    "cleanup.policy": (_same, ""),
    "message.timestamp.type": (_same, ""),
    "unclean.leader.election.enable": (_same, ""),
    "retention.ms": (_as_long, " or more"),
    "retention.bytes": (_as_long, " or more"),
    "max.message.bytes": (_at_least, " or more"),
    "min.insync.replicas": (_at_least, " or more"),
}
"""By setting: whether a found value is good enough, and the suffix of the wanted value in errors.
"""


def faults(found: Mapping[str, str], wanted: Mapping[str, str]) -> list[str]:
    """The settings of a topic that could lose or refuse records, each as a phrase.

    Args:
        found: The settings that the topic has.
        wanted: The settings that it needs.
    """
    return [
        f"{name}={found.get(name, '')} (needs {wanted[name]}{more})"
        for name, (is_good, more) in _RULES.items()
        if name in wanted and not is_good(found.get(name, "0"), wanted[name])
    ]


def check_settings(admin: AdminClient, topics: Iterable[NewTopic], timeout: float) -> None:
    """Checks the settings of topics that exist.

    Args:
        admin: A client.
        topics: The topics with the settings that they need.
        timeout: Request timeout in seconds.

    Raises:
        ConfigurationError: A topic has a setting that can lose or refuse records.
        ServerUnavailable: The broker does not answer.
    """
    wanted = {topic.topic: topic.config for topic in topics}
    if not wanted:
        return
    found = _described(admin, list(wanted), timeout)
    wrong = [
        f"topic {name} has {', '.join(bad)}"
        for name, config in wanted.items()
        if (bad := faults(found[name], config or {}))
    ]
    if wrong:
        raise ConfigurationError(
            f"{'; '.join(wrong)}: change the settings with kafka-configs, see 'Settings of"
            " topics' in docs/operating.md"
        )


def _described(admin: AdminClient, names: list[str], timeout: float) -> dict[str, dict[str, str]]:
    asked = [ConfigResource(ResourceType.TOPIC, name) for name in names]
    answers = admin.describe_configs(asked, request_timeout=timeout)
    try:
        return {
            resource.name: {name: entry.value for name, entry in answer.result(timeout).items()}
            for resource, answer in answers.items()
        }
    except (KafkaException, TimeoutError) as error:
        raise ServerUnavailable(f"the settings of topics cannot be read: {error}") from error


def _words(value: str) -> set[str]:
    return {word.strip() for word in value.split(",")}
