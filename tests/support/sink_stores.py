"""Stores that a sink's writer fills and that a test reads back."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from typing import Any, Final, Protocol

import msgspec
from cassandra.cluster import Session
from elasticsearch import Elasticsearch
from msgspec import UNSET, Raw

from backends.cassandra.memberships import user_bucket
from backends.search_text import readings_of
from schemas.codec import decode_entry, encode
from schemas.errors import PoisonRecord
from schemas.limits import MESSAGE_BUCKET, SYNC_BUCKET
from schemas.recipients import recipients_key
from schemas.records import (
    AnyEntry,
    ConversationCreated,
    ConversationDescribed,
    Duplicate,
    FanoutChanged,
    MembersAdded,
    MembersRemoved,
    MessageEdited,
    MessageRecalled,
    MessageSent,
    ReadMarked,
    Rejected,
    TextContent,
)
from schemas.settings import Settings
from schemas.sync_rows import SyncReference
from sinks.base.records import Record
from sinks.base.writer_port import StoreWriter, WriteOutcome
from sinks.cassandra.messages import MessageWriter
from sinks.cassandra.sync_writer import SyncWriter
from sinks.elasticsearch.index_writer import SearchWriter
from tests.support.sync_rows import taken

_HAVE_A_MODE: Final = (ConversationCreated, MembersAdded, MembersRemoved, FanoutChanged)

Contents = dict[str, Any]
"""The content of a store, in a form that can be compared."""

AT: Final = 1_700_000_000_000
NEXT_MONTH: Final = AT + 30 * 24 * 3600 * 1000
TOO_LONG_FOR_A_KEY: Final = "x" * 70_000


class SinkStore(Protocol):
    """A store, a writer for the store, and records for the store that no other test uses."""

    def writer(self) -> StoreWriter:
        """A new writer, as in a process that just started."""
        ...

    def good(self) -> list[Record]:
        """Records that can be written, in the order of the log; the same at every call."""
        ...

    def bad(self) -> list[Record]:
        """Records that can never be written, each for another reason."""
        ...

    def expected(self, records: Iterable[Record]) -> Contents:
        """The content of the store after some of the good records."""
        ...

    def contents(self) -> Contents:
        """The present content of the store."""
        ...


class MemoryStore:
    """The simplest possible writer, for tests of the loop."""

    def __init__(self) -> None:
        self._rows: Contents = {}

    def writer(self) -> MemoryStore:
        return self

    def write(self, records: Sequence[Record]) -> WriteOutcome:
        self._rows |= self.expected(r for r in records if r.value is not None)
        nulls = [at for at, record in enumerate(records) if record.value is None]
        return WriteOutcome([PoisonRecord(at, "the value is null") for at in nulls])

    def good(self) -> list[Record]:
        return [Record(0, offset, b"key", b"%d" % offset) for offset in range(20)]

    def bad(self) -> list[Record]:
        return [Record(0, offset, b"key", None) for offset in (100, 101)]

    def expected(self, records: Iterable[Record]) -> Contents:
        return {str(record.offset): record.value for record in records}

    def contents(self) -> Contents:
        return self._rows


def on_log(entry: AnyEntry, offset: int) -> Record:
    """A possible record for an entry on ``im.timeline``, with a field that is unknown here."""
    return Record(3, offset, entry.conv_id.encode(), encode(entry)[:-1] + b' , "new_field":[] }')


class Conversation:
    """Makes entries of one conversation."""

    def __init__(self, conv_id: str) -> None:
        self.conv_id = conv_id

    def common(self, seq: int, at: int = AT) -> dict[str, Any]:
        """The fields that all entries have."""
        ids = {"conv_id": self.conv_id, "sender": "ann", "client_msg_id": f"id-{seq}"}
        return ids | {"seq": seq, "at": at + seq, "messages": seq // 2}

    def said(self, seq: int, text: str, at: int = AT) -> MessageSent:
        """A text message."""
        return MessageSent(**self.common(seq, at), content=TextContent(text=text), mentions=[])

    def edited(self, seq: int, target: int, text: str) -> MessageEdited:
        """An edit of a message."""
        place: Contents = {"target": target, "target_at": AT + target}
        return MessageEdited(**self.common(seq), **place, content=TextContent(text=text))

    def recalled(self, seq: int, target: int, *edits: int) -> MessageRecalled:
        """A recall of a message."""
        place: Contents = {"target": target, "target_at": AT + target}
        return MessageRecalled(**self.common(seq), **place, edits=list(edits))

    def history(self) -> list[AnyEntry]:
        """Entries of every kind, on both sides of a bucket boundary."""
        rest = MESSAGE_BUCKET - 2
        created = ConversationCreated(
            **self.common(1), members=["ann", "bob", "陈"], join="open", mode="push", history="all"
        )
        switched = FanoutChanged(
            **self.common(4), mode="pull", member_count=3, push_limit=2, push_again_below=1
        )
        return [
            created,
            self.said(2, "hello"),
            MembersRemoved(**self.common(3), members=["bob"], mode="push", member_count=2),
            switched,
            MembersAdded(**self.common(5), members=["bob", "cid"], mode="pull", history="all"),
            MembersRemoved(**self.common(6), members=["cid"], mode="pull"),
            self.said(7, ""),
            self.edited(8, 7, "other words"),
            self.said(9, "hush"),
            self.edited(10, 9, "hush, too"),
            self.edited(11, 7, "the last words"),
            self.recalled(12, 9, 10),
            ConversationDescribed(**self.common(rest), name="team", metadata='{"n": 1}'),
            ConversationDescribed(**self.common(rest + 1), name="团队"),
            ConversationDescribed(**self.common(rest + 2), metadata=""),
            *(
                self.said(rest + 3 + n, f'你好 "{n}" \\ \x00 \U0001f600', at=NEXT_MONTH)
                for n in range(4)
            ),
        ]


class MessageStore:
    """Conversation timelines in Cassandra."""

    def __init__(self, session: Session) -> None:
        self._session = session
        own = secrets.token_hex(4)
        self._conversations = [Conversation(f"{own} {name}") for name in ("a", "[b]")]

    def writer(self) -> MessageWriter:
        return MessageWriter(self._session)

    def good(self) -> list[Record]:
        entries = [each.history() for each in self._conversations]
        mixed = [entry for several in zip(*entries, strict=True) for entry in several]
        return [on_log(entry, offset) for offset, entry in enumerate(mixed)]

    def bad(self) -> list[Record]:
        known = self._conversations[0]
        refused = MembersAdded(**known.common(8), members=[TOO_LONG_FOR_A_KEY], mode="push")
        return [
            Record(3, 900, b"key", None),
            Record(3, 901, b"key", b"\xff"),
            Record(3, 902, b"key", b'{"kind":"unheard_of"}'),
            on_log(known.said(0, "hush"), 903),
            on_log(known.said(1 << 62, "hush"), 904),
            on_log(Conversation(TOO_LONG_FOR_A_KEY).said(1, "hush"), 905),
            on_log(refused, 907),
            on_log(msgspec.structs.replace(known.said(9, "hush"), sender=TOO_LONG_FOR_A_KEY), 908),
            Record(3, 906, b"key", encode(known.said(9, "hush"))[:-1] + b',"new":"\xff"}'),
        ]

    def expected(self, records: Iterable[Record]) -> Contents:
        logged = [(decode_entry(r.value), (r.value or b"").decode()) for r in records]
        return {
            each.conv_id: _conversation(
                [item for item in logged if item[0].conv_id == each.conv_id]
            )
            for each in self._conversations
        }

    def contents(self) -> Contents:
        return {each.conv_id: self._read(each.conv_id) for each in self._conversations}

    def _read(self, conv_id: str) -> Contents:
        rows = self._session.execute
        state = rows(
            "SELECT head, messages, owner, join_rule, mode, history_rule, at, member_count, name, "
            "metadata FROM conversation WHERE conv_id = %s",
            (conv_id,),
        ).one()
        messages = [
            row
            for bucket in (0, 1)
            for row in rows(
                "SELECT bucket, seq, kind, sender, at, entry, edited_by, recalled_by, messages "
                "FROM message WHERE conv_id = %s AND bucket = %s", (conv_id, bucket),
            )
        ]  # fmt: skip
        by_conversation = rows(
            "SELECT user_id, seq, joined, history_rule FROM membership_by_conversation "
            "WHERE conv_id = %s AND bucket IN (0, 1)",
            (conv_id,),
        )
        by_user = [
            (user, *row)
            for user in ("ann", "bob", "cid", "陈")
            for row in rows(
                "SELECT seq, joined, history_rule, messages, at FROM membership_by_user "
                "WHERE user_id = %s AND bucket = %s AND conv_id = %s",
                (user, user_bucket(conv_id), conv_id),
            )
        ]
        return {
            "state": state and tuple(state),
            "messages": messages,
            "by_conversation": sorted(by_conversation),
            "by_user": sorted(by_user),
            "marks": sorted(rows("SELECT user_id, own_seq, own_messages, read_seq FROM read_mark "
                                 "WHERE conv_id = %s ALLOW FILTERING", (conv_id,))),
        }  # fmt: skip


def _conversation(logged: list[tuple[AnyEntry, str]]) -> Contents:
    """The expected rows for one conversation, computed from the rules, not as the writer does."""
    logged = sorted(logged, key=lambda item: item[0].seq)
    ordered = [entry for entry, _ in logged]
    modes = [entry.mode for entry in ordered if isinstance(entry, _HAVE_A_MODE)]
    created = [entry for entry in ordered if isinstance(entry, ConversationCreated)]
    changes = sorted(
        (
            user,
            entry.seq,
            *((False, None) if isinstance(entry, MembersRemoved) else (True, entry.history)),
        )
        for entry in ordered
        if isinstance(entry, ConversationCreated | MembersAdded | MembersRemoved)
        for user in entry.members
    )
    made = created[0] if created else None
    owner, join, rule = (made.sender, made.join, made.history) if made else (None, None, None)
    mode = modes[-1] if modes else None
    last = ordered[-1] if ordered else None
    counts = {entry.seq: (entry.messages, entry.at) for entry in ordered}
    spoken = {e.sender: (e.seq, e.messages) for e in ordered if isinstance(e, MessageSent)}
    return {
        "state": (
            (last.seq, last.messages, owner, join, mode, rule, last.at, *_described(ordered))
            if last
            else None
        ),
        "messages": _messages(logged),
        "by_conversation": changes,
        "by_user": sorted((*change, *counts[change[1]]) for change in _last_of_each(ordered)),
        "marks": sorted((user, *place, None) for user, place in spoken.items()),
    }


def _described(ordered: list[AnyEntry]) -> tuple[int | None, str | None, str | None]:
    """The last count of members, name and metadata."""
    count: int | None = None
    name: str | None = None
    metadata: str | None = None
    for entry in ordered:
        if isinstance(entry, ConversationCreated | MembersAdded | MembersRemoved):
            count = count if entry.member_count is UNSET else entry.member_count
        if isinstance(entry, ConversationDescribed):
            name = name if entry.name is UNSET else entry.name
            metadata = metadata if entry.metadata is UNSET else entry.metadata
    return count, name, metadata


def _last_of_each(ordered: list[AnyEntry]) -> list[tuple[Any, ...]]:
    """The changes in the table by user: the last join and the last leave of each period."""
    rows: dict[tuple[str, int, bool], tuple[Any, ...]] = {}
    for entry in ordered:
        if isinstance(entry, ConversationCreated | MembersAdded | MembersRemoved):
            joined = not isinstance(entry, MembersRemoved)
            for user in entry.members:
                rule = None if isinstance(entry, MembersRemoved) else entry.history
                rows[user, 0, joined] = (user, entry.seq, joined, rule)
    return list(rows.values())


def _messages(logged: list[tuple[AnyEntry, str]]) -> list[tuple[Any, ...]]:
    """The expected rows; a row that only an alteration wrote lacks the sent columns."""
    rows: dict[int, list[Any]] = {
        e.seq: [kind_of(e), e.sender, e.at, text, None, None, e.messages] for e, text in logged
    }
    for entry, _ in logged:
        if isinstance(entry, MessageEdited):
            row = rows.setdefault(entry.target, [None] * 7)
            row[4] = max(entry.seq, row[4] or 0)
        elif isinstance(entry, MessageRecalled):
            for seq in (entry.target, *entry.edits):
                row = rows.setdefault(seq, [None] * 7)
                row[3], row[5] = "", entry.seq
    return [(seq // MESSAGE_BUCKET, seq, *rows[seq]) for seq in sorted(rows)]


def kind_of(entry: AnyEntry) -> str:
    """The ``kind`` of an entry's JSON."""
    return str(msgspec.to_builtins(entry)["kind"])


