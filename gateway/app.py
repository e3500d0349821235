"""Puts the gateway together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

from aiohttp import web

from gateway.cassandra_store import CassandraStore
from gateway.coalescing import CoalescingStore
from gateway.elastic_index import ElasticIndex
from gateway.health import Health
from gateway.middleware import MAX_BODY_BYTES, middlewares
from gateway.routes import GATEWAY, ROUTES, Gateway
from gateway.search import Index
from gateway.store import Store
from gateway.tokens import signing_secret
from schemas.settings import Settings

MAX_LINE_BYTES: Final = 8_190
"""Of the request line and of each header."""

MAX_HEADERS: Final = 64
LINGER_SECONDS: Final = 1.0
"""How long a body that no route reads is waited for, so that its sender sees the answer."""

SERVER_OPTIONS: Final[dict[str, Any]] = {
    "access_log": None,  # gateway.middleware has one without query strings
    "handler_cancellation": True,  # who went away is not read for
    "max_line_size": MAX_LINE_BYTES,
    "max_field_size": MAX_LINE_BYTES,
    "max_headers": MAX_HEADERS,
    "lingering_time": LINGER_SECONDS,
}
"""How aiohttp serves the application."""


def make_app(settings: Settings, store: Store, index: Index) -> web.Application:
    """The gateway on a store and an index that are there already.

    Raises:
        ConfigurationError: The secret for tokens is missing or too short.
    """
    signing_secret(settings)
    app = web.Application(middlewares=middlewares(settings), client_max_size=MAX_BODY_BYTES)
    app[GATEWAY] = Gateway(CoalescingStore(store), index, Health(store, index))
    for path, handler in ROUTES:
        app.router.add_get(path, handler)
    return app


async def compose(settings: Settings) -> web.Application:
    """The gateway on Cassandra and Elasticsearch, which it connects to once it runs.

    Raises:
        ConfigurationError: The secret for tokens is missing or too short.
    """
    store, index = CassandraStore(settings), ElasticIndex(settings)

    async def servers(_app: web.Application) -> AsyncIterator[None]:
        store.start()
        yield
        await index.stop()
        await store.stop()

    app = make_app(settings, store, index)
    app.cleanup_ctx.append(servers)
    return app
