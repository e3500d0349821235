"""What the development stack writes down, checks and refuses."""

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
from devstack.stack import last_words
from schemas.errors import ConfigurationError, ServerUnavailable


def settings(**overrides: object) -> DevstackSettings:
    """Settings with a port of its own for everything, so that a mix-up shows."""
    numbered = {
        "kafka_port": 20_001,
        "kafka_controller_port": 20_002,
        "cassandra_port": 20_003,
        "cassandra_storage_port": 20_004,
        "elasticsearch_port": 20_005,
        "elasticsearch_transport_port": 20_006,
    }
    return DevstackSettings.model_validate(numbered | overrides)


def test_kafka_listens_and_advertises_where_clients_are_told() -> None:
    """The broker's configuration and its address agree, and the controller has its own port."""
    server = KafkaServer(settings())
    lines = server.properties(Path("/data")).splitlines()
    properties = dict(line.split("=", 1) for line in lines if not line.startswith("#"))
    assert properties["advertised.listeners"] == f"PLAINTEXT://{server.address}"
    assert "CONTROLLER://127.0.0.1:20002" in properties["listeners"]
    assert properties["controller.quorum.voters"] == "1@127.0.0.1:20002"
    assert properties["auto.create.topics.enable"] == "false"
    assert properties["log.dirs"] == "/data"


def test_cassandra_has_its_two_ports_and_takes_large_batches() -> None:
    """Ports reach the configuration, and batches as large as the sinks' are not refused."""
    yaml = CassandraServer(settings()).yaml().splitlines()
    assert "native_transport_port: 20003" in yaml
    assert "storage_port: 20004" in yaml
    assert '      - seeds: "127.0.0.1:20004"' in yaml
    assert "batch_size_fail_threshold: 640KiB" in yaml


def test_elasticsearch_keeps_to_itself() -> None:
    """It listens on this machine alone, and creates no index that nobody declared."""
    yaml = ElasticsearchServer(settings()).yaml(Path("/d"), Path("/l")).splitlines()
    assert "http.port: 20005" in yaml
    assert "transport.port: 20006" in yaml
    assert "network.host: 127.0.0.1" in yaml
    assert "action.auto_create_index: false" in yaml


def test_java_is_told_what_the_settings_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same options reach all three, beside their own."""
    monkeypatch.setattr(elasticsearch, "command_prefix", lambda **_: ())
    layout, installed = Layout(tmp_path / "home"), tmp_path / "installed"
    layout.data("kafka").joinpath("meta.properties").touch()
    installed.joinpath("lib").mkdir(parents=True)
    installed.joinpath("lib", "jamm-1.jar").touch()
    for server in all_servers(settings(java_options="-Xint -Done=two")):
        program = server.prepare(installed, Path("/jdk/bin/java"), layout)
        told = [*program.command, *program.environment.get("ES_JAVA_OPTS", "").split()]
        assert {"-Xint", "-Done=two"} < set(told)


def test_every_port_names_the_variable_that_sets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an error message tells a person to change is what changes that port."""
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


def test_the_supervisor_gets_commands_and_variables_as_they_are(tmp_path: Path) -> None:
    """Spaces, quotes and percent signs reach the program: the file is read back as it is read."""
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
    """Whoever reads the message knows what to stop and what to change."""
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
    """Else the second server would fail in a way that is hard to read."""
    port = ports.free_ports(1)[0]
    with pytest.raises(ConfigurationError, match="IM_B and IM_A are both"):
        ports.check_free({"IM_A": port, "IM_B": port})


def test_free_ports_differ_and_are_free() -> None:
    """A stack on them starts."""
    found = ports.free_ports(6)
    assert len(set(found)) == 6
    assert all(map(ports.is_free, found))


def test_a_port_is_given_to_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Test runs side by side choose ports long before their servers listen there."""
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
    """An executable that answers as ``java -version`` does."""
    program = folder / "java"
    program.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2025-01-01' >&2\n")
    program.chmod(0o755)
    return program


def test_without_java_one_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new user learns the one thing that is missing."""
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
def test_java_tells_its_release(tmp_path: Path, version: str, release: int) -> None:
    """Old and new ways of writing a version are understood."""
    assert java.java_version(java_that_says(tmp_path, version)) == release


@pytest.mark.parametrize("release", [11, 25])
def test_a_java_that_does_not_fit_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, release: int
) -> None:
    """Too old for Elasticsearch or too new for Cassandra: the message says what was found."""
    unfit = java_that_says(tmp_path, f"{release}.0.1")
    monkeypatch.setattr(java, "_candidates", lambda: iter([unfit]))
    with pytest.raises(ConfigurationError, match=f"Java {release} at {unfit}"):
        java.find_java()


def test_one_that_fits_is_found_behind_one_that_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine with several needs no setting."""
    folders = [tmp_path / "new", tmp_path / "fit"]
    for folder in folders:
        folder.mkdir()
    found = [java_that_says(*each) for each in zip(folders, ["25", "21.0.1"], strict=True)]
    monkeypatch.setattr(java, "_candidates", lambda: iter(found))
    assert java.find_java() == found[1]


def test_java_home_comes_before_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever sets JAVA_HOME means it."""
    (tmp_path / "bin").mkdir()
    named = java_that_says(tmp_path / "bin", "21.0.1")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert java.find_java() == named


@pytest.mark.parametrize("distribution", DISTRIBUTIONS, ids=lambda each: each.name)
def test_every_file_of_a_server_is_locked(distribution: object) -> None:
    """Each has a coordinate and a whole SHA-256, and the server itself is among them."""
    files = locked_files(distribution)  # type: ignore[arg-type]  # pytest does not know the type
    assert all(len(file.sha256) == 64 and file.group and file.version for file in files)
    assert any(file.version == distribution.version for file in files)  # type: ignore[attr-defined]  # the same
    assert len({(file.artifact, file.classifier) for file in files}) == len(files)


def test_a_deep_home_still_has_a_socket_that_the_kernel_takes(tmp_path: Path) -> None:
    """A path of a Unix socket has about 100 bytes; a longer one moves to a short folder."""
    shallow, deep = Path("/srv/im"), tmp_path / ("d" * 120)
    assert rpc.socket_path(shallow) == Path("/srv/im/run/supervisor.sock")
    moved = rpc.socket_path(deep)
    assert len(os.fsencode(moved)) <= 100
    assert moved.parent.stat().st_mode & 0o777 == 0o700
    assert rpc.socket_path(tmp_path / ("e" * 120)) != moved


def test_a_supervisor_that_is_not_there_is_told_at_once(tmp_path: Path) -> None:
    """Nothing waits for a socket that nobody has."""
    with pytest.raises(ServerUnavailable, match="getState"):
        rpc.call(tmp_path / "none.sock", "getState")


def test_last_words_are_the_end_of_the_log(tmp_path: Path) -> None:
    """An error shows where the log is and how it ends, also where there is none."""
    log = tmp_path / "kafka.log"
    assert last_words(log) == f"its log is {log}"
    log.write_text("".join(f"line {number}\n" for number in range(9)))
    assert last_words(log).splitlines()[1:] == [f"    line {n}" for n in range(4, 9)]
