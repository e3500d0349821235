"""The subscriptions of integrators, on ``im.webhooks``."""

from __future__ import annotations

from contextlib import closing
from typing import Final

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaException,
    Message,
    TopicPartition,
)

from backends.kafka.clients import admin_client, topic_partitions
from backends.kafka.confirmed_producer import ConfirmedProducer
from backends.kafka.groups import group_reader
from backends.kafka.partition_ends import stable_ends
from backends.kafka.topic_reading import assigned_consumer, read_to_end
from schemas.codec import encode
from schemas.errors import ServerUnavailable, UndecodableRecord
from schemas.settings import Settings
from schemas.topics import Topic
from schemas.webhooks import WebhookSubscription, decode_subscription

WEBHOOKS_STAGE: Final = "webhooks"
"""The stage that delivers events to all subscriptions."""

_READ_SECONDS: Final = 10.0


def subscription_stage(subscription_id: str) -> str:
    """The name of a subscription as a stage, which names its group and its dead letters."""
    return f"webhook-{subscription_id}"


class SubscriptionLog:
    """Folds the records of ``im.webhooks``. `read` first, then `follow`.

    Args:
        settings: The deployment.
    """

    def __init__(self, settings: Settings) -> None:
        self.subscriptions: dict[str, WebhookSubscription] = {}
        """The subscriptions by id."""
        self._topic = settings.topic(Topic.WEBHOOKS)
        self._consumer: Consumer = assigned_consumer(settings, "webhook-reader")

    def read(self) -> None:
        """Reads the topic to its end.

        Raises:
            ServerUnavailable: The topic cannot be read in time.
        """
        places = [TopicPartition(self._topic, 0, OFFSET_BEGINNING)]
        for messages in read_to_end(self._consumer, places, _READ_SECONDS):
            for message in messages:
                self._take(message)

    def follow(self, seconds: float) -> None:
        """Applies the records that arrive within a time."""
        message = self._consumer.poll(seconds)
        while message is not None:
            if message.error() is None:
                self._take(message)
            message = self._consumer.poll(0)

    def close(self) -> None:
        """Closes the client."""
        self._consumer.close()

    def _take(self, message: Message) -> None:
        key = (message.key() or b"").decode(errors="replace")
        try:
            self.subscriptions[key] = decode_subscription(message.value())
        except UndecodableRecord:
            # Removed, or of a later version: this version cannot deliver to it.
            self.subscriptions.pop(key, None)


def read_subscriptions(settings: Settings) -> dict[str, WebhookSubscription]:
    """All subscriptions by id; none if the topic does not exist.

    Raises:
        ServerUnavailable: The broker does not answer.
    """
    try:
        topics = admin_client(settings).list_topics(timeout=_READ_SECONDS).topics
        if settings.topic(Topic.WEBHOOKS) not in topics:
            return {}
        with closing(SubscriptionLog(settings)) as log:
            log.read()
            return log.subscriptions
    except KafkaException as error:
        raise ServerUnavailable(f"the webhooks cannot be read: {error}") from error


def write_subscription(
    settings: Settings, subscription_id: str, subscription: WebhookSubscription | None
) -> None:
    """Writes or removes a subscription; returns when the broker has confirmed the record.

    Raises:
        ServerUnavailable: The broker does not confirm.
    """
    try:
        ConfirmedProducer(settings).append(
            settings.topic(Topic.WEBHOOKS),
            key=subscription_id.encode(),
            value=None if subscription is None else encode(subscription),
        )
    except ServerUnavailable as error:
        raise ServerUnavailable(f"the webhook was not written: {error}") from error


def begin_at_the_end(settings: Settings, subscription_id: str) -> None:
    """Commits the present end of the timeline as the position of a new subscription.

    The subscription then receives exactly the events from now on, also those that precede the
    first start of the stage.

    Raises:
        ServerUnavailable: The broker does not answer.
    """
    places = topic_partitions(settings, Topic.TIMELINE)
    group = settings.group(subscription_stage(subscription_id))
    try:
        ends = stable_ends(admin_client(settings), places, _READ_SECONDS)
        for place in places:
            place.offset = ends[place.topic, place.partition]
        with closing(group_reader(settings, group)) as client:
            done = client.commit(offsets=places, asynchronous=False)
    except (KafkaException, TimeoutError) as error:
        raise ServerUnavailable(f"the position was not written: {error}") from error
    if any(place.error is not None for place in done or []):
        raise ServerUnavailable("the position was not written")
