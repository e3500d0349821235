"""The pipeline on secured servers, with the permissions of `im acl` and no others."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any, Final

import aiohttp
import pytest
from aiokafka import AIOKafkaConsumer
from cassandra import Unauthorized
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, not in __all__
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    ResourceType,
    ScramMechanism,
)
from confluent_kafka.cimpl import NewTopic
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth

from backends.cassandra.session import cassandra_session
from backends.cassandra.tables import keyspace_statement
from backends.elasticsearch.index import elasticsearch_client
from backends.identity.index_claim import index_id
from backends.identity.log_identity import read_deployment
from backends.kafka.clients import admin_client, common_config, consumer_config
from backends.stages.dead_letter_log import read_letters
from backends.stages.stage_names import SOURCES
from backends.stages.webhook_log import WEBHOOKS_STAGE
from consumers.cursor import MemoryCursors
from consumers.follower import SyncFollower, SyncItem
from ops.access.acl_bindings import apply_rules
from ops.access.kafka_rules import Role, kafka_rules
from ops.access.store_grants import WRITTEN_TABLES
from producers.publisher import Publisher
from schemas.errors import AccessRefused, ConfigurationError
from schemas.records import MessageSent
from schemas.settings import Settings
from schemas.topics import Topic
from stream_processors.faust_app.broker_credentials import broker_credentials
from tests.conftest import Servers
from tests.support import command
from tests.support.processes import ROOT, environment, running, wait_until
from tests.support.readiness import is_ready
from tests.support.receiving import Reply, receiver_in_thread
from tests.support.secured_deployment import (
    PASSWORD,
    ROLES,
    SECRETS,
    SecuredDeployment,
    SecuredServers,
    add_users,
    im,
    secured_servers,
)
from tests.support.secured_servers import PLAIN_PASSWORD, PLAIN_USER
from tests.support.tls_files import TlsFiles
from tests.support.waiting import until
from tests.support.webhook_events import data_of
from tests.support.writing import WriteAnswer, WritingPerson

pytestmark = pytest.mark.servers

PATIENCE: Final = 180.0
TEXT: Final = "Who can read the 天气 report?"


@pytest.fixture(scope="module")
def secured(servers: Servers) -> Iterator[SecuredServers]:
    """The secured servers of this module."""
    with secured_servers(servers.addresses["elasticsearch_url"]) as found:
        yield found


class Person(WritingPerson):
    """A person who reads what a message becomes."""

    async def found(self, path: str) -> list[Any]:
        """The items of a page; an error of the gateway counts as no item yet."""
        answer = await self.write("GET", path)
        return next((v for v in answer.body.values() if isinstance(v, list)), [])


async def sequenced(write: Callable[..., Awaitable[WriteAnswer]]) -> WriteAnswer:
    """The outcome of a command. It may need a moment: the sequencer has just been started."""
    answer = await write()
    async with asyncio.timeout(PATIENCE):
        while answer.status == 202:
            answer = await write(client_msg_id=answer.body["client_msg_id"])
    assert answer.status == 201, answer.body
    return answer


async def sent_and_found(settings: Settings) -> int:
    """Sends a message through the gateway; returns its SeqId when all stores have it."""
    async with aiohttp.ClientSession() as http:
        ann, bob = (Person(settings, user, http) for user in ("ann", "bob"))
        await sequenced(partial(ann.create, "lunch", "bob"))
        sent = await sequenced(partial(ann.send, "lunch", TEXT))

        async def is_everywhere() -> bool:
            pages = ("/v1/sync", "/v1/search?q=天气", "/v1/conversations/lunch/messages")
            return all([TEXT in str(await bob.found(page)) for page in pages])

        await until(is_everywhere, PATIENCE)
        return int(sent.body["seq"])


def follows(settings: Settings, user: str, text: str) -> None:
    """Returns when a trusted service has read a message from a person's sync timeline."""
    stop = Event()

    def handle(item: SyncItem) -> None:
        if isinstance(item.record, MessageSent) and item.record.content.text == text:
            stop.set()

    with SyncFollower(settings, user, MemoryCursors()) as follower, ThreadPoolExecutor(1) as pool:
        following = pool.submit(follower.follow, handle, stop)
        try:
            wait_until(lambda: stop.is_set() or following.done(), f"{user} gets {text}", PATIENCE)
        finally:
            stop.set()
        following.result(PATIENCE)


