"""One Elasticsearch node."""

from __future__ import annotations

import http.client
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import ClassVar, Final

from devstack.artifacts import ELASTICSEARCH, Distribution
from devstack.java import java_home
from devstack.layout import Layout
from devstack.program import Program
from devstack.settings import DevstackSettings
from devstack.unprivileged import command_prefix

_PROBE_SECONDS: Final = 3.0
_OK: Final = 200

_YAML: Final = """\
cluster.name: im
discovery.type: single-node
network.host: 127.0.0.1
http.port: {port}
transport.port: {transport_port}
path.data: "{data}"
path.logs: "{logs}"
path.repo: "{repo}"
xpack.security.enabled: false
action.auto_create_index: false
cluster.routing.allocation.disk.threshold_enabled: false
"""


@dataclass(frozen=True)
class ElasticsearchServer:
    """The development node."""

    settings: DevstackSettings
    name: ClassVar[str] = "elasticsearch"
    distribution: ClassVar[Distribution] = ELASTICSEARCH

    @property
    def ports(self) -> dict[str, int]:
        """Each port of the node, by the variable that sets it."""
        return {
            "IM_ELASTICSEARCH_PORT": self.settings.elasticsearch_port,
            "IM_ELASTICSEARCH_TRANSPORT_PORT": self.settings.elasticsearch_transport_port,
        }

    @property
    def address(self) -> str:
        """The address for clients, host:port."""
        return f"127.0.0.1:{self.settings.elasticsearch_port}"

    def yaml(self, data: Path, logs: Path, repo: Path) -> str:
        """Return the content of the configuration file. ``repo``: the folder of snapshots."""
        return _YAML.format(
            port=self.settings.elasticsearch_port,
            transport_port=self.settings.elasticsearch_transport_port,
            data=data,
            logs=logs,
            repo=repo,
        )

    def prepare(self, installed: Path, java: Path, layout: Layout) -> Program:
        """Write the configuration and return the program.

        Raises:
            ConfigurationError: This process is root and cannot start the node as another user.
        """
        conf, data = layout.conf(self.name), layout.data(self.name)
        scratch = data / "tmp"
        scratch.mkdir(exist_ok=True)
        yaml = self.yaml(data / "nodes", data / "logs", data / "snapshots")
        conf.joinpath("elasticsearch.yml").write_text(yaml)
        for name in ("jvm.options", "log4j2.properties"):
            template = resources.files("devstack").joinpath("templates", name)
            conf.joinpath(name).write_text(template.read_text())
        home = java_home(java)
        prefix = command_prefix(owned=(conf, data), entered=(installed / "bin", home / "bin"))
        heap = self.settings.elasticsearch_heap
        return Program(
            name=self.name,
            command=(*prefix, str(installed / "bin" / "elasticsearch")),
            environment={
                "ES_JAVA_HOME": str(home),
                "ES_JAVA_OPTS": f"-Xms{heap} -Xmx{heap} {self.settings.java_options}".rstrip(),
                # The launcher runs too briefly for optimised compilation to pay off.
                "CLI_JAVA_OPTS": "-Xmx64m -XX:TieredStopAtLevel=1",
                "ES_PATH_CONF": str(conf),
                "ES_TMPDIR": str(scratch),
                "HOME": str(scratch),
            },
            stop_seconds=30,
        )

    def is_ready(self) -> bool:
        """Return whether the single-node cluster can accept writes."""
        connection = http.client.HTTPConnection(self.address, timeout=_PROBE_SECONDS)
        try:
            connection.request("GET", "/_cluster/health?wait_for_status=yellow&timeout=1s")
            return connection.getresponse().status == _OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
