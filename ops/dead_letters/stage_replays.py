"""Asks the stages `sink-push` and `webhooks` to deliver again, by requests on ``im.replays``.

The stages alone have the secrets, the order and the network of their receivers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from typing import Final, NamedTuple

from cassandra.cluster import Session
from confluent_kafka import OFFSET_BEGINNING, TopicPartition

from backends.cassandra.driver_errors import DRIVER_ERRORS
from backends.cassandra.session import cassandra_session
from backends.identity.log_identity import check_log
from backends.kafka.confirmed_producer import ConfirmedProducer
from backends.kafka.topic_reading import assigned_consumer, read_to_end
from backends.stages.dead_letter_log import read_own_record, record_consumer
from backends.stages.letters import Letter
from backends.stages.stage_names import PUSH_STAGE
from backends.stages.webhook_log import read_subscriptions, subscription_stage
from schemas.codec import encode
from schemas.errors import ServerUnavailable, UndecodableRecord
from schemas.number_types import Milliseconds
from schemas.replays import (
    EventPlace,
    GivenUpNotification,
    Replay,
    ReplayKey,
    decode_given_up,
    encode_replay_key,
)
from schemas.settings import Settings
from schemas.topics import Topic
from sinks.push.push_state import PushKey
from sinks.push.stored_facts import StoredFactsReader

ASKED: Final = "handed to the stage"
NEEDLESS: Final = "not needed any more"
REMOVED: Final = "the webhook was removed"
NO_IDS: Final = "a letter of an earlier version, without a device"

_READ_SECONDS: Final = 10.0
_PREFIX: Final = subscription_stage("")


class _Asked(NamedTuple):
    """An outcome and its reason, or the request that is to be written."""

    outcome: str
    why: str = ""
    replay: Replay | None = None


def has_requests(stage: str) -> bool:
    """Whether a stage takes requests."""
    return stage == PUSH_STAGE or stage.startswith(_PREFIX)


def ask_stage(
    settings: Settings, producer: ConfirmedProducer, stage: str, letters: Sequence[Letter]
) -> Iterator[tuple[str, str]]:
    """Writes a request for each letter, unless there was one before.

    Returns:
        The outcome of each letter, and its reason.

    Raises:
        ServerUnavailable: A server does not answer.
        WrongDeployment: The topics belong to another deployment.
    """
    check_log(settings, _READ_SECONDS)
    known = _known_requests(settings)
    with ExitStack() as stack:
        request = (
            _notifications(settings, stack)
            if stage == PUSH_STAGE
            else _events(stage in map(subscription_stage, read_subscriptions(settings)))
        )
        for letter in letters:
            key = encode_replay_key(ReplayKey(stage, letter.own_partition, letter.own_offset))
            if key in known:  # the command died before its note
                yield ASKED, ""
                continue
            asked = request(letter)
            if asked.replay is not None:
                value = encode(asked.replay)
                producer.append(settings.topic(Topic.REPLAYS), key=key, value=value)
            yield asked.outcome, asked.why


def _known_requests(settings: Settings) -> set[bytes]:
    """The keys of all requests, with or without an end."""
    places = [TopicPartition(settings.topic(Topic.REPLAYS), 0, OFFSET_BEGINNING)]
    with closing(assigned_consumer(settings, "replays")) as consumer:
        return {
            message.key() or b""
            for messages in read_to_end(consumer, places, _READ_SECONDS)
            for message in messages
        }


def _events(exists: bool) -> Callable[[Letter], _Asked]:  # noqa: FBT001 - the only argument
    def request(letter: Letter) -> _Asked:
        if not exists:
            return _Asked(REMOVED)
        place = EventPlace(partition=letter.partition, offset=letter.offset)
        return _Asked(ASKED, replay=Replay(event=place))

    return request


def _notifications(settings: Settings, stack: ExitStack) -> Callable[[Letter], _Asked]:
    consumer = stack.enter_context(closing(record_consumer(settings)))
    session = stack.enter_context(cassandra_session(settings))
    facts = StoredFactsReader(session, settings)

    def request(letter: Letter) -> _Asked:
        own = read_own_record(consumer, settings, letter)
        try:
            ids = decode_given_up(None if own is None else own.value())
        except UndecodableRecord:
            return _Asked(NO_IDS)
        user = ((own and own.key()) or b"").decode(errors="replace")
        why = _needless(session, facts, user, ids)
        if why:
            return _Asked(NEEDLESS, why)
        return _Asked(ASKED, replay=Replay(user_id=user, notification=ids))

    return request


def _needless(
    session: Session, facts: StoredFactsReader, user: str, ids: GivenUpNotification
) -> str:
    """Why the person needs no notification any more; empty if they need it."""
    found = facts.read(PushKey(user, ids.conv_id), ids.seq)
    now = Milliseconds(time.time_ns() // 1_000_000)
    reasons = {
        "the message was recalled": found.is_recalled,
        "the person has left the conversation": found.has_left,
        "the person has read the message": found.mark.seq >= ids.seq,
        "the person has muted the conversation": found.muted_until > now,
        "a newer message has a notification of its own": _newest(session, ids) > ids.messages,
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def _newest(session: Session, ids: GivenUpNotification) -> int:
    """The number of messages of the conversation."""
    try:
        rows = session.execute(
            "SELECT messages FROM conversation WHERE conv_id = %s", (ids.conv_id,)
        )
    except DRIVER_ERRORS as error:
        raise ServerUnavailable("Cassandra does not answer") from error
    return next((row[0] or 0 for row in rows), 0)
