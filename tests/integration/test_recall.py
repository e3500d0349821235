"""A recalled text is in no store afterwards, and every reader learns of the recall."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, closing
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple

import aiohttp
import pytest
from pydantic import SecretStr

from backends.elasticsearch.index import elasticsearch_client
from consumers.device.device import Device
from consumers.device.gateway_timeline import GatewayTimelines
from consumers.device.knowledge import TimelineItem
from consumers.device.local_store import LocalStore
from devstack.ports import free_ports
from gateway.http.tokens import issue_token
from ops.deployment.readiness import gateway_serves
from schemas.codec import encode
from schemas.ids import uuid7
from schemas.number_types import Milliseconds, SeqId
from schemas.records import (
    AddMembers,
    AnyCommand,
    CreateConversation,
    EditMessage,
    MessageSent,
    RecallMessage,
    RemoveMembers,
    SendMessage,
    TextContent,
)
from schemas.settings import Settings
from schemas.topics import Topic
from tests.conftest import Servers
from tests.support.auditing import report_on
from tests.support.everywhere import places_with
from tests.support.gateway import SECRET
from tests.support.pipeline import SINKS, prepare
from tests.support.processes import running, wait_until
from tests.support.topics import is_caught_up, publish, publish_raw
from tests.support.waiting import until

pytestmark = pytest.mark.servers

PATIENCE: Final = 180.0
GROUP: Final = "the group"
CROWD: Final = "the crowd"
HARMLESS: Final = "what may stay 留下"


@pytest.fixture
def settings(servers: Servers) -> Iterator[Settings]:
    """A deployment with a low push limit, running."""
    settings = servers.settings(
        partitions=2, sync_partitions=2, push_limit=4, push_again_below=3,
        jwt_secret=SecretStr(SECRET), gateway_port=free_ports(1)[0],
    )  # fmt: skip
    prepare(settings)
    with ExitStack() as stack:
        stack.enter_context(running(settings, "stream_processors"))
        for sink in SINKS:
            stack.enter_context(running(settings, "sinks", sink))
        stack.enter_context(running(settings, "gateway"))
        wait_until(lambda: gateway_serves(settings), "the gateway serves")
        yield settings


class Say:
    """Makes commands with increasing ids."""

    def __init__(self) -> None:
        self._number = 0

    def __call__(self, kind: type[AnyCommand], conv_id: str, sender: str, **more: Any) -> Any:
        self._number += 1
        ids: dict[str, Any] = {"device_id": "d", "client_msg_id": uuid7(self._number, 0)}
        return kind(conv_id=conv_id, sender=sender, **ids, **more)


def text(words: str) -> TextContent:
    """The content of a message."""
    return TextContent(text=words)


def settle(settings: Settings) -> None:
    """Waits until all commands are sequenced, stored and searchable."""
    wait_until(lambda: is_caught_up(settings, "sequencer", Topic.MESSAGES), "sequenced", PATIENCE)
    for stage, topic in (
        ("sink-message", Topic.TIMELINE), ("sink-search", Topic.TIMELINE),
        ("sink-sync", Topic.SYNC),
    ):  # fmt: skip
        wait_until(lambda s=stage, t=topic: is_caught_up(settings, s, t), stage, PATIENCE)  # type: ignore[misc]
    with elasticsearch_client(settings) as search:
        search.indices.refresh(index=settings.index_alias)


class Phone(NamedTuple):
    """A person's device with its file; it follows the gateway only when the test calls it."""

    settings: Settings
    user: str
    path: Path

    async def catch_up(self, *conversations: tuple[str, int]) -> list[TimelineItem]:
        """Follows until these conversations are shown up to these SeqIds; returns all items."""
        address = f"http://{self.settings.gateway_host}:{self.settings.gateway_port}"
        shown: list[TimelineItem] = []

        def token() -> str:
            return issue_token(self.settings, self.user, timedelta(minutes=1))

        async with aiohttp.ClientSession() as http:
            timelines = GatewayTimelines(address, token, http)
            with closing(LocalStore(self.path, self.user, "phone")) as store:
                device = Device(store, timelines, timelines, shown.append)

                async def there() -> bool:
                    await device.step()
                    return all(store.conversation(c).shown >= seq for c, seq in conversations)

                await until(there, PATIENCE)
                while await device.step():
                    pass
        return shown

    def timeline(self, conv_id: str) -> dict[int, TimelineItem]:
        """The items in the device's file, by SeqId."""
        with closing(LocalStore(self.path, self.user, "phone")) as store:
            return {item.first: item for item in store.timeline(conv_id, most=1_000)}


