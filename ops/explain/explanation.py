"""Collects the facts about one message and one person, in the order of the message's way."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

from elasticsearch import Elasticsearch

from backends.stages.dead_letter_log import read_letters
from gateway.store.cassandra_store import CassandraStore
from ops.explain.facts import (
    Explanation,
    Fact,
    StepResult,
    access_fact,
    recipient_fact,
    verdict_of,
)
from ops.explain.log_search import EntryFields, FoundRecord, FoundSync, LogSearch, entry_fields
from ops.explain.push_facts import NotifiedEntry, never_notified, notified_facts, push_view
from ops.explain.stored_facts import (
    StoredView,
    altered_fact,
    indexed_fact,
    message_fact,
    mode_at,
    read_facts,
    reference_fact,
    stored_view,
)
from schemas.errors import ConfigurationError, ServerUnavailable
from schemas.ids import is_client_msg_id, uuid7_parts
from schemas.number_types import NO_SEQ, Milliseconds, SeqId
from schemas.records import FanoutMode
from schemas.settings import Settings
from schemas.visibility import periods, visible
from sinks.push.push_state import PushKey

CONNECTED_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 0.1

_HOUR_MS: Final = 3_600_000
"""How far a sender's clock may be ahead, for a search by the id of a command."""

_MESSAGE_KINDS: Final = frozenset({"message_sent"})


async def explain_entry(
    settings: Settings, search: Elasticsearch, user: str, conv_id: str, seq: SeqId
) -> Explanation:
    """Explains an entry of a conversation.

    Args:
        settings: The deployment.
        search: A client of the index.
        user: The person.
        conv_id: The conversation.
        seq: The SeqId of the entry.

    Raises:
        ServerUnavailable: A server does not answer.
        ConfigurationError: The deployment has no tables.
    """
    async with _connected(settings) as store:
        view = await stored_view(store, user, conv_id, seq)
        log = LogSearch(settings)
        entry = await asyncio.to_thread(log.entry, conv_id, seq, view.nearby_at)
        facts = [] if entry is None else [await asyncio.to_thread(_accepted, log, entry)]
        facts.append(_sequenced(view, conv_id, seq, entry))
        if entry is not None:
            facts += await _facts_of_entry(_Sources(settings, search, store), user, entry, view)
    return Explanation(
        user=user, conv_id=conv_id, seq=seq, verdict=verdict_of(user, facts), facts=facts
    )


async def explain_command(
    settings: Settings, search: Elasticsearch, user: str, conv_id: str, client_msg_id: str
) -> Explanation:
    """Explains a command of a person by its id: its entry, or its rejection.

    Raises:
        ConfigurationError: The id is not a UUIDv7.
        ServerUnavailable: A server does not answer.
    """
    if not is_client_msg_id(client_msg_id):
        raise ConfigurationError(f"--id {client_msg_id}: a client_msg_id is a UUIDv7")
    sent_at, _ = uuid7_parts(client_msg_id)
    log = LogSearch(settings)
    since = Milliseconds(max(0, sent_at - _HOUR_MS))
    command = await asyncio.to_thread(log.command, conv_id, client_msg_id, user, since)
    if command is None:
        text = (
            f"im.messages has no command {client_msg_id} of {user} in {conv_id}: it was not"
            " accepted, or retention removed it"
        )
        fact = Fact(step="accepted", result="no", text=text)
        return Explanation(
            user=user, conv_id=conv_id, seq=NO_SEQ, verdict=f"{user}: {text}", facts=[fact]
        )
    entry = await asyncio.to_thread(log.entry_of_command, conv_id, client_msg_id, user, command.at)
    fields = entry_fields(entry.value) if entry is not None else None
    if fields is not None:
        return await explain_entry(settings, search, user, conv_id, SeqId(fields.seq))
    reply = await asyncio.to_thread(log.reply, user, conv_id, client_msg_id, command.at)
    replied = _replied(reply)
    return Explanation(
        user=user, conv_id=conv_id, seq=NO_SEQ, verdict=f"the command of {user}: {replied.text}",
        facts=[_accepted_at(command), replied],
    )  # fmt: skip


class _Sources(NamedTuple):
    """The deployment, and the clients of its index and its store."""

    settings: Settings
    search: Elasticsearch
    store: CassandraStore


async def _facts_of_entry(
    sources: _Sources, user: str, entry: FoundRecord, view: StoredView
) -> list[Fact]:
    settings, search, store = sources
    fields = entry_fields(entry.value) or EntryFields("", "")
    conv_id, seq = fields.conv_id, SeqId(fields.seq)
    synced = await asyncio.to_thread(LogSearch(settings).sync_record, user, conv_id, entry)
    mode = await mode_at(store, conv_id, seq)
    facts = [_recipient(user, fields, view, mode), _synced(synced)]
    if synced is not None:
        facts.append(await reference_fact(store, user, synced.sync_seq, now=time.time()))
    facts.append(message_fact(view, seq))
    if fields.kind in _MESSAGE_KINDS:
        at = Milliseconds(fields.at)
        facts.append(await asyncio.to_thread(indexed_fact, search, settings, conv_id, seq, at))
        version = SeqId(facts[-1].data.get("version", NO_SEQ))
        facts.append(altered_fact(view, seq, version if version > seq else None))
    facts += await asyncio.to_thread(_letters, settings, entry)
    facts.append(access_fact(view.changes, seq))
    facts += await _notified(sources, user, fields, view, has_record=synced is not None)
    return [*facts, *await read_facts(store, user, conv_id, seq, synced)]