_REPLIES: Final = {3, 4, 8, 9}
"""Of every ten records of a `SyncStore`, the numbers of those that are replies."""


class SyncStore:
    """Sync timelines in Cassandra."""

    def __init__(self, session: Session, settings: Settings) -> None:
        self._session = session
        self._settings = settings
        self._own = secrets.token_hex(4)
        self._conversation = Conversation(f"{self._own} 你")
        self._users = [f"{self._own} {name}" for name in ("ann", "|bob`", "陈")]

    def writer(self) -> SyncWriter:
        return SyncWriter(self._session, self._settings)

    def good(self) -> list[Record]:
        """Records to one recipient, to two or to all, in turns."""
        start = SYNC_BUCKET * 7 - 20
        return [Record(5, start + n, self._key(n), self._value(n)) for n in range(60)]

    def _key(self, n: int) -> bytes:
        if n % 10 in _REPLIES:
            return self._users[n % 3].encode()
        return recipients_key(self._users[: n % 4] or self._users[1:])

    def _value(self, n: int) -> bytes:
        reply = {"conv_id": self._conversation.conv_id, "sender": "ann", "device_id": "d"}
        if n % 10 == 8:
            return encode(Duplicate(**reply, client_msg_id="x", at=AT, seq=n))
        if n % 10 in {3, 4}:
            return encode(ReadMarked(**reply, client_msg_id="x", at=AT, seq=(n * 7) % 64 + 1))
        if n % 10 == 9:
            return encode(Rejected(**reply, client_msg_id="x", at=AT, code="stale"))
        return encode(self._conversation.said(n + 1, f"你好 {n} \x00"))

    def bad(self) -> list[Record]:
        value = self._value(1)
        user = self._users[0].encode()
        return [
            Record(5, 900, user, None),
            Record(5, 901, user, b"hush"),
            Record(5, 902, user, b'{"kind":"read_marked"}'),
            Record(5, 903, None, value),
            Record(5, 904, b"", value),
            Record(5, 905, b"\xff", value),
            Record(5, 906, TOO_LONG_FOR_A_KEY.encode(), value),
            Record(5, 907, user, value[:-1] + b',"new":"\xff"}'),
            Record(5, 908, user, b'{"kind":"x","conv_id":"c","seq":-1}'),
            Record(5, 909, user, b'{"kind":"x","conv_id":"c","seq":9999999999999999999}'),
            Record(5, 910, user, _mark(TOO_LONG_FOR_A_KEY)),
        ]

    def expected(self, records: Iterable[Record]) -> Contents:
        """The references of each recipient in order, by bucket; rows may group them in any way."""
        ordered = sorted(records, key=lambda record: record.offset)
        timelines: Contents = {user: {} for user in self._users}
        marks: dict[str, int | None] = dict.fromkeys(self._users)
        for record in ordered:
            found = msgspec.json.decode(record.value or b"")
            is_reply = found["kind"] in {"duplicate", "rejected", "read_marked"}
            reference = (
                SyncReference(record.offset, reply=Raw(record.value or b""))
                if is_reply
                else SyncReference(record.offset, found["conv_id"], found["seq"])
            )
            for user in (record.key or b"").decode().split("\n"):
                bucket = record.offset // SYNC_BUCKET
                timelines[user].setdefault(bucket, []).append(reference)
                timelines[user]["newest"] = record.offset
                if found["kind"] == "read_marked":
                    marks[user] = max(found["seq"], marks[user] or 0)
        return {"marks": marks} | {
            user: {"newest": None, **timeline} for user, timeline in timelines.items()
        }

    def contents(self) -> Contents:
        marks = "SELECT user_id, read_seq FROM read_mark WHERE conv_id = %s ALLOW FILTERING"
        marked = dict(self._session.execute(marks, (self._conversation.conv_id,)))
        return {"marks": {user: marked.get(user) for user in self._users}} | {
            user: self._read(user) for user in self._users
        }

    def _read(self, user: str) -> Contents:
        execute = self._session.execute
        listed = execute("SELECT bucket FROM sync_bucket WHERE user_id = %s", (user,))
        newest = execute("SELECT max(newest) FROM sync_expiry WHERE user_id = %s", (user,)).one()
        timeline = {bucket: taken(rows_of(self._session, user, bucket)) for (bucket,) in listed}
        return {**timeline, "newest": newest[0]}


