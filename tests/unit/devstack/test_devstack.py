"""Configuration, checks and error messages of the development stack."""

from __future__ import annotations

import configparser
import os
import random
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from devstack import elasticsearch, java, ports, rpc, supervisor_config
from devstack.artifacts import DISTRIBUTIONS, locked_files
from devstack.cassandra import CassandraServer
from devstack.elasticsearch import ElasticsearchServer
from devstack.kafka import KafkaServer
from devstack.layout import Layout
from devstack.program import Program
from devstack.servers import all_servers
from devstack.settings import DevstackSettings
from devstack.stack import Stack, last_words
from schemas.errors import ConfigurationError, ServerUnavailable


def settings(**overrides: object) -> DevstackSettings:
    """Settings with a different port for each use, so that a confusion of ports fails a test."""
    numbered = {
        "kafka_port": 20_001,
        "kafka_controller_port": 20_002,
        "cassandra_port": 20_003,
        "cassandra_storage_port": 20_004,
        "elasticsearch_port": 20_005,
        "elasticsearch_transport_port": 20_006,
    }
    return DevstackSettings.model_validate(numbered | overrides)


def test_kafka_listens_at_its_advertised_address() -> None:
    """The broker advertises the address that clients get, and the controller has its own port."""
    server = KafkaServer(settings())
    lines = server.properties(Path("/data")).splitlines()
    properties = dict(line.split("=", 1) for line in lines if not line.startswith("#"))
    assert properties["advertised.listeners"] == f"PLAINTEXT://{server.address}"
    assert "CONTROLLER://127.0.0.1:20002" in properties["listeners"]
    assert properties["controller.quorum.voters"] == "1@127.0.0.1:20002"
    assert properties["auto.create.topics.enable"] == "false"
    assert properties["log.dirs"] == "/data"


def test_cassandra_has_its_two_ports_and_takes_large_batches() -> None:
    """The configuration has both ports, and accepts batches as large as those of the sinks."""
    yaml = CassandraServer(settings()).yaml().splitlines()
    assert "native_transport_port: 20003" in yaml
    assert "storage_port: 20004" in yaml
    assert '      - seeds: "127.0.0.1:20004"' in yaml
    assert "batch_size_fail_threshold: 640KiB" in yaml


def test_elasticsearch_listens_only_locally() -> None:
    """Elasticsearch listens only on this machine, and creates no undeclared index."""
    yaml = ElasticsearchServer(settings()).yaml(Path("/d"), Path("/l"), Path("/r")).splitlines()
    assert "http.port: 20005" in yaml
    assert "transport.port: 20006" in yaml
    assert "network.host: 127.0.0.1" in yaml
    assert "action.auto_create_index: false" in yaml


def test_java_receives_the_options_of_the_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All three servers get the Java options of the settings in addition to their own."""
    monkeypatch.setattr(elasticsearch, "command_prefix", lambda **_: ())
    layout, installed = Layout(tmp_path / "home"), tmp_path / "installed"
    layout.data("kafka").joinpath("meta.properties").touch()
    installed.joinpath("lib").mkdir(parents=True)
    installed.joinpath("lib", "jamm-1.jar").touch()
    for server in all_servers(settings(java_options="-Xint -Done=two")):
        program = server.prepare(installed, Path("/jdk/bin/java"), layout)
        arguments = [*program.command, *program.environment.get("ES_JAVA_OPTS", "").split()]
        assert {"-Xint", "-Done=two"} < set(arguments)


def test_every_port_names_the_variable_that_sets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Changing the variable that an error message names changes that port."""
    named = {
        name: port for server in all_servers(settings()) for name, port in server.ports.items()
    }
    assert len(named) == 6
    for name in named:
        monkeypatch.setenv(name, "31000")
    changed = [
        port for server in all_servers(DevstackSettings()) for port in server.ports.values()
    ]
    assert changed == [31_000] * 6


def test_the_supervisor_receives_commands_and_variables_unchanged(tmp_path: Path) -> None:
    """Spaces, quotes and percent signs in commands and variables survive the file's syntax."""
    command = ("/a b/java", "-Dx=50%", "it's")
    program = Program(
        name="one", command=command, count=2, stop_seconds=7, environment={"OPTS": "-Xa 5% -Xb"}
    )
    text = supervisor_config.render(
        [program], layout=Layout(tmp_path), socket=tmp_path / "s%.sock"
    )
    parser = configparser.RawConfigParser(inline_comment_prefixes=(";", "#"))
    parser.read_string(text)
    section = parser["program:one"]
    assert shlex.split(section["command"].replace("%%", "%")) == list(command)
    assert section["environment"] == "OPTS='-Xa 5%% -Xb'"
    assert section["numprocs"] == "2"
    assert section["stopwaitsecs"] == "7"
    assert section["autorestart"] == "true"
    assert parser["unix_http_server"]["file"] == str(tmp_path / "s%%.sock")
    assert parser["unix_http_server"]["chmod"] == "0600"


