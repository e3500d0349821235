"""All webhooks as one stage, for a page with one card for them."""

from __future__ import annotations

from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from backends.stages.stage_health import StageHealth, webhooks_together
from backends.stages.webhook_groups import webhook_stages
from schemas.settings import Settings


def health(**changes: Any) -> StageHealth:
    """The health of a stage."""
    values: dict[str, Any] = {
        "read_at": 1_000, "lag": 0, "oldest_at": None, "position": 10, "delay_ms": None,
        "measured_at": None, "members": 1, "assigned": True, "counts": {},
    }  # fmt: skip
    return StageHealth(**values | changes)


def test_without_webhooks_there_is_no_such_stage() -> None:
    """The other stages are the same."""
    stages = {"sequencer": health(), "sink-push": health(lag=3)}
    assert webhooks_together(stages) == stages


def test_the_worst_of_each_webhook_counts() -> None:
    """Lags and counts are summed; one webhook without a process is enough to be unowned."""
    stages = {
        "sequencer": health(lag=9),
        "webhook-a": health(
            read_at=1_100, lag=2, oldest_at=700, delay_ms=5, measured_at=900, members=2,
            counts={"records": 4, "dead_letters": 1},
        ),
        "webhook-b": health(
            lag=5, oldest_at=300, delay_ms=80, measured_at=950, assigned=False,
            counts={"records": 6},
        ),
        "webhook-c": health(),
    }  # fmt: skip
    together = webhooks_together(stages)
    assert list(together) == ["sequencer", "webhooks"]
    assert together["webhooks"] == health(
        read_at=1_100, lag=7, oldest_at=300, position=30, delay_ms=80, measured_at=950,
        members=2, assigned=False, counts={"records": 10, "dead_letters": 1},
    )  # fmt: skip


class PartialAdmin:
    """An admin client whose broker answers with a part of the groups and an error."""

    def list_consumer_groups(self, **_: float) -> Future[Any]:
        """The groups that the client could list, and the errors of the brokers."""
        listed: Future[Any] = Future()
        listed.set_result(
            SimpleNamespace(valid=[], errors=[KafkaError(KafkaError.REQUEST_TIMED_OUT)])
        )
        return listed


def test_a_broker_that_does_not_list_its_groups_is_an_error() -> None:
    """The error is an exception: a bare `KafkaError` would end the thread that reads."""
    admin: Any = PartialAdmin()
    with pytest.raises(KafkaException):
        webhook_stages(admin, Settings())
