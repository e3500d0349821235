"""Replay dead letters: stored again, sent again, or delivered again by their stage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from typing import Final

from confluent_kafka import KafkaException, TopicPartition
from msgspec import Struct

from backends.identity.log_identity import check_log
from backends.kafka.confirmed_producer import ConfirmedProducer
from backends.stages.dead_letter_log import read_record, record_consumer
from backends.stages.letters import Letter
from backends.stages.stage_names import PUSH_STAGE, SEQUENCER
from ops.dead_letters.letter_notes import LetterNotes
from ops.dead_letters.sent_again import content_behind, refusal_of, send_again
from ops.dead_letters.stage_replays import ASKED, NEEDLESS, ask_stage, has_requests
from ops.storing_again import deliver_now
from schemas.errors import ServerUnavailable
from schemas.number_types import Offset
from schemas.settings import Settings
from sinks.assembly import STAGES, source_of
from sinks.base.records import Record
from sinks.cassandra.sync_late import LateSyncWriter
from sinks.cassandra.sync_writer import SyncWriter

STORED: Final = "stored"
SENT: Final = "sent again"
BEFORE: Final = "settled before"
REFUSED: Final = "refused again"
GONE: Final = "not in the log any more"
NO_STAGE: Final = "an unknown stage"
WHOLE_BATCH: Final = "a whole batch: its producer must send it again"
PASSED: Final = frozenset({STORED, SENT, BEFORE, ASKED, NEEDLESS})
"""The outcomes after which a letter needs no more work."""

_ANSWER_SECONDS: Final = 10.0
_PREFIX: Final = "sink-"


class Replayed(Struct, frozen=True, kw_only=True):
    """The outcome for one letter's record. ``why``: the reason of a refusal, or the fate."""

    stage: str
    place: str
    outcome: str
    why: str = ""


def replay(
    settings: Settings, letters: Iterable[Letter], report: Callable[[Replayed], None]
) -> Counter[str]:
    """Replays each letter that is open, and notes on the topic that it is settled.

    A record of a sink is read from the log and passed to its stage's writer. A record of the
    sequencer is appended to ``im.messages`` again. A notification or an event is delivered again
    by its stage, which gets a request.

    Idempotent. A late replay is harmless: a writer does not overwrite newer data, the sequencer
    does not accept one ``client_msg_id`` twice, and a stage takes one request for a letter. So a
    crash before the note is harmless.

    Args:
        settings: The deployment.
        letters: Letters of any stages.
        report: Receives each outcome.

    Returns:
        The number of records by outcome.

    Raises:
        ServerUnavailable: A server does not answer.
        WrongDeployment: Topics and stores do not belong together.
    """
    counts: Counter[str] = Counter()
    by_stage: dict[str, dict[str, Letter]] = {}
    for letter in letters:
        # Letters of several devices may have the same place.
        subject = letter.own_place if letter.stage == PUSH_STAGE else letter.place
        by_stage.setdefault(letter.stage, {})[subject] = letter
    producer = ConfirmedProducer(settings)
    notes = LetterNotes(settings, producer)
    for stage, of_stage in sorted(by_stage.items()):
        replayed = _replay_stage(settings, producer, stage, list(of_stage.values()))
        if stage == PUSH_STAGE:
            # A note settles the letters of all devices at a place, so it needs all requests.
            replayed = iter(_with_notes_last(replayed, notes))
        for letter, done in replayed:
            if stage != PUSH_STAGE:
                _note(notes, letter, done)
            counts[done.outcome] += 1
            report(done)
    return counts


def _note(notes: LetterNotes, letter: Letter, done: Replayed) -> None:
    if done.outcome in {STORED, SENT, ASKED}:
        notes.settle(letter, "replayed")
    elif done.outcome == NEEDLESS:
        notes.settle(letter, "dropped")


def _with_notes_last(
    replayed: Iterator[tuple[Letter, Replayed]], notes: LetterNotes
) -> list[tuple[Letter, Replayed]]:
    done = list(replayed)
    failed = {letter.subject for letter, each in done if each.outcome not in PASSED}
    for letter, each in done:
        if letter.subject not in failed:
            _note(notes, letter, each)
    return done


def _replay_stage(
    settings: Settings, producer: ConfirmedProducer, stage: str, letters: list[Letter]
) -> Iterator[tuple[Letter, Replayed]]:
    def done(letter: Letter, outcome: str, why: str = "") -> tuple[Letter, Replayed]:
        return letter, Replayed(stage=stage, place=letter.place, outcome=outcome, why=why)

    for letter in letters:
        if letter.fate is not None:
            yield done(letter, BEFORE, letter.fate)
    todo = [letter for letter in letters if letter.fate is None]
    if not todo:
        return
    if stage == SEQUENCER:
        outcomes = _send(settings, producer, todo)
    elif has_requests(stage):
        outcomes = ask_stage(settings, producer, stage, todo)
    elif stage.startswith(_PREFIX) and stage.removeprefix(_PREFIX) in STAGES:
        outcomes = _store(settings, stage, todo)
    else:
        outcomes = ((NO_STAGE, "") for _ in todo)
    for letter, (outcome, why) in zip(todo, outcomes, strict=True):
        yield done(letter, outcome, why)


def _send(
    settings: Settings, producer: ConfirmedProducer, letters: list[Letter]
) -> Iterator[tuple[str, str]]:
    check_log(settings, _ANSWER_SECONDS)
    with closing(record_consumer(settings)) as consumer:
        for letter in letters:
            if letter.is_batch:
                yield WHOLE_BATCH, ""
                continue
            content = content_behind(consumer, settings, letter)
            if content is None:
                yield GONE, ""
            elif why := refusal_of(content):
                yield REFUSED, why
            else:
                send_again(settings, producer, content)
                yield SENT, ""


def _store(settings: Settings, stage: str, letters: list[Letter]) -> Iterator[tuple[str, str]]:
    name = stage.removeprefix(_PREFIX)
    deployment = check_log(settings, _ANSWER_SECONDS)
    source = source_of(STAGES[name], settings, stage)
    with (
        STAGES[name].open_writer(settings, deployment) as of_stage,
        closing(record_consumer(settings)) as consumer,
    ):
        writer = LateSyncWriter(of_stage) if isinstance(of_stage, SyncWriter) else of_stage
        for letter in letters:
            try:
                message = read_record(consumer, letter)
            except KafkaException as error:
                raise ServerUnavailable(f"{letter.place} cannot be read: {error}") from error
            if message is None:
                yield GONE, ""
                continue
            number = source.number(TopicPartition(letter.topic, letter.partition))
            record = Record(number, Offset(letter.offset), message.key(), message.value())
            reasons = deliver_now(writer, [record])
            yield (REFUSED, "; ".join(reasons)) if reasons else (STORED, "")
