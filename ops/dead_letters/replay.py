"""Store records again that a sink put aside."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import closing
from threading import Event, Timer
from typing import Final

from confluent_kafka import KafkaException, TopicPartition
from msgspec import Struct

from backends.identity.log_identity import check_log
from backends.stages.dead_letter_log import Letter, read_record, record_consumer
from schemas.errors import ServerUnavailable
from schemas.number_types import Offset
from schemas.settings import Settings
from sinks.assembly import STAGES, source_of
from sinks.base.delivery import BatchDelivery
from sinks.base.poison import PoisonGuard, PoisonLimits
from sinks.base.records import Record
from sinks.base.sink_letters import DeadLetter
from sinks.base.writer_port import StoreWriter
from sinks.cassandra.sync_late import LateSyncWriter
from sinks.cassandra.sync_writer import SyncWriter

STORED: Final = "stored"
REFUSED: Final = "refused again"
GONE: Final = "not in the log any more"
NOT_A_SINK: Final = "not of a sink: the producer must send it again"

_ANSWER_SECONDS: Final = 10.0
_STORE_SECONDS: Final = 60.0
_PREFIX: Final = "sink-"
_NO_LIMIT: Final = PoisonLimits(run=1 << 62, share=1.0)


class Replayed(Struct, frozen=True, kw_only=True):
    """The outcome for one letter's record. ``why``: the reason of the store's refusal."""

    stage: str
    place: str
    outcome: str
    why: str = ""


class _Refusals:
    """Replaces the dead-letter topic: a second letter about the same record has no use."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def send(self, letters: Iterable[DeadLetter]) -> None:
        """See `sinks.base.sink_letters.DeadLetters`."""
        self.reasons += [letter.reason for letter in letters]


def replay(
    settings: Settings, letters: Iterable[Letter], report: Callable[[Replayed], None]
) -> Counter[str]:
    """Read each record from the log and pass the record to its stage's writer.

    Idempotent. A late replay is harmless: a writer does not overwrite newer data.

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
        by_stage.setdefault(letter.stage, {})[letter.place] = letter
    for stage, of_stage in sorted(by_stage.items()):
        for done in _replay_stage(settings, stage, list(of_stage.values())):
            counts[done.outcome] += 1
            report(done)
    return counts


def _replay_stage(settings: Settings, stage: str, letters: list[Letter]) -> Iterable[Replayed]:
    name = stage.removeprefix(_PREFIX)
    if not stage.startswith(_PREFIX) or name not in STAGES:
        for letter in letters:
            yield Replayed(stage=stage, place=letter.place, outcome=NOT_A_SINK)
        return
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
                yield Replayed(stage=stage, place=letter.place, outcome=GONE)
                continue
            refusals = _Refusals()
            number = source.number(TopicPartition(letter.topic, letter.partition))
            record = Record(number, Offset(letter.offset), message.key(), message.value())
            _deliver(writer, refusals, record)
            why = "; ".join(refusals.reasons)
            outcome = REFUSED if why else STORED
            yield Replayed(stage=stage, place=letter.place, outcome=outcome, why=why)


def _deliver(writer: StoreWriter, refusals: _Refusals, record: Record) -> None:
    """Return when the record is stored or refused.

    Raises:
        TransientFailure: The record is neither, after `_STORE_SECONDS`.
    """
    late = Event()
    timer = Timer(_STORE_SECONDS, late.set)
    timer.start()
    try:
        BatchDelivery(writer, refusals, PoisonGuard(_NO_LIMIT)).deliver([record], late)
    finally:
        timer.cancel()
