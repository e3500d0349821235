"""A world around one device: a sequencer, sinks that lag, a gateway over HTTP, and crashes."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import AsyncGenerator, Iterator, Sequence
from datetime import timedelta
from typing import Any, Final, cast

import msgspec
from aiohttp import ClientSession

from consumers.device.gateway_timeline import GatewayTimelines
from consumers.device.knowledge import Arrived, TimelineItem
from consumers.device.registry import GatewayRegistry
from gateway.errors import ConversationNotFound
from gateway.http.tokens import issue_token
from gateway.live.head_pump import open_head
from gateway.reads.access import access_conversation
from gateway.store.store_port import Store, StoredEntry, StoredMember
from schemas.codec import decode_entry, decode_sync_record, encode
from schemas.ids import uuid7
from schemas.number_types import SeqId, SyncSeqId
from schemas.records import (
    AddMembers,
    AnyCommand,
    AnyEntry,
    ConversationCreated,
    ConversationMuted,
    CreateConversation,
    EditMessage,
    Entry,
    FanoutChanged,
    MarkRead,
    MembersAdded,
    MembersRemoved,
    MessageEdited,
    MessageRecalled,
    MessageSent,
    MuteConversation,
    NewDevicePolicy,
    ReadMarked,
    RecallMessage,
    RemoveMembers,
    SendMessage,
    TextContent,
)
from schemas.visibility import counts, periods, visible
from stream_processors.sequencing.sequencer import Sequencer
from stream_processors.state.conversations import Conversations
from stream_processors.state.state_codec import LaneProgress
from tests.support.gateway import serving, token_settings
from tests.support.gateway_store import FakeIndex, FakeStore
from tests.support.sequencing import SMALL_LIMITS, Log, source
from tests.support.unread import walked

OWNER: Final = "ann"
ME: Final = "陈"
PEOPLE: Final = [ME, "bob", "d e", "|e-", "f"]
CONVERSATIONS: Final = ["c1", "c/2"]
DEVICE: Final = "phone"
WINDOW: Final = 3
"""Number of SeqIds of a new device with the policy ``window``."""

_JOINS = ConversationCreated | MembersAdded


class LaggingStore(FakeStore):
    """The store with a part of a log: memberships are written first, then entries, then heads."""

    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log
        self._memberships = self._stored = self._heads = self._synced = 0

    def write_memberships(self, count: int) -> None:
        """The message sink's first step, for this number of entries."""
        begin, self._memberships = self._memberships, self._memberships + count
        for entry in self._entries_of(begin, self._memberships):
            if isinstance(entry, _JOINS | MembersRemoved):
                for user in entry.members:
                    joined = isinstance(entry, _JOINS)
                    place = (user, entry.conv_id, entry.seq)
                    self.put_change(*place, joined=joined, messages=entry.messages)
                    self.put_member(
                        entry.conv_id, StoredMember(user, entry.seq, joined=joined, at=entry.at)
                    )
        self._memberships = min(self._memberships, len(self._log.entries))

    def write_entries(self, count: int) -> None:
        """The message sink's second step, which never passes the first."""
        begin, self._stored = self._stored, min(self._stored + count, self._memberships)
        for entry in self._entries_of(begin, self._stored):
            kind = str(entry.__struct_config__.tag)
            stored = StoredEntry(entry.seq, kind, encode(entry))
            self._entries[entry.conv_id, entry.seq] = stored
            self._counts[entry.conv_id, entry.seq] = entry.messages
            if isinstance(entry, MessageEdited):
                self.put_edit(entry)
            elif isinstance(entry, MessageRecalled):
                self.put_recall(entry.conv_id, entry.seq, entry.target, *entry.edits)
            if isinstance(entry, MessageSent):
                self.put_own(entry.conv_id, entry.sender, entry.seq, entry.messages)

    def write_heads(self, count: int) -> None:
        """The message sink's third step, which never passes the second."""
        begin, self._heads = self._heads, min(self._heads + count, self._stored)
        for entry in self._entries_of(begin, self._heads):
            known = self._conversations.get(entry.conv_id)
            mode = getattr(entry, "mode", known.mode if known else "push")
            self.put_conversation(entry.conv_id, entry.seq, mode, entry.messages)

    def write_sync(self, count: int) -> None:
        """The sync sink, for this number of records."""
        begin, self._synced = self._synced, min(self._synced + count, len(self._log.syncs))
        for index in range(begin, self._synced):
            user, json = self._log.syncs[index]
            place = self._log.place_of(index)
            record = decode_sync_record(json)
            if isinstance(record, Entry):
                self.put_reference(user, place, record.conv_id, record.seq)
            else:
                self.put_record(user, place, json)
            if isinstance(record, ReadMarked):
                self.put_marked(record.conv_id, user, record.seq)
            elif isinstance(record, ConversationMuted):
                self.put_muted(record.conv_id, user, place, record.until)

    def write_all(self) -> None:
        """Lets both sinks reach the end of the log."""
        everything = len(self._log.entries) + len(self._log.syncs)
        for write in (
            self.write_memberships, self.write_entries, self.write_heads, self.write_sync,
        ):  # fmt: skip
            write(everything)

    def _entries_of(self, begin: int, end: int) -> Iterator[AnyEntry]:
        return (decode_entry(value) for _, value in self._log.entries[begin:end])


