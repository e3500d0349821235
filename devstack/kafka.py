"""One Kafka broker that is also its controller (KRaft)."""

from __future__ import annotations

import base64
import subprocess
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from devstack.artifacts import KAFKA, Distribution
from devstack.layout import Layout
from devstack.ports import accepts
from devstack.program import Program
from devstack.settings import DevstackSettings
from schemas.errors import ServerUnavailable

_FORMAT_SECONDS: Final = 60.0
_PROBE_SECONDS: Final = 2.0

_PROPERTIES: Final = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
# One node: replication factor 1.
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
# Fewer files to open at each start than with the default of 50.
offsets.topic.num.partitions=8
transaction.state.log.num.partitions=8
# A stack continues from its committed offsets, however long it was down.
offsets.retention.minutes=5256000
# Expired segments are deleted within seconds, not after the default of five minutes.
log.retention.check.interval.ms=2000
group.initial.rebalance.delay.ms=0
log.cleaner.dedupe.buffer.size=67108864
num.network.threads=2
num.io.threads=4
"""


@dataclass(frozen=True)
class KafkaServer:
    """The development broker."""

    settings: DevstackSettings
    name: ClassVar[str] = "kafka"
    distribution: ClassVar[Distribution] = KAFKA

    @property
    def ports(self) -> dict[str, int]:
        """Each port of the broker, by the variable that sets it."""
        return {
            "IM_KAFKA_PORT": self.settings.kafka_port,
            "IM_KAFKA_CONTROLLER_PORT": self.settings.kafka_controller_port,
        }

    @property
    def address(self) -> str:
        """The address for clients, host:port."""
        return f"127.0.0.1:{self.settings.kafka_port}"

    def properties(self, data: Path) -> str:
        """Return the content of the configuration file."""
        return _PROPERTIES.format(
            port=self.settings.kafka_port,
            controller_port=self.settings.kafka_controller_port,
            data=data,
        )

    def format_options(self) -> tuple[str, ...]:
        """Return further options of the tool that formats the storage."""
        return ()

    def prepare(self, installed: Path, java: Path, layout: Layout) -> Program:
        """Write the configuration, format the storage once, and return the program.

        Raises:
            ServerUnavailable: The storage could not be formatted.
        """
        data = layout.data(self.name)
        config = layout.conf(self.name) / "server.properties"
        config.write_text(self.properties(data))
        classes = ("-cp", f"{installed}/lib/*")
        if not (data / "meta.properties").exists():
            _format(java, classes, config, self.format_options())
        heap = self.settings.kafka_heap
        return Program(
            name=self.name,
            command=(
                str(java),
                "-Xms256m",
                f"-Xmx{heap}",
                "-XX:+UseG1GC",
                "-XX:MaxGCPauseMillis=20",
                "-XX:+ExitOnOutOfMemoryError",
                *self.settings.java_options.split(),
                "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
                "-Dorg.slf4j.simpleLogger.showDateTime=true",
                "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd HH:mm:ss,SSS",
                *classes,
                "kafka.Kafka",
                str(config),
            ),
            stop_seconds=30,
        )

    def is_ready(self) -> bool:
        """Return whether the broker answers requests."""
        if not accepts(self.settings.kafka_port):
            return False
        client = AdminClient({"bootstrap.servers": self.address})
        try:
            return bool(client.list_topics(timeout=_PROBE_SECONDS).brokers)
        except KafkaException:
            return False


def _format(java: Path, classes: tuple[str, str], config: Path, options: tuple[str, ...]) -> None:
    cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    # The tool runs too briefly for optimised compilation to pay off.
    quick = "-XX:TieredStopAtLevel=1"
    command = [str(java), quick, *classes, "kafka.tools.StorageTool", "format"]
    try:
        subprocess.run(  # noqa: S603 - our own command
            # `=`: an id that begins with a dash would otherwise be read as an option.
            [
                *command,
                f"--cluster-id={cluster}",
                f"--config={config}",
                "--ignore-formatted",
                *options,
            ],
            check=True,
            capture_output=True,
            text=True,
            timeout=_FORMAT_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise ServerUnavailable("Kafka's storage tool does not end") from error
    except subprocess.CalledProcessError as error:
        raise ServerUnavailable(f"Kafka's storage cannot be formatted: {error.stderr}") from error