async def ask(settings: Settings, user: str, path: str, **asked: Any) -> Any:
    """The body of a response of the gateway."""
    address = f"http://{settings.gateway_host}:{settings.gateway_port}{path}"
    headers = {"Authorization": f"Bearer {issue_token(settings, user, timedelta(minutes=1))}"}
    async with (
        aiohttp.ClientSession() as http,
        http.get(address, headers=headers, params=asked) as answer,
    ):
        assert answer.status == 200, await answer.text()
        return await answer.json()


async def routes_with(settings: Settings, user: str, conv_id: str, marker: str) -> set[str]:
    """The routes whose response to a user contains a text."""
    search = {"q": marker}
    answers = {
        "sync": await ask(settings, user, "/v1/sync"),
        "history": await ask(settings, user, f"/v1/conversations/{conv_id}/messages"),
        "search": (await ask(settings, user, "/v1/search", **search))["hits"],
    }
    return {
        name for name, answer in answers.items()
        if marker in json.dumps(answer, ensure_ascii=False)
    }  # fmt: skip


class Recall:
    """Texts with a marker in a pushed and a pulled conversation, and the devices that have them.

    Each method is a step of the test.
    """

    def __init__(self, settings: Settings, folder: Path) -> None:
        self._settings, self._folder = settings, folder
        self._say, self.marker = Say(), f"hush{secrets.token_hex(6)}"
        self._bob = Phone(settings, "bob", folder / "bob" / "local.db")
        self._former_member = Phone(settings, "eve", folder / "eve" / "local.db")
        self._late = Phone(settings, "bob", folder / "late" / "local.db")

    async def send_and_show(self) -> None:
        """Sends and edits messages; two devices show them."""
        say, marker = self._say, self.marker
        publish(self._settings, [
            say(CreateConversation, GROUP, "ann", members=["bob", "eve"]),
            say(SendMessage, GROUP, "ann", content=text(HARMLESS)),
            say(SendMessage, GROUP, "ann", content=text(f"{marker} 秘密")),
            say(EditMessage, GROUP, "ann", seq=3, content=text(f"{marker} 秘密, again")),
            say(CreateConversation, CROWD, "ann", members=["bob", "eve", "c", "d", "e"]),
            say(SendMessage, CROWD, "ann", content=text(f"{marker} 大群"), mentions=["c"]),
            say(SendMessage, CROWD, "ann", content=text(HARMLESS)),
        ])  # fmt: skip
        settle(self._settings)
        await self._bob.catch_up((GROUP, 4), (CROWD, 4))
        await self._former_member.catch_up((GROUP, 4), (CROWD, 4))

    async def assert_the_text_is_everywhere(self) -> None:
        """The search finds the text in every place, so that it would find a remaining text."""
        found = places_with(self._settings, self.marker, self._folder)
        assert found == {"message", "index", "tokens", "local.db"}
        for user in ("bob", "eve"):
            routes = await routes_with(self._settings, user, GROUP, self.marker)
            assert routes == {"sync", "history", "search"}

    async def recall(self) -> None:
        """Removes a member and recalls the messages; all devices, and a new one, catch up."""
        say = self._say
        publish(self._settings, [
            say(RemoveMembers, GROUP, "ann", members=["eve"]),
            say(RemoveMembers, CROWD, "ann", members=["eve"]),
            say(RecallMessage, GROUP, "ann", seq=3),
            say(RecallMessage, CROWD, "ann", seq=3),
        ])  # fmt: skip
        settle(self._settings)
        assert report_on(self._settings, 30).differences == []
        await self._bob.catch_up((GROUP, 6), (CROWD, 6))
        await self._former_member.catch_up((GROUP, 5), (CROWD, 5))
        await self._late.catch_up((GROUP, 6), (CROWD, 6))

    def make_a_dead_letter_of_the_text(self) -> None:
        """A replayed record that is poison becomes a dead letter."""
        poison = MessageSent(
            conv_id=GROUP,
            seq=SeqId(0),
            sender="ann",
            client_msg_id="",
            at=Milliseconds(1),
            mentions=[],
            content=text(self.marker),
        )
        publish_raw(self._settings, [(GROUP.encode(), encode(poison))], Topic.TIMELINE)
        settle(self._settings)

    async def assert_the_text_is_nowhere(self) -> None:
        """No server, file or response has the text."""
        assert places_with(self._settings, self.marker, self._folder) == set()
        for conv_id in (GROUP, CROWD):
            for user in ("ann", "bob", "eve"):
                assert await routes_with(self._settings, user, conv_id, self.marker) == set()

    async def assert_only_the_recalled_messages_are_holes(self) -> None:
        """Each device has holes for the recalled messages, and the other messages."""
        for phone in (self._bob, self._former_member, self._late):
            here = phone.timeline(GROUP)
            assert HARMLESS.encode() in here[2].json
            assert (here[3].hole, here[4].hole) == ("recalled", "recalled")
            assert phone.timeline(CROWD)[3].hole == "recalled"
        assert (await ask(self._settings, "bob", "/v1/search", q="留下"))["hits"]


