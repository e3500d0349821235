"""One process that serves sync timelines twice: ``python -m benchmarks.pages_server NAMESPACE``.

By the gateway, and by a bare handler that sends the same prepared queries and returns the texts
without looking at them. Prints the two ports.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any, Final

from aiohttp import web
from cassandra.cluster import Session
from pydantic import SecretStr

from backends.cassandra import cassandra_session, use_keyspace
from benchmarks.pages_data import SECRET, chosen
from gateway.app import make_app
from gateway.cassandra_store import CassandraStore, _Read
from gateway.expiry import EXPIRIES
from gateway.server import Runner
from gateway.store import SLICE
from gateway.sync import MAX_BUCKETS
from gateway.wake_ups import WakeUps
from schemas.settings import Settings
from tests.support.gateway import FakeIndex
from tests.support.waiting import until

_CONNECT_SECONDS: Final = 30.0


class Bare:
    """The queries of a page, sent and awaited by nothing but the driver and the loop."""

    def __init__(self, session: Session, settings: Settings) -> None:
        use_keyspace(session, settings)
        self._session = session
        self._loop = asyncio.get_running_loop()
        self._queries = {each: session.prepare(each.value) for each in _Read}

    async def page(self, request: web.Request) -> web.Response:
        """`GET /v1/sync` for one user whose records are those of `benchmarks.pages_data`."""
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
        texts = [row[2] for part in parts for row in part]
        return web.Response(body=",".join(texts).encode(), content_type="application/json")

    def _run(self, query: _Read, *parameters: object) -> asyncio.Future[Any]:
        waiting = self._loop.create_future()
        sent = self._session.execute_async(self._queries[query], parameters)
        sent.add_callback(lambda rows: self._loop.call_soon_threadsafe(waiting.set_result, rows))
        return waiting


async def serve(settings: Settings) -> None:
    """Serves until the process is ended."""
    store = CassandraStore(settings)
    store.start()
    await until(store.reachable, _CONNECT_SECONDS)
    with cassandra_session(settings) as session:
        bare = web.Application()
        bare.router.add_get("/v1/sync", Bare(session, settings).page)
        app = make_app(settings, store, FakeIndex(), WakeUps())
        runners = [Runner(app, shutdown_seconds=1), web.AppRunner(bare, access_log=None)]
        for runner in runners:
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
        print(*(runner.addresses[0][1] for runner in runners), flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(Settings(namespace=sys.argv[1], jwt_secret=SecretStr(SECRET))))
