"""Create the missing topics, and record the identity of the deployment in the log."""

from __future__ import annotations

from backends.identity.log_identity import check_log, check_topics, read_deployment
from backends.kafka.clients import admin_client
from backends.sync_layout.topic_creation import prepare_topics
from schemas.settings import Settings


def prepare_log(settings: Settings) -> list[str]:
    """Create the missing topics, and record the identity in the log.

    Returns:
        The names of the created topics.

    Raises:
        ConfigurationError: A topic does not fit the settings.
        WrongDeployment: A topic was deleted, or is not that of the deployment.
        ServerUnavailable: The broker does not answer.
    """
    recorded = read_deployment(settings)
    if recorded is not None:
        check_topics(admin_client(settings), recorded)  # before a deleted topic is created again
    created = prepare_topics(settings)
    check_log(settings)
    return created
