"""The output and exit code of the `im` command where nothing runs."""

from __future__ import annotations

import json
from pathlib import Path

import jwt
import pytest

from devstack.ports import free_ports
from tests.support.command import im, im_json


@pytest.fixture
def nowhere(tmp_path: Path) -> dict[str, str]:
    """The variables of a deployment without any server."""
    kafka, cassandra, elasticsearch, gateway = free_ports(4)
    return {
        "IM_HOME": str(tmp_path),
        "IM_KAFKA_BOOTSTRAP": f"127.0.0.1:{kafka}",
        "IM_CASSANDRA_HOSTS": f"127.0.0.1:{cassandra}",
        "IM_ELASTICSEARCH_URL": f"http://127.0.0.1:{elasticsearch}",
        "IM_GATEWAY_PORT": str(gateway),
    }


def test_a_wrong_setting_is_reported_in_one_line(nowhere: dict[str, str]) -> None:
    """A wrong setting causes one line that names the variable, without a traceback."""
    done = im(nowhere | {"IM_PUSH_LIMIT": "many"}, "status")
    assert done.returncode == 1
    assert done.stderr.startswith("im: IM_PUSH_LIMIT: ")
    assert len(done.stderr.splitlines()) == 1


def test_a_wrong_call_ends_with_exit_code_2(nowhere: dict[str, str]) -> None:
    """An unknown command ends with exit code 2."""
    assert im(nowhere, "no-such-command").returncode == 2


def test_status_names_the_servers_that_are_down(nowhere: dict[str, str]) -> None:
    """`im status` reports soon, even if no server exists."""
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


def test_status_names_a_foreign_server_that_is_down(nowhere: dict[str, str]) -> None:
    """`im up` names the variable with the address of a server that does not respond."""
    done = im(nowhere, "up")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("im: nothing answers at 127.0.0.1:")
    assert "see IM_" in done.stderr


def test_down_succeeds_when_nothing_runs(nowhere: dict[str, str]) -> None:
    """`im down` succeeds if nothing runs, so it may be called twice."""
    assert im_json(nowhere, "down") == {"stopped": False}


def test_a_token_names_its_user(nowhere: dict[str, str]) -> None:
    """A token is signed with the deployment's secret, and contains its user and its expiry."""
    secret = "s" * 32
    issued = im_json(nowhere | {"IM_JWT_SECRET": secret}, "token", "小明", "--hours", "2")
    claims = jwt.decode(issued["token"], secret, algorithms=["HS256"], audience="im-timeline")
    assert claims["sub"] == issued["user"] == "小明"
    assert claims["exp"] - claims["iat"] == 2 * 3600


def test_a_token_may_name_a_device(nowhere: dict[str, str]) -> None:
    """`im token --device` makes a token with the claim ``device``."""
    secret = "s" * 32
    issued = im_json(nowhere | {"IM_JWT_SECRET": secret}, "token", "ann", "--device", "phone")
    claims = jwt.decode(issued["token"], secret, algorithms=["HS256"], audience="im-timeline")
    assert claims["device"] == "phone"


def test_a_token_of_another_algorithm_is_not_made_here(nowhere: dict[str, str]) -> None:
    """`im token` with a public key fails with one line that states why."""
    keys = {"IM_JWT_ALGORITHM": "RS256", "IM_JWT_JWKS_URL": "https://issuer.example/keys"}
    done = im(nowhere | keys, "token", "alice")
    assert done.returncode == 1
    assert done.stderr.startswith("im: tokens of IM_JWT_ALGORITHM=RS256 cannot be made here")
    assert len(done.stderr.splitlines()) == 1


def test_without_a_secret_no_token_is_made(nowhere: dict[str, str]) -> None:
    """`im token` without a secret fails with one line that names the remedy."""
    done = im(nowhere, "token", "alice")
    assert done.returncode == 1
    assert "`im up`" in done.stderr
