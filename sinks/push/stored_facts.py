"""The part of a notification that the store decides: unread count, text, recall, old mutes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from cassandra.cluster import Session
from msgspec import Struct

from backends.cassandra.driver_errors import DRIVER_ERRORS
from backends.cassandra.memberships import user_bucket
from backends.cassandra.tables import use_keyspace
from schemas.buckets import message_bucket
from schemas.codec import decode_entry
from schemas.errors import ServerUnavailable, UndecodableRecord
from schemas.number_types import NO_SEQ, Milliseconds, SeqId
from schemas.records import MessageEdited, MessageSent
from schemas.settings import Settings
from schemas.unread import Counted
from sinks.push.push_state import PushKey

FACT_SECONDS: Final = 5.0
"""Timeout of one query."""


class StoredFacts(Struct, frozen=True, kw_only=True):
    """What the store knows about a message and a person.

    ``mark``: the person's read mark. ``text``: the present text of the message; None if the store
    does not have the message yet. ``is_recalled``: whether the message was recalled.
    ``muted_until``: the end of the person's mute in milliseconds since 1970; 0 without one.
    ``has_left``: whether the person's last change of membership is a leave.
    """

    mark: Counted
    text: str | None
    is_recalled: bool
    muted_until: Milliseconds
    has_left: bool = False


class StoredFactsReader:
    """Reads from Cassandra. Thread-safe; each call blocks for some queries.

    Args:
        session: A session.
        settings: The settings of the deployment.

    Raises:
        ConfigurationError: The tables are of an earlier version.
        ServerUnavailable: The store does not answer.
    """

    def __init__(self, session: Session, settings: Settings) -> None:
        self._session = session
        try:
            use_keyspace(session, settings)
            self._mark = session.prepare(
                "SELECT own_seq, own_messages, read_seq, muted_until FROM read_mark"
                " WHERE conv_id = ? AND user_id = ?"
            )
            self._joins = session.prepare(
                "SELECT seq, joined, messages FROM membership_by_user"
                " WHERE user_id = ? AND bucket = ? AND conv_id = ?"
            )
            self._entry = session.prepare(
                "SELECT entry, messages, edited_by, recalled_by FROM message"
                " WHERE conv_id = ? AND bucket = ? AND seq = ?"
            )
        except DRIVER_ERRORS as error:
            raise ServerUnavailable("Cassandra does not answer") from error

    def read(self, key: PushKey, seq: SeqId) -> StoredFacts:
        """The facts about message ``seq``.

        Raises:
            ServerUnavailable: The store does not answer.
        """
        text, is_recalled = self._text(key.conv_id, seq)
        changes = self._rows(self._joins, key.user, user_bucket(key.conv_id), key.conv_id)
        _, is_member, _ = max(changes, key=lambda row: row[0], default=(NO_SEQ, True, 0))
        mark, muted_until = self._mark_of(key, changes)
        return StoredFacts(
            mark=mark, text=text, is_recalled=is_recalled, muted_until=muted_until,
            has_left=not is_member,
        )  # fmt: skip

    def _mark_of(
        self, key: PushKey, joins: Sequence[tuple[Any, ...]]
    ) -> tuple[Counted, Milliseconds]:
        marks = [Counted(seq, messages or 0) for seq, joined, messages in joins if joined]
        marks.append(Counted(NO_SEQ, 0))
        muted_until = Milliseconds(0)
        for own, messages, read, muted in self._rows(self._mark, key.conv_id, key.user):
            marks.append(Counted(own or NO_SEQ, messages or 0))
            muted_until = muted or muted_until
            if read is not None and read > max(marks).seq:
                marks.append(self._counted(key.conv_id, read))
        return max(marks), muted_until

    def _counted(self, conv_id: str, seq: SeqId) -> Counted:
        for _, messages, *_ in self._rows(self._entry, conv_id, message_bucket(seq), seq):
            return Counted(seq, messages or 0)
        return Counted(seq, 0)

    def _text(self, conv_id: str, seq: SeqId) -> tuple[str | None, bool]:
        for entry, _, edited_by, recalled_by in self._rows(
            self._entry, conv_id, message_bucket(seq), seq
        ):
            if recalled_by is not None or entry is None:
                return None, recalled_by is not None
            if edited_by is not None:
                edit, is_recalled = self._text(conv_id, edited_by)
                if is_recalled or edit is not None:
                    return edit, is_recalled
            return _text_in(entry), False
        return None, False

    def _rows(self, query: Any, *parameters: object) -> list[tuple[Any, ...]]:
        try:
            return list(self._session.execute(query, parameters, timeout=FACT_SECONDS))
        except DRIVER_ERRORS as error:
            raise ServerUnavailable("Cassandra does not answer") from error


def _text_in(entry: str) -> str | None:
    try:
        record = decode_entry(entry.encode())
    except UndecodableRecord:
        return None
    return record.content.text if isinstance(record, MessageSent | MessageEdited) else None
