"""What a deployment can set, from the environment (``IM_…``) or by keyword."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from schemas.limits import Limits, joins_of_a_lane
from schemas.records import NewDevicePolicy
from schemas.topics import Topic


def _seconds(value: object) -> object:
    """A plain number in the environment is seconds; ISO 8601 (``P7D``) works as well."""
    return int(value) if isinstance(value, str) and value.isdecimal() else value


_UpToYears = Annotated[
    timedelta,
    BeforeValidator(_seconds),
    Field(ge=timedelta(0), le=timedelta(days=3_650)),
]

_NOT_IN_A_KEYSPACE = re.compile(r"[^a-z0-9_]")


class Settings(BaseSettings):
    """One deployment. Every field is the variable ``IM_<FIELD>``; README.md lists them.

    Raises:
        pydantic.ValidationError: A value is out of its range.
    """

    model_config = SettingsConfigDict(env_prefix="IM_", frozen=True, extra="ignore")

    namespace: str = Field(default="im", pattern=r"^[a-z][a-z0-9-]{0,40}$")
    """Prefix of topics, consumer groups, keyspace and index: deployments share servers by it."""
    home: Path = Path(".im")
    """Folder for all that runs here: servers, data, logs, cursors."""

    kafka_bootstrap: str = "127.0.0.1:9092"
    cassandra_hosts: str = "127.0.0.1:9042"
    """Contact points, ``host[:port]`` with commas between; one port for all."""
    cassandra_datacenter: str = "datacenter1"
    elasticsearch_url: str = "http://127.0.0.1:9200"
    gateway_host: str = "127.0.0.1"
    gateway_port: int = Field(default=8080, ge=1, le=65535)

    partitions: int = Field(default=8, ge=1, le=4_000)
    """Of ``messages``, ``timeline`` and ``state``: the most workers that can share the load."""
    sync_layout: Literal["sharded", "topic-per-recipient"] = "sharded"
    """Whether recipients share the partitions of one topic or have a topic each."""
    sync_partitions: int = Field(default=8, ge=1, le=4_000)
    """Of ``sync`` when it is made. `im topics reshard` changes it later, and readers ask Kafka."""
    sync_topics_limit: int = Field(default=1_000, ge=1, le=10_000)
    """Recipients that may have a topic each. ADR 14 has what they cost."""
    replication: int = Field(default=1, ge=1, le=7)
    """Copies of each record, in Kafka and Cassandra."""
    workers: int = Field(default=1, ge=1, le=64)
    """Stream processors that `im up` starts on this machine."""

    push_limit: int = Field(default=500, ge=1)
    push_again_below: int | None = Field(default=None, ge=1)
    """Four fifths of `push_limit` unless set."""
    max_text_bytes: int = Field(default=8_192, ge=1, le=8_192)
    members_per_entry: int = Field(default=500, ge=1, le=1_000)
    sync_lifetime: Annotated[
        timedelta,
        BeforeValidator(_seconds),
        Field(ge=timedelta(seconds=1), le=timedelta(days=3_650)),
    ] = timedelta(days=7)
    """How long a sync record is kept at least, in Kafka and in Cassandra."""
    recall_within: _UpToYears = timedelta(days=1)
    """How old a message may be that is recalled; with 0 nobody recalls."""
    edit_within: _UpToYears = timedelta(days=1)
    """How old a message may be that is edited; with 0 nobody edits."""
    recall_by: Literal["sender", "sender_or_owner"] = "sender"
    """Who recalls a message: who said it, or the owner of its conversation as well."""

    new_device: NewDevicePolicy = "full-history"
    """From where a device shows that registers for the first time."""
    new_device_window: int = Field(default=100, ge=1, le=1_000_000)
    """SeqIds of each conversation that a device begins with by the policy ``window``."""

    jwt_secret: SecretStr = SecretStr("")
    """Signs and checks bearer tokens (HS256), at least 32 bytes. `im up` makes one if unset."""
    jwt_issuer: str = "im-timeline"
    jwt_audience: str = "im-timeline"

    @model_validator(mode="after")
    def _limits_are_apart(self) -> Settings:
        if self.limits.push_again_below > self.push_limit:
            raise ValueError("push_again_below must not be above push_limit")
        return self

    @property
    def limits(self) -> Limits:
        """What the sequencer enforces."""
        below = self.push_again_below or max(1, self.push_limit * 4 // 5)
        return Limits(
            push_limit=self.push_limit,
            push_again_below=below,
            max_text_bytes=self.max_text_bytes,
            members_per_entry=self.members_per_entry,
            recall_within_ms=self.recall_within // timedelta(milliseconds=1),
            edit_within_ms=self.edit_within // timedelta(milliseconds=1),
            owner_recalls=self.recall_by == "sender_or_owner",
            joins=joins_of_a_lane(self.partitions),
        )

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
    def cassandra_contact_points(self) -> tuple[list[str], int]:
        """Hosts and their one native port."""
        hosts = [part.strip() for part in self.cassandra_hosts.split(",") if part.strip()]
        ports = {int(host.partition(":")[2] or 9042) for host in hosts}
        if len(ports) != 1:
            raise ValueError("IM_CASSANDRA_HOSTS must name at least one host and one port for all")
        return [host.partition(":")[0] for host in hosts], ports.pop()
