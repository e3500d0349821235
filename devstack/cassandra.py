"""One Cassandra node, tuned for bulk writes on a small machine that runs other programs, too."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import ClassVar, Final

from devstack.artifacts import CASSANDRA, Distribution
from devstack.layout import Layout
from devstack.ports import accepts
from devstack.program import Program
from devstack.settings import DevstackSettings

# Cassandra's own conf/jvm17-server.options.
_EXPORTS: Final = (
    "java.base/jdk.internal.misc",
    "java.base/jdk.internal.ref",
    "java.base/sun.nio.ch",
    "java.management.rmi/com.sun.jmx.remote.internal.rmi",
    "java.rmi/sun.rmi.registry",
    "java.rmi/sun.rmi.server",
    "java.sql/java.sql",
    "java.base/java.lang.ref",
    "jdk.unsupported/sun.misc",
    "jdk.compiler/com.sun.tools.javac.file",
    "jdk.attach/sun.tools.attach",
)
_OPENS: Final = (
    "java.base/java.lang.module",
    "java.base/jdk.internal.loader",
    "java.base/jdk.internal.ref",
    "java.base/jdk.internal.reflect",
    "java.base/jdk.internal.math",
    "java.base/jdk.internal.module",
    "java.base/jdk.internal.util.jar",
    "jdk.management/com.sun.management.internal",
    "java.base/sun.nio.ch",
    "java.base/java.io",
    "java.base/java.nio",
    "java.base/java.lang",
    "java.base/java.lang.reflect",
    "java.base/java.util",
    "java.base/java.util.concurrent",
    "java.base/java.util.concurrent.atomic",
    "jdk.compiler/com.sun.tools.javac",
)


@dataclass(frozen=True)
class CassandraServer:
    """The development node."""

    settings: DevstackSettings
    name: ClassVar[str] = "cassandra"
    distribution: ClassVar[Distribution] = CASSANDRA

    @property
    def ports(self) -> dict[str, int]:
        """Each port of the node, by the variable that sets it."""
        return {
            "IM_CASSANDRA_PORT": self.settings.cassandra_port,
            "IM_CASSANDRA_STORAGE_PORT": self.settings.cassandra_storage_port,
        }

    @property
    def address(self) -> str:
        """The address for clients, host:port."""
        return f"127.0.0.1:{self.settings.cassandra_port}"

    def yaml(self) -> str:
        """Return the content of the configuration file."""
        return _template("cassandra.yaml").format(
            port=self.settings.cassandra_port, storage_port=self.settings.cassandra_storage_port
        )

    def prepare(self, installed: Path, java: Path, layout: Layout) -> Program:
        """Write the configuration and return the program."""
        conf = layout.conf(self.name)
        config, logback = conf / "cassandra.yaml", conf / "logback.xml"
        config.write_text(self.yaml())
        logback.write_text(_template("logback.xml"))
        jamm = str(next(installed.glob("lib/jamm-*.jar")))
        return Program(
            name=self.name,
            command=(
                str(java),
                *_jvm_options(self.settings.cassandra_heap, jamm),
                *self.settings.java_options.split(),
                f"-Dcassandra.config={config.as_uri()}",
                f"-Dcassandra.storagedir={layout.data(self.name)}",
                f"-Dcassandra.triggers_dir={conf}",
                f"-Dcassandra.logdir={layout.logs}",
                f"-Dlogback.configurationFile={logback.as_uri()}",
                "-cp",
                f"{installed}/lib/*",
                "org.apache.cassandra.service.CassandraDaemon",
            ),
            stop_seconds=45,
        )

    def is_ready(self) -> bool:
        """Return whether the native port, which opens last, accepts connections."""
        return accepts(self.settings.cassandra_port)


def _jvm_options(heap: str, jamm: str) -> list[str]:
    return [
        f"-Xms{heap}",
        f"-Xmx{heap}",
        "-Xss512k",
        "-XX:+UseG1GC",
        "-XX:MaxGCPauseMillis=200",
        "-XX:+ExitOnOutOfMemoryError",
        f"-javaagent:{jamm}",
        f"-Xbootclasspath/a:{jamm}",
        *(f"--add-exports={package}=ALL-UNNAMED" for package in _EXPORTS),
        *(f"--add-opens={package}=ALL-UNNAMED" for package in _OPENS),
        "-Djdk.attach.allowAttachSelf=true",
        "-Dio.netty.tryReflectionSetAccessible=true",
        "-Djava.security.manager=allow",
        "-Dcassandra-foreground=yes",
        # A single node has no other nodes to wait for.
        "-Dcassandra.skip_wait_for_gossip_to_settle=0",
        "-Dcassandra.initial_token=0",
        "-Dcassandra.ring_delay_ms=1000",
        "-Dcassandra.superuser_setup_delay_ms=0",
        "-Dcassandra.load_ring_state=false",
    ]


def _template(name: str) -> str:
    return resources.files("devstack").joinpath("templates", name).read_text()
