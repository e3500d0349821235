"""The route about the pipeline, for operators.

The reader of `gateway.pipeline` reads the pipeline once a second while somebody asks, so a request
costs the servers nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from aiohttp import web

from gateway.http.connections import CONNECTIONS
from gateway.http.gateway_health import Health
from gateway.http.parameters import parse_parameters
from gateway.http.problem_kinds import not_an_operator
from gateway.http.request_bodies import json_response
from gateway.http.request_places import PLACES, USER
from gateway.log.wake_ups import WakeUps
from gateway.pipeline.pipeline_reader import PipelineState
from gateway.pipeline.readings import Traffic
from schemas.http.pipeline_answers import PipelineShown
from schemas.http.queries import PipelineQuery


@dataclass
class PipelineView:
    """The parts of the route.

    ``operators``: the people who may see the pipeline. ``asked``: the number of requests so far,
    which count for no rate.
    """

    operators: frozenset[str]
    pipeline: PipelineState
    health: Health
    wake_ups: WakeUps
    asked: int = 0


PIPELINE_VIEW: Final = web.AppKey("pipeline_view", PipelineView)


def add_pipeline_view(app: web.Application, view: PipelineView) -> None:
    """Adds the parts of the route to an application with `PLACES` and `CONNECTIONS`."""

    def traffic() -> Traffic:
        places = app[PLACES]
        return Traffic(
            requests=places.taken - view.asked,
            connections=len(app[CONNECTIONS]),
            waiting=view.wake_ups.listeners,
            in_progress=places.in_hand,
        )

    view.pipeline.traffic = traffic
    app[PIPELINE_VIEW] = view


async def get_pipeline(request: web.Request) -> web.Response:
    """`GET /v1/pipeline`."""
    view = request.app[PIPELINE_VIEW]
    view.asked += 1
    query = parse_parameters(request.query, PipelineQuery)
    if request[USER] not in view.operators:
        raise not_an_operator()
    pipeline = view.pipeline
    await pipeline.watch()
    readings = pipeline.readings
    shown = PipelineShown(
        at=None if readings.last is None else readings.last.at,
        trouble=pipeline.trouble,
        servers=await view.health.state(),
        stages=readings.stages(),
        dead_letters=readings.dead_letters(),
        newest_letters=readings.letters(),
        gateway=readings.traffic(pipeline.traffic()),
        points=readings.points(query.points),
    )
    return json_response(shown)
