"""How the identity of a store is compared with the identity of the log.

A store without an identity gets the identity of the log, but only if no sink has stored records
yet, which the committed offsets of the sinks show. Otherwise the store has lost data, and a sink
that continued would leave an unnoticed hole.
"""

from __future__ import annotations

from confluent_kafka import KafkaException

from backends.kafka.clients import admin_client
from backends.kafka.groups import group_places
from backends.sync_layout.topic_creation import places_of
from schemas.deployment import WAY_OUT, Deployment
from schemas.errors import ServerUnavailable, TransientFailure, WrongDeployment
from schemas.settings import Settings
from schemas.topics import Topic


def compare(what: str, found: str | None, deployment: Deployment) -> None:
    """Compares the id that a store has with the id of the deployment.

    Args:
        what: The name of the store in an error.
        found: The id in the store, None if the store has none.
        deployment: The deployment of the log.

    Raises:
        WrongDeployment: The store belongs to another deployment.
        TransientFailure: The store has no identity: nothing is prepared yet.
    """
    if found is None:
        raise TransientFailure(f"{what} belongs to no deployment yet: `im prepare` records it")
    if found != deployment.id:
        raise WrongDeployment(
            f"{what} belongs to deployment {found}, the topics to {deployment.id}; {WAY_OUT}"
        )


def require_unread(
    what: str, settings: Settings, sinks: dict[str, Topic], deployment: Deployment
) -> None:
    """Checks that no sink of an empty store has stored records of the log.

    Args:
        what: The name of the store in an error.
        settings: The deployment.
        sinks: The topic of each stage that writes to the store.
        deployment: The deployment of the log.

    Raises:
        WrongDeployment: A sink has committed offsets, so the store has lost data.
        ServerUnavailable: Kafka does not answer.
    """
    groups = [group for stage, topic in sinks.items() if (group := _read(settings, stage, topic))]
    if groups:
        raise WrongDeployment(
            f"{what} is empty, but {' and '.join(groups)} has already stored records of"
            f" deployment {deployment.id}; {WAY_OUT}"
        )


def _read(settings: Settings, stage: str, topic: Topic) -> str | None:
    """The group of a stage if the group has committed offsets, otherwise None."""
    group = settings.group(stage)
    try:
        places = list(places_of(admin_client(settings), settings, topic).values())
        committed = group_places(settings, group, places)
    except (KafkaException, TimeoutError) as error:
        raise ServerUnavailable(f"the commits of {group} cannot be read: {error}") from error
    return group if any(place.offset > 0 for place in committed) else None
