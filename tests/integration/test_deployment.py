"""A whole deployment as `im up` starts it, on servers that already run."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from backends.monitoring.outbound_catalog import PUSH_RECEIVERS
from backends.processes.polling import poll_until
from devstack.ports import free_ports
from devstack.processes import processes_of
from schemas.settings import Settings
from schemas.topics import Topic
from tests.support.command import ATTEMPTS, IM, environment, im, im_attempts, im_json
from tests.support.made_anew import make_anew
from tests.support.servers import Servers

pytestmark = pytest.mark.servers

RESTART_SECONDS = 180.0
PROCESSES = {"gateway", "sequencer", "sink-message", "sink-push", "sink-search", "sink-sync"}


@pytest.fixture(scope="module")
def variables(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The variables of a deployment in its own folder, not yet started."""
    settings = servers.settings()
    addresses = {f"IM_{field.upper()}": value for field, value in servers.addresses.items()}
    return addresses | {
        "IM_HOME": str(tmp_path_factory.mktemp("deployment")),
        "IM_NAMESPACE": settings.namespace,
        "IM_GATEWAY_PORT": str(free_ports(1)[0]),
        "IM_PARTITIONS": "2",
        "IM_SYNC_PARTITIONS": "2",
    }


@pytest.fixture(scope="module")
def running(variables: dict[str, str]) -> Iterator[dict[str, str]]:
    """The deployment, started. It is stopped at the end, whatever state the tests left."""
    assert started(variables)
    yield variables
    assert im_json(variables, "down") == {"stopped": True}
    assert processes_of(Path(variables["IM_HOME"])) == []


def started(variables: dict[str, str]) -> bool:
    """Whether `im up` starts the deployment."""
    done = im_attempts(variables, "up", "--json")[-1]
    assert done.returncode == 0, done.stderr
    return bool(json.loads(done.stdout)["started"])


def processes(variables: dict[str, str]) -> dict[str, Any]:
    """The supervised processes by name."""
    return {each["name"]: each for each in status_of(variables)["processes"]}


def status_of(variables: dict[str, str]) -> dict[str, Any]:
    """The output of `im status`, healthy or not; asserts that the exit code agrees."""
    done = im(variables, "status", "--json")
    status: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == (0 if status["healthy"] else 1)
    return status


def well(variables: dict[str, str]) -> dict[str, Any]:
    """The status of the deployment as soon as it is healthy: one probe may come too late."""
    status = poll_until(
        lambda: status_of(variables), RESTART_SECONDS, done=lambda found: found["healthy"]
    )
    assert status["healthy"], status["troubles"]
    return status


def test_every_process_runs_and_has_its_partitions(running: dict[str, str]) -> None:
    """When `im up` returns, every process runs and every partition has an owner."""
    status = well(running)
    assert {each["name"]: each["state"] for each in status["processes"]} == dict.fromkeys(
        PROCESSES, "RUNNING"
    )
    assert {each["not_ready"] for each in status["processes"]} == {None}
    nothing = {"retries": 0, "dead_letters": 0}
    assert status["outbound"] == dict.fromkeys(PUSH_RECEIVERS, nothing)
    assert all(stage["assigned"] for stage in status["stages"].values())
    assert status["lag"] == dict.fromkeys(status["stages"], 0)
    assert status["gateway"] == f"127.0.0.1:{running['IM_GATEWAY_PORT']}"


def test_a_second_up_reports_the_running_stack(running: dict[str, str]) -> None:
    """A second `im up` starts nothing again."""
    before = {name: each["pid"] for name, each in processes(running).items()}
    assert im_json(running, "up")["started"] is False
    assert {name: each["pid"] for name, each in processes(running).items()} == before


def test_an_up_with_other_settings_is_refused(running: dict[str, str]) -> None:
    """`im up` with other settings fails and names the setting that already runs."""
    done = im(running | {"IM_PUSH_LIMIT": "100"}, "up")
    assert done.returncode == 1
    assert "already running with IM_PUSH_LIMIT=500, not 100" in done.stderr


def test_the_first_webhook_starts_its_stage(running: dict[str, str]) -> None:
    """Without webhooks their stage does not run; `im webhook add` starts the stage."""
    assert "webhooks" not in processes(running)
    added = im_json(running, "webhook", "add", "https://hooks.example/")

    def is_delivering() -> bool:
        status = status_of(running)
        states = {each["name"]: each["state"] for each in status["processes"]}
        stage = status["stages"].get(f"webhook-{added['id']}", {})
        delivers = stage.get("assigned", False) and "webhook" in status["outbound"]
        return states.get("webhooks") == "RUNNING" and delivers and status["healthy"]

    assert poll_until(is_delivering, RESTART_SECONDS)
    assert im_json(running, "webhook", "list")["id"] == added["id"]
    im_json(running, "webhook", "remove", added["id"])


