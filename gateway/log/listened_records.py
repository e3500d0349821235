"""Sorts sync records by recipient: the highest SeqId, and the records for live connections."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from functools import lru_cache
from operator import itemgetter
from typing import Final, TypeAlias

from confluent_kafka import Message

from gateway.log.record_feed import LoggedRecord
from schemas.codec import decode_position
from schemas.errors import UndecodableRecord
from schemas.number_types import SyncSeqId
from schemas.recipients import recipient_names

_MESSAGE: Final = "message_sent"
"""The kind of the records that live connections send from the log."""

_CACHED_KEYS: Final = 2_000
"""Decoded keys of sync records in the cache: some 10 MB for groups of 500."""

SyncRecord: TypeAlias = tuple[bytes, SyncSeqId, Message]
"""The key, the sync SeqId and the record."""


def logged_records(records: list[SyncRecord], followed: frozenset[str]) -> list[LoggedRecord]:
    """The records for the people ``followed``, each with those of its recipients."""
    users_by_key: dict[bytes, tuple[str, ...]] = {}
    logged = []
    for key, sync_seq, message in records:
        if key not in users_by_key:
            users_by_key[key] = tuple(followed.intersection(recipients_in(key)))
        if users := users_by_key[key]:
            source = message.topic() or "", message.partition() or 0
            logged.append(LoggedRecord(users, source, sync_seq, _message(message.value())))
    return logged


def _message(value: bytes | None) -> bytes | None:
    """A sync record, if it is a message."""
    with contextlib.suppress(UndecodableRecord):  # from a later version
        if decode_position(value).kind == _MESSAGE:
            return value
    return None


def by_recipient(by_key: Mapping[bytes, SyncSeqId]) -> dict[str, SyncSeqId]:
    """The highest sync SeqId of each recipient, from the highest sync SeqId of each key.

    This is most of the work for a record with many recipients, so it has no loop over them.
    """
    records: dict[str, SyncSeqId] = {}
    for key, sync_seq in sorted(by_key.items(), key=itemgetter(1)):
        records.update(dict.fromkeys(recipients_in(key), sync_seq))
    return records


@lru_cache(_CACHED_KEYS)
def recipients_in(key: bytes) -> list[str]:
    """The recipients that the key of a sync record lists."""
    return recipient_names(key)
