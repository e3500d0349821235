"""Deliveries of notifications in one event loop: a planner, devices, a store, and servers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future
from typing import Any, Final

from prometheus_client import CollectorRegistry

from schemas.codec import encode
from schemas.errors import ServerUnavailable, TransientFailure
from schemas.ids import uuid7
from schemas.live_people import LIVE_RECORD
from schemas.number_types import NO_SEQ, Milliseconds, Offset, SeqId, ShardNumber
from schemas.push_addresses import PushAddress, WebhookAddress, url_of
from schemas.push_devices import PushDevice
from schemas.push_settings import PushContent
from schemas.records import MessageSent, ReadMarked, TextContent
from schemas.replays import GivenUpNotification
from schemas.unread import Counted
from schemas.user_keys import user_part_key
from sinks.outbound.destination_sender import DestinationSender, SenderBounds
from sinks.outbound.outcomes import Delivered, DeliveryFailed, DeliveryOutcome
from sinks.push.address_reader import AddressBook
from sinks.push.live_reader import LiveBook
from sinks.push.provider_port import Notification
from sinks.push.push_delivery import DeliveryTools, PushRules
from sinks.push.push_dispatcher import DUE_TICK_SECONDS, PushDispatcher
from sinks.push.push_memory import PushMemory
from sinks.push.push_metrics import PushMetrics
from sinks.push.push_people import PushPeople
from sinks.push.push_planner import PushPlanner
from sinks.push.push_state import PushKey, PushState, PushTimes
from sinks.push.stored_facts import StoredFacts

SHARD: Final = ShardNumber(0)
WINDOW_SECONDS: Final = 2.0
MAX_AGE_SECONDS: Final = 600.0
_BEGIN_MS: Final = 1_000_000
_ID: Final = uuid7(1, 1)


class InlineExecutor(Executor):
    """Runs each call at once."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """See `Executor`."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - raised by `result`
            future.set_exception(error)
        return future


class DictStates:
    """Durable states in memory."""

    def __init__(self) -> None:
        self.states: dict[PushKey, PushState] = {}
        self.is_behind = False

    def append(self, changes: Mapping[PushKey, PushState | None]) -> None:
        for key, state in changes.items():
            if state is None:
                self.states.pop(key, None)
            else:
                self.states[key] = state

    def flush(self) -> None:
        """Nothing is left to do."""

    def serve(self) -> None:
        """Nothing is left to do."""


class FakeFacts:
    """A store of messages. ``fails`` is the number of queries that it does not answer."""

    def __init__(self) -> None:
        self.texts: dict[tuple[str, int], str] = {}
        self.recalled: set[tuple[str, int]] = set()
        self.muted_until = Milliseconds(0)
        self.mark = Counted(NO_SEQ, 0)
        self.fails = 0

    def read(self, key: PushKey, seq: SeqId) -> StoredFacts:
        if self.fails:
            self.fails -= 1
            raise ServerUnavailable("not now")
        place = (key.conv_id, seq)
        return StoredFacts(
            mark=self.mark,
            text=self.texts.get(place),
            is_recalled=place in self.recalled,
            muted_until=self.muted_until,
        )


class FakeServer:
    """A server of a provider: an outcome after some failures, each after some seconds."""

    def __init__(self) -> None:
        self.outcome: DeliveryOutcome = Delivered()
        self.failures = 0.0
        self.seconds = 0.0
        self.got: list[Notification] = []
        self.acknowledged: list[Notification] = []

    async def deliver(self, notification: Notification) -> DeliveryOutcome:
        """Handle one request."""
        self.got.append(notification)
        await asyncio.sleep(self.seconds)
        if self.failures:
            self.failures -= 1
            raise DeliveryFailed("status 503")
        self.acknowledged.append(notification)
        return self.outcome


class FakeServers:
    """A `Provider` with a server for each URL."""

    def __init__(self) -> None:
        self.servers: dict[str, FakeServer] = {}

    def at(self, url: str) -> FakeServer:
        """The server of a URL."""
        return self.servers.setdefault(url, FakeServer())

    async def deliver(self, address: PushAddress, notification: Notification) -> DeliveryOutcome:
        return await self.at(url_of(address)).deliver(notification)


