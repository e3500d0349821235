"""A producer that leaves a transaction open, and the records that wait behind it."""

from __future__ import annotations

import secrets
from typing import Final

import pytest
from confluent_kafka import Producer

from backends.kafka.clients import admin_client, create_topics, producer_config
from ops.deployment import open_transactions
from schemas.topics import Topic
from tests.conftest import Servers
from tests.support.processes import wait_until

pytestmark = pytest.mark.servers

PATIENCE: Final = 180.0


def test_an_open_transaction_is_named(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    """An open transaction is reported with its partition, its start and the waiting records.

    After the transaction has ended, nothing is reported.
    """
    settings = servers.settings(partitions=4)
    create_topics(settings)
    admin, topic = admin_client(settings), settings.topic(Topic.MESSAGES)
    config = producer_config(settings)
    opened = Producer(config | {"transactional.id": secrets.token_hex(8)})
    opened.init_transactions(PATIENCE)
    opened.begin_transaction()
    other = Producer(config)
    opened.produce(topic, b"{}", b"k", 3)
    assert opened.flush(PATIENCE) == 0
    for _ in range(5):
        other.produce(topic, b"{}", b"k", 3)
    assert other.flush(PATIENCE) == 0
    # On a busy machine the transaction is old after these steps, and its time is read slowly.
    monkeypatch.setattr(open_transactions, "_READ_SECONDS", PATIENCE)
    monkeypatch.setattr(open_transactions, "SHOWN_AFTER_SECONDS", 600.0)
    assert open_transactions.open_transactions(admin, settings) == []  # it is too young
    monkeypatch.setattr(open_transactions, "SHOWN_AFTER_SECONDS", 0.0)
    (found,) = open_transactions.open_transactions(admin, settings)
    assert (found.topic, found.partition, found.waiting) == (topic, 3, 6)
    assert found.since is not None
    assert str(found).startswith(f"{topic}[3]: a transaction has been open since 2")
    opened.abort_transaction(PATIENCE)
    wait_until(lambda: not open_transactions.open_transactions(admin, settings), "it has ended")