def test_a_conversation_is_played_on_a_running_stack(running: dict[str, str]) -> None:
    """`im run --once` verifies a message's path to every reader and leaves the stack running."""
    done = im_attempts(running, "run", "--once", "--json")[-1]
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, (done.stderr, events)
    assert all(event["ok"] for event in events)
    assert {event["event"] for event in events} == {
        "sequenced",
        "sync",
        "history",
        "search",
        "gateway",
        "page",
    }
    well(running)


def test_lag_counts_records_but_not_transaction_markers(running: dict[str, str]) -> None:
    """The lag does not count transaction markers; the status has each stage's delay and counts."""
    assert im_attempts(running, "run", "--once")[-1].returncode == 0

    def is_through(found: dict[str, Any]) -> bool:
        return set(found["lag"].values()) == {0} and found["delay_ms"] is not None

    status = poll_until(lambda: status_of(running), RESTART_SECONDS, done=is_through)
    assert is_through(status), status
    assert status["delay_ms"] > 0
    assert status["stages"]["sequencer"]["counts"]["accepted"] >= 11
    assert status["stages"]["sequencer"]["counts"]["rejected"] == 0


def test_only_the_gateway_has_the_secret(running: dict[str, str]) -> None:
    """Only the gateway gets the secret: no process environment and no written file contains it."""
    home = Path(running["IM_HOME"])
    secret = (home / "secret").read_bytes()
    for name, process in processes(running).items():
        variables = Path(f"/proc/{process['pid']}/environ").read_bytes()
        assert secret not in variables
        assert (b"IM_JWT_SECRET_FILE=" in variables) == (name == "gateway")
    written = [path for part in ("run", "logs") for path in (home / part).iterdir()]
    assert [path for path in written if path.is_file() and secret in path.read_bytes()] == []


def test_files_of_a_running_stack_are_private_to_its_owner(running: dict[str, str]) -> None:
    """Logs, queues and settings are readable only by the owner of the folder."""
    home = Path(running["IM_HOME"])
    open_to_others = [
        path
        for path in (home, *home.rglob("*"))
        if not path.is_socket() and path.stat().st_mode & 0o077
    ]
    assert open_to_others == []


def test_a_killed_process_is_restarted(running: dict[str, str]) -> None:
    """The supervisor restarts a killed process, which gets its partitions back."""
    before = processes(running)["sink-sync"]
    os.kill(before["pid"], signal.SIGKILL)
    assert poll_until(lambda: processes(running)["sink-sync"]["restarts"] == 1, RESTART_SECONDS)
    well(running)
    assert processes(running)["sink-sync"]["pid"] != before["pid"]


def test_a_process_that_hangs_is_not_ready(running: dict[str, str]) -> None:
    """`im status` names a process that runs and does not answer, and exits with 1."""
    hanging = processes(running)["sink-search"]
    os.kill(hanging["pid"], signal.SIGSTOP)
    try:
        status = status_of(running)
    finally:
        os.kill(hanging["pid"], signal.SIGCONT)
    (found,) = [each for each in status["processes"] if each["name"] == "sink-search"]
    assert (found["state"], found["pid"]) == ("RUNNING", hanging["pid"])
    assert found["not_ready"].startswith("it does not answer at 127.0.0.1:")
    assert f"sink-search not ready: {found['not_ready']}" in status["troubles"]
    well(running)


def test_up_removes_the_remains_of_a_killed_supervisor(running: dict[str, str]) -> None:
    """`im up` ends the processes of a killed supervisor before it starts new ones."""
    home = Path(running["IM_HOME"])
    orphans = {each["pid"] for each in processes(running).values()}
    os.kill(int(home.joinpath("run/supervisord.pid").read_text()), signal.SIGKILL)
    attempts = im_attempts(running, "up", "--json")
    assert json.loads(attempts[-1].stdout)["started"] is True
    assert "that an earlier run left behind" in attempts[0].stderr
    assert not orphans & {process.pid for process in processes_of(home)}
    well(running)