def test_the_pipeline_works_with_the_rules_of_the_roles(
    secured: SecuredServers, tmp_path: Path
) -> None:
    """A message is sent, synced, found in history and search; each process has its role alone.

    A webhook of an administrator receives the message, and a refused event is a dead letter. A
    trusted service sends and follows in Kafka. `im verify` finds no difference, as an
    administrator. No log has a secret or a refused request.
    """
    deployment = SecuredDeployment(
        secured, operators="ann",
        outbound_allow="127.0.0.0/8", outbound_ports="any", outbound_http=True,
    )  # fmt: skip
    deployment.prepare()
    administrators = deployment.settings("administrators")
    logs = {
        name: tmp_path / name
        for name in ("worker", "message", "sync", "search", "push", "webhooks", "gateway")
    }
    with ExitStack() as stack:
        server = stack.enter_context(receiver_in_thread())
        server.decide = lambda request: Reply(200 if data_of(request)["seq"] == 2 else 400)
        im(administrators, "webhook", "add", server.url, "--text")
        worker = deployment.settings("workers")
        stack.enter_context(running(worker, "stream_processors", log=logs["worker"]))
        for name in ("message", "sync", "search"):
            sinks = deployment.settings("sinks")
            stack.enter_context(running(sinks, "sinks", name, log=logs[name]))
        push = deployment.settings("push")
        stack.enter_context(running(push, "sinks", "push", log=logs["push"]))
        webhooks = deployment.settings("webhooks")
        stack.enter_context(running(webhooks, "sinks", "webhooks", log=logs["webhooks"]))
        gateway = deployment.settings("gateway")
        stack.enter_context(running(gateway, "gateway", log=logs["gateway"]))
        wait_until(lambda: is_ready(gateway), "the gateway is ready", PATIENCE)
        assert asyncio.run(sent_and_found(gateway)) == 2
        services = deployment.settings("services")
        with Publisher(
            services, "ann", "service", tmp_path / "outbox", done_when="accepted"
        ) as ann:
            ann.send("lunch", "from a service")
            ann.flush(PATIENCE)
        follows(services, "bob", "from a service")
        asyncio.run(operators_see_all_stages(gateway))
        wait_until(lambda: server.answered, "the webhook gets the message", PATIENCE)
        assert data_of(server.answered[0])["text"] == TEXT
        (refused, *_) = read_letters(administrators)
        assert refused.stage.startswith("webhook-")
        assert im(administrators, "verify", "--wait", "120")
    written = {name: log.read_text() for name, log in logs.items()}
    for name, text in written.items():
        assert "uthorization" not in text, (name, text)
        assert "Traceback" not in text, (name, text)
        assert not [secret for secret in SECRETS if secret in text], name


def test_workers_create_the_topics_of_recipients(secured: SecuredServers, tmp_path: Path) -> None:
    """With a topic for each recipient, a worker may create these topics, and no others.

    A trusted service creates a conversation and sends; another one follows the recipient's topic.
    """
    deployment = SecuredDeployment(secured, sync_layout="topic-per-recipient", partitions=1)
    deployment.prepare_log()
    services = deployment.settings("services")
    with (
        running(deployment.settings("workers"), "stream_processors", log=tmp_path / "log"),
        Publisher(services, "ann", "service", tmp_path / "outbox", done_when="accepted") as ann,
    ):
        ann.create_conversation("lunch", ["bob"])
        ann.send("lunch", "to a topic of its own")
        ann.flush(PATIENCE)
        wait_until(lambda: own_topics(deployment) == 2, "ann and bob have topics", PATIENCE)
        follows(services, "bob", "to a topic of its own")
    assert "uthorization" not in (tmp_path / "log").read_text()


