"""The route about the pipeline on real servers, with the processes of the pipeline."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
from aiohttp import ClientSession
from pydantic import SecretStr

from backends.kafka.clients import admin_client
from backends.stages.webhook_groups import webhook_stages
from devstack.ports import free_ports
from gateway.pipeline import pipeline_reader
from schemas.ids import uuid7
from schemas.records import AnyCommand, CreateConversation, SendMessage, TextContent
from schemas.settings import Settings
from tests.conftest import Servers
from tests.support.gateway import SECRET
from tests.support.live import gateway
from tests.support.operators import OPERATOR, Operator
from tests.support.pipeline import im, prepare
from tests.support.processes import running
from tests.support.sink_stores import Conversation
from tests.support.topics import publish, publish_raw
from tests.support.waiting import until
from tests.support.webhook_events import append_entries

pytestmark = pytest.mark.servers

PATIENCE: Final = 180.0
MESSAGES: Final = 12
SECRET_TEXT: Final = "a text that no operator may see"


def commands() -> list[AnyCommand]:
    """A conversation with some messages."""
    sent: dict[str, Any] = {"conv_id": "c", "sender": "ann", "device_id": "d"}
    content = TextContent(text=SECRET_TEXT)
    made = CreateConversation(**sent, client_msg_id=uuid7(1, 1), members=["bob"])
    return [
        made,
        *(
            SendMessage(**sent, client_msg_id=uuid7(1, 2 + n), content=content)
            for n in range(MESSAGES)
        ),
    ]


@pytest.fixture
async def operator(servers: Servers) -> AsyncIterator[tuple[Settings, Operator]]:
    """An operator of a gateway, on a deployment without any other process."""
    settings = servers.settings(
        partitions=2, sync_partitions=2, operators=OPERATOR, jwt_secret=SecretStr(SECRET),
        gateway_port=free_ports(1)[0],
    )  # fmt: skip
    prepare(settings)
    async with gateway(settings) as address, ClientSession() as http:
        yield settings, Operator(settings, address, http)


def readers() -> int:
    """The number of readers of the pipeline in this process."""
    return sum(thread.name == "pipeline-reader" for thread in threading.enumerate())


async def test_an_operator_sees_each_stage(
    operator: tuple[Settings, Operator], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lags, states and counts are those of the log, while stages start one after the other.

    A dead letter has its reason and place. All viewers share one reader, which ends without them.
    """
    settings, viewer = operator
    publish(settings, commands())
    await viewer.until_lags(sequencer=MESSAGES + 1, sink_message=0)
    assert {stage["state"] for stage in viewer.stages.values()} == {"unowned"}
    with running(settings, "stream_processors"):
        await viewer.until_lags(sequencer=0, sink_message=MESSAGES + 1, sink_search=MESSAGES + 1)
        assert viewer.stages["sequencer"]["counts"]["accepted"] == MESSAGES + 1
        assert viewer.stages["sink-message"]["delay_ms"] > 0
        with running(settings, "sinks", "message"):
            await viewer.until_lags(sink_message=0)
        sink = viewer.stages["sink-message"]
        assert sink["counts"] == {"records": MESSAGES + 1, "dead_letters": 0}
        assert sink["last_delay_ms"] > 0
        publish_raw(settings, [(b"key", SECRET_TEXT.encode())])

        async def has_letter() -> bool:
            # A reading takes the counts and the letters one after the other.
            seen = await viewer.look()
            return bool(seen["newest_letters"]) and seen["dead_letters"] == 1

        await until(has_letter, PATIENCE)
    assert SECRET_TEXT not in viewer.text
    [letter] = viewer.seen["newest_letters"]
    assert (letter["stage"], letter["reason"]) == ("sequencer", "the value is not JSON")
    assert (letter["topic"], letter["size"]) == (
        f"{settings.namespace}.messages",
        len(SECRET_TEXT),
    )
    points = (await viewer.look(points=300))["points"]
    assert max(point["lags"][0] for point in points) == MESSAGES + 1
    assert max(rate for point in points if (rate := point["rates"][0]) is not None) > 0
    assert readers() == 1
    monkeypatch.setattr(pipeline_reader, "WATCHED_SECONDS", 0.5)

    async def has_ended() -> bool:
        return readers() == 0

    await until(has_ended, PATIENCE)
    monkeypatch.undo()
    before = viewer.seen["at"]

    async def is_read_again() -> bool:
        return bool((await viewer.look())["at"] > before)

    await until(is_read_again, PATIENCE)  # the first answer may have the old reading


async def test_all_webhooks_are_one_stage(operator: tuple[Settings, Operator]) -> None:
    """The stage is there while there is a webhook, with the sum of the lags of all webhooks.

    A removed webhook leaves no consumer group behind, also while its stage runs.
    """
    settings, viewer = operator
    assert "webhooks" not in {each["name"] for each in (await viewer.look())["stages"]}
    add = ("webhook", "add", "https://hooks.example/", "--conversation", "another")
    webhooks = [(await asyncio.to_thread(im, settings, *add))[0]["id"] for _ in range(2)]
    talk = Conversation("c")
    append_entries(settings, [talk.said(seq, SECRET_TEXT) for seq in (1, 2, 3)])
    await viewer.until_lags(webhooks=6)
    assert viewer.stages["webhooks"]["state"] == "unowned"
    with running(settings, "sinks", "webhooks"):

        async def is_done_by_one() -> bool:
            await viewer.look()
            stage = viewer.stages["webhooks"]
            return (stage["lag"], stage["processes"]) == (0, 1)

        await until(is_done_by_one, PATIENCE)
        assert viewer.stages["webhooks"]["counts"]["records"] == 6
        for each in webhooks:
            await asyncio.to_thread(im, settings, "webhook", "remove", each)

    async def has_none() -> bool:
        return "webhooks" not in {each["name"] for each in (await viewer.look())["stages"]}

    await until(has_none, PATIENCE)
    assert webhook_stages(admin_client(settings), settings) == []
