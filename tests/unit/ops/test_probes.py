"""Probes of the parts of a deployment, each in the part's own protocol."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from ops.deployment import probes
from ops.deployment.probes import part_troubles
from schemas.settings import Settings
from tests.support.answering import GARBAGE, SILENCE, answering, http_answer

PARTS = {"kafka", "cassandra", "elasticsearch", "gateway"}


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shorter timeout than that of `im status`."""
    monkeypatch.setattr(probes, "PROBE_SECONDS", 0.3)


def at(port: int) -> Settings:
    """A deployment whose parts all have one address."""
    return Settings(
        kafka_bootstrap=f"127.0.0.1:{port}",
        cassandra_hosts=f"127.0.0.1:{port}",
        elasticsearch_url=f"http://127.0.0.1:{port}",
        elasticsearch_user="user",
        elasticsearch_password=SecretStr("s3cret"),
        gateway_port=port,
    )


@pytest.mark.parametrize(
    "answer",
    [
        SILENCE,
        GARBAGE,
        http_answer(401),
        http_answer(403),
        http_answer(500, b"<html>", "text/html"),
    ],
)
def test_a_server_that_only_accepts_connections_is_not_up(answer: bytes) -> None:
    """A silent port, another protocol and refused credentials are each one line."""
    with answering(answer) as port:
        found = part_troubles(at(port))
    assert found.keys() == PARTS
    for why in found.values():
        assert why is not None
        assert f"127.0.0.1:{port}" in why
        assert "\n" not in why
        assert "s3cret" not in why


def test_another_program_is_not_elasticsearch() -> None:
    """A status 200 without the content of Elasticsearch is reported as another program."""
    with answering(http_answer(200)) as port:
        assert part_troubles(at(port))["elasticsearch"] == (
            f"the program at 127.0.0.1:{port} is not Elasticsearch"
        )


def test_a_stopped_part_is_not_contacted() -> None:
    """The port of a stopped part may belong to another stack, so the probe does not connect."""
    with answering(http_answer(200, b'{"cluster_name": "another"}')) as port:
        found = part_troubles(at(port), stopped=["elasticsearch", "gateway"])
        assert found["elasticsearch"] == "it was stopped; `im up` starts it"
        assert found["gateway"] == "it was stopped; `im up` starts it"
        assert part_troubles(at(port))["gateway"] is None