def own_topics(deployment: SecuredDeployment) -> int:
    """The number of topics of recipients."""
    prefix = f"{deployment.plain.topic(Topic.SYNC)}."
    topics = admin_client(deployment.plain).list_topics(timeout=PATIENCE).topics
    return sum(name.startswith(prefix) for name in topics)


async def operators_see_all_stages(settings: Settings) -> None:
    """Waits until the response about the pipeline has each stage and no trouble.

    The first response of a gateway may come before the gateway has read the stages.
    """
    async with aiohttp.ClientSession() as http:
        ann = WritingPerson(settings, "ann", http)

        async def are_seen() -> bool:
            answer = await ann.write("GET", "/v1/pipeline")
            stages = [each["name"] for each in answer.body.get("stages", [])]
            has_trouble = answer.status != 200 or answer.body["trouble"] is not None
            return not has_trouble and stages == [*SOURCES, WEBHOOKS_STAGE]

        await until(are_seen, PATIENCE)


READS: Final[Mapping[Role, set[Topic]]] = {
    "workers": {Topic.MESSAGES, Topic.STATE, Topic.EPOCHS, Topic.DEPLOYMENT},
    "sinks": {Topic.TIMELINE, Topic.SYNC, Topic.EPOCHS, Topic.CONTACTS, Topic.DEPLOYMENT},
    "gateway": {Topic.TIMELINE, Topic.SYNC, Topic.DEPLOYMENT},
    "services": {Topic.SYNC, Topic.EPOCHS, Topic.DEPLOYMENT},
    "push": {
        Topic.SYNC,
        Topic.EPOCHS,
        Topic.PUSH_DEVICES,
        Topic.LIVE,
        Topic.PUSH_STATE,
        Topic.REPLAYS,
        Topic.DEPLOYMENT,
    },
    "webhooks": {Topic.TIMELINE, Topic.WEBHOOKS, Topic.REPLAYS, Topic.DEPLOYMENT},
}
WRITES: Final[Mapping[Role, set[Topic]]] = {
    "workers": {Topic.TIMELINE, Topic.SYNC, Topic.STATE, Topic.EPOCHS, Topic.DEAD_LETTER},
    "sinks": {Topic.DEAD_LETTER},
    "gateway": {Topic.MESSAGES, Topic.CONTACTS, Topic.PUSH_DEVICES, Topic.LIVE},
    "services": {Topic.MESSAGES},
    "push": {Topic.PUSH_DEVICES, Topic.PUSH_STATE, Topic.REPLAYS, Topic.DEAD_LETTER},
    "webhooks": {Topic.REPLAYS, Topic.DEAD_LETTER},
}
"""What each role may read and write; everything else is refused."""

REFUSALS: Final = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
}


@pytest.fixture(scope="module")
def empty(secured: SecuredServers) -> SecuredDeployment:
    """Topics, users and rules of a deployment, without any process and without records."""
    deployment = SecuredDeployment(secured, partitions=1, sync_partitions=1)
    deployment.prepare_log()
    return deployment


def outcome(attempt: Callable[[], object]) -> int | None:
    """The code of the broker's refusal, or None if the attempt succeeds."""
    try:
        attempt()
    except KafkaException as error:
        code: int = error.args[0].code()
        if code in REFUSALS:
            return code
        raise
    return None


def topics_read(settings: Settings) -> set[Topic]:
    """The topics that a user can read: those whose end is reached, not refused."""
    names = {settings.topic(topic): topic for topic in Topic}
    config = consumer_config(settings, settings.group("deployment"))
    outcomes: dict[str, bool] = {}
    with closing(Consumer(config | {"enable.partition.eof": True})) as consumer:
        consumer.assign([TopicPartition(name, 0, 0) for name in names])

        def read() -> bool:
            for message in consumer.consume(100, 0.1):
                error, name = message.error(), message.topic()
                if name in names:
                    outcomes[name] = error is None or error.code() not in REFUSALS
            return outcomes.keys() == names.keys()

        wait_until(read, "each topic is read or refused", PATIENCE)
    return {names[name] for name, is_read in outcomes.items() if is_read}


