"""The store of the sync sink, with its expected content."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from typing import Final

import msgspec
from cassandra.cluster import Session
from msgspec import Raw

from schemas.codec import encode
from schemas.limits import SYNC_BUCKET
from schemas.number_types import Milliseconds, Offset, SeqId, SyncSeqId
from schemas.recipients import recipients_key
from schemas.records import (
    ConversationMuted,
    Duplicate,
    ReadMarked,
    Rejected,
)
from schemas.settings import Settings
from schemas.sync_rows import SyncReference
from sinks.base.records import Record
from sinks.cassandra.sync_writer import SyncWriter
from tests.support.sink_stores import AT, TOO_LONG_FOR_A_KEY, Contents, Conversation
from tests.support.sync_rows import taken

_REPLY_KINDS: Final = {"duplicate", "rejected", "read_marked", "conversation_muted"}

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
        return [Record(5, Offset(start + n), self._key(n), self._value(n)) for n in range(60)]

    def _key(self, n: int) -> bytes:
        if n % 10 in _REPLIES:
            return self._users[n % 3].encode()
        return recipients_key(self._users[: n % 4] or self._users[1:])

    def _value(self, n: int) -> bytes:
        reply = {"conv_id": self._conversation.conv_id, "sender": "ann", "device_id": "d"}
        if n % 10 == 8:
            return encode(Duplicate(**reply, client_msg_id="x", at=Milliseconds(AT), seq=SeqId(n)))
        if n % 30 in {13, 23}:
            return encode(
                ConversationMuted(
                    **reply, client_msg_id="x", at=Milliseconds(AT), seq=SeqId(n),
                    until=Milliseconds(100 - n),
                )
            )  # fmt: skip
        if n % 10 in {3, 4}:
            return encode(
                ReadMarked(
                    **reply, client_msg_id="x", at=Milliseconds(AT), seq=SeqId((n * 7) % 64 + 1)
                )
            )
        if n % 10 == 9:
            return encode(Rejected(**reply, client_msg_id="x", at=Milliseconds(AT), code="stale"))
        return encode(self._conversation.said(n + 1, f"你好 {n} \x00"))

    def bad(self) -> list[Record]:
        value = self._value(1)
        user = self._users[0].encode()
        return [
            Record(5, Offset(900), user, None),
            Record(5, Offset(901), user, b"hush"),
            Record(5, Offset(902), user, b'{"kind":"read_marked"}'),
            Record(5, Offset(911), user, b'{"kind":"conversation_muted","conv_id":"c","seq":1}'),
            Record(5, Offset(903), None, value),
            Record(5, Offset(904), b"", value),
            Record(5, Offset(905), b"\xff", value),
            Record(5, Offset(906), TOO_LONG_FOR_A_KEY.encode(), value),
            Record(5, Offset(907), user, value[:-1] + b',"new":"\xff"}'),
            Record(5, Offset(908), user, b'{"kind":"x","conv_id":"c","seq":-1}'),
            Record(5, Offset(909), user, b'{"kind":"x","conv_id":"c","seq":9999999999999999999}'),
            Record(5, Offset(910), user, _mark(TOO_LONG_FOR_A_KEY)),
        ]

    def expected(self, records: Iterable[Record]) -> Contents:
        """The references of each recipient in order, by bucket; rows may group them in any way."""
        ordered = sorted(records, key=lambda record: record.offset)
        timelines: Contents = {user: {} for user in self._users}
        marks: dict[str, int | None] = dict.fromkeys(self._users)
        mutes: dict[str, int | None] = dict.fromkeys(self._users)
        for record in ordered:
            found = msgspec.json.decode(record.value or b"")
            is_reply = found["kind"] in {
                "duplicate",
                "rejected",
                "read_marked",
                "conversation_muted",
            }
            reference = (
                SyncReference(SyncSeqId(record.offset), reply=Raw(record.value or b""))
                if is_reply
                else SyncReference(SyncSeqId(record.offset), found["conv_id"], found["seq"])
            )
            for user in (record.key or b"").decode().split("\n"):
                bucket = record.offset // SYNC_BUCKET
                timelines[user].setdefault(bucket, []).append(reference)
                timelines[user]["newest"] = record.offset
                if found["kind"] == "read_marked":
                    marks[user] = max(found["seq"], marks[user] or 0)
                if found["kind"] == "conversation_muted":
                    mutes[user] = found["until"]
        return {"marks": marks, "mutes": mutes} | {
            user: {"newest": None, **timeline} for user, timeline in timelines.items()
        }

    def contents(self) -> Contents:
        return {"marks": self._column("read_seq"), "mutes": self._column("muted_until")} | {
            user: self._read(user) for user in self._users
        }

    def _column(self, name: str) -> dict[str, int | None]:
        query = f"SELECT user_id, {name} FROM read_mark WHERE conv_id = %s ALLOW FILTERING"  # noqa: S608 - a constant
        found = dict(self._session.execute(query, (self._conversation.conv_id,)))
        return {user: found.get(user) for user in self._users}

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
    return encode(ReadMarked(**common, client_msg_id="x", at=Milliseconds(AT), seq=SeqId(1)))
