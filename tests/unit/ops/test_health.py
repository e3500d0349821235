"""`im status` and `im up` on a broker that has just started and does not know its groups yet."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any, cast

import pytest
from confluent_kafka import (
    ConsumerGroupState,
    KafkaError,
    KafkaException,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient

from backends.kafka import groups
from backends.stages.stage_health import committed, members_if_assigned
from schemas.errors import ServerUnavailable
from schemas.settings import Settings
from schemas.topics import Topic

SETTINGS = Settings(partitions=2)
SOURCE = [TopicPartition(SETTINGS.topic(Topic.MESSAGES), n) for n in range(2)]
GROUP = SETTINGS.group("sequencer")


class Admin:
    """Refuses the first requests of each kind with these errors, and then answers."""

    def __init__(self, *errors: int) -> None:
        self._errors = errors
        self._asked: Counter[str] = Counter()

    def describe_consumer_groups(self, groups: list[str], **_: float) -> dict[str, Future[Any]]:
        """See `confluent_kafka.admin.AdminClient`: one process has all partitions."""
        member = SimpleNamespace(assignment=SimpleNamespace(topic_partitions=SOURCE))
        described = SimpleNamespace(members=[member], state=ConsumerGroupState.STABLE)
        return {group: self._answer("describe", described) for group in groups}

    def committed(self, _places: list[TopicPartition], _timeout: float) -> list[TopicPartition]:
        """See `confluent_kafka.Consumer`: all partitions have the commit 7."""
        places = [TopicPartition(p.topic, p.partition, 7) for p in SOURCE]
        found: list[TopicPartition] = self._answer("offsets", places).result()
        return found

    def close(self) -> None:
        """See `confluent_kafka.Consumer`."""

    def _answer(self, question: str, answer: object) -> Future[Any]:
        future: Future[Any] = Future()
        asked = self._asked[question]
        self._asked[question] += 1
        if asked < len(self._errors):
            future.set_exception(KafkaException(KafkaError(self._errors[asked])))
        else:
            future.set_result(answer)
        return future


def admin(*errors: int) -> AdminClient:
    """A client of a broker with these errors."""
    return cast(AdminClient, Admin(*errors))


COORDINATOR_ERRORS = (
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
)


def test_a_group_is_described_after_its_coordinator_is_elected() -> None:
    """A coordinator error is temporary and retried; Kafka is not reported as unreachable."""
    assert members_if_assigned(admin(*COORDINATOR_ERRORS), SETTINGS, "sequencer") == 1


def test_commits_are_read_after_the_coordinator_is_elected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The query for commits, which also needs the coordinator, is retried, too."""
    refusing = admin(*COORDINATOR_ERRORS)
    monkeypatch.setattr(groups, "group_reader", lambda _settings, _group: refusing)
    places = committed(refusing, SETTINGS, GROUP, SOURCE)
    assert [place.offset for place in places] == [7, 7]


def test_any_other_refusal_is_raised_at_once() -> None:
    """Only temporary errors are retried; any other error is raised at once."""
    refusing = admin(KafkaError.GROUP_AUTHORIZATION_FAILED)
    with pytest.raises(ServerUnavailable):
        members_if_assigned(refusing, SETTINGS, "sequencer")
    assert members_if_assigned(refusing, SETTINGS, "sequencer") == 1
