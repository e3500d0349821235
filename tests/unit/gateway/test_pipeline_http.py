"""The route about the pipeline, with a pipeline that a test decides."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from gateway.pipeline.pipeline_reader import NoPipeline
from gateway.pipeline.readings import Reading
from schemas.http.queries import MAX_POINTS
from schemas.number_types import Milliseconds
from tests.support.gateway import Caller, serving, token_settings
from tests.support.gateway_store import FakeIndex, FakeStore
from tests.unit.gateway.test_gateway_http import is_problem
from tests.unit.gateway.test_pipeline_readings import SINK, reading, stage

PATH = "/v1/pipeline"


class GivenPipeline(NoPipeline):
    """A pipeline with the readings of a test."""

    def __init__(self) -> None:
        super().__init__()
        self.trouble = None
        self.watched = 0

    async def watch(self) -> None:
        self.watched += 1

    def add(self, given: Reading) -> None:
        """Adds a reading with the present traffic."""
        self.readings.add(
            Reading(
                at=given.at, ticks_ms=given.ticks_ms, stages=given.stages, letters=given.letters,
                traffic=self.traffic(),
            )
        )  # fmt: skip


@pytest.fixture
def pipeline() -> GivenPipeline:
    """A pipeline without readings."""
    return GivenPipeline()


@pytest.fixture
async def gateway(pipeline: GivenPipeline) -> AsyncIterator[Caller]:
    """A gateway with two operators."""
    settings = token_settings(operators="olga, 运维")
    async with serving(settings, FakeStore(), FakeIndex(), pipeline=pipeline) as caller:
        yield caller


async def test_operators_see_the_pipeline(gateway: Caller, pipeline: GivenPipeline) -> None:
    """The answer has the last reading, the requested points and the work of the gateway.

    Requests about the pipeline do not count.
    """
    pipeline.add(reading(0, stage(0)))
    for _ in range(4):
        assert (await gateway.get("/v1/conversations", "ann")).status == 200
    await gateway.get(PATH, "olga")
    pipeline.add(reading(1_000, stage(30, lag=2)))
    answer = await gateway.get(PATH, "olga", points=MAX_POINTS)
    [found] = answer.body["stages"]
    assert (found["name"], found["rate"], found["lag"]) == (SINK, 30, 2)
    assert [point["lags"] for point in answer.body["points"]] == [[0], [2]]
    assert answer.body["gateway"] == {
        "connections": 1, "waiting": 0, "in_progress": 1, "rate": 4,
    }  # fmt: skip
    assert answer.body["servers"]["status"] == "ok"
    assert (await gateway.get(PATH, "运维")).body["points"] == []


async def test_others_do_not_see_the_pipeline(gateway: Caller, pipeline: GivenPipeline) -> None:
    """Another person receives a problem, and no reading begins."""
    for user in ("ann", "olg", "olga, 运维"):
        answer = await gateway.get(PATH, user)
        assert is_problem(answer, 403, "not-an-operator")
    assert (await gateway.get(PATH)).status == 401
    assert pipeline.watched == 0


async def test_by_default_nobody_sees_the_pipeline() -> None:
    """Without the setting there are no operators."""
    async with serving(token_settings(), FakeStore(), FakeIndex()) as caller:
        assert (await caller.get(PATH, "ann")).status == 403


async def test_trouble_is_shown_with_the_last_reading(
    gateway: Caller, pipeline: GivenPipeline
) -> None:
    """While the pipeline cannot be read, the answer has the reason and the last values."""
    pipeline.trouble = "Kafka does not answer"
    answer = await gateway.get(PATH, "olga")
    assert (answer.body["at"], answer.body["stages"]) == (None, [])
    pipeline.add(reading(7, stage(3)))
    answer = await gateway.get(PATH, "olga")
    assert answer.body["trouble"] == "Kafka does not answer"
    assert answer.body["at"] == reading(7, stage()).at == Milliseconds(answer.body["at"])
    assert len(answer.body["stages"]) == 1
