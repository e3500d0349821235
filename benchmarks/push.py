"""Notifications and webhook events of one process each, to a receiver on the same machine.

1. Notifications: each person of a conversation of two has a device with an address of the provider
   ``webhook``. A round sends one message to each conversation, through the sequencer and both
   sinks of the store, and ends when the receiver has acknowledged a notification of each.
2. Webhook events: a round appends one entry for each of many conversations to the timeline, and
   ends when the receiver of one webhook has acknowledged all events. At most one request for each
   partition runs at a time.

The rate is that of the acknowledgements, from the first to the last of a round. The processor time
is that of the stage's process alone, from the begin of the round on. Receiver, servers and stages
share the cores. ``python -m benchmarks push``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

import psutil
from confluent_kafka import Producer

from backends.kafka.clients import producer_config
from backends.kafka.user_records import push_device_record
from backends.stages.webhook_log import begin_at_the_end, write_subscription
from benchmarks.live_pipeline import deployment_with_store, send, stages
from benchmarks.results import Figure, WrongOutput
from benchmarks.worker import worker
from schemas.codec import encode
from schemas.errors import ServerUnavailable
from schemas.ids import uuid7
from schemas.number_types import Milliseconds, SeqId
from schemas.push_addresses import WebhookAddress
from schemas.push_devices import PushDevice
from schemas.records import AnyCommand, CreateConversation, MessageSent, SendMessage, TextContent
from schemas.settings import Settings
from schemas.topics import Topic
from schemas.webhooks import WebhookSubscription
from sinks.outbound.signatures import make_secret
from tests.support.receiving import Receiver, receiver_in_thread

PEOPLE: Final = 1_000
"""Notifications of a round."""

EVENTS: Final = 1_000
"""Webhook events of a round."""

ROUNDS: Final = 3
PARTITIONS: Final = 8
_SECONDS: Final = 300.0
_ENVIRONMENT: Final = {
    "IM_PUSH_NOTIFICATIONS": "true",
    "IM_PUSH_WINDOW": "PT1S",
    "IM_PUSH_WEBHOOK_SECRET": make_secret(),
    "IM_OUTBOUND_ALLOW": "127.0.0.0/8",
    "IM_OUTBOUND_PORTS": "any",
    "IM_OUTBOUND_HTTP": "true",
}


class Round(NamedTuple):
    """Acknowledgements a second, and processor time in microseconds for each."""

    rate: float
    micros: float


def figures() -> Iterator[Figure]:
    """Rate and processor time of both stages."""
    with deployment_with_store(partitions=PARTITIONS) as settings, receiver_in_thread() as server:
        yield from _two(
            "notifications of one process", "a notification", "sink-push",
            list(_notifications(settings, server)),
        )  # fmt: skip
    with deployment_with_store(partitions=PARTITIONS) as settings, receiver_in_thread() as server:
        yield from _two(
            f"events of one webhook, {PARTITIONS} partitions", "a webhook event", "webhooks",
            list(_events(settings, server)),
        )  # fmt: skip


def _two(name: str, one: str, stage: str, rounds: list[Round]) -> Iterator[Figure]:
    yield Figure(name, "/s", {stage: [each.rate for each in rounds]})
    yield Figure(f"processor time for {one}", "µs", {stage: [each.micros for each in rounds]})


def _notifications(settings: Settings, server: Receiver) -> Iterator[Round]:
    ids = (uuid7(1, number) for number in range(1 << 40))
    producer = Producer(producer_config(settings))
    device = PushDevice(at=Milliseconds(1), address=WebhookAddress(url=f"{server.url}/push"))
    for person in range(PEOPLE):
        producer.produce(*push_device_record(settings, f"person-{person}", "phone", device))
    producer.flush()

    def about(person: int) -> dict[str, Any]:
        return {
            "conv_id": f"c-{person}", "sender": "ann", "device_id": "d",
            "client_msg_id": next(ids),
        }  # fmt: skip

    def messages() -> list[AnyCommand]:
        text = TextContent("a message")
        return [SendMessage(**about(person), content=text) for person in range(PEOPLE)]

    with stages(settings):
        send(
            settings,
            [
                CreateConversation(**about(person), members=[f"person-{person}"])
                for person in range(PEOPLE)
            ],
        )
        with worker(settings, "sinks", "push", environment=_ENVIRONMENT) as process:
            stage = psutil.Process(process.pid)
            for number in range(ROUNDS + 1):
                found = _round(server, stage, PEOPLE, lambda: send(settings, messages()))
                if number:  # the first round warms up
                    yield found


def _events(settings: Settings, server: Receiver) -> Iterator[Round]:
    subscription = WebhookSubscription(
        id="bench", url=f"{server.url}/hook", events=["message_sent"], text=True,
        secrets=[make_secret()], created_at=Milliseconds(0),
    )  # fmt: skip
    begin_at_the_end(settings, subscription.id)
    write_subscription(settings, subscription.id, subscription)
    producer = Producer(producer_config(settings))
    seqs = iter(range(1, 1 << 40))

    def append() -> None:
        seq = SeqId(next(seqs))
        for conversation in range(EVENTS):
            entry = MessageSent(
                conv_id=f"c-{conversation}", seq=seq, sender="ann", client_msg_id=uuid7(1, seq),
                at=Milliseconds(time.time_ns() // 1_000_000), messages=seq,
                content=TextContent("a message"), mentions=[],
            )  # fmt: skip
            producer.produce(settings.topic(Topic.TIMELINE), encode(entry), entry.conv_id)
        producer.flush()

    with worker(settings, "sinks", "webhooks", environment=_ENVIRONMENT) as process:
        stage = psutil.Process(process.pid)
        for number in range(ROUNDS + 1):
            found = _round(server, stage, EVENTS, append)
            if number:
                yield found


def _round(
    server: Receiver, stage: psutil.Process, count: int, begin: Callable[[], None]
) -> Round:
    """Waits for a number of acknowledgements, and checks that each is of another message.

    Raises:
        ServerUnavailable: They do not arrive in time.
        WrongOutput: An acknowledged request was repeated.
    """
    server.received.clear()
    server.answered.clear()
    spent, deadline = _spent(stage), time.monotonic() + _SECONDS
    begin()
    first: tuple[float, int] | None = None
    while (arrived := len(server.answered)) < count:
        if time.monotonic() > deadline:
            raise ServerUnavailable(f"only {arrived} of {count} requests arrived")
        if arrived and first is None:
            first = time.monotonic(), arrived
        time.sleep(0.01)
    seconds = time.monotonic() - (first or (0.0, 0))[0]
    ids = {request.headers["webhook-id"] for request in server.answered}
    if len(ids) != len(server.answered):
        raise WrongOutput("an acknowledged request was repeated")
    rate = (count - (first or (0.0, 0))[1]) / seconds
    return Round(rate, (_spent(stage) - spent) / count * 1e6)


def _spent(process: psutil.Process) -> float:
    """The processor time of a process in seconds."""
    times = process.cpu_times()
    return float(times.user + times.system)