def topics_written(settings: Settings) -> set[Topic]:
    """The topics to which a user can write."""
    written = set()
    producer = Producer(common_config(settings) | {"message.timeout.ms": 180_000})
    for topic in Topic:

        def delivered(error: KafkaError | None, _message: object, topic: Topic = topic) -> None:
            if error is None:
                written.add(topic)
            else:
                assert error.code() in REFUSALS, error

        producer.produce(settings.topic(topic), b"x", b"x", 0, on_delivery=delivered)
    assert producer.flush(PATIENCE) == 0
    return written


@pytest.mark.parametrize("role", READS)
def test_a_role_reads_and_writes_its_topics_alone(empty: SecuredDeployment, role: Role) -> None:
    """Each topic that a role does not need is refused, for reading and for writing."""
    settings = empty.settings(role)
    assert topics_read(settings) == READS[role]
    assert topics_written(settings) == WRITES[role]


INTRUDER: Final[Mapping[Role, str]] = dict.fromkeys(ROLES, "intruder")


def done(answers: Mapping[Any, Any]) -> None:
    """Waits for the answers of an admin client."""
    for answer in answers.values():
        answer.result(PATIENCE)


def administrative(admin: AdminClient, settings: Settings) -> dict[str, Callable[[], object]]:
    """Attempts to change the cluster, by name."""
    timeline = settings.topic(Topic.TIMELINE)
    entry = ConfigEntry("retention.ms", "1", incremental_operation=AlterConfigOpType.SET)
    changed = ConfigResource(ResourceType.TOPIC, timeline, incremental_configs=[entry])
    described = ConfigResource(ResourceType.TOPIC, timeline)
    created = NewTopic(f"{settings.namespace}.more", 1, 1)
    return {
        "create a topic": lambda: done(admin.create_topics([created])),
        "delete a topic": lambda: done(admin.delete_topics([timeline])),
        "add partitions": lambda: done(admin.create_partitions([NewPartitions(timeline, 9)])),
        "change a topic": lambda: done(admin.incremental_alter_configs([changed])),
        "read settings": lambda: done(admin.describe_configs([described])),
        "add a user": lambda: add_users(settings, ["intruder"]),
        "add rules": lambda: apply_rules(settings, kafka_rules(settings), INTRUDER),
    }  # fmt: skip


@pytest.mark.parametrize("role", READS)
def test_a_role_changes_nothing_in_the_cluster(empty: SecuredDeployment, role: Role) -> None:
    """Topics, settings, users and rules are for administrators and superusers."""
    settings = empty.settings(role)
    attempts = administrative(admin_client(settings), settings)
    permitted = []
    for name, attempt in attempts.items():
        try:
            if outcome(attempt) is None:
                permitted.append(name)
        except AccessRefused:  # from the product's own function
            continue
    assert permitted == []


GROUPS: Final = (
    "sequencer",
    "sink-message",
    "sink-sync",
    "sink-search",
    "gateway",
    "reader",
    "webhook-1",
    "sink-push",
)


def joins(settings: Settings, group: str) -> bool:
    """Whether a user can become a member of a group."""
    config = consumer_config(settings, settings.group(group)) | {"session.timeout.ms": 6_000}
    refused: list[int] = []
    assigned: list[object] = []
    with closing(Consumer(config)) as consumer:
        topics = [settings.topic(topic) for topic in Topic]
        consumer.subscribe(topics, on_assign=lambda *_: assigned.append(1))

        def has_outcome() -> bool:
            message = consumer.poll(0.1)
            error = None if message is None else message.error()
            if error is not None and error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED:
                refused.append(error.code())
            return bool(refused or assigned)

        wait_until(has_outcome, f"{group} is joined or refused", PATIENCE)
    return not refused


@pytest.mark.parametrize("role", READS)
def test_a_role_joins_its_groups_alone(empty: SecuredDeployment, role: Role) -> None:
    """A member of a stage's group could take its partitions or change its offsets."""
    settings = empty.settings(role)
    own = {
        "workers": {"sequencer"},
        "sinks": {"sink-message", "sink-sync", "sink-search"},
        "webhooks": {"webhook-1"},
        "push": {"sink-push"},
    }
    assert {group for group in GROUPS if joins(settings, group)} == own.get(role, set())


