"""The writer of the search sink, with the index that it writes to."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from backends.elasticsearch.index import elasticsearch_client
from backends.identity.index_claim import check_index, claim_index
from schemas.deployment import Deployment
from schemas.number_types import Milliseconds
from schemas.settings import Settings
from sinks.base.writer_port import CheckedWriter
from sinks.elasticsearch.index_writer import SearchWriter


@contextmanager
def open_writer(settings: Settings, deployment: Deployment) -> Iterator[CheckedWriter]:
    """Connects to Elasticsearch, checks whose index it is, and creates a missing index.

    Raises:
        WrongDeployment: The index belongs to another deployment.
        TransientFailure: Elasticsearch does not answer.
        ServerUnavailable: Elasticsearch or Kafka does not answer.
    """
    with elasticsearch_client(settings) as client:
        claim_index(client, settings, deployment, Milliseconds(time.time_ns() // 1_000_000))
        check_index(client, settings, deployment)
        yield SearchWriter(client, settings)
