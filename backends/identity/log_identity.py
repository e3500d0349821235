"""The identity of a deployment in the log: topic ``im.deployment``, whose first record counts.

A process that finds no identity writes a proposal and reads back the first record, so processes
that do this at the same time agree. The record is never replaced. A topic that was deleted and
created again, or that got more partitions, no longer matches the record; `check_log` then raises.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing, suppress
from typing import Final

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Producer,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient

from backends.kafka.clients import REQUEST_SECONDS, admin_client, producer_config
from backends.kafka.kafka_security import access_refused, failure_of, is_refusal
from backends.kafka.topic_reading import assigned_consumer, read_to_end
from backends.processes.polling import poll_until
from schemas.codec import encode
from schemas.deployment import WAY_OUT, Deployment, TopicIdentity, decode_deployment
from schemas.errors import (
    AccessRefused,
    ServerUnavailable,
    TransientFailure,
    UndecodableRecord,
    WrongDeployment,
)
from schemas.settings import Settings
from schemas.topics import Topic

_CONNECT_SECONDS: Final = 5.0
"""Maximum time without an answer until a caller learns whether the broker refuses the client."""

MISSING_SECONDS: Final = 3.0
"""A topic that is missing for this long counts as deleted: brokers learn of a topic one by one."""


def check_log(settings: Settings, timeout: float = REQUEST_SECONDS) -> Deployment:
    """Returns the identity in the log after a check. Records an identity if there is none.

    Raises:
        WrongDeployment: A topic or a setting does not match the identity.
        TransientFailure: Topics are missing, and there is no identity: nothing is prepared yet.
        ServerUnavailable: The broker does not answer.
    """
    admin = admin_client(settings)
    deployment = read_deployment(settings, timeout) or _record(admin, settings, timeout)
    check_settings_fit(settings, deployment)
    check_topics(admin, deployment, timeout)
    return deployment


def read_deployment(settings: Settings, timeout: float = REQUEST_SECONDS) -> Deployment | None:
    """The first identity on ``im.deployment``; None if there is none, or no such topic.

    Raises:
        AccessRefused: The broker refuses the client.
        ServerUnavailable: The broker does not answer.
    """
    with closing(assigned_consumer(settings, "deployment")) as consumer:
        try:
            left = _await_connection(consumer, settings, timeout)
            return _first(consumer, settings.topic(Topic.DEPLOYMENT), left)
        except KafkaException as error:
            raise failure_of(settings, error) from error


def _await_connection(consumer: Consumer, settings: Settings, timeout: float) -> float:
    """Waits for the first answer, within a part of a long timeout.

    Returns:
        The seconds that are left of the timeout.

    Raises:
        AccessRefused: The broker refuses the client. A timeout of the library hides the reason.
    """
    if timeout <= _CONNECT_SECONDS:
        return timeout
    try:
        consumer.list_topics(settings.topic(Topic.DEPLOYMENT), _CONNECT_SECONDS)
    except KafkaException as error:
        failure = failure_of(settings, error)
        if isinstance(failure, AccessRefused):
            raise failure from error
        return timeout - _CONNECT_SECONDS
    return timeout


def _first(consumer: Consumer, topic: str, timeout: float) -> Deployment | None:
    if not consumer.list_topics(topic, timeout).topics[topic].partitions:
        return None
    place = TopicPartition(topic, 0, OFFSET_BEGINNING)
    for messages in read_to_end(consumer, [place], timeout):
        for message in messages:
            with suppress(UndecodableRecord):
                return decode_deployment(message.value())
    return None


def _record(admin: AdminClient, settings: Settings, timeout: float) -> Deployment:
    names = [settings.topic(topic) for topic in Topic]
    identities = topic_identities(admin, names, timeout)
    missing = [name for name in names if name not in identities]
    if missing:
        raise TransientFailure(f"{', '.join(missing)}: no such topic; `im prepare` makes it")
    proposed = Deployment.made_of(identities)
    producer = Producer(producer_config(settings))
    producer.produce(settings.topic(Topic.DEPLOYMENT), encode(proposed), proposed.id, 0)
    if producer.flush(timeout):
        raise ServerUnavailable("the broker has not confirmed the deployment's identity")
    first = read_deployment(settings, timeout)
    if first is None:
        raise ServerUnavailable("the deployment's identity was not stored")
    return first


def check_settings_fit(settings: Settings, deployment: Deployment) -> None:
    """Compares ``IM_PARTITIONS`` with the deployment.

    Raises:
        WrongDeployment: They differ.
    """
    recorded = deployment.topics.get(settings.topic(Topic.MESSAGES))
    if recorded is not None and recorded.partitions != settings.partitions:
        raise WrongDeployment(
            f"IM_PARTITIONS is {settings.partitions}, deployment {deployment.id} was made with"
            f" {recorded.partitions}: change the setting"
        )


def check_topics(
    admin: AdminClient, deployment: Deployment, timeout: float = REQUEST_SECONDS
) -> None:
    """Compares the topics that exist with the deployment.

    Raises:
        WrongDeployment: A topic is missing, is another one, or has other partitions.
        ServerUnavailable: The broker does not answer.
    """
    identities = poll_until(
        lambda: topic_identities(admin, deployment.topics, timeout),
        MISSING_SECONDS,
        done=lambda identities: deployment.topics.keys() <= identities.keys(),
    )
    different = list(deployment.differences(identities))
    if different:
        raise WrongDeployment(f"{'; '.join(different)}; {WAY_OUT}")


def topic_identities(
    admin: AdminClient, names: Iterable[str], timeout: float = REQUEST_SECONDS
) -> dict[str, TopicIdentity]:
    """The identities of those topics that exist, by name.

    Raises:
        AccessRefused: The broker does not permit the request.
        ServerUnavailable: The broker does not answer.
    """
    identities = {}
    answers = admin.describe_topics(TopicCollection(list(names)), request_timeout=timeout)
    for name, answer in answers.items():
        try:
            topic = answer.result(timeout)
        except KafkaException as error:
            if is_refusal(error.args[0]):
                raise access_refused(error.args[0], f"a description of topic {name}") from error
            if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise ServerUnavailable(f"the topics cannot be described: {error}") from error
        except TimeoutError as error:
            raise ServerUnavailable(f"Kafka did not answer within {timeout:.0f} s") from error
        else:
            identities[name] = TopicIdentity(str(topic.topic_id), len(topic.partitions))
    return identities
