"""`im topics reshard`: change the number of shards of the sync timelines during operation.

1. Create the next epoch's topic. A topic left by an earlier attempt is used if its number of
   partitions is right, otherwise its epoch is skipped.
2. Declare the epoch on ``im.epochs``. From then on the change completes even if this command ends.
3. Each lane switches between two transactions. The lanes of a stopped worker switch when they run
   again. `schemas.epochs` describes the effect on readers.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Annotated, Final

import typer
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient

from backends.identity.log_identity import check_log
from backends.kafka.clients import (
    REQUEST_SECONDS,
    admin_client,
    make_topics,
    producer_config,
    sync_topic,
)
from backends.kafka.epoch_log import EpochLog
from backends.kafka.topic_reading import assigned_consumer
from backends.processes.polling import poll_until
from backends.sync_layout.layouts import Sharded, sharded_layout
from ops.console import Json, emit, out, progress
from ops.deployment.running import live_settings
from schemas.codec import encode
from schemas.epochs import EpochDeclared, Epochs, epoch_key
from schemas.errors import ConfigurationError, ServerUnavailable, Stalled
from schemas.number_types import EpochNumber
from schemas.settings import Settings
from schemas.topics import Topic

MOST_SHARDS: Final = 4_000

Shards = Annotated[int, typer.Argument(min=1, max=MOST_SHARDS, help="The new number of shards.")]
_Wait = Annotated[
    float, typer.Option("--wait", min=0, help="Seconds to wait for the lanes; 0: no wait.")
]


def reshard(shards: Shards, wait: _Wait = 60.0, *, json: Json = False) -> None:
    """Change the number of shards of the sync timelines; every cursor stays valid."""
    settings = live_settings()
    epoch = declare_epoch(settings, shards)
    with progress(f"epoch {epoch}") as report:
        if wait:
            await_lanes(settings, epoch, wait, report)
    if json:
        emit({"epoch": epoch, "shards": shards})
    else:
        out.print(f"epoch {epoch} has {shards} shards")


def declare_epoch(settings: Settings, shards: int) -> EpochNumber:
    """Perform steps 1 and 2.

    Returns:
        The epoch.

    Raises:
        ConfigurationError: The layout has no number of shards, or the topics do not exist.
        WrongDeployment: The topics are not those of the deployment.
        ServerUnavailable: The broker does not answer. The epoch may have been declared.
    """
    layout = sharded_layout(settings)
    check_log(settings)
    admin = admin_client(settings)
    try:
        epoch = _free_epoch(settings, layout, admin, shards)
        make_topics(admin, [sync_topic(settings, layout.topic_of(epoch), shards)])
        lanes = _partitions(admin, settings.topic(Topic.MESSAGES))
    except KafkaException as error:
        raise ServerUnavailable(f"Kafka does not answer: {error}") from error
    _declare(settings, EpochDeclared(epoch=epoch, shards=shards, lanes=lanes))
    return epoch


def await_lanes(
    settings: Settings, epoch: EpochNumber, seconds: float, report: Callable[[str], None]
) -> None:
    """Wait until every lane has switched to this epoch or a later one.

    Raises:
        Stalled: Some lanes have not switched in time. They still switch later.
        ServerUnavailable: The broker does not answer.
    """
    with closing(assigned_consumer(settings, "reshard")) as consumer:
        log = EpochLog(settings, consumer)

        def has_switched() -> bool:
            log.follow(REQUEST_SECONDS)
            report(f"waiting for {len(log.epochs.waiting())} lanes")
            return log.epochs.is_closed(EpochNumber(epoch - 1))

        try:
            if poll_until(has_switched, seconds):
                return
        except KafkaException as error:
            raise ServerUnavailable(f"Kafka does not answer: {error}") from error
    raise Stalled(
        f"epoch {epoch} is declared, but after {seconds:.0f} s the lanes "
        f"{log.epochs.waiting()} have not switched: `im status` shows whether the sequencer runs"
    )


def read_epochs(settings: Settings) -> Epochs:
    """The epochs declared so far.

    Raises:
        ServerUnavailable: The broker does not answer.
        KafkaException: The broker does not answer.
    """
    with closing(assigned_consumer(settings, "reshard")) as consumer:
        log = EpochLog(settings, consumer)
        log.read(REQUEST_SECONDS)
    return log.epochs


def _free_epoch(
    settings: Settings, layout: Sharded, admin: AdminClient, shards: int
) -> EpochNumber:
    """The next epoch whose topic does not exist, or exists with the right number of partitions."""
    if not _partitions(admin, settings.topic(Topic.EPOCHS)):
        raise ConfigurationError("there is no log of epochs: make it with `im topics create`")
    epoch = EpochNumber(read_epochs(settings).newest + 1)
    while _partitions(admin, layout.topic_of(epoch)) not in {0, shards}:
        epoch = EpochNumber(epoch + 1)
    return epoch


def _partitions(admin: AdminClient, topic: str) -> int:
    described = admin.list_topics(topic, timeout=REQUEST_SECONDS).topics[topic]
    return len(described.partitions)


def _declare(settings: Settings, declared: EpochDeclared) -> None:
    producer = Producer(producer_config(settings))
    producer.produce(settings.topic(Topic.EPOCHS), encode(declared), epoch_key(declared))
    if producer.flush(REQUEST_SECONDS):
        raise ServerUnavailable("the broker has not confirmed the epoch: run the command again")
