"""One word in all ways in which texts arrive at a deployment, and the search for the word.

The ways are valid and wrong commands, queries, paths, headers, frames, and records that no stage
can process. All requests are traced.
"""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final
from urllib.parse import quote

from aiohttp import ClientSession, WSMsgType
from confluent_kafka import Producer

from backends.kafka.clients import producer_config
from backends.stages.webhook_log import (
    begin_at_the_end,
    subscription_stage,
    write_subscription,
)
from schemas.ids import uuid7
from schemas.number_types import Milliseconds
from schemas.settings import Settings
from schemas.topics import Topic
from schemas.webhooks import WEBHOOK_EVENTS, WebhookSubscription
from sinks.outbound.signatures import make_secret
from tests.support.traced_deployment import TracedDeployment
from tests.support.writing import WritingPerson

WORD: Final = f"zq{secrets.token_hex(6)}"
"""A word that occurs nowhere else, in any encoding of ASCII."""

TEXTS: Final = (
    WORD,
    f"{WORD} 天气\n\t{WORD.upper()}",
    f'"{WORD}\\u0000%7B{{}}%s %d',
    f"\N{ZERO WIDTH SPACE}{WORD}\N{RIGHT-TO-LEFT OVERRIDE}\N{PILE OF POO}",
)
CONVERSATION: Final = "c"
PATH: Final = f"/v1/conversations/{CONVERSATION}/messages"

Way = Callable[["TextSenders"], Awaitable[None]]


class TextSenders:
    """A member of a conversation, a stranger, and the address of the gateway."""

    def __init__(self, deployed: TracedDeployment, http: ClientSession) -> None:
        self.deployed, self.http = deployed, http
        self.member = WritingPerson(deployed.settings, "ann", http)
        self.stranger = WritingPerson(deployed.settings, "carl", http)
        self.address = f"http://{deployed.settings.gateway_host}:{deployed.settings.gateway_port}"
        self.place = (deployed.settings.gateway_host, deployed.settings.gateway_port)
        self.statuses: set[int] = set()

    async def write(self, method: str, path: str, **fields: Any) -> Any:
        """A traced request of the member; returns the body of the response."""
        return await self.ask(self.member, method, path, **fields)

    async def ask(self, person: WritingPerson, method: str, path: str, **fields: Any) -> Any:
        """A traced request of a person; returns the body of the response."""
        parent = f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"
        headers = {"traceparent": parent} | fields.pop("headers", {})
        answer = await person.write(method, path, headers=headers, **fields)
        self.statuses.add(answer.status)
        return answer.body

    async def register(self, user: str, url: str) -> None:
        """Registers a device of a person, which gets notifications at a URL."""
        person = WritingPerson(self.deployed.settings, user, self.http)
        assert (await person.write("POST", "/v1/devices", device_id="phone")).status == 200
        async with self.http.put(
            f"{self.address}/v1/devices/phone/push",
            json={"provider": "webhook", "url": url},
            headers=person._headers,  # noqa: SLF001 - the token
        ) as response:
            assert response.status == 204

    async def subscribe(self, url: str) -> str:
        """Adds a webhook for all events with their texts; returns its stage."""
        subscription = WebhookSubscription(
            id=secrets.token_hex(6), url=url, events=list(WEBHOOK_EVENTS), text=True,
            secrets=[make_secret()], created_at=Milliseconds(0),
        )  # fmt: skip
        settings = self.deployed.settings
        await asyncio.to_thread(begin_at_the_end, settings, subscription.id)
        await asyncio.to_thread(write_subscription, settings, subscription.id, subscription)
        return subscription_stage(subscription.id)

    async def raw(self, request: bytes) -> None:
        """Bytes to the gateway, whose response is read to its end."""
        reader, writer = await asyncio.open_connection(*self.place)
        writer.write(request)
        await writer.drain()
        async with asyncio.timeout(30):
            await reader.read()
        writer.close()

    def produce(
        self, topic: Topic, value: bytes, key: bytes, headers: Mapping[str, bytes] | None = None
    ) -> None:
        """A record of a trusted service, or of a hostile one."""
        produce(self.deployed.settings, topic, value, key, headers or {})


def produce(
    settings: Settings, topic: Topic, value: bytes, key: bytes, headers: Mapping[str, str | bytes]
) -> None:
    """Writes a record with headers, and waits until the broker has it."""
    producer = Producer(producer_config(settings))
    producer.produce(settings.topic(topic), value, key, 0, headers=list(headers.items()))
    assert producer.flush(30) == 0


async def by_messages(senders: TextSenders) -> None:
    """A message, its edit, its recall, a duplicate and a conflict."""
    for text in TEXTS:
        seq = (await senders.write("POST", PATH, text=text))["seq"]
        await senders.write("PUT", f"{PATH}/{seq}", text=f"{text} again")
    await senders.write("DELETE", f"{PATH}/{seq}")
    once = uuid7(1_000, 0)
    for text in (WORD, WORD, f"{WORD}!"):
        await senders.write("POST", PATH, text=text, client_msg_id=once)


async def by_descriptions(senders: TextSenders) -> None:
    """The name and the metadata of a conversation."""
    metadata = json.dumps({WORD: TEXTS})
    await senders.write(
        "POST", "/v1/conversations", conv_id="named", members=[], name=WORD, metadata=metadata
    )
    await senders.write("PUT", f"/v1/conversations/{CONVERSATION}/description", name=WORD)
    await senders.write("PUT", f"/v1/conversations/{CONVERSATION}/description", metadata=metadata)