@pytest.mark.parametrize("role", READS)
def test_a_role_uses_the_ids_of_its_transactions_alone(
    empty: SecuredDeployment, role: Role
) -> None:
    """A producer with the id of a lane fences the sequencer, so only workers may use such ids."""
    settings = empty.settings(role)
    permitted = []
    for name in (f"{settings.group('sequencer')}-0", f"{settings.namespace}.other-0"):
        producer = Producer(common_config(settings) | {"transactional.id": name})
        if outcome(lambda producer=producer: producer.init_transactions(PATIENCE)) is None:  # type: ignore[misc] # a default of the same type
            permitted.append(name)
    expected = [f"{settings.group('sequencer')}-0"] if role == "workers" else []
    assert permitted == expected


def test_a_role_executes_its_statements_alone(secured: SecuredServers) -> None:
    """In Cassandra, sinks and gateways read all tables, write their own, and change no table."""
    deployment = SecuredDeployment(secured)
    deployment.prepare()
    keyspace = deployment.plain.keyspace
    for role, written in WRITTEN_TABLES.items():
        with cassandra_session(deployment.settings(role)) as session:
            session.set_keyspace(keyspace)
            tables = [
                table
                for (table,) in session.execute(
                    "SELECT table_name FROM system_schema.tables WHERE keyspace_name = %s",
                    (keyspace,),
                )
            ]

            def permits(statement: str, session: Any = session) -> bool:
                try:
                    session.execute(statement)
                except Unauthorized:
                    return False
                return True

            hidden = [table for table in tables if not permits(f"SELECT * FROM {table}")]  # noqa: S608 - our own names
            assert hidden == []
            truncated = {table for table in tables if permits(f"TRUNCATE {table}")}
            assert truncated == set(written)  # `MODIFY` permits both, to write and to truncate
            forbidden = [
                "CREATE TABLE more (a int PRIMARY KEY)",
                "DROP TABLE message",
                "ALTER TABLE message ADD more int",
                f"ALTER KEYSPACE {keyspace} WITH durable_writes = false",
                keyspace_statement(Settings(namespace="more")),
                "CREATE ROLE more",
                f'GRANT MODIFY ON KEYSPACE {keyspace} TO "{deployment.users[role]}"',
                "SELECT * FROM system_auth.roles",
            ]
            assert [statement for statement in forbidden if permits(statement)] == []


