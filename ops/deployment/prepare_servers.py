"""Create what the processes need at their start: topics, tables, index."""

from __future__ import annotations

import time

from cassandra.cluster import Session
from elasticsearch import Elasticsearch

from backends.cassandra.session import cassandra_session
from backends.elasticsearch.index import elasticsearch_client
from backends.identity.index_claim import claim_index, index_id
from backends.identity.log_identity import check_log, check_topics, read_deployment
from backends.identity.store_claim import claim_store, store_id
from backends.kafka.clients import admin_client
from backends.sync_layout.topic_creation import prepare_topics
from devstack.progress import ReportStep
from schemas.deployment import WAY_OUT
from schemas.errors import WrongDeployment
from schemas.number_types import Milliseconds
from schemas.settings import Settings


def prepare_all(settings: Settings, report: ReportStep) -> None:
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
        claim_index(client, settings, deployment, Milliseconds(time.time_ns() // 1_000_000))
        report(f"index is {settings.index_alias}")
    report(f"deployment is {deployment.id}")


def _check_before(settings: Settings, session: Session, client: Elasticsearch) -> None:
    """Compare the recorded identities before anything is created.

    Raises:
        WrongDeployment: Topics, keyspace and index do not belong together.
    """
    recorded = read_deployment(settings)
    if recorded is not None:
        check_topics(admin_client(settings), recorded)
    own = recorded.id if recorded else "none"
    for what, claimed in (
        (f"keyspace {settings.keyspace}", store_id(session, settings)),
        (f"index {settings.namespace}-deployment", index_id(client, settings)),
    ):
        if claimed not in {None, own}:
            raise WrongDeployment(
                f"{what} belongs to deployment {claimed}, the topics in Kafka to {own}; {WAY_OUT}"
            )
