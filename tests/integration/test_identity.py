"""A deployment's identity on real servers: recorded once, and compared at each start.

Each test has its own namespace, whose topics, tables and indices the test replaces or deletes.
"""

from __future__ import annotations

import http.client
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import NewPartitions  # type: ignore[attr-defined]  # public

from backends.cassandra.session import cassandra_session
from backends.elasticsearch.index import MAPPINGS, elasticsearch_client
from backends.identity.index_claim import check_index
from backends.identity.log_identity import check_log, topic_identities
from backends.identity.store_claim import store_id
from backends.kafka.clients import (
    admin_client,
    consumer_config,
    create_topics,
    new_topics,
)
from backends.processes.polling import poll_until
from backends.stages.stage_health import members_if_assigned
from devstack.ports import free_ports
from gateway.http.tokens import issue_token
from ops.deployment.endpoints import gateway_address
from ops.deployment.prepare_log import prepare_log
from ops.deployment.prepare_servers import prepare_all as prepare
from ops.deployment.readiness import gateway_serves
from producers.publisher import Publisher
from schemas.errors import ConfigurationError, TransientFailure, WrongDeployment
from schemas.settings import Settings
from schemas.topics import Topic
from tests.support.command import im
from tests.support.made_anew import delete, make_anew
from tests.support.processes import ROOT, environment, running, wait_until
from tests.support.servers import Servers

pytestmark = pytest.mark.servers

EXIT_CODE = WrongDeployment.exit_code
WAY_OUT = "docs/operating.md"
END_SECONDS = 180.0
"""A process checks every 5 s; a busy machine takes longer to start a process."""

SINKS = (("sinks", "message"), ("sinks", "sync"), ("sinks", "search"))


def prepared(servers: Servers) -> Settings:
    """A prepared deployment without processes."""
    settings = servers.settings(
        partitions=2, sync_partitions=2, jwt_secret="x" * 40, gateway_port=free_ports(1)[0]
    )
    prepare(settings, lambda _: None)
    return settings


def new_names(settings: Settings) -> list[str]:
    """The names of all topics of a deployment."""
    return [topic.topic for topic in new_topics(settings)]


def members(settings: Settings, module: tuple[str, ...]) -> int:
    """The number of processes that share the partitions of a stage."""
    stage = "sequencer" if module == ("stream_processors",) else f"sink-{module[1]}"
    return members_if_assigned(admin_client(settings), settings, stage)


def ended(settings: Settings, *module: str) -> tuple[int, list[str]]:
    """Runs a process that ends by itself; returns its exit code and its lines about problems."""
    done = subprocess.run(
        [sys.executable, "-m", *module], cwd=ROOT, env=environment(settings), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=END_SECONDS, check=False,
    )  # fmt: skip
    return done.returncode, [each for each in done.stdout.splitlines() if " INFO " not in each]


def assert_one(lines: list[str], *parts: str) -> None:
    """Asserts that one line has these parts. A busy machine may cause warnings of other kinds."""
    assert sum(all(part in line for part in parts) for line in lines) == 1, lines
    assert not any("Traceback" in line for line in lines)


def test_processes_that_start_together_agree_on_one_identity(servers: Servers) -> None:
    """Clients that record a deployment's identity at the same time agree on one identity."""
    settings = servers.settings()
    create_topics(settings)

    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda _: check_log(settings), range(4)))

    assert {deployment.id for deployment in found} == {found[0].id}
    assert check_log(settings) == found[0]


def test_preparing_twice_changes_nothing(servers: Servers) -> None:
    """A second `prepare` leaves the same id in the log, in Cassandra and in Elasticsearch."""
    settings = prepared(servers)
    first = check_log(settings).id

    prepare(settings, lambda _: None)

    with cassandra_session(settings) as session:
        assert store_id(session, settings) == first == check_log(settings).id