class NotedLetters:
    """Dead letters in memory. ``fails`` is the number of letters that are not confirmed."""

    def __init__(self) -> None:
        self.letters: list[tuple[str, str]] = []
        self.given_up: list[GivenUpNotification] = []
        self.fails = 0

    def send(self, user: str, given_up: GivenUpNotification, reason: str) -> None:
        assert (given_up.shard, given_up.offset) != (SHARD, -1), "a letter refers to a record"
        if self.fails:
            self.fails -= 1
            raise TransientFailure("not confirmed")
        self.letters.append((user, reason))
        self.given_up.append(given_up)


class Deliveries:
    """All parts, and the sync records that they get. Created in the event loop."""

    def __init__(self, content: PushContent = "text", bounds: SenderBounds | None = None) -> None:
        self.addresses = AddressBook()
        self.live = LiveBook()
        self.states = DictStates()
        self.facts = FakeFacts()
        self.servers = FakeServers()
        self.letters = NotedLetters()
        self.removed: list[tuple[str, str]] = []
        self.heads: dict[str, int] = {}
        self.offset = 0
        window = Milliseconds(int(WINDOW_SECONDS * 1000))
        self.registry = CollectorRegistry()
        metrics = PushMetrics(self.registry)
        planner = PushPlanner(PushTimes(window, Milliseconds(60_000)), metrics.dropped)
        planner.take_over([], {SHARD: Offset(0)})
        planner.committed({SHARD: Offset(0)}, self.now())
        self.memory = PushMemory(planner, self.states)
        self.people = PushPeople(self.addresses, self.live)
        max_age = Milliseconds(int(MAX_AGE_SECONDS * 1000))
        sender = DestinationSender(bounds or SenderBounds(), chance=lambda: 1.0)
        tools = DeliveryTools(
            self.memory, self.people, self.servers, sender, self.facts, InlineExecutor(),
            PushRules(content, max_age), self.now, metrics,
        )  # fmt: skip
        self.dispatcher = PushDispatcher(tools, self.letters, self)

    def now(self) -> Milliseconds:
        """The time of the event loop, in milliseconds."""
        return Milliseconds(_BEGIN_MS + int(asyncio.get_running_loop().time() * 1000))

    def remove(self, user: str, device_id: str, refused: PushDevice) -> object:
        """See `AddressRemover`."""
        assert self.people.devices(user).get(device_id) == refused
        self.removed.append((user, device_id))
        self.addresses.take(user_part_key(user, device_id), None)
        return True

    def register(self, user: str, url: str, device_id: str = "phone") -> FakeServer:
        """Register a device, and return its server."""
        device = PushDevice(at=self.now(), address=WebhookAddress(url=url))
        self.addresses.take(user_part_key(user, device_id), encode(device))
        return self.servers.at(url)

    def connect(self, user: str) -> None:
        """Begin a live connection."""
        self.live.take(user_part_key(user, "gateway"), LIVE_RECORD, self.now())

    def send(self, user: str, conv_id: str = "c1", text: str = "Hi") -> SeqId:
        """A message of another person arrives in the timeline and in the store."""
        seq = SeqId(self.heads.get(conv_id, 0) + 1)
        self.heads[conv_id] = seq
        self.facts.texts[conv_id, seq] = text
        record = MessageSent(
            conv_id=conv_id, seq=seq, sender="ann", client_msg_id=_ID, at=self.now(),
            messages=seq, content=TextContent(text), mentions=[],
        )  # fmt: skip
        self._apply(user, record)
        return seq

    def read(self, user: str, conv_id: str = "c1") -> None:
        """The person reads a conversation to its end."""
        record = ReadMarked(
            conv_id=conv_id, sender=user, device_id="d", client_msg_id=_ID, at=self.now(),
            seq=SeqId(self.heads[conv_id]),
        )  # fmt: skip
        self._apply(user, record)

    async def run(self, seconds: float) -> None:
        """Search for due notifications for some time."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while loop.time() < end:
            self.dispatcher.begin_due()
            assert self.dispatcher.failure is None, self.dispatcher.failure
            await asyncio.sleep(DUE_TICK_SECONDS)

    def commit(self) -> None:
        """All records so far are committed."""
        committed = {SHARD: Offset(self.offset)}
        self.memory.do(lambda planner: planner.committed(committed, self.now()))

    def _apply(self, user: str, record: MessageSent | ReadMarked) -> None:
        offset, now = Offset(self.offset), self.now()
        self.offset += 1
        self.memory.do(lambda planner: planner.apply(user, record, SHARD, offset, now))
