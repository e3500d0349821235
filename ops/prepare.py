"""Create what the processes need at their start: topics, tables, index."""

from __future__ import annotations

import time

from cassandra.cluster import Session
from elasticsearch import Elasticsearch

from backends.cassandra import cassandra_session
from backends.deployment import check_log, check_topics, read_deployment
from backends.deployment_index import claim_index, index_id
from backends.deployment_store import claim_store, store_id
from backends.elasticsearch import elasticsearch_client
from backends.kafka import admin_client
from backends.shards import prepare_topics
from devstack.artifacts import Report
from schemas.deployment import WAY_OUT
from schemas.errors import WrongDeployment
from schemas.settings import Settings


def prepare(settings: Settings, report: Report) -> None:
    """Create what is missing, and record the deployment's identity in log, store and index.

    Raises:
        ConfigurationError: An existing topic, table or index does not fit the settings.
        WrongDeployment: Topics, keyspace and index do not belong together. Nothing was created.
        ServerUnavailable: A server does not answer.
    """
    with cassandra_session(settings) as session, elasticsearch_client(settings) as client:
        _check_before(settings, session, client)
        created = prepare_topics(settings)
        report(f"topics: {len(created)} created")
        deployment = check_log(settings)
        claim_store(session, settings, deployment)
        report(f"tables are in keyspace {settings.keyspace}")
        claim_index(client, settings, deployment, time.time_ns() // 1_000_000)
        report(f"index is {settings.index_alias}")
    report(f"deployment is {deployment.id}")


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


def _check_before(settings: Settings, session: Session, client: Elasticsearch) -> None:
    """Compare the recorded identities before anything is created.

    Raises:
        WrongDeployment: Topics, keyspace and index do not belong together.
    """
    recorded = read_deployment(settings)
    if recorded is not None:
        check_topics(admin_client(settings), recorded)
    own = recorded.id if recorded else "none"
    for what, found in (
        (f"keyspace {settings.keyspace}", store_id(session, settings)),
        (f"index {settings.namespace}-deployment", index_id(client, settings)),
    ):
        if found not in {None, own}:
            raise WrongDeployment(
                f"{what} belongs to deployment {found}, the topics in Kafka to {own}; {WAY_OUT}"
            )
