"""The consumer groups of webhooks: each is found by its name, and ends with its webhook.

The gateway shows the webhooks to operators, and must not read ``im.webhooks``, which has their
secrets. So it finds them by their groups.
"""

from __future__ import annotations

from typing import Final

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from backends.kafka.clients import admin_client
from backends.processes.polling import poll_until
from backends.stages.webhook_log import subscription_stage
from schemas.errors import ServerUnavailable
from schemas.settings import Settings

DELETE_SECONDS: Final = 30.0
"""Maximum wait until the processes of the stage have left a group: they end a request first."""

_REQUEST_SECONDS: Final = 5.0


def webhook_stages(admin: AdminClient, settings: Settings) -> list[str]:
    """The names of all webhooks as stages, sorted.

    Raises:
        KafkaException: The broker does not answer, or refuses.
        TimeoutError: The broker does not answer.
    """
    listed = admin.list_consumer_groups(request_timeout=_REQUEST_SECONDS)
    found = listed.result(_REQUEST_SECONDS)
    for error in found.errors:
        raise KafkaException(error)
    begin = settings.group(subscription_stage(""))
    names = [each.group_id for each in found.valid if each.group_id.startswith(begin)]
    return sorted(subscription_stage(name.removeprefix(begin)) for name in names)


def delete_webhook_group(settings: Settings, subscription_id: str) -> None:
    """Deletes the group of a removed webhook, when the processes of the stage have left it.

    Raises:
        ServerUnavailable: The group still has members, or the broker does not answer.
    """
    admin, group = admin_client(settings), settings.group(subscription_stage(subscription_id))
    if not poll_until(lambda: _is_deleted(admin, group), DELETE_SECONDS):
        raise ServerUnavailable(
            f"the webhook is removed, but its consumer group {group} has members: delete it later"
        )


def _is_deleted(admin: AdminClient, group: str) -> bool:
    futures = admin.delete_consumer_groups([group], request_timeout=_REQUEST_SECONDS)
    try:
        futures[group].result(_REQUEST_SECONDS)
    except (KafkaException, TimeoutError) as error:
        code = error.args[0].code() if isinstance(error, KafkaException) else None
        return bool(code == KafkaError.GROUP_ID_NOT_FOUND)
    return True