async def test_a_recalled_text_is_erased_everywhere(settings: Settings, tmp_path: Path) -> None:
    """After a recall, the text of a sent and edited message is in no store and no response.

    The messages are in push and in pull mode; the readers are members and a former member. The
    test searches all rows of all tables, all documents, dead letters, the files of devices, and
    the gateway's responses. Before the recall, the test finds the text in all of them, so the
    search works. The devices are a member's and a former member's, which had shown the text, and a
    new one. Other messages remain.
    """
    recall = Recall(settings, tmp_path)
    await recall.send_and_show()
    await recall.assert_the_text_is_everywhere()
    await recall.recall()
    recall.make_a_dead_letter_of_the_text()
    await recall.assert_the_text_is_nowhere()
    await recall.assert_only_the_recalled_messages_are_holes()


def ranges() -> Iterator[dict[str, Any]]:
    """Ranges below, at and beyond the head, in both directions."""
    for first, last in ((1, 12), (4, 6), (5, 5), (9, 12), (11, 12)):
        for order in ("asc", "desc"):
            yield {"from": first, "to": last, "order": order}


def write_nine_entries(settings: Settings) -> None:
    """A message is edited, another one recalled; a person joins and leaves."""
    say = Say()
    publish(settings, [
        say(CreateConversation, GROUP, "ann", members=["bob"]),
        say(SendMessage, GROUP, "ann", content=text("one")),
        say(AddMembers, GROUP, "ann", members=["eve"]),
        say(SendMessage, GROUP, "ann", content=text("two")),
        say(SendMessage, GROUP, "bob", content=text("three")),
        say(EditMessage, GROUP, "ann", seq=4, content=text("zwei")),
        say(RecallMessage, GROUP, "bob", seq=5),
        say(RemoveMembers, GROUP, "eve", members=["eve"]),
        say(SendMessage, GROUP, "ann", content=text("nine")),
    ])  # fmt: skip
    settle(settings)


async def test_each_seqid_of_a_range_is_an_entry_or_a_hole(settings: Settings) -> None:
    """Each SeqId of a requested range is an entry or a hole.

    The ranges are those of a member and of a former member, and some exceed the head.
    """
    write_nine_entries(settings)
    expected = {
        "ann": {5: "recalled", 10: "not_yet", 11: "not_yet", 12: "not_yet"},
        "eve": {1: "hidden", 2: "hidden", 5: "recalled"}
        | dict.fromkeys(range(9, 13), "hidden"),
    }  # fmt: skip
    for user, holes in expected.items():
        for asked in ranges():
            seen = await seqids(settings, user, asked)
            seqs = list(range(asked["from"], asked["to"] + 1))
            assert list(seen) == (seqs if asked["order"] == "asc" else seqs[::-1])
            found = {seq: hole for seq, hole in seen.items() if isinstance(hole, str)}
            assert found == {seq: hole for seq, hole in holes.items() if seq in seqs}
    await assert_the_edited_text_is_shown_and_found(settings)


async def assert_the_edited_text_is_shown_and_found(settings: Settings) -> None:
    """Asserts that reads return the text of the edit, and no search finds a replaced text."""
    shown = (await seqids(settings, "ann", {"from": 4, "to": 4}))[4]
    assert (shown["content"]["text"], shown["edited"]) == ("zwei", 6)
    for words, found in (("two", []), ("zwei", [4]), ("three", [])):
        hits = (await ask(settings, "ann", "/v1/search", q=words))["hits"]
        assert [hit["seq"] for hit in hits] == found


async def seqids(settings: Settings, user: str, asked: dict[str, Any]) -> dict[int, Any]:
    """The SeqIds of a range in the order of the page: an entry, or the reason of its hole."""
    page = await ask(settings, user, f"/v1/conversations/{GROUP}/messages", **asked)
    assert page["next"] is None
    seen: dict[int, Any] = {}
    for item in page["items"]:
        if "hole" not in item:
            seen[item["seq"]] = item
            continue
        seqs = range(item["from"], item["to"] + 1)
        down = asked.get("order") == "desc"
        seen |= dict.fromkeys(reversed(seqs) if down else seqs, item["hole"])
    return seen
