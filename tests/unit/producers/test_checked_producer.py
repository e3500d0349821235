"""A producer that sends only to the topics of one deployment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest
from confluent_kafka import Producer

from backends.kafka.clients import partition_of
from producers.checked import CheckedProducer
from schemas.deployment import Deployment, TopicIdentity
from schemas.errors import ImError, ServerUnavailable, WrongDeployment
from schemas.settings import Settings

DEPLOYMENT = Deployment(id="d", topics={"im.messages": TopicIdentity("a", 3)})


class Noting:
    """Records the messages that it should send."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    def produce(self, topic: str, **message: Any) -> None:
        self.sent.append({"topic": topic, **message})

    def poll(self, _timeout: float) -> int:
        return 0

    def purge(self) -> None:
        self.sent.clear()


def checked(producer: Noting, answers: Sequence[Deployment | ImError]) -> CheckedProducer:
    """A producer whose checks have these outcomes, in this order."""
    left = iter(answers)

    def check(_settings: Settings, _timeout: float) -> Deployment:
        answer = next(left)
        if isinstance(answer, ImError):
            raise answer
        return answer

    return CheckedProducer(Settings(), cast(Producer, producer), check)


def send(producer: CheckedProducer, key: bytes = b"c") -> None:
    """Send one record."""
    producer.produce("im.messages", value=b"{}", key=key, on_delivery=lambda *_: None)


def test_nothing_is_sent_before_the_check() -> None:
    """A command waits in the outbox until the deployment of the topics is known."""
    sent = Noting()
    producer = checked(sent, [ServerUnavailable("no answer")])
    producer.poll(0)

    with pytest.raises(BufferError):
        send(producer)

    assert not sent.sent


@pytest.mark.parametrize("conv_id", ["c", "team", "陈", "x" * 100])
def test_the_partition_comes_from_the_identity(conv_id: str) -> None:
    """The recorded partition count decides, so added partitions do not move conversations."""
    sent = Noting()
    producer = checked(sent, [DEPLOYMENT])
    producer.poll(0)

    send(producer, conv_id.encode())

    assert sent.sent[0]["partition"] == partition_of(conv_id, 3)


def test_another_deployment_is_an_error() -> None:
    """`poll` raises `WrongDeployment` to the publisher."""
    with pytest.raises(WrongDeployment):
        checked(Noting(), [WrongDeployment("topic im.messages …")]).poll(0)
