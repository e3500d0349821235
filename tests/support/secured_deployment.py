"""Deployments on secured servers, with a user for each role."""

from __future__ import annotations

import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, get_args

from cassandra.cluster import Session
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, not in __all__
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from backends.cassandra.session import cassandra_session
from backends.kafka.clients import admin_client
from devstack.ports import free_ports
from devstack.settings import DevstackSettings
from devstack.stack import Stack
from ops.access.acl_bindings import apply_rules
from ops.access.kafka_rules import Role, kafka_rules
from ops.access.store_grants import cassandra_grants, cassandra_roles
from ops.commands.acl import users_of
from ops.deployment.prepare_log import prepare_log
from ops.deployment.prepare_servers import prepare_all
from schemas.errors import AccessRefused
from schemas.settings import Settings
from tests.support.gateway import SECRET
from tests.support.keyed_front import KeyedFront, keyed_front
from tests.support.processes import environment
from tests.support.secured_servers import (
    BROKER,
    BROKER_PASSWORD,
    SecuredCassandra,
    SecuredKafka,
)
from tests.support.servers import HOME, private_folder
from tests.support.tls_files import TlsFiles

ROLES: Final = get_args(Role)
PASSWORD: Final = "s3cret-of-a-role"
API_KEY: Final = "czNjcmV0LW9mLWFuOmFwaS1rZXk="
SECRETS: Final = (PASSWORD, API_KEY, BROKER_PASSWORD)

_SUPERUSER: Final = "cassandra"
_SECONDS: Final = 180.0
_SCRAM_ITERATIONS: Final = 4_096
_JAVA_OPTIONS: Final = (
    "-XX:TieredStopAtLevel=1 -Dcassandra.test.flush_local_schema_changes=false"
    " -Dcassandra.auth_bcrypt_gensalt_log2_rounds=4"
)


class SecuredDeployment:
    """One deployment: topics, keyspace and users of its own.

    Args:
        servers: The servers.
        **overrides: Settings of the deployment.
    """

    def __init__(self, servers: SecuredServers, **overrides: Any) -> None:
        self._servers = servers
        self._values: dict[str, Any] = {
            "namespace": f"t-{secrets.token_hex(4)}",
            "home": servers.home,
            "partitions": 2,
            "sync_partitions": 2,
            "jwt_secret": SECRET,
            "write_wait": "PT8S",
            "gateway_port": free_ports(1)[0],
            **servers.addresses,
            **overrides,
        }
        self.plain = Settings.model_validate({**self._values, **servers.superuser})
        self.users = users_of(self.plain, [])

    def settings(self, role: Role, **overrides: Any) -> Settings:
        """The settings of a process of a role. The user of each server is the role's."""
        user = self.users[role]
        return Settings.model_validate(
            self._values
            | {
                "kafka_security_protocol": "SASL_SSL",
                "kafka_ca_file": self._servers.tls.ca,
                "kafka_user": user,
                "kafka_password": PASSWORD,
                "cassandra_user": user,
                "cassandra_password": PASSWORD,
                "elasticsearch_api_key": API_KEY,
                **self._servers.cassandra_tls,
                "elasticsearch_ca_file": self._servers.tls.ca,
            }
            | overrides
        )

    def make_users(self) -> None:
        """Adds the users of all roles to Kafka."""
        add_users(self.plain, self.users.values())

    def prepare_log(self) -> None:
        """Prepares Kafka alone: users, rules and topics."""
        self.make_users()
        apply_rules(self.plain, kafka_rules(self.plain), self.users)
        prepare_log(self.settings("administrators"))

    def prepare(self) -> None:
        """Prepares the deployment as docs/secured-servers.md says."""
        self.make_users()
        assert "created" in im(self.plain, "acl", "--apply")
        with self._servers.superuser_session() as session:
            for statement in cassandra_roles(self.plain, self.users):
                session.execute(statement)
            for role in ("administrators", "sinks", "push", "gateway"):
                user = self.users[role]
                session.execute(f"ALTER ROLE \"{user}\" WITH PASSWORD = '{PASSWORD}'")
            prepare_all(self.settings("administrators"), lambda _: None)
            for statement in cassandra_grants(self.plain, self.users):
                session.execute(statement)