def test_processes_that_refuse_their_data_end_with_one_line(
    running: dict[str, str],
) -> None:
    """After a topic was recreated, each process ends with 78, and logs one line for each start.

    `im status` names each of these processes. This is the last test of the deployment that
    `running` started.
    """
    fields = {name.removeprefix("IM_").lower(): value for name, value in running.items()}
    make_anew(Settings.model_validate(fields), Topic.MESSAGES)

    def all_refuse() -> bool:
        found = processes(running).values()
        return all(each["last_exit"] == 78 and each["restarts"] >= 2 for each in found)

    assert poll_until(all_refuse, RESTART_SECONDS)
    status = status_of(running)
    assert not status["healthy"]
    for name in PROCESSES:
        assert any(line.startswith(f"{name} is ") for line in status["troubles"])
    before = processes(running)
    logs = {name: Path(each["log"]).read_text().splitlines() for name, each in before.items()}
    after = processes(running)
    for name, lines in logs.items():
        refusals = [line for line in lines if "was deleted and made anew" in line]
        # A process may end at any time during the readings.
        assert before[name]["restarts"] <= len(refusals) <= after[name]["restarts"] + 1, refusals
        assert not any("Traceback" in line for line in lines)


def test_a_taken_gateway_port_is_reported_before_any_process_starts(
    variables: dict[str, str], tmp_path: Path
) -> None:
    """A gateway port in use is reported before any process starts.

    The line names the port, its holder and the variable to change.
    """
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        done = im(variables | {"IM_HOME": str(tmp_path), "IM_GATEWAY_PORT": str(port)}, "up")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        f"im: port {port} is taken by {_name()} (pid {os.getpid()}): "
        "stop that, or set IM_GATEWAY_PORT to another port"
    )
    assert processes_of(tmp_path) == []


def test_run_stops_its_processes_at_sigterm(variables: dict[str, str], tmp_path: Path) -> None:
    """`im run` continues after the conversation; Ctrl-C ends it and all its processes.

    Its last link opens the pipeline for an operator.
    """
    own = variables | {"IM_HOME": str(tmp_path), "IM_GATEWAY_PORT": str(free_ports(1)[0])}
    own["IM_NAMESPACE"] = variables["IM_NAMESPACE"] + "-run"
    assert any(opens_pipeline_and_ends(own) for _ in range(ATTEMPTS))
    assert processes_of(tmp_path) == []


def opens_pipeline_and_ends(own: dict[str, str]) -> bool:
    """`im run` until its link has opened; false if it gave up before, as the machine is busy."""
    with subprocess.Popen(
        [IM, "run", "--json"], env=environment(own), stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        events = map(json.loads, run.stdout)
        link = next((event["link"] for event in events if event["event"] == "pipeline"), None)
        if link is None:
            return False
        try:
            place, token = link.removeprefix("http://").split("/pipeline#token=")
            connection = HTTPConnection(place, timeout=120)
            connection.request("GET", "/v1/pipeline", headers={"Authorization": f"Bearer {token}"})
            assert connection.getresponse().status == 200
            connection.close()
        finally:
            run.send_signal(signal.SIGINT)
        assert run.wait(RESTART_SECONDS) == 0
    return True


def test_a_stack_with_a_topic_for_each_recipient_plays_a_conversation(
    variables: dict[str, str], tmp_path: Path
) -> None:
    """With topics for each recipient, `im run --once` and the audit succeed as well.

    `im up` then refuses to start the deployment with the other layout, and leaves nothing running.
    """
    own = variables | {"IM_HOME": str(tmp_path), "IM_GATEWAY_PORT": str(free_ports(1)[0])}
    own |= {"IM_NAMESPACE": variables["IM_NAMESPACE"] + "-own"}
    by_recipient = own | {"IM_SYNC_LAYOUT": "topic-per-recipient"}
    assert started(by_recipient)
    done = im_attempts(by_recipient, "run", "--once", "--json")[-1]
    events = [json.loads(line) for line in done.stdout.splitlines()]
    audited = im(own, "verify", "--wait", "180", "--json")
    assert im_json(own, "down") == {"stopped": True}
    assert done.returncode == 0, (done.stderr, events)
    assert all(event["ok"] for event in events)
    assert audited.returncode == 0, audited.stdout
    refused = im(own | {"IM_SYNC_LAYOUT": "sharded"}, "up")
    assert refused.returncode == 1
    assert "set IM_SYNC_LAYOUT to that" in refused.stderr.replace("\n", " ")
    assert processes_of(tmp_path) == []


def _name() -> str:
    return Path("/proc/self/comm").read_text().strip()
