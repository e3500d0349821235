"""Two processes of the push stage, which hand shards over, with a topic for each recipient."""

from __future__ import annotations

import random
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from confluent_kafka import Producer
from pydantic import SecretStr

from backends.kafka.clients import admin_client, producer_config
from backends.kafka.groups import described_group
from backends.kafka.user_records import push_device_record
from backends.stages.stage_names import PUSH_STAGE
from schemas.ids import uuid7
from schemas.number_types import Milliseconds
from schemas.push_addresses import WebhookAddress
from schemas.push_devices import PushDevice
from schemas.records import CreateConversation, SendMessage, TextContent
from schemas.settings import Settings
from tests.support.pipeline import prepare
from tests.support.processes import running, wait_until
from tests.support.push_server import push_server
from tests.support.servers import Servers
from tests.support.topics import publish

pytestmark = pytest.mark.servers

USERS: Final = [f"user{n}" for n in range(12)]
ENOUGH_SECONDS: Final = 3.0
"""Time in which a repeated notification would have arrived."""


def members(settings: Settings) -> list[int]:
    """The number of shards of each process of the stage."""
    group = described_group(admin_client(settings), settings.group(PUSH_STAGE))
    return [len(each.assignment.topic_partitions) for each in group.members]


def test_shards_move_without_a_loss_or_a_repetition(servers: Servers, tmp_path: Path) -> None:
    """A process joins, shares the shards, and takes them all when the other one ends in order.

    Messages flow meanwhile. Each device gets the newest message of its conversation, and none
    twice.
    """
    settings = servers.settings(
        partitions=2, sync_partitions=2, sync_layout="topic-per-recipient",
        push_notifications=True, push_window=timedelta(seconds=0.5),
        push_webhook_secret=SecretStr("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        outbound_allow="127.0.0.1", outbound_ports="any", outbound_http=True,
    )  # fmt: skip
    prepare(settings)
    chance, number = random.Random(5), 0
    heads = dict.fromkeys(USERS, 1)

    def about(user: str) -> dict[str, Any]:
        nonlocal number
        number += 1
        return {
            "conv_id": f"c-{user}", "sender": "ann", "device_id": "d",
            "client_msg_id": uuid7(1, number),
        }  # fmt: skip

    def flow(seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            chosen = chance.sample(USERS, 4)
            publish(
                settings,
                [SendMessage(**about(user), content=TextContent("Hi")) for user in chosen],
            )
            for user in chosen:
                heads[user] += 1
            time.sleep(0.2)

    with (
        push_server() as server,
        running(settings, "stream_processors"),
        running(settings, "sinks", "message"),
        running(settings, "sinks", "sync"),
        running(settings, "sinks", "push", log=tmp_path / "stays.log"),
    ):
        device = PushDevice(at=Milliseconds(1), address=WebhookAddress(url=f"{server.url}/"))
        producer = Producer(producer_config(settings))
        for user in USERS:
            producer.produce(*push_device_record(settings, user, "phone", device))
        assert producer.flush(30) == 0
        publish(settings, [CreateConversation(**about(user), members=[user]) for user in USERS])
        flow(1)
        wait_until(server.acknowledged, "notifications flow")
        with running(settings, "sinks", "push", log=tmp_path / "ends.log"):
            wait_until(
                lambda: len(members(settings)) == 2 and min(members(settings)) > 0,
                "two processes share the shards",
            )
            flow(2)
        flow(1)
        wanted = {(user, "phone", f"c-{user}", head) for user, head in heads.items() if head > 1}
        wait_until(
            lambda: wanted <= {each.about for each in server.acknowledged()},
            "the newest message of each conversation",
        )
        time.sleep(ENOUGH_SECONDS)
        got = Counter(each.about for each in server.acknowledged())
    assert [about for about, count in got.items() if count > 1] == []