def rows_of(session: Session, user: str, bucket: int) -> dict[int, str]:
    """The rows of one partition of ``sync`` by their keys."""
    query = "SELECT sync_seq, records FROM sync WHERE user_id = %s AND bucket = %s"
    return dict(session.execute(query, (user, bucket)))


def _mark(conv_id: str) -> bytes:
    common: Contents = {"conv_id": conv_id, "sender": "ann", "device_id": "d"}
    return encode(ReadMarked(**common, client_msg_id="x", at=AT, seq=1))


class SearchStore:
    """Documents in Elasticsearch."""

    def __init__(self, client: Elasticsearch, settings: Settings) -> None:
        self._client = client
        self._settings = settings
        self._conversation = Conversation(f"{secrets.token_hex(4)} 你/?#")

    def writer(self) -> SearchWriter:
        return SearchWriter(self._client, self._settings)

    def good(self) -> list[Record]:
        entries = [*self._conversation.history(), self._conversation.said(20_000, "\uff21 B")]
        return [on_log(entry, offset) for offset, entry in enumerate(entries)]

    def bad(self) -> list[Record]:
        said = self._conversation.said
        return [
            Record(3, 900, b"key", None),
            Record(3, 901, b"key", b"[]"),
            on_log(said(0, "hush"), 902),
            on_log(said(5, "hush", at=1 << 61), 903),
            on_log(msgspec.structs.replace(said(6, "hush"), sender=TOO_LONG_FOR_A_KEY), 904),
        ]

    def expected(self, records: Iterable[Record]) -> Contents:
        entries = [decode_entry(record.value) for record in records]
        found: Contents = {}
        for entry in sorted(entries, key=lambda entry: entry.seq):
            if isinstance(entry, MessageSent):
                found |= self._document(entry, entry.seq, entry.at)
            elif isinstance(entry, MessageEdited | MessageRecalled):
                found |= self._document(entry, entry.target, entry.target_at)
        return found

    def _document(
        self, entry: MessageSent | MessageEdited | MessageRecalled, seq: int, at: int
    ) -> Contents:
        index = f"{self._settings.index_alias}-{'2023.11' if at < NEXT_MONTH else '2023.12'}"
        source: Contents = {"conv_id": entry.conv_id, "seq": seq, "at": at}
        if not isinstance(entry, MessageRecalled):
            text = entry.content.text
            source |= {"sender": entry.sender, "text": text}
            source |= {"tokens": list(readings)} if (readings := readings_of(text)) else {}
        return {f"{entry.conv_id}:{seq}": (index, entry.conv_id, entry.seq, source)}

    def contents(self) -> Contents:
        alias = self._settings.index_alias
        self._client.indices.refresh(index=f"{alias}*")
        query = {"term": {"conv_id": self._conversation.conv_id}}
        found = self._client.search(index=alias, query=query, size=1_000, version=True)
        return {
            hit["_id"]: (hit["_index"], hit["_routing"], hit["_version"], hit["_source"])
            for hit in found["hits"]["hits"]
        }
