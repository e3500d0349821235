"""One process that serves pages in two ways: ``python -m benchmarks.pages_server NAMESPACE``.

The first way is the gateway. The second is a bare handler that sends the same prepared queries and
returns the texts without decoding them. The process prints the two ports.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable
from typing import Any, Final

from aiohttp import web
from cassandra.cluster import Session
from pydantic import SecretStr

from backends.cassandra.memberships import user_bucket
from backends.cassandra.session import cassandra_session
from backends.cassandra.tables import use_keyspace
from benchmarks.pages_data import SECRET, chosen
from gateway.http.http_app import make_app
from gateway.http.server import Runner
from gateway.log.wake_ups import WakeUps
from gateway.reads.expiry import EXPIRIES
from gateway.reads.sync_page import MAX_BUCKETS
from gateway.store.cassandra_store import CassandraStore, _Read
from gateway.store.store_port import SLICE
from schemas.settings import Settings
from tests.support.gateway_store import FakeIndex
from tests.support.waiting import until

_CONNECT_SECONDS: Final = 30.0


class Bare:
    """Sends the queries of a page, with no layer between the driver and the event loop."""

    def __init__(self, session: Session, settings: Settings) -> None:
        use_keyspace(session, settings)
        self._session = session
        self._loop = asyncio.get_running_loop()
        self._queries = {each: session.prepare(each.value) for each in _Read}

    async def sync_page(self, request: web.Request) -> web.Response:
        """`GET /v1/sync` for a user of `benchmarks.pages_data`."""
        user, after = request.headers["X-User"], int(request.query["after"])
        limit = int(request.query["limit"])
        await self._run(_Read.SYNC_BUCKETS, user, 0, MAX_BUCKETS)
        await self._run(_Read.SYNC_ROWS, user, 0, after, min(SLICE, limit))
        await self._run(_Read.EXPIRIES, user, EXPIRIES)
        parts = await asyncio.gather(
            *(
                self._run(_Read.CHOSEN_ENTRIES, conv_id, 0, seqs)
                for conv_id, seqs in chosen(user, after, limit)
            )
        )
        return _texts(row for part in parts for row in part)

    async def history_page(self, request: web.Request) -> web.Response:
        """`GET /v1/conversations/{id}/messages` for a user of `benchmarks.pages_data`."""
        user, conv_id = request.headers["X-User"], request.match_info["id"]
        first, limit = int(request.query["from"]), int(request.query["limit"])
        await self._run(_Read.CONVERSATION, conv_id)
        await self._run(_Read.CHANGES, user, user_bucket(conv_id), conv_id)
        return _texts(await self._run(_Read.ENTRIES, conv_id, 0, first, first + limit - 1))

    def _run(self, query: _Read, *parameters: object) -> asyncio.Future[Any]:
        waiting = self._loop.create_future()
        sent = self._session.execute_async(self._queries[query], parameters)
        sent.add_callback(lambda rows: self._loop.call_soon_threadsafe(waiting.set_result, rows))
        return waiting


def _texts(rows: Iterable[Any]) -> web.Response:
    """The stored entries of rows, without decoding."""
    body = ",".join(row[2] for row in rows).encode()
    return web.Response(body=body, content_type="application/json")


async def serve(settings: Settings) -> None:
    """Serves until the process ends."""
    store = CassandraStore(settings)
    store.start()
    await until(store.reachable, _CONNECT_SECONDS)
    with cassandra_session(settings) as session:
        bare = web.Application()
        handler = Bare(session, settings)
        bare.router.add_get("/v1/sync", handler.sync_page)
        bare.router.add_get("/v1/conversations/{id}/messages", handler.history_page)
        app = make_app(settings, store, FakeIndex(), WakeUps())
        runners = [Runner(app, shutdown_seconds=1), web.AppRunner(bare, access_log=None)]
        for runner in runners:
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
        print(*(runner.addresses[0][1] for runner in runners), flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(Settings(namespace=sys.argv[1], jwt_secret=SecretStr(SECRET))))
