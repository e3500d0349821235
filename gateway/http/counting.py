"""The outermost middleware: counts every answer for the metrics."""

from __future__ import annotations

import time
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from gateway.gateway_metrics import GatewayMetrics
from gateway.http.request_places import waits

_WENT_AWAY: Final = 499
"""The status of a request whose caller went away, as in the log."""

_NO_ROUTE: Final = "-"
"""The route of a path that does not exist: the path itself has any number of values."""


def counted(metrics: GatewayMetrics) -> Middleware:
    """The middleware."""

    @web.middleware
    async def count(request: web.Request, handler: Handler) -> web.StreamResponse:
        begun = time.monotonic()
        status = _WENT_AWAY
        try:
            response = await handler(request)
            status = response.status
            return response
        finally:
            resource = request.match_info.route.resource
            route = _NO_ROUTE if resource is None else resource.canonical
            metrics.answered(route, request.method, status)
            if not waits(request):
                metrics.lasted(time.monotonic() - begun)

    return count