async def by_rejections(senders: TextSenders) -> None:
    """Commands that the gateway or the sequencer rejects."""
    await senders.ask(senders.stranger, "POST", PATH, text=WORD)
    await senders.write("POST", f"/v1/conversations/{WORD}/messages", text=WORD)
    await senders.write("POST", f"/v1/conversations/{quote(TEXTS[1])}/messages", text=WORD)
    await senders.write("PUT", f"{PATH}/999", text=WORD)
    await senders.write("PUT", f"{PATH}/{WORD}", text=WORD)
    await senders.write("POST", PATH, text=WORD * 1_000)
    await senders.write("POST", PATH, text={"a": WORD})
    await senders.write("POST", PATH, text=WORD, mentions=[WORD * 20])
    await senders.write("POST", PATH, **{"text": "x", WORD: WORD})
    await senders.write("POST", PATH, text="x", client_msg_id=WORD)
    await senders.write("POST", "/v1/devices", device_id=f"\n{WORD}")


async def by_queries(senders: TextSenders) -> None:
    """Searches, parameters, and headers."""
    for text in (*TEXTS, f'"{WORD}', WORD * 100, " ".join([WORD] * 100)):
        await senders.write("GET", f"/v1/search?q={quote(text)}")
    await senders.write(
        "GET", f"/v1/search?q={WORD}&conversation={WORD}&sender={WORD}&cursor={WORD}"
    )
    await senders.write("GET", f"{PATH}?{WORD}={WORD}")
    await senders.write("GET", f"{PATH}?from={WORD}")
    await senders.write("GET", f"/v1/{WORD}")
    for name in ("Idempotency-Key", "X-Request-Id", "traceparent", "Content-Type", "Expect"):
        await senders.write("POST", PATH, headers={name: f"{WORD}  !"}, text=WORD)
    await senders.write("GET", PATH, headers={"Authorization": f"Bearer {WORD}.{WORD}.{WORD}"})


async def by_wrong_requests(senders: TextSenders) -> None:
    """Bytes that are no request, or whose body is not JSON."""
    word = WORD.encode()
    await senders.raw(word + b" /" + word + b" HTTP/1.1\r\n\r\n")
    await senders.raw(b"GET /" + word + b"\x00 HTTP/1.1\r\n" + word + b"\r\n\r\n")
    await senders.raw(b"POST / HTTP/1.1\r\nContent-Length: " + word + b"\r\n\r\n")
    await senders.raw(b"GET /?q=" + word * 5_000 + b" HTTP/1.1\r\n\r\n")
    headers = {"Authorization": senders.member._headers["Authorization"]}  # noqa: SLF001 - the token
    address = f"{senders.address}{PATH}"
    for body in (word, b'{"text":"' + word, b'{"text":"' + word + b'\xff"}', b"[" * 5_000 + word):
        async with senders.http.post(address, data=body, headers=headers) as response:
            senders.statuses.add(response.status)


async def by_frames(senders: TextSenders) -> None:
    """Messages over a live connection, and frames that are no request."""
    headers = {"Authorization": senders.member._headers["Authorization"]}  # noqa: SLF001 - the token
    address = f"{senders.address}/v1/live?after=-1"
    for frame in ("", WORD, f'{{"{WORD}":1}}'):
        async with senders.http.ws_connect(address, headers=headers) as socket:
            for ref, (path, text) in enumerate(((PATH, WORD), (f"/{WORD}", WORD), (PATH, ""))):
                body = {"text": text}
                await socket.send_json(
                    {"ref": str(ref), "method": "POST", "path": path, "body": body}
                )
            answers = 0
            while answers < 3:
                message = await socket.receive(30)
                assert message.type is WSMsgType.TEXT
                answers += message.json()["kind"] == "answer"
            if frame:
                await socket.send_str(frame)
                while (await socket.receive(30)).type is WSMsgType.TEXT:
                    pass


async def by_records(senders: TextSenders) -> None:
    """Records that no stage can process, on the topics of all stages."""
    word, conv = WORD.encode(), CONVERSATION.encode()
    kind = b'{"kind":"send_message","conv_id":"c","sender":"ann","device_id":"d",'
    text = b'"content":{"text":"' + word + b'"}}'
    for value in (
        word,
        b'{"kind":"' + word + b'"}',
        kind + b'"client_msg_id":"' + word + b'",' + text,
        kind + b'"client_msg_id":5,' + text,
        kind + b'"mentions":{"' + word + b'":1},' + text,
    ):
        senders.produce(Topic.MESSAGES, value, conv)
        senders.produce(Topic.MESSAGES, value, word, {"request-id": word + b"!", WORD: word})
    entry = (
        b'{"kind":"message_sent","conv_id":"c","seq":"' + word + b'","content":{"text":"' + word
    )
    for topic in (Topic.TIMELINE, Topic.SYNC):
        for value in (word, entry + b'"}}', b'{"kind":"' + word + b'","conv_id":"c","seq":1}'):
            senders.produce(topic, value, conv, {"traceparent": word})


WAYS: Final[tuple[Way, ...]] = (
    by_messages, by_descriptions, by_rejections, by_queries, by_wrong_requests, by_frames,
    by_records,
)  # fmt: skip


def places_of_the_word(content: str | bytes) -> list[str]:
    """The parts of a content that have the word, in any of its forms."""
    raw = content if isinstance(content, bytes) else content.encode()
    folded = raw.lower()
    forms = [
        WORD.encode(),
        WORD.encode().hex().encode(),
        *(base64.b64encode(b" " * at + WORD.encode())[4:-4].lower() for at in range(3)),
        WORD.encode("utf-16-le"),
    ]
    found = [folded.find(form) for form in forms]
    return [repr(raw[max(0, at - 200) : at + 100]) for at in found if at >= 0]
