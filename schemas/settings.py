"""The settings of a deployment, from the environment (``IM_…``) or by keyword."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic import ValidationError as InvalidSettings

from schemas.environment import explain
from schemas.errors import ConfigurationError
from schemas.http_limits import HttpLimitSettings
from schemas.limits import Limits
from schemas.log_settings import LogSettings
from schemas.number_types import Milliseconds
from schemas.outbound_settings import OutboundSettings
from schemas.push_settings import PushSettings
from schemas.records import MAX_ID_LENGTH, NewDevicePolicy
from schemas.security_settings import SecuritySettings
from schemas.token_settings import TokenSettings
from schemas.topics import Topic


def _seconds(value: object) -> object:
    """Converts a plain number of seconds in the environment; ISO 8601 (``P7D``) works as well."""
    return int(value) if isinstance(value, str) and value.isdecimal() else value


_UpToYears = Annotated[
    timedelta,
    BeforeValidator(_seconds),
    Field(ge=timedelta(0), le=timedelta(days=3_650)),
]

_CASSANDRA_PORT: Final = 9042

DEVELOPMENT_STACK: Final = frozenset(
    {
        "servers_dir",
        "kafka_port",
        "kafka_controller_port",
        "kafka_heap",
        "cassandra_port",
        "cassandra_storage_port",
        "cassandra_heap",
        "elasticsearch_port",
        "elasticsearch_transport_port",
        "elasticsearch_heap",
        "java_options",
    }
)
"""The fields of `devstack.settings.DevstackSettings`, which reads the same environment."""


def _places(text: str, default_port: int | None = None) -> Iterator[tuple[str, int]]:
    """The host and the port of each address in a comma-separated list.

    Raises:
        ValueError: The list is empty, or an address is not ``host:port``.
    """
    addresses = [part.strip() for part in text.split(",") if part.strip()]
    if not addresses:
        raise ValueError("names no host")
    for address in addresses:
        parts = urlsplit(f"//{address}")
        try:
            host, port = parts.hostname, parts.port or default_port
        except ValueError:
            host = port = None
        is_plain = not (parts.path or parts.query or parts.fragment or len(address.split()) > 1)
        if not host or not port or not is_plain or parts.username is not None:
            raise ValueError("must be host:port, or several with commas between")
        yield host, port


def _kafka_bootstrap(text: str) -> str:
    list(_places(text))
    return text


def _cassandra_hosts(text: str) -> str:
    if len({port for _, port in _places(text, _CASSANDRA_PORT)}) != 1:
        raise ValueError("must name the same port for all hosts")
    return text


def _elasticsearch_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or parts.query or parts.fragment:
        raise ValueError("must be a URL that begins with http:// or https://, without a query")
    if "@" in parts.netloc:
        raise ValueError(
            "must not have a user: set IM_ELASTICSEARCH_USER and IM_ELASTICSEARCH_PASSWORD"
        )
    list(_places(parts.netloc, default_port=9_200))
    return text


_ORIGIN = re.compile(r"https?://[a-z0-9.-]+(:[0-9]{1,5})?", re.ASCII)


def _origins(text: str) -> str:
    if not all(map(_ORIGIN.fullmatch, _listed(text))):
        raise ValueError("must be origins such as https://chat.example, in lower case")
    return text


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _operators(text: str) -> str:
    ids = _listed(text)
    if not all(each.isprintable() and len(each) <= MAX_ID_LENGTH for each in ids):
        raise ValueError(f"must be ids of 1 to {MAX_ID_LENGTH} printable characters")
    return text


_NOT_IN_A_KEYSPACE = re.compile(r"[^a-z0-9_]")


class Settings(
    TokenSettings, HttpLimitSettings, LogSettings, SecuritySettings, OutboundSettings, PushSettings
):
    """One deployment. Every field is the variable ``IM_<FIELD>``; README.md lists them.

    Raises:
        pydantic.ValidationError: A value is out of its range, or a name is not a setting.
    """

    other_fields: ClassVar[frozenset[str]] = DEVELOPMENT_STACK

    namespace: str = Field(default="im", pattern=r"^[a-z][a-z0-9-]{0,40}$")
    """Prefix of topics, consumer groups, keyspace and index, so deployments can share servers."""
    home: Path = Path(".im")
    """Folder for all files of running processes: servers, data, logs, cursors."""

    kafka_bootstrap: Annotated[str, AfterValidator(_kafka_bootstrap)] = "127.0.0.1:9092"
    """``host:port``, or several separated by commas."""
    cassandra_hosts: Annotated[str, AfterValidator(_cassandra_hosts)] = "127.0.0.1:9042"
    """Contact points, ``host[:port]``, separated by commas; one port for all."""
    cassandra_datacenter: str = "datacenter1"
    elasticsearch_url: Annotated[str, AfterValidator(_elasticsearch_url)] = "http://127.0.0.1:9200"
    gateway_host: str = "127.0.0.1"
    gateway_port: int = Field(default=8080, ge=1, le=65535)
    metrics_host: str = "127.0.0.1"
    """Address at which each process serves `/metrics`, `/livez` and `/readyz`, for operators."""
    metrics_port: int = Field(default=0, ge=0, le=65535)
    """Port of these paths. With 0, a free port, which a file in the folder ``metrics`` names."""
    cors_origins: Annotated[str, AfterValidator(_origins)] = ""
    """Origins of web pages that may use the gateway, separated by commas; by default none."""
    operators: Annotated[str, AfterValidator(_operators)] = ""
    """People who may see the pipeline at the gateway, separated by commas; by default nobody."""

    partitions: int = Field(default=8, ge=1, le=4_000)
    """Partitions of ``messages``, ``timeline`` and ``state``: the maximum number of workers."""
    sync_layout: Literal["sharded", "topic-per-recipient"] = "sharded"
    """Whether recipients share the partitions of one topic or have a topic each."""
    sync_partitions: int = Field(default=8, ge=1, le=4_000)
    """Partitions of ``sync`` at its creation. `im topics reshard` changes the number later."""
    sync_topics_limit: int = Field(default=1_000, ge=1, le=10_000)
    """Maximum number of recipients with their own topic. ADR 14 has the cost of a topic."""
    replication: int = Field(default=1, ge=1, le=7)
    """Copies of each record, in Kafka and Cassandra."""
    workers: int = Field(default=1, ge=1, le=64)
    """Stream processors that `im up` starts on this machine."""

    push_limit: int = Field(default=500, ge=1)
    push_again_below: int | None = Field(default=None, ge=1)
    """Four fifths of `push_limit` if unset."""
    max_text_bytes: int = Field(default=8_192, ge=1, le=8_192)
    members_per_entry: int = Field(default=500, ge=1, le=1_000)
    sync_lifetime: Annotated[
        timedelta,
        BeforeValidator(_seconds),
        Field(ge=timedelta(seconds=1), le=timedelta(days=3_650)),
    ] = timedelta(days=7)
    """Minimum retention of a sync record, in Kafka and in Cassandra."""
    skip_inactive: bool = False
    """Whether recipients without contact to a gateway for a lifetime get no rows."""
    recall_within: _UpToYears = timedelta(days=1)
    """Maximum age of a message at its recall; 0 forbids recalls."""
    edit_within: _UpToYears = timedelta(days=1)
    """Maximum age of a message at an edit; 0 forbids edits."""
    recall_by: Literal["sender", "sender_or_owner"] = "sender"
    """The people who may recall a message: its sender alone, or its sender and the owner."""

    new_device: NewDevicePolicy = "full-history"
    """The history that a device shows after its first registration."""
    new_device_window: int = Field(default=100, ge=1, le=1_000_000)
    """SeqIds of each conversation that a new device shows with the policy ``window``."""

    write_wait: Annotated[
        timedelta,
        BeforeValidator(_seconds),
        Field(ge=timedelta(milliseconds=100), le=timedelta(seconds=8)),
    ] = timedelta(seconds=2)
    """How long a request that writes waits for the outcome of its command. Shorter than the
    timeout of a request, which is 10 s."""
    drain_notice: Annotated[
        timedelta,
        BeforeValidator(_seconds),
        Field(ge=timedelta(0), le=timedelta(seconds=15)),
    ] = timedelta(0)
    """How long a gateway that was asked to end still accepts connections, with a health of 503."""

    @model_validator(mode="after")
    def _limits_are_apart(self) -> Settings:
        if self.limits.push_again_below > self.push_limit:
            raise ValueError("IM_PUSH_AGAIN_BELOW must not be above IM_PUSH_LIMIT")
        return self

    @model_validator(mode="after")
    def _search_fits(self) -> Settings:
        if self.elasticsearch_ca_file is not None and self.elasticsearch_url.startswith("http:"):
            raise ValueError(
                "IM_ELASTICSEARCH_CA_FILE is set: begin IM_ELASTICSEARCH_URL with https://"
            )
        return self

    @property
    def limits(self) -> Limits:
        """The limits that the sequencer enforces."""
        below = self.push_again_below or max(1, self.push_limit * 4 // 5)
        return Limits(
            push_limit=self.push_limit,
            push_again_below=below,
            max_text_bytes=self.max_text_bytes,
            members_per_entry=self.members_per_entry,
            recall_within_ms=Milliseconds(self.recall_within // timedelta(milliseconds=1)),
            edit_within_ms=Milliseconds(self.edit_within // timedelta(milliseconds=1)),
            owner_recalls=self.recall_by == "sender_or_owner",
        )

    @property
    def permitted_origins(self) -> frozenset[str]:
        """The origins of web pages that may use the gateway."""
        return frozenset(_listed(self.cors_origins))

    @property
    def operator_ids(self) -> frozenset[str]:
        """The people who may see the pipeline."""
        return frozenset(_listed(self.operators))

    def topic(self, topic: Topic) -> str:
        """The name of a topic in this deployment."""
        return topic.name_in(self.namespace)

    def group(self, stage: str) -> str:
        """The consumer group of a stage in this deployment, such as ``im.sequencer``."""
        return f"{self.namespace}.{stage}"

    @property
    def keyspace(self) -> str:
        """The Cassandra keyspace of this deployment."""
        return _NOT_IN_A_KEYSPACE.sub("_", self.namespace)

    @property
    def index_alias(self) -> str:
        """The Elasticsearch alias that all message indices of this deployment share."""
        return f"{self.namespace}-message"

    @property
    def kafka_places(self) -> list[tuple[str, int]]:
        """Host and port of each address in `kafka_bootstrap`."""
        return list(_places(self.kafka_bootstrap))

    @property
    def cassandra_contact_points(self) -> tuple[list[str], int]:
        """Hosts and their one native port."""
        places = list(_places(self.cassandra_hosts, _CASSANDRA_PORT))
        return [host for host, _ in places], places[0][1]


def load_settings(values: dict[str, Any] | None = None) -> Settings:
    """The settings of the environment; ``values`` (by field) take precedence.

    Raises:
        ConfigurationError: A value is out of its range, or a name is not a setting. The message
            is one line that names each wrong variable.
    """
    try:
        return Settings.model_validate(values or {})
    except InvalidSettings as error:
        raise ConfigurationError(explain(error, Settings)) from None
