"""Kafka and Cassandra with TLS, users and permissions, for tests.

Kafka has two listeners for clients: one with SASL over TLS, one with client certificates. The user
of a certificate is its common name. The broker's own user, ``broker``, is the only superuser.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from devstack.cassandra import CassandraServer
from devstack.kafka import KafkaServer
from devstack.ports import accepts
from tests.support.tls_files import TlsFiles

BROKER: Final = "broker"
BROKER_PASSWORD: Final = "s3cret-of-the-broker"
PLAIN_USER: Final = "plain"
PLAIN_PASSWORD: Final = "s3cret-of-plain"

_SECURITY: Final = """
listeners=CLIENTS://127.0.0.1:{port},MUTUAL://127.0.0.1:{mutual_port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=CLIENTS://127.0.0.1:{port},MUTUAL://127.0.0.1:{mutual_port}
listener.security.protocol.map=CONTROLLER:SSL,CLIENTS:SASL_SSL,MUTUAL:SSL
inter.broker.listener.name=CLIENTS
sasl.enabled.mechanisms=SCRAM-SHA-512,SCRAM-SHA-256,PLAIN
sasl.mechanism.inter.broker.protocol=SCRAM-SHA-512
listener.name.clients.scram-sha-512.sasl.jaas.config=\
org.apache.kafka.common.security.scram.ScramLoginModule required \
username="{broker}" password="{broker_password}";
listener.name.clients.scram-sha-256.sasl.jaas.config=\
org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.clients.plain.sasl.jaas.config=\
org.apache.kafka.common.security.plain.PlainLoginModule required \
user_{plain_user}="{plain_password}";
listener.name.controller.ssl.client.auth=required
listener.name.mutual.ssl.client.auth=required
ssl.keystore.type=PEM
ssl.keystore.location={identity}
ssl.truststore.type=PEM
ssl.truststore.location={ca}
ssl.principal.mapping.rules=RULE:.*CN=([^,]+).*/$1/
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:{broker}
"""

_CASSANDRA: Final = """
authenticator: PasswordAuthenticator
authorizer: CassandraAuthorizer
role_manager: CassandraRoleManager
# Tests change permissions and use them at once.
roles_validity: 100ms
permissions_validity: 100ms
credentials_validity: 100ms
client_encryption_options:
  enabled: true
  optional: false
  require_client_auth: true
  keystore: {identity}
  truststore: {ca}
  ssl_context_factory:
    class_name: org.apache.cassandra.security.PEMBasedSslContextFactory
"""


@dataclass(frozen=True)
class SecuredKafka(KafkaServer):
    """A broker that every client must identify itself to, and that denies what no rule permits."""

    tls: TlsFiles
    mutual_port: int

    @property
    def mutual_address(self) -> str:
        """The address for clients with a certificate, host:port."""
        return f"127.0.0.1:{self.mutual_port}"

    def properties(self, data: Path) -> str:
        """See `KafkaServer`. A later line replaces an earlier one."""
        return super().properties(data) + _SECURITY.format(
            port=self.settings.kafka_port,
            controller_port=self.settings.kafka_controller_port,
            mutual_port=self.mutual_port,
            broker=BROKER,
            broker_password=BROKER_PASSWORD,
            plain_user=PLAIN_USER,
            plain_password=PLAIN_PASSWORD,
            identity=self.tls.joined(BROKER),
            ca=self.tls.ca,
        )

    def format_options(self) -> tuple[str, ...]:
        """The user of the broker itself, which no client can add."""
        return (
            "--add-scram",
            f'SCRAM-SHA-512=[name="{BROKER}",password="{BROKER_PASSWORD}"]',
        )

    def is_ready(self) -> bool:
        """Whether the broker answers its own user."""
        if not accepts(self.settings.kafka_port):
            return False
        client = AdminClient(
            {
                "bootstrap.servers": self.address,
                "security.protocol": "SASL_SSL",
                "sasl.mechanism": "SCRAM-SHA-512",
                "sasl.username": BROKER,
                "sasl.password": BROKER_PASSWORD,
                "ssl.ca.location": str(self.tls.ca),
                "log_level": 0,
            }
        )
        try:
            return bool(client.list_topics(timeout=2).brokers)
        except KafkaException:
            return False


@dataclass(frozen=True)
class SecuredCassandra(CassandraServer):
    """A node that requires a client certificate, a user and permissions."""

    tls: TlsFiles

    def yaml(self) -> str:
        """See `CassandraServer`."""
        identity = self.tls.joined("cassandra")
        return super().yaml() + _CASSANDRA.format(identity=identity, ca=self.tls.ca)
