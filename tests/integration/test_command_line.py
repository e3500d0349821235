"""The `im` command where nothing runs: what it says, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import jwt
import pytest

from devstack.ports import free_ports
from tests.support.command import im, im_json


@pytest.fixture
def nowhere(tmp_path: Path) -> dict[str, str]:
    """Variables of a deployment of which nothing is there."""
    kafka, cassandra, elasticsearch, gateway = free_ports(4)
    return {
        "IM_HOME": str(tmp_path),
        "IM_KAFKA_BOOTSTRAP": f"127.0.0.1:{kafka}",
        "IM_CASSANDRA_HOSTS": f"127.0.0.1:{cassandra}",
        "IM_ELASTICSEARCH_URL": f"http://127.0.0.1:{elasticsearch}",
        "IM_GATEWAY_PORT": str(gateway),
    }


def test_a_wrong_setting_is_one_line(nowhere: dict[str, str]) -> None:
    """The variable is named, and no traceback is shown."""
    done = im(nowhere | {"IM_PUSH_LIMIT": "many"}, "status")
    assert done.returncode == 1
    assert done.stderr.startswith("im: IM_PUSH_LIMIT: ")
    assert len(done.stderr.splitlines()) == 1


def test_a_wrong_call_ends_with_two(nowhere: dict[str, str]) -> None:
    """As every command line does."""
    assert im(nowhere, "no-such-command").returncode == 2


def test_status_says_what_is_down(nowhere: dict[str, str]) -> None:
    """It has an answer, and soon, when there is nothing at all."""
    done = im(nowhere, "status", "--json")
    assert done.returncode == 1
    status = json.loads(done.stdout)
    assert status["kafka"] == nowhere["IM_KAFKA_BOOTSTRAP"]
    assert status["cassandra"] == nowhere["IM_CASSANDRA_HOSTS"]
    assert status["elasticsearch"] == nowhere["IM_ELASTICSEARCH_URL"].removeprefix("http://")
    assert set(status["up"].values()) == {False}
    assert (status["processes"], status["lag"], status["healthy"]) == ([], {}, False)
    assert len(status["troubles"]) == 4
    assert status["troubles"][0].startswith("kafka is down")


def test_a_server_of_somebody_else_that_is_down_is_named(nowhere: dict[str, str]) -> None:
    """`im up` says which variable names what does not answer."""
    done = im(nowhere, "up")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("im: nothing answers at 127.0.0.1:")
    assert "see IM_" in done.stderr


def test_down_where_nothing_runs_is_no_error(nowhere: dict[str, str]) -> None:
    """It may be called twice."""
    assert im_json(nowhere, "down") == {"stopped": False}


def test_a_token_is_its_users(nowhere: dict[str, str]) -> None:
    """It is signed with the deployment's secret and says who its bearer is, and until when."""
    secret = "s" * 32
    issued = im_json(nowhere | {"IM_JWT_SECRET": secret}, "token", "小明", "--hours", "2")
    claims = jwt.decode(issued["token"], secret, algorithms=["HS256"], audience="im-timeline")
    assert claims["sub"] == issued["user"] == "小明"
    assert claims["exp"] - claims["iat"] == 2 * 3600


def test_without_a_secret_there_is_no_token(nowhere: dict[str, str]) -> None:
    """And the line says what to do."""
    done = im(nowhere, "token", "alice")
    assert done.returncode == 1
    assert "`im up`" in done.stderr
