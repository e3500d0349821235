"""A process ends when the topics no longer belong to its deployment."""

from __future__ import annotations

import queue
from collections.abc import Sequence
from threading import Event

import pytest

from backends.identity import identity_watch as deployment_watch
from backends.identity.identity_watch import DeploymentWatch, await_deployment
from schemas.deployment import Deployment
from schemas.errors import FatalFailure, ImError, ServerUnavailable, WrongDeployment
from schemas.settings import Settings

DEPLOYMENT = Deployment(id="d", topics={})


def answering(
    monkeypatch: pytest.MonkeyPatch, name: str, answers: Sequence[Deployment | ImError]
) -> None:
    """Replace a check by one with these outcomes, in this order."""
    left = iter(answers)

    def answer(*_: object) -> Deployment:
        found = next(left)
        if isinstance(found, ImError):
            raise found
        return found

    monkeypatch.setattr(deployment_watch, name, answer)


def test_a_woken_watch_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """After an assignment of partitions the watch checks at once, and passes a failure on."""
    monkeypatch.setattr(deployment_watch, "IDENTITY_CHECK_SECONDS", 3_600.0)
    answering(monkeypatch, "check_topics", [WrongDeployment("topic im.messages …")])
    ended: queue.Queue[FatalFailure] = queue.Queue()
    watch = DeploymentWatch(Settings(), DEPLOYMENT, ended.put)
    watch.start()

    watch.check_soon()

    assert ended.get(timeout=10).exit_code == 78


def test_an_unreachable_broker_does_not_end_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unreachable broker does not end a stage, which waits for the broker as usual."""
    answering(monkeypatch, "check_topics", [ServerUnavailable("no answer")])

    DeploymentWatch(Settings(), DEPLOYMENT).check()


def test_a_start_waits_for_the_broker_and_logs_it_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A start waits for the broker and logs the reason only once."""
    away = ServerUnavailable("Kafka does not answer")
    answering(monkeypatch, "check_log", [away, away, away, DEPLOYMENT])

    assert await_deployment(Settings(), Event(), pause=0) == DEPLOYMENT

    assert caplog.messages == ["waits: Kafka does not answer"]


def test_a_start_does_not_wait_after_a_permanent_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The data of another deployment end the start at once."""
    answering(monkeypatch, "check_log", [WrongDeployment("topic im.messages …")])

    with pytest.raises(WrongDeployment):
        await_deployment(Settings(), Event(), pause=0)


def test_a_start_that_is_stopped_returns(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stop request while the broker is unreachable ends the start without an error."""
    stop = Event()
    stop.set()
    answering(monkeypatch, "check_log", [])

    assert await_deployment(Settings(), stop) is None