class SecuredServers:
    """Kafka and Cassandra with security, and a TLS server in front of Elasticsearch.

    Args:
        home: Folder for the files of the processes.
        kafka: The broker.
        cassandra: The node.
        front: The server in front of Elasticsearch.
        tls: The certificates.
    """

    def __init__(
        self,
        home: Path,
        kafka: SecuredKafka,
        cassandra: SecuredCassandra,
        front: KeyedFront,
        tls: TlsFiles,
    ) -> None:
        self.home = home
        self.kafka = kafka
        self.tls = tls
        self.front = front
        self.addresses: Mapping[str, str] = {
            "kafka_bootstrap": kafka.address,
            "cassandra_hosts": cassandra.address,
            "elasticsearch_url": front.url,
        }
        certificate, key = tls.identity("client", PASSWORD)
        self.cassandra_tls: Mapping[str, Any] = {
            "cassandra_tls": True,
            "cassandra_ca_file": tls.ca,
            "cassandra_certificate_file": certificate,
            "cassandra_key_file": key,
            "cassandra_key_password": PASSWORD,
        }
        self.superuser: Mapping[str, Any] = {
            "kafka_security_protocol": "SASL_SSL",
            "kafka_ca_file": tls.ca,
            "kafka_user": BROKER,
            "kafka_password": BROKER_PASSWORD,
            "cassandra_user": _SUPERUSER,
            "cassandra_password": _SUPERUSER,
            **self.cassandra_tls,
            "elasticsearch_api_key": API_KEY,
            "elasticsearch_ca_file": tls.ca,
        }

    @contextmanager
    def superuser_session(self) -> Iterator[Session]:
        """A session of the superuser that Cassandra makes soon after its first start."""
        settings = Settings.model_validate({**self.addresses, **self.superuser})
        deadline = time.monotonic() + _SECONDS
        with ExitStack() as stack:
            while True:
                try:
                    session = stack.enter_context(cassandra_session(settings))
                except AccessRefused:
                    assert time.monotonic() < deadline, "there is no superuser"
                    time.sleep(0.1)
                else:
                    break
            yield session


@contextmanager
def secured_servers(elasticsearch: str) -> Iterator[SecuredServers]:
    """Secured servers with empty data.

    Args:
        elasticsearch: The URL of an Elasticsearch without security.
    """
    with private_folder() as home, ExitStack() as stack:
        shutil.rmtree(home / "data", ignore_errors=True)
        certificates = home / "tls"
        certificates.mkdir(parents=True, exist_ok=True)
        tls = TlsFiles(certificates)
        front = stack.enter_context(
            keyed_front(elasticsearch, tls.identity("elasticsearch"), {API_KEY})
        )
        kafka_port, controller, mutual, cassandra_port, storage = free_ports(5)
        settings = DevstackSettings(
            home=home,
            servers_dir=HOME / "servers",
            kafka_port=kafka_port,
            kafka_controller_port=controller,
            cassandra_port=cassandra_port,
            cassandra_storage_port=storage,
            kafka_heap="512m",
            cassandra_heap="1g",
            java_options=_JAVA_OPTIONS,
        )
        kafka = SecuredKafka(settings, tls, mutual)
        cassandra = SecuredCassandra(settings, tls)
        servers = Stack(settings, [kafka, cassandra])
        servers.up()
        stack.callback(servers.down)
        yield SecuredServers(home, kafka, cassandra, front, tls)


def add_users(
    settings: Settings, users: Any, mechanism: ScramMechanism = ScramMechanism.SCRAM_SHA_512
) -> None:
    """Adds users with `PASSWORD` to Kafka, as a superuser."""
    info = ScramCredentialInfo(mechanism, _SCRAM_ITERATIONS)
    admin = admin_client(settings)  # hold the reference: without it the futures never complete
    added = admin.alter_user_scram_credentials(
        [UserScramCredentialUpsertion(user, info, PASSWORD.encode()) for user in users]
    )
    for answer in added.values():
        answer.result(_SECONDS)


def im(settings: Settings, *arguments: str) -> str:
    """The output of an `im` command, which must succeed."""
    done = subprocess.run(
        [Path(sys.executable).with_name("im"), *arguments],
        env=environment(settings), capture_output=True, text=True, timeout=_SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
