"""The rate of the sync sink with fewer inserts for a record.

``python -m benchmarks.spread_inserts``.

Each record goes to another of many recipients (`benchmarks.sync_sink.spread_records`). For such a
record the sync sink inserts a row, the note of its expiry, and the first time in a bucket the
listing of the bucket. This module takes the sink's own inserts, leaves some of them out, and sends
the others as the sink sends them, with all statements built beforehand. The variants take turns,
each with fresh tables. IM_CASSANDRA_HOSTS names the server.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from cassandra.cluster import Session
from cassandra.query import PreparedStatement

from benchmarks.built_requests import BuiltRequest, Recorder
from benchmarks.sync_sink import (
    PEOPLE,
    SPREAD_RECORDS,
    deployment,
    spread_records,
)
from schemas.errors import ServerUnavailable
from schemas.settings import Settings
from sinks.assembly import STAGES
from sinks.cassandra.requests import send_statements
from sinks.cassandra.sync_requests import PackedBatch
from sinks.cassandra.sync_writer import SyncWriter

ROUNDS: Final = 3

_ROW, _NOTE, _LISTING = "sync", "sync_expiry", "sync_bucket"

_VARIANTS: Final[Mapping[str, tuple[tuple[str, ...], int]]] = {
    "row, note, listing (as it is)": ((_ROW, _NOTE, _LISTING), 100),
    "row, note": ((_ROW, _NOTE), 100),
    "row alone": ((_ROW,), 100),
    "row alone, 30 in a request": ((_ROW,), 30),
}
"""The tables of the inserts, and the inserts in a request."""

Insert = tuple[bool, bytes, Sequence[bytes]]
"""An insert of a `PackedBatch`."""


def main() -> None:
    """Prints a line for each variant."""
    rounds: dict[str, list[float]] = {name: [] for name in _VARIANTS}
    inserts: dict[str, float] = {}
    for _ in range(ROUNDS):
        for name, (tables, size) in _VARIANTS.items():
            rate, inserts[name] = _measure(frozenset(tables), size)
            rounds[name].append(rate)
            print(f"{name}: {rate:,.0f} records/s", flush=True)
    for name, rates in rounds.items():
        print(
            f"{name}: {statistics.median(rates):,.0f} records/s ({min(rates):,.0f} to "
            f"{max(rates):,.0f}), {inserts[name]:.2f} inserts for a record"
        )
    print(f"{PEOPLE:,} people; load average {os.getloadavg()}")


def _measure(tables: frozenset[str], size: int) -> tuple[float, float]:
    """Records/s, and inserts for each record."""
    with deployment() as (settings, session):
        inserts, prepared = _inserts(settings, session, tables)
        requests = [
            _batch(prepared, inserts[at : at + size]) for at in range(0, len(inserts), size)
        ]
        began = time.monotonic()
        refused, again = send_statements(session, requests)
        seconds = time.monotonic() - began
        if refused or again:
            raise ServerUnavailable("Cassandra did not take all statements")
    return SPREAD_RECORDS / seconds, len(inserts) / SPREAD_RECORDS


def _inserts(
    settings: Settings, session: Session, tables: frozenset[str]
) -> tuple[list[Insert], PreparedStatement]:
    """The sink's inserts into some tables, and one of their prepared statements."""
    recorder, records = Recorder(session), list(spread_records())
    writer = SyncWriter(recorder, settings)
    step = STAGES["sync"].bounds.max_records
    for start in range(0, len(records), step):
        writer.write(records[start : start + step])
    prepared = {each.query_id: each for each in recorder.prepared}
    wanted = {
        query_id
        for query_id, each in prepared.items()
        if each.column_metadata[0].table_name in tables
    }
    found = [each for request in recorder.requests for each in _of(request.built)]
    chosen = [each for each in found if each[1] in wanted]
    return chosen, prepared[chosen[0][1]]


def _of(batch: Any) -> Iterator[Insert]:
    yield from batch._statements_and_parameters  # noqa: SLF001 - the driver has no accessor


def _batch(prepared: PreparedStatement, inserts: Sequence[Insert]) -> BuiltRequest:
    batch = PackedBatch(prepared, list(inserts[0][2]))
    for each in inserts:
        batch.pack(each)
    return BuiltRequest(batch)


if __name__ == "__main__":
    main()
