"""The development stack when its parts are stopped, killed or broken. Uses a separate Kafka."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from backends.processes.polling import poll_until
from devstack.processes import processes_below, processes_of
from devstack.stack import Stack
from schemas.errors import ConfigurationError, ServerUnavailable
from tests.support.containers import docker_answers
from tests.support.servers import given_servers, private_stack
from tests.support.stoppable import stack_of_its_own

pytestmark = [
    pytest.mark.servers,
    # With Docker, the tests use containers, and the machine may have no JDK.
    pytest.mark.skipif(docker_answers() and not given_servers(), reason="there is Docker"),
]

BACK_SECONDS = 120.0


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """A running stack with Kafka only."""
    with stack_of_its_own("kafka") as started:
        yield started
    assert processes_of(started.layout.root) == []


def test_a_stopped_server_stays_down_until_it_is_started(stack: Stack) -> None:
    """A stopped server is not restarted, so other tests can rely on its absence."""
    stack.stop("kafka")
    assert not stack.servers["kafka"].is_ready()
    assert [process.state for process in stack.supervisor.processes()] == ["STOPPED"]
    stack.start("kafka")
    stack.await_ready("kafka", seconds=300)


def test_a_killed_server_is_restarted(stack: Stack) -> None:
    """The supervisor restarts a killed server on its old data."""
    (before,) = stack.supervisor.processes()
    stack.kill("kafka")
    assert poll_until(lambda: stack.supervisor.processes()[0].pid != before.pid, BACK_SECONDS)
    stack.await_ready("kafka", seconds=300)


def test_a_stack_cleans_up_after_a_killed_supervisor(stack: Stack) -> None:
    """`up` ends a server that a killed supervisor left, because it holds ports and data."""
    (orphan,) = stack.supervisor.processes()
    os.kill(int((stack.layout.run / "supervisord.pid").read_text()), signal.SIGKILL)
    stack.up()
    (server,) = stack.supervisor.processes()
    assert server.state in {"RUNNING", "STARTING"}
    assert server.pid != orphan.pid
    assert orphan.pid not in {process.pid for process in processes_of(stack.layout.root)}


def test_a_second_stack_on_the_same_ports_reports_the_holder_of_the_ports(
    stack: Stack, tmp_path: Path
) -> None:
    """A second stack fails at once, names port, holder and variable, and harms nothing."""
    settings = stack.settings.model_copy(update={"home": tmp_path})
    second = Stack(settings, list(stack.servers.values()))
    with pytest.raises(ConfigurationError, match=r"is taken by java \(pid \d+\).*IM_KAFKA_PORT"):
        second.up()
    assert stack.servers["kafka"].is_ready()


def test_the_error_of_a_server_that_cannot_start_has_its_last_log_lines(tmp_path: Path) -> None:
    """A server that ends again and again is stopped before the timeout.

    The error has the server's last log lines.
    """
    broken = private_stack(tmp_path, ["kafka"])
    broken.layout.data("kafka").joinpath("meta.properties").write_text("version=0\n")
    with pytest.raises(ServerUnavailable) as raised:
        broken.up()
    assert "kafka" in str(raised.value)
    assert f"its log is {tmp_path}/logs/kafka.log" in str(raised.value)
    assert len(str(raised.value).splitlines()) > 1
    assert processes_of(tmp_path) == []


def test_all_stacks_below_a_folder_are_found(stack: Stack) -> None:
    """`make clean` finds the processes of all stacks in a folder, also those of tests."""
    own = {process.pid for process in processes_of(stack.layout.root)}
    assert own
    assert own <= {process.pid for process in processes_below(stack.layout.root.parent)}
    assert not own & {process.pid for process in processes_below(stack.layout.root / "other")}