@pytest.mark.parametrize("topic", [each for each in Topic if each is not Topic.DEPLOYMENT])
def test_a_recreated_topic_is_refused(servers: Servers, topic: Topic) -> None:
    """`prepare` refuses a recreated topic; the line names the topic and both ids."""
    settings = servers.settings(partitions=2, sync_partitions=2)
    create_topics(settings)
    old = check_log(settings).topics[settings.topic(topic)].id
    make_anew(settings, topic)

    with pytest.raises(WrongDeployment) as refused:
        prepare_log(settings)

    line = str(refused.value)
    assert f"topic {settings.topic(topic)} has the id " in line
    assert old in line
    assert WAY_OUT in line
    assert "\n" not in line


def test_added_partitions_are_refused(servers: Servers, tmp_path: Path) -> None:
    """`prepare`, sequencer and publisher refuse added partitions; the outbox has the command."""
    settings = prepared(servers)
    name, deployment = settings.topic(Topic.MESSAGES), check_log(settings)
    add_partitions(settings, Topic.MESSAGES)
    said = f"topic {name} has 4 partitions, deployment {deployment.id} was made with 2"

    with pytest.raises(WrongDeployment, match=said):
        prepare(settings, lambda _: None)
    publisher = Publisher(settings, "ann", "phone", tmp_path / "outbox.db")
    with closing(publisher), pytest.raises(WrongDeployment, match=said):
        publisher.send("team", "hello").wait_accepted(END_SECONDS)
    code, lines = ended(settings, "stream_processors")

    assert code == EXIT_CODE
    assert_one(lines, said)


def test_lost_topics_are_not_recreated_beside_a_store(servers: Servers) -> None:
    """If only Kafka lost its data, `prepare` creates nothing and names the old deployment."""
    settings = prepared(servers)
    old = check_log(settings).id
    delete(settings, Topic)

    with pytest.raises(WrongDeployment) as refused:
        prepare(settings, lambda _: None)

    line = str(refused.value)
    assert line.startswith(f"keyspace {settings.keyspace} belongs to deployment {old}")
    assert WAY_OUT in line
    assert not topic_identities(admin_client(settings), new_names(settings))


def test_every_stage_refuses_a_store_of_another_log(servers: Servers) -> None:
    """With new topics and old stores, sinks, gateway and `im verify` end with one line."""
    settings = prepared(servers)
    old = check_log(settings).id
    delete(settings, Topic)
    create_topics(settings)
    new = check_log(settings).id
    assert new != old

    for module in (*SINKS, ("gateway",)):
        code, lines = ended(settings, *module)
        assert code == EXIT_CODE
        assert_one(lines, f"deployment {old}", new)
    done = im(environment(settings), "verify")
    assert done.returncode == 1
    assert_one(done.stderr.splitlines(), old, new)


@pytest.mark.parametrize("module", [("stream_processors",), *SINKS], ids=" ".join)
def test_a_running_stage_ends_when_a_topic_is_recreated(
    servers: Servers, module: tuple[str, ...]
) -> None:
    """A running stage ends within a bound when a topic is recreated; the next process ends too."""
    settings = prepared(servers)
    with running(settings, *module) as process:
        wait_until(lambda: members(settings, module), "the stage has its partitions")
        make_anew(settings, Topic.MESSAGES)
        assert process.wait(END_SECONDS) == EXIT_CODE
    code, lines = ended(settings, *module)

    assert code == EXIT_CODE
    assert_one(lines, settings.topic(Topic.MESSAGES), WAY_OUT)


def add_partitions(settings: Settings, topic: Topic) -> None:
    """Doubles the partitions of a topic, as an operator with Kafka's own tools can."""
    name, admin = settings.topic(topic), admin_client(settings)
    admin.create_partitions([NewPartitions(name, 4)])[name].result(END_SECONDS)
    wait_until(
        lambda: topic_identities(admin, [name])[name].partitions == 4, "the partitions are there"
    )