def new_sequencer() -> Sequencer:
    """A sequencer that has read nothing."""
    return Sequencer(SMALL_LIMITS, Conversations(1_000), LaneProgress())


class World:
    """One sequencer's log and a store that lags."""

    def __init__(self) -> None:
        self.log = Log()
        self.store = LaggingStore(self.log)
        self._sequencer = new_sequencer()
        self._numbers = itertools.count()
        self._commands: list[tuple[int, AnyCommand]] = []
        for conv_id in CONVERSATIONS:
            self.do(CreateConversation, conv_id, members=[ME], join="open")

    def do(self, kind: type[AnyCommand], conv_id: str, sender: str = OWNER, **fields: Any) -> None:
        """A person sends a command; the sequencer may reject it."""
        number = next(self._numbers)
        command = kind(
            conv_id=conv_id, sender=sender, device_id=DEVICE, client_msg_id=uuid7(number, 0),
            **fields,
        )  # fmt: skip
        self._commands.append((number, command))
        self._process(len(self._commands) - 1)

    def _process(self, offset: int) -> None:
        number, command = self._commands[offset]
        batch = Log()
        self._sequencer.process(source(offset, command, at=1_000 + number), batch)
        self.log.append(batch)

    def would_lose(self, lost: int, cursor: SyncSeqId) -> bool:
        """Whether a restore without the last commands would lose the record of a cursor."""
        restored = World()
        restored._commands = self._commands
        restored.log.cuts = self.log.cuts
        restored.restore(lost)
        return cursor >= 0 and restored.log.is_ahead(cursor)

    def restore(self, lost: int) -> None:
        """The log loses its last commands, and the stores are made again from it.

        The conversations remain. The next records are in another epoch.
        """
        cuts = self.log.cuts
        kept = max(len(CONVERSATIONS), len(self._commands) - lost)
        self._commands = self._commands[:kept]
        self.log = Log()
        self.store = LaggingStore(self.log)
        self._sequencer = new_sequencer()
        for offset in range(kept):
            self._process(offset)
        end = len(self.log.syncs)
        self.log.cuts = [*(min(cut, end) for cut in cuts), end]
        self.store.write_all()

    def say(self, conv_id: str, sender: str, mentions: Sequence[str]) -> None:
        """A person sends a message."""
        content = TextContent(text="hi")
        self.do(SendMessage, conv_id, sender, content=content, mentions=list(mentions))

    def mark(self, conv_id: str, seq: int) -> None:
        """The device's owner reads up to an entry on another device; may be rejected."""
        self.do(MarkRead, conv_id, ME, seq=seq)

    def mute(self, conv_id: str, until: int) -> None:
        """The device's owner mutes a conversation on another device; may be rejected."""
        self.do(MuteConversation, conv_id, ME, until=until)

    def my_mute(self, conv_id: str) -> int:
        """The end of the last mute of the device's owner; 0 without a mute."""
        mutes = (
            each.record for each in self.my_records()
            if isinstance(each.record, ConversationMuted) and each.record.conv_id == conv_id
        )  # fmt: skip
        return max((each.until for each in deque(mutes, maxlen=1)), default=0)

    def recall(self, conv_id: str, sender: str, seq: int) -> None:
        """A person recalls a message; the command may be rejected."""
        self.do(RecallMessage, conv_id, sender, seq=seq)

    def edit(self, conv_id: str, sender: str, seq: int) -> None:
        """A person edits a message; the command may be rejected."""
        content = TextContent(text=f"edit {len(self.log.entries)}")
        self.do(EditMessage, conv_id, sender, seq=seq, content=content)

    async def my_open_head(self, conv_id: str) -> int | None:
        """The head of a pulled conversation that the gateway would send to the device's owner now.

        None if the store does not know the conversation, or not with the owner as a member.
        """
        try:
            return open_head(await access_conversation(self.store, ME, conv_id))
        except ConversationNotFound:
            return None

    def my_unread(self, conv_id: str) -> int:
        """The owner's unread count, by a plain walk over the log."""
        return walked(self.log.timeline_of(conv_id), self.log.sync_of(ME), ME)

    def change(self, conv_id: str, people: Sequence[str], *, join: bool) -> None:
        """The owner of the conversation adds or removes people."""
        self.do(AddMembers if join else RemoveMembers, conv_id, members=list(people))

    def my_records(self) -> list[Arrived]:
        """The sync timeline of the device's owner on the log."""
        return [
            Arrived(self.log.place_of(index), json, decode_sync_record(json))
            for index, (user, json) in enumerate(self.log.syncs)
            if user == ME
        ]

    def my_timeline(self, conv_id: str) -> dict[int, tuple[str | None, bytes]]:
        """The entries and holes that the device's owner may see, by SeqId, from the log alone."""
        return seen_by(ME, [value for key, value in self.log.entries if key == conv_id])

    def my_last_join(self, conv_id: str) -> int:
        """The entry with the owner's last join; a device reads earlier entries from the store."""
        return max(
            entry.seq
            for entry in self.log.timeline_of(conv_id)
            if isinstance(entry, _JOINS) and ME in entry.members
        )

    def switches(self) -> int:
        """The number of mode changes."""
        entries = (decode_entry(value) for _, value in self.log.entries)
        return sum(isinstance(entry, FanoutChanged) for entry in entries)


