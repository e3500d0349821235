"""The step "notified": mutes, dead letters, addresses, and notifications that wait."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Final, NamedTuple

from confluent_kafka import OFFSET_BEGINNING, KafkaException, Message, TopicPartition

from backends.kafka.clients import partition_of
from backends.kafka.topic_reading import assigned_consumer, read_to_end
from backends.stages.letters import Letter, LetterNote, letter_or_note, sorted_apart, with_fates
from backends.stages.stage_names import PUSH_STAGE
from ops.explain.facts import Fact
from schemas.errors import ServerUnavailable, UndecodableRecord
from schemas.number_types import Milliseconds, SeqId
from schemas.push_devices import decode_push_device
from schemas.records import MUTED_WITHOUT_END
from schemas.replays import GivenUpNotification, decode_given_up
from schemas.settings import Settings
from schemas.topics import Topic
from schemas.user_keys import user_part_of
from sinks.push.push_state import NOTHING, PushKey, PushState, decode_state, state_key

_SILENCE_SECONDS: Final = 30.0


class NotifiedEntry(NamedTuple):
    """The facts about an entry and a person on which its notifications depend.

    Attributes:
        seq: The SeqId.
        at: The time of the entry (ms).
        kind: The kind of the entry.
        sender: The person who sent the entry.
        has_record: Whether the entry is in the person's sync timeline.
        is_recalled: Whether the message was recalled.
        muted_until: The end of the person's last mute (ms); 0 without one.
    """

    seq: SeqId
    at: Milliseconds
    kind: str
    sender: str
    has_record: bool
    is_recalled: bool
    muted_until: Milliseconds


class GivenUpLetter(NamedTuple):
    """A dead letter of a notification."""

    letter: Letter
    ids: GivenUpNotification


class PushView(NamedTuple):
    """The records of the push stage about a person and a conversation.

    ``devices``: the devices with a push address. ``letters``: the dead letters of the entry.
    """

    devices: Sequence[str]
    state: PushState
    letters: Sequence[GivenUpLetter]


def never_notified(user: str, entry: NotifiedEntry) -> str:
    """Why the push stage notifies nobody of an entry; empty if it may. Pure."""
    if entry.kind != "message_sent":
        return f"only messages cause notifications, and this entry is {entry.kind}"
    reasons = {
        "this is the person's own message": entry.sender == user,
        "the person has no record of it in the sync timeline": not entry.has_record,
        f"the person has muted the conversation{_end(entry.muted_until)}": (
            entry.muted_until > entry.at
        ),
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def notified_facts(view: PushView, entry: NotifiedEntry) -> list[Fact]:
    """The facts about the notifications of an entry. Pure."""
    facts = [_letter_fact(each) for each in view.letters]
    done = sorted(each for each, last in view.state.notified.items() if last >= entry.seq)
    given_up = {each.ids.device_id for each in view.letters}
    left = [each for each in view.devices if each not in given_up]
    if entry.seq in {each.seq for each in view.state.waiting}:
        names = f"; done for {', '.join(done)}" if done else ""
        text = f"a notification waits for its time or for another attempt{names}"
        facts.append(Fact(step="notified", result="no", text=text, data={"done": done}))
    elif entry.is_recalled:
        text = "the message was recalled; a notification from before the recall remains"
        facts.append(Fact(step="notified", result="unknown", text=text))
    elif left:
        text = (
            f"no notification waits for {', '.join(left)}: it was delivered, or the person had"
            " read the message, had a live device, or got a newer message"
        )
        facts.append(Fact(step="notified", result="unknown", text=text, data={"devices": left}))
    elif not facts:
        text = "no device of the person has a push address"
        facts.append(Fact(step="notified", result="no", text=text))
    return facts


def _letter_fact(given_up: GivenUpLetter) -> Fact:
    letter, device = given_up.letter, given_up.ids.device_id
    fate = "open" if letter.fate is None else f"{letter.fate} since then"
    text = f"device {device}: dead letter, {letter.reason} ({fate}: `im dead-letter`)"
    data = {"device_id": device, "place": letter.place, "fate": letter.fate}
    return Fact(step="notified", result="no", text=text, data=data)


def push_view(settings: Settings, key: PushKey, seq: SeqId) -> PushView:
    """Reads the partitions of a person on the topics of the push stage.

    Raises:
        ServerUnavailable: Kafka does not answer.
    """
    letters = _letters_of(settings, key, seq)
    return PushView(devices_of(settings, key.user), push_state(settings, key), letters)


def push_state(settings: Settings, key: PushKey) -> PushState:
    """The last state of a person and a conversation on ``im.push-state``.

    Raises:
        ServerUnavailable: Kafka does not answer.
    """
    last = NOTHING
    wanted = state_key(key)
    for message in _records_of(settings, Topic.PUSH_STATE, key.user):
        if message.key() == wanted:
            last = _state(wanted, message.value())
    return last


def devices_of(settings: Settings, user: str) -> list[str]:
    """The devices of a person with a push address, from ``im.push-devices``.

    Raises:
        ServerUnavailable: Kafka does not answer.
    """
    found: dict[str, bool] = {}
    for message in _records_of(settings, Topic.PUSH_DEVICES, user):
        try:
            owner, device_id = user_part_of(message.key())
            if owner == user:
                found[device_id] = decode_push_device(message.value()) is not None
        except UndecodableRecord:
            continue
    return sorted(device_id for device_id, has_address in found.items() if has_address)


def _letters_of(settings: Settings, key: PushKey, seq: SeqId) -> list[GivenUpLetter]:
    """The dead letters of the push stage about a message, the last one of each device."""
    records: list[Letter | LetterNote] = []
    values: dict[str, bytes | None] = {}
    for message in _records_of(settings, Topic.DEAD_LETTER, key.user):
        record = letter_or_note(message)
        if isinstance(record, LetterNote):
            records.append(record)
        elif record.stage == PUSH_STAGE and message.key() == key.user.encode():
            records.append(record)
            values[record.own_place] = message.value()
    last: dict[str, GivenUpLetter] = {}
    for letter in with_fates(*sorted_apart(records)):
        try:
            ids = decode_given_up(values[letter.own_place])
        except UndecodableRecord:
            continue  # of an earlier version
        if (ids.conv_id, ids.seq) == (key.conv_id, seq):
            last[ids.device_id] = GivenUpLetter(letter, ids)
    return list(last.values())


def _records_of(settings: Settings, topic: Topic, user: str) -> Iterator[Message]:
    """The records of the partition that has those of a person."""
    partition = partition_of(user, settings.partitions)
    place = TopicPartition(settings.topic(topic), partition, OFFSET_BEGINNING)
    try:
        with closing(assigned_consumer(settings, "explain")) as consumer:
            for messages in read_to_end(consumer, [place], _SILENCE_SECONDS):
                yield from messages
    except KafkaException as error:
        raise ServerUnavailable(f"{place.topic} cannot be read: {error}") from error


def _state(key: bytes, value: bytes | None) -> PushState:
    if value is None:
        return NOTHING
    try:
        _, state = decode_state(key, value)
    except UndecodableRecord:
        return NOTHING
    return state


def _end(until: Milliseconds) -> str:
    if until >= MUTED_WITHOUT_END:
        return ""
    return time.strftime(" until %Y-%m-%d %H:%M:%S (UTC)", time.gmtime(until / 1000))