async def _notified(
    sources: _Sources, user: str, fields: EntryFields, view: StoredView, *, has_record: bool
) -> list[Fact]:
    settings, _, store = sources
    key, seq = PushKey(user, fields.conv_id), SeqId(fields.seq)
    mute = (await store.read_mark(key.conv_id, user)).mute
    entry = NotifiedEntry(
        seq=seq, at=Milliseconds(fields.at), kind=fields.kind, sender=fields.sender,
        has_record=has_record, is_recalled=view.entry is not None and view.entry.is_recalled,
        muted_until=Milliseconds(0) if mute is None else mute.until,
    )  # fmt: skip
    why = never_notified(user, entry)
    if not why and not settings.push_notifications:
        why = "this deployment sends no notifications"
    if why:
        return [Fact(step="notified", result="no", text=why)]
    return notified_facts(await asyncio.to_thread(push_view, settings, key, seq), entry)


def _accepted(log: LogSearch, entry: FoundRecord) -> Fact:
    fields = entry_fields(entry.value) or EntryFields("", "")
    at = Milliseconds(fields.at)
    command = log.command(fields.conv_id, fields.client_msg_id, fields.sender, at, at)
    if command is not None:
        return _accepted_at(command)
    text = "retention removed the command from im.messages"
    data = {"client_msg_id": fields.client_msg_id, "sender": fields.sender}
    return Fact(step="accepted", result="unknown", text=text, data=data)


def _accepted_at(command: FoundRecord) -> Fact:
    fields = entry_fields(command.value) or EntryFields("", "")
    text = f"command {fields.client_msg_id} of {fields.sender} is at {command.place}"
    data = {
        "place": command.place,
        "client_msg_id": fields.client_msg_id,
        "sender": fields.sender,
        "device_id": fields.device_id,
        "at": command.at,
    }
    return Fact(step="accepted", result="yes", text=text, data=data)


def _sequenced(view: StoredView, conv_id: str, seq: SeqId, entry: FoundRecord | None) -> Fact:
    if entry is not None:
        fields = entry_fields(entry.value) or EntryFields("", "")
        text = f"{fields.kind} by {fields.sender} is at {entry.place}"
        data = {"place": entry.place, "kind": fields.kind, "at": fields.at}
        return Fact(step="sequenced", result="yes", text=text, data=data)
    head = NO_SEQ if view.head is None else view.head.head
    text = f"conversation {conv_id} has no entry {seq}; its head is {head}"
    if head == NO_SEQ:
        text = f"there is no conversation {conv_id}"
    elif head >= seq:
        text = f"im.timeline no longer has entry {seq} of {conv_id}"
    return Fact(step="sequenced", result="no", text=text, data={"head": head})


def _replied(reply: FoundSync | None) -> Fact:
    if reply is None:
        text = "there is neither an entry nor a reply: the sequencer lags, or the reply expired"
        return Fact(step="sequenced", result="no", text=text)
    fields = entry_fields(reply.record.value) or EntryFields("", "")
    text = f"{fields.kind}: {fields.code or f'entry {fields.seq}'}"
    data = {"kind": fields.kind, "code": fields.code, "place": reply.record.place}
    result: StepResult = "no" if fields.kind == "rejected" else "yes"
    return Fact(step="sequenced", result=result, text=text, data=data)


def _recipient(user: str, fields: EntryFields, view: StoredView, mode: FanoutMode | None) -> Fact:
    stays = periods((change.seq, change.joined) for change in view.changes)
    named = [*fields.mentions, *fields.members, fields.owner]
    return recipient_fact(
        user, mode, is_member=visible(stays, SeqId(fields.seq)), sender=fields.sender, named=named
    )


def _synced(found: FoundSync | None) -> Fact:
    if found is None:
        text = "im.sync has no record of the entry for this person, or retention removed it"
        return Fact(step="synced", result="no", text=text)
    others = found.recipients - 1
    shared = f", shared with {others} more {'recipient' if others == 1 else 'recipients'}"
    text = f"the record is at {found.record.place}, sync SeqId {found.sync_seq}"
    text += shared if others else ""
    data = {"place": found.record.place, "sync_seq": found.sync_seq}
    return Fact(step="synced", result="yes", text=text, data=data)


def _letters(settings: Settings, entry: FoundRecord) -> list[Fact]:
    """A fact for each open dead letter about the entry."""
    return [
        Fact(
            step="stored", result="no", text=f"dead letter of {letter.stage}: {letter.reason}",
            data={"place": letter.place},
        )
        for letter in read_letters(settings)
        if letter.place == entry.place and letter.fate is None
    ]  # fmt: skip


@asynccontextmanager
async def _connected(settings: Settings) -> AsyncIterator[CassandraStore]:
    """A store that answers.

    Raises:
        ServerUnavailable: Cassandra does not answer.
    """
    store = CassandraStore(settings)
    store.start()
    try:
        deadline = time.monotonic() + CONNECTED_SECONDS
        while not await store.reachable():
            if time.monotonic() > deadline:
                raise ServerUnavailable(
                    f"Cassandra at {settings.cassandra_hosts} does not answer, or keyspace"
                    f" {settings.keyspace} has no tables"
                )
            await asyncio.sleep(_POLL_SECONDS)
        yield store
    finally:
        await store.stop()