@pytest.mark.parametrize("damage", [make_anew, add_partitions])
def test_a_running_gateway_ends_when_a_topic_was_replaced(
    servers: Servers, damage: Callable[[Settings, Topic], None]
) -> None:
    """A running gateway ends with exit code 78 when a topic is recreated or gets partitions."""
    settings = prepared(servers)
    with running(settings, "gateway") as process:
        wait_until(lambda: gateway_serves(settings), "the gateway serves")
        damage(settings, Topic.MESSAGES)
        assert process.wait(END_SECONDS) == EXIT_CODE
    assert not gateway_serves(settings)


def answer_of_sync(settings: Settings) -> tuple[int, str]:
    """Status and body of a request for a sync timeline; 0 while nothing listens."""
    token = issue_token(settings, "ann", timedelta(minutes=5))
    connection = http.client.HTTPConnection(gateway_address(settings), timeout=60)
    with closing(connection):
        try:
            connection.request("GET", "/v1/sync", headers={"Authorization": f"Bearer {token}"})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except (OSError, http.client.HTTPException):
            return 0, ""


def test_a_gateway_serves_nothing_before_it_has_verified_its_data(servers: Servers) -> None:
    """A gateway responds with 503 `starting` until `im prepare` has recorded an identity."""
    settings = prepared(servers)
    with cassandra_session(settings) as session:
        session.execute(f"TRUNCATE {settings.keyspace}.deployment", timeout=END_SECONDS)
    with running(settings, "gateway"):
        status, body = poll_until(
            lambda: answer_of_sync(settings), END_SECONDS, done=lambda answer: answer[0]
        )
        assert (status, '"urn:im-timeline:problem:starting"' in body) == (503, True)
        assert not gateway_serves(settings)

        prepare(settings, lambda _: None)

        wait_until(lambda: answer_of_sync(settings)[0] == 200, "the gateway serves")


def test_a_store_that_lost_its_data_is_not_filled_partially(servers: Servers) -> None:
    """`prepare` refuses an empty keyspace or index if its sink has committed offsets.

    The sink would leave a hole.
    """
    settings = prepared(servers)
    for stage in ("sink-message", "sink-search"):
        consumer = Consumer(consumer_config(settings, settings.group(stage)))
        consumer.commit(
            offsets=[TopicPartition(settings.topic(Topic.TIMELINE), 0, 7)], asynchronous=False
        )
        consumer.close()
    with elasticsearch_client(settings) as client:
        client.indices.delete(index=f"{settings.namespace}-deployment")
    with pytest.raises(WrongDeployment, match=f"{settings.group('sink-search')} has already"):
        prepare(settings, lambda _: None)

    with cassandra_session(settings) as session:
        session.execute(f"DROP KEYSPACE {settings.keyspace}", timeout=END_SECONDS)
    with pytest.raises(WrongDeployment, match=f"{settings.group('sink-message')} has already"):
        prepare(settings, lambda _: None)


def test_a_removed_alias_is_restored(servers: Servers) -> None:
    """Without its alias a stage waits; `im prepare` restores the alias, with all documents."""
    settings = prepared(servers)
    deployment = check_log(settings)
    with elasticsearch_client(settings) as client:
        client.indices.delete_alias(index="_all", name=settings.index_alias)
        with pytest.raises(TransientFailure, match=f"alias {settings.index_alias} does not exist"):
            check_index(client, settings, deployment)

        prepare(settings, lambda _: None)

        check_index(client, settings, deployment)


def test_an_index_with_other_settings_is_refused(servers: Servers) -> None:
    """`im prepare` refuses an index with other settings; the line names what it has and needs."""
    settings = prepared(servers)
    with elasticsearch_client(settings) as client:
        (found,) = client.indices.get_settings(index=f"{settings.index_alias}-*").values()
        assert found["settings"]["index"]["number_of_replicas"] == "0"
        other = f"{settings.index_alias}-2001.01"
        client.indices.create(index=other, mappings=MAPPINGS | {"dynamic": "false"})
    with pytest.raises(ConfigurationError, match=rf"{other} has dynamic=false \(needs strict\)"):
        prepare(settings, lambda _: None)
