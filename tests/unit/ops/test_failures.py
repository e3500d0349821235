"""The line that a person reads about an error that ends a command."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from aiohttp import ClientConnectionError
from cassandra import DriverException, OperationTimedOut
from cassandra.cluster import NoHostAvailable
from cassandra.connection import ConnectionShutdown
from confluent_kafka import KafkaError, KafkaException
from elastic_transport import ConnectionError as NoConnection

from ops.failures import line_of
from schemas.errors import ConfigurationError, ServerUnavailable

SECRET = "the words of a message"


@pytest.fixture(autouse=True)
def addresses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A deployment with a different address for each server, and a password for one of them."""
    for name in [name for name in os.environ if name.startswith("IM_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("IM_HOME", str(tmp_path))
    monkeypatch.setenv("IM_KAFKA_BOOTSTRAP", "127.0.0.1:1")
    monkeypatch.setenv("IM_CASSANDRA_HOSTS", "127.0.0.1:2")
    monkeypatch.setenv("IM_ELASTICSEARCH_URL", "http://127.0.0.1:3")
    monkeypatch.setenv("IM_GATEWAY_PORT", "4")


def kafka_error() -> KafkaException:
    """The client library's error when no broker answers."""
    return KafkaException(KafkaError(KafkaError.NETWORK_EXCEPTION, "Failed to get metadata"))


@pytest.mark.parametrize(
    ("error", "address", "variable"),
    [
        (kafka_error(), "127.0.0.1:1", "IM_KAFKA_BOOTSTRAP"),
        (OperationTimedOut(), "127.0.0.1:2", "IM_CASSANDRA_HOSTS"),
        (DriverException("x"), "127.0.0.1:2", "IM_CASSANDRA_HOSTS"),
        (ConnectionShutdown("x"), "127.0.0.1:2", "IM_CASSANDRA_HOSTS"),
        (NoHostAvailable("x", {"127.0.0.1:9": "x"}), "127.0.0.1:2", "IM_CASSANDRA_HOSTS"),
        (NoConnection("x"), "127.0.0.1:3", "IM_ELASTICSEARCH_URL"),
        (ClientConnectionError("x"), "127.0.0.1:4", "IM_GATEWAY_PORT"),
    ],
)
def test_an_error_of_a_client_library_names_server_address_and_variable(
    error: Exception, address: str, variable: str
) -> None:
    """The line is the same for the error itself and for an error of this project caused by it."""
    wrapped = ServerUnavailable("no answer")
    wrapped.__cause__ = error
    for line in (line_of(error), line_of(wrapped)):
        assert address in line
        assert variable in line
        assert "password" not in line
        assert "\n" not in line
        assert "KafkaError{" not in line


def test_a_line_that_names_the_remedy_is_unchanged() -> None:
    """A line that already names the variable gets no second remedy."""
    error = ServerUnavailable("Kafka is not at x:1, see IM_KAFKA_BOOTSTRAP")
    error.__cause__ = kafka_error()
    assert line_of(error) == str(error)
    assert line_of(ConfigurationError("wrong")) == "wrong"


def test_errors_of_the_operating_system_name_the_file() -> None:
    """The line has the name of the file and the system's reason."""
    assert line_of(PermissionError(13, "Permission denied", "a.jsonl")) == (
        "a.jsonl: Permission denied"
    )


def test_a_defect_is_one_line_with_its_location_and_without_its_message() -> None:
    """A defect is one line with type and place, but without its text: that may be a message."""
    with pytest.raises(KeyError) as raised:
        dict[str, str]()[SECRET]
    line = line_of(raised.value)
    assert line.startswith("a defect of im: KeyError at tests/unit/ops/test_failures.py:")
    assert SECRET not in line