@pytest.mark.parametrize("mechanism", ["certificate", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
async def test_both_clients_can_use_each_mechanism(
    empty: SecuredDeployment, secured: SecuredServers, mechanism: str
) -> None:
    """confluent-kafka and Faust's client connect with a client certificate and with each SASL."""
    user = empty.users["services"]
    if mechanism == "certificate":
        certificate, key = secured.tls.identity(user, PASSWORD)
        settings = empty.settings(
            "services",
            kafka_bootstrap=secured.kafka.mutual_address,
            kafka_security_protocol="SSL", kafka_user="", kafka_password="",
            kafka_certificate_file=certificate, kafka_key_file=key, kafka_key_password=PASSWORD,
        )  # fmt: skip
    elif mechanism == "PLAIN":
        settings = empty.settings(
            "services",
            kafka_sasl_mechanism="PLAIN",
            kafka_user=PLAIN_USER,
            kafka_password=PLAIN_PASSWORD,
        )
    else:
        if mechanism == "SCRAM-SHA-256":
            add_users(empty.plain, [user], ScramMechanism.SCRAM_SHA_256)
        settings = empty.settings("services", kafka_sasl_mechanism=mechanism)
    messages = settings.topic(Topic.MESSAGES)
    # The user of PLAIN has no rules: the broker knows the user, and shows no topic.
    expected = set() if mechanism == "PLAIN" else {messages}
    assert admin_client(settings).list_topics(timeout=PATIENCE).topics.keys() >= expected
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.kafka_bootstrap,
        **credentials_to_aiokafka_auth(broker_credentials(settings)),
    )
    await consumer.start()
    try:
        assert await consumer.topics() >= expected
    finally:
        await consumer.stop()


def asked_log(settings: Settings) -> None:
    """Reads the identity of the deployment in the log, as each process does at its start."""
    read_deployment(settings, 5.0)


def asked_store(settings: Settings) -> None:
    """Connects to the store."""
    with cassandra_session(settings):
        pass


def asked_index(settings: Settings) -> None:
    """Reads the identity of the deployment in the index."""
    with elasticsearch_client(settings) as client:
        index_id(client, settings)


NO_USER: Final = {"kafka_user": "", "kafka_password": ""}
NO_SECURITY: Final = NO_USER | {"kafka_security_protocol": "PLAINTEXT", "kafka_ca_file": None}
NO_TLS: Final = {
    "cassandra_tls": False,
    "cassandra_ca_file": None,
    "cassandra_certificate_file": None,
    "cassandra_key_file": None,
    "cassandra_key_password": "",
}


def test_a_wrong_protocol_is_named(
    empty: SecuredDeployment, secured: SecuredServers, servers: Servers
) -> None:
    """TLS, SASL or a certificate that one side alone has: a refusal that names the setting.

    The client libraries report each of them as a server that does not answer.
    """
    plain, front = servers.addresses, secured.front.url
    no_certificate = NO_TLS | {"cassandra_tls": True, "cassandra_ca_file": secured.tls.ca}
    http = {"elasticsearch_url": f"http{front[5:]}", "elasticsearch_ca_file": None}
    https = {"elasticsearch_url": f"https{plain['elasticsearch_url'][4:]}"}
    cases: list[tuple[Callable[[Settings], None], dict[str, Any], str]] = [
        (asked_log, NO_SECURITY, "a listener for SASL_SSL, but IM_KAFKA_SECURITY_PROTOCOL is PLA"),
        (asked_log, NO_USER | {"kafka_security_protocol": "SSL"}, "a listener for SASL_SSL, but"),
        (asked_log, {"kafka_bootstrap": plain["kafka_bootstrap"]}, "a listener for PLAINTEXT, bu"),
        (asked_log, {"kafka_bootstrap": secured.kafka.mutual_address}, "IM_KAFKA_CERTIFICATE_FIL"),
        (asked_store, NO_TLS, "set IM_CASSANDRA_TLS=true"),
        (asked_store, no_certificate, "correct IM_CASSANDRA_CERTIFICATE_FILE"),
        (asked_store, {"cassandra_hosts": plain["cassandra_hosts"]}, "IM_CASSANDRA_TLS is true"),
        (asked_index, http, "begin IM_ELASTICSEARCH_URL with https://"),
        (asked_index, https, "IM_ELASTICSEARCH_URL begins with https://"),
    ]
    for attempt, changed, words in cases:
        with pytest.raises(AccessRefused) as refused:
            attempt(empty.settings("sinks", **changed))
        assert words in str(refused.value), changed


def test_a_certificate_with_another_name_is_refused(
    empty: SecuredDeployment, secured: SecuredServers
) -> None:
    """A certificate of the right CA for another name is not trusted, by the client of each server.

    ``127.1`` is another form of the address for which the certificates are made.
    """
    other = {
        name: value.replace("127.0.0.1", "127.1") for name, value in secured.addresses.items()
    }
    for attempt, name, corrected in (
        (asked_log, "kafka_bootstrap", "IM_KAFKA_CA_FILE"),
        (asked_store, "cassandra_hosts", "IM_CASSANDRA_CA_FILE"),
        (asked_index, "elasticsearch_url", "IM_ELASTICSEARCH_CA_FILE"),
    ):
        with pytest.raises(AccessRefused, match="no certificate that this client trusts") as found:
            attempt(empty.settings("sinks", **{name: other[name]}))
        assert corrected in str(found.value)


def test_a_command_names_the_wrong_setting(empty: SecuredDeployment) -> None:
    """A command whose request ends by a timeout names the wrong password or protocol."""
    for changed, words in (
        (NO_SECURITY, "a listener for SASL_SSL, but IM_KAFKA_SECURITY_PROTOCOL is PLAINTEXT"),
        ({"kafka_password": "wrong"}, "Kafka refuses the credentials: correct IM_KAFKA_USER"),
    ):
        wrong = empty.settings("administrators", **changed)
        ended = command.im(environment(wrong), "dead-letter", "list")
        assert ended.returncode == 1
        assert words in ended.stderr


WORKER: Final = ("stream_processors",)
GATEWAY: Final = ("gateway",)
MESSAGE_SINK: Final = ("sinks", "message")
SEARCH_SINK: Final = ("sinks", "search")
WEBHOOKS: Final = ("sinks", "webhooks")


def test_refused_credentials_end_a_process_with_one_line(
    secured: SecuredServers, tmp_path: Path
) -> None:
    """A wrong protocol or credential, a missing rule, an untrusted certificate: exit code 78.

    The last line names the settings to correct, and no line is a traceback or has a secret.
    """
    deployment = SecuredDeployment(secured)
    deployment.prepare()
    stranger = TlsFiles(tmp_path).ca
    wrong_kafka = {"kafka_password": "wrong"}
    wrong_store = {"cassandra_password": "wrong"}
    wrong_index = {"elasticsearch_api_key": "d3Jvbmc="}
    cases: list[tuple[tuple[str, ...], Role, dict[str, Any], str]] = [
        (WEBHOOKS, "webhooks", NO_SECURITY, "a listener for SASL_SSL, but IM_KAFKA_SECURITY_PRO"),
        (WORKER, "workers", wrong_kafka, "Kafka refuses the credentials: correct IM_KAFKA_USER"),
        (MESSAGE_SINK, "sinks", wrong_kafka, "Kafka refuses the credentials: correct IM_KAFKA_US"),
        (GATEWAY, "gateway", wrong_kafka, "Kafka refuses the credentials: correct IM_KAFKA_USER"),
        (WORKER, "workers", {"kafka_ca_file": stranger}, "correct IM_KAFKA_CA_FILE"),
        (WORKER, "sinks", {}, "`im acl` has the rules of each role"),
        (MESSAGE_SINK, "workers", {"cassandra_user": deployment.users["sinks"]}, "`im acl` has"),
        (MESSAGE_SINK, "sinks", wrong_store, "refuses the credentials: correct IM_CASSANDRA_USER"),
        (GATEWAY, "gateway", wrong_store, "refuses the credentials: correct IM_CASSANDRA_USER"),
        (MESSAGE_SINK, "sinks", {"cassandra_ca_file": stranger}, "correct IM_CASSANDRA_CA_FILE"),
        (SEARCH_SINK, "sinks", wrong_index, "(401): correct IM_ELASTICSEARCH_API_KEY"),
        (GATEWAY, "gateway", wrong_index, "(401): correct IM_ELASTICSEARCH_API_KEY"),
        (SEARCH_SINK, "sinks", {"elasticsearch_ca_file": stranger}, "IM_ELASTICSEARCH_CA_FILE"),
    ]
    with ThreadPoolExecutor(4) as pool:
        ended = pool.map(
            lambda case: run(deployment.settings(case[1], **case[2]), *case[0]), cases
        )
        for (module, _, _, reported), process in zip(cases, ended, strict=True):
            lines = process.stderr.splitlines()
            assert process.returncode == ConfigurationError.exit_code, (module, lines)
            assert reported in lines[-1], (module, lines)
            assert "Traceback" not in process.stderr, (module, lines)
            assert not [secret for secret in (*SECRETS, "d3Jvbmc=") if secret in process.stderr]


def run(settings: Settings, *module: str) -> subprocess.CompletedProcess[str]:
    """Runs a process of the pipeline until it ends by itself."""
    return subprocess.run(
        [sys.executable, "-m", *module], cwd=ROOT, env=environment(settings),
        capture_output=True, text=True, timeout=2 * PATIENCE, check=False,
    )  # fmt: skip