def has_joined(user: str, timeline: Sequence[bytes]) -> bool:
    """Whether a person is or was a member of a conversation."""
    entries = map(decode_entry, timeline)
    return any(isinstance(entry, _JOINS) and user in entry.members for entry in entries)


def seen_by(user: str, timeline: Sequence[bytes]) -> dict[int, tuple[str | None, bytes]]:
    """The entries and holes of one conversation that a member may see, by SeqId."""
    entries = [decode_entry(value) for value in timeline]
    stays = periods(
        (entry.seq, isinstance(entry, _JOINS))
        for entry in entries
        if isinstance(entry, _JOINS | MembersRemoved) and user in entry.members
    )
    head = stays[-1].last or len(entries)
    shown = {entry.seq: value for entry, value in zip(entries, timeline, strict=True)}
    gone: set[int] = set()
    for entry in entries:
        if isinstance(entry, MessageRecalled):
            gone.update((entry.target, *entry.edits))
        elif isinstance(entry, MessageEdited) and counts(stays, entry.seq):
            sent = msgspec.json.decode(shown[entry.target])
            words = {"content": msgspec.to_builtins(entry.content), "mentions": entry.mentions}
            shown[entry.target] = encode(sent | words | {"edited": entry.seq})

    def item(seq: int) -> tuple[str | None, bytes]:
        if not visible(stays, SeqId(seq)):
            return "hidden", b""
        return ("recalled", b"") if seq in gone else (None, shown[SeqId(seq)])

    return {seq: item(seq) for seq in range(1, head + 1)}


def by_seq(items: Sequence[TimelineItem]) -> dict[int, tuple[str | None, bytes]]:
    """Items in the form of `World.my_timeline`."""
    return {
        seq: (item.hole, item.json) for item in items for seq in range(item.first, item.last + 1)
    }


class _CurrentEnds:
    """`Ends` of the log of the current world."""

    log = Log()

    async def is_ahead(self, user: str, cursor: SyncSeqId) -> bool:  # noqa: ARG002 - the port's
        """See `Ends`."""
        return self.log.is_ahead(cursor)


class _CurrentStore:
    """The store of the current world."""

    def __init__(self) -> None:
        self.now = FakeStore()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.now, name)


_Served = tuple[GatewayTimelines, GatewayRegistry, str]
"""A client of the gateway, and the gateway's address."""


class WorldGateway:
    """A gateway over HTTP that outlives worlds, and a client of the device's owner.

    Args:
        policy: The policy of new devices.
    """

    def __init__(self, policy: NewDevicePolicy = "full-history") -> None:
        self.runner = asyncio.Runner()
        self._settings = token_settings(new_device=policy, new_device_window=WINDOW)
        self._store = _CurrentStore()
        self._ends = _CurrentEnds()
        self._serving = self._serve()
        self.timelines, self.registry, self.address = self.runner.run(self._first())

    def serve(self, world: World) -> None:
        """Serves another world, or the restored one, from now on."""
        self._store.now = world.store
        self._ends.log = world.log

    def close(self) -> None:
        """Stops the gateway."""
        self.runner.run(self._serving.aclose())
        self.runner.close()

    async def _first(self) -> _Served:
        return await anext(self._serving)

    async def _serve(self) -> AsyncGenerator[_Served, None]:
        settings, store = self._settings, cast(Store, self._store)
        async with (
            serving(settings, store, FakeIndex(), None, self._ends) as caller,
            ClientSession() as http,
        ):
            asked = caller.base, lambda: issue_token(settings, ME, timedelta(minutes=1)), http
            yield GatewayTimelines(*asked), GatewayRegistry(*asked), caller.base