def test_a_taken_port_is_named_with_its_holder_and_its_setting() -> None:
    """The error names the port, the process that holds it, and the variable that sets it."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(ConfigurationError) as raised:
            ports.check_free({"IM_KAFKA_PORT": port})
    assert f"port {port} is taken" in str(raised.value)
    assert f"(pid {os.getpid()})" in str(raised.value)
    assert "IM_KAFKA_PORT" in str(raised.value)
    ports.check_free({"IM_KAFKA_PORT": port})


def test_two_settings_with_one_port_are_refused() -> None:
    """Two settings with one port are refused, before the second server fails unclearly."""
    port = ports.free_ports(1)[0]
    with pytest.raises(ConfigurationError, match="IM_B and IM_A are both"):
        ports.check_free({"IM_A": port, "IM_B": port})


def test_free_ports_differ_and_are_free() -> None:
    """The chosen ports are different and free, so that a stack on them starts."""
    found = ports.free_ports(6)
    assert len(set(found)) == 6
    assert all(map(ports.is_free, found))


def test_a_port_is_given_to_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes never choose the same port, even before their servers listen on it."""
    choose = "from devstack.ports import free_ports; print(*free_ports(3), flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", choose], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        theirs = list(map(int, other.stdout.readline().split()))
        assert all(map(ports.is_free, theirs))
        monkeypatch.setattr(random, "sample", lambda all_ports, _: [*theirs, *all_ports])
        ours = ports.free_ports(3)
        other.communicate("\n")
    assert len(theirs) == len(ours) == 3
    assert not set(theirs) & set(ours)


def java_that_says(folder: Path, version: str) -> Path:
    """An executable with the output of ``java -version``."""
    program = folder / "java"
    program.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2025-01-01' >&2\n")
    program.chmod(0o755)
    return program


def test_without_java_one_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line names the missing Java and the package to install."""
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(java, "_INSTALLED", ())
    with pytest.raises(ConfigurationError) as raised:
        java.find_java()
    assert "install" in str(raised.value)
    assert "openjdk-17-jre-headless" in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("version", "release"), [("1.8.0_392", 8), ("11.0.2", 11), ("17.0.15", 17), ("21", 21)]
)
def test_the_release_of_java_is_read(tmp_path: Path, version: str, release: int) -> None:
    """Old and new formats of a version give the release."""
    assert java.java_version(java_that_says(tmp_path, version)) == release


@pytest.mark.parametrize("release", [11, 25])
def test_an_unsupported_java_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, release: int
) -> None:
    """A Java too old for Elasticsearch or too new for Cassandra is named with its path."""
    unfit = java_that_says(tmp_path, f"{release}.0.1")
    monkeypatch.setattr(java, "_candidates", lambda: iter([unfit]))
    with pytest.raises(ConfigurationError, match=f"Java {release} at {unfit}"):
        java.find_java()


def test_a_supported_java_is_found_after_an_unsupported_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The search passes over an unsuitable Java to a suitable one without a setting."""
    folders = [tmp_path / "new", tmp_path / "fit"]
    for folder in folders:
        folder.mkdir()
    found = [java_that_says(*each) for each in zip(folders, ["25", "21.0.1"], strict=True)]
    monkeypatch.setattr(java, "_candidates", lambda: iter(found))
    assert java.find_java() == found[1]


def test_java_home_has_precedence_over_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """JAVA_HOME has precedence over PATH."""
    (tmp_path / "bin").mkdir()
    named = java_that_says(tmp_path / "bin", "21.0.1")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert java.find_java() == named


@pytest.mark.parametrize("distribution", DISTRIBUTIONS, ids=lambda each: each.name)
def test_every_file_of_a_server_is_locked(distribution: object) -> None:
    """Each file has a coordinate and a full SHA-256, and the server's own file is among them."""
    files = locked_files(distribution)  # type: ignore[arg-type]  # pytest does not know the type
    assert all(len(file.sha256) == 64 and file.group and file.version for file in files)
    assert any(file.version == distribution.version for file in files)  # type: ignore[attr-defined]  # the same
    assert len({(file.artifact, file.classifier) for file in files}) == len(files)


def test_a_deep_home_folder_has_a_valid_socket_path(tmp_path: Path) -> None:
    """A socket path above about 100 bytes moves to a short, private folder."""
    shallow, deep = Path("/srv/im"), tmp_path / ("d" * 120)
    assert rpc.socket_path(shallow) == Path("/srv/im/run/supervisor.sock")
    moved = rpc.socket_path(deep)
    assert len(os.fsencode(moved)) <= 100
    assert moved.parent.stat().st_mode & 0o777 == 0o700
    assert rpc.socket_path(tmp_path / ("e" * 120)) != moved


def test_a_missing_supervisor_is_reported_at_once(tmp_path: Path) -> None:
    """A call to a missing supervisor fails at once and does not wait."""
    with pytest.raises(ServerUnavailable, match="getState"):
        rpc.call(tmp_path / "none.sock", "getState")


class _Flickering(KafkaServer):
    """A broker that answers one probe alone."""

    probes = 0

    def is_ready(self) -> bool:
        """True for the second probe."""
        type(self).probes += 1
        return self.probes == 2


def test_a_server_that_was_ready_once_is_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One reading decides, so a busy server that then misses a probe is not reported as late."""
    own = settings(home=tmp_path)
    stack = Stack(own, [_Flickering(own)])
    monkeypatch.setattr(stack.supervisor, "processes", list)
    stack.await_ready("kafka", 60.0)
    with pytest.raises(ServerUnavailable, match="kafka is not ready after 0 s"):
        stack.await_ready("kafka", 0.0)


def test_the_last_log_lines_are_the_end_of_the_log(tmp_path: Path) -> None:
    """An error contains the path of the log and its last lines, also when there is no log."""
    log = tmp_path / "kafka.log"
    assert last_words(log) == f"its log is {log}"
    log.write_text("".join(f"line {number}\n" for number in range(9)))
    assert last_words(log).splitlines()[1:] == [f"    line {n}" for n in range(4, 9)]
