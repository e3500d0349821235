"""Our sending of requests beside the driver's: ``python -m benchmarks.concurrent_requests``.

`sinks.cassandra.requests.send_statements` and `cassandra.concurrent.execute_concurrent` send the
same requests, built while others are in flight, with the same number in flight, in interleaved
rounds of one run. IM_CASSANDRA_HOSTS names the server.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from cassandra.cluster import Session
from cassandra.concurrent import execute_concurrent

from backends.cassandra.session import cassandra_session
from backends.cassandra.tables import create_tables
from benchmarks import report
from benchmarks.results import Figure, WrongOutput
from benchmarks.workload import TEXT
from schemas.settings import Settings
from sinks.cassandra.requests import (
    IN_FLIGHT,
    MAX_ROWS,
    Request,
    Row,
    prepare_statement,
    send_statements,
)

ROUNDS: Final = 5
SINGLE_ROWS: Final = 60_000
BATCHES: Final = 1_500

_INSERT: Final = (
    "INSERT INTO message (conv_id, bucket, seq, kind, entry) VALUES (?, 0, ?, 'message_sent', ?)"
)

Send = Callable[[Session, Iterable[Request]], None]


def main() -> None:
    """Prints a line for each figure."""
    settings = Settings(namespace=f"bench-{secrets.token_hex(4)}")
    with cassandra_session(settings) as session:
        create_tables(session, settings)
        try:
            for figure in figures(session):
                print(report.line(figure), flush=True)
                print(figure.rounds, flush=True)
        finally:
            session.execute(f"DROP KEYSPACE {settings.keyspace}", timeout=60)


def figures(session: Session) -> Iterator[Figure]:
    """One figure for single inserts, and one for batches."""
    senders: dict[str, Send] = {"ours": _ours, "execute_concurrent": _drivers}
    for name, rows_each, count in (
        ("inserts into one partition each", 1, SINGLE_ROWS),
        (f"batches of {MAX_ROWS} inserts", MAX_ROWS, BATCHES),
    ):
        rounds: dict[str, list[float]] = {variant: [] for variant in senders}
        for number in range(-1, ROUNDS):  # the first round warms the server up
            for variant, send in senders.items():
                session.execute("TRUNCATE message", timeout=60)
                began = time.monotonic()
                send(session, _requests(session, rows_each, count))
                seconds = time.monotonic() - began
                if number >= 0:
                    rounds[variant].append(rows_each * count / seconds)
        yield Figure(name, "rows/s", rounds)


def _requests(session: Session, rows_each: int, count: int) -> Iterator[Request]:
    insert = prepare_statement(session, _INSERT)
    for number in range(count):
        conv_id = f"conv-{number}"
        yield Request(
            [Row(insert.bind((conv_id, seq, TEXT)), seq, len(TEXT)) for seq in range(rows_each)]
        )


def _ours(session: Session, requests: Iterable[Request]) -> None:
    refused, again = send_statements(session, requests)
    if refused or again:
        raise WrongOutput(f"{len(refused) + len(again)} requests failed")


def _drivers(session: Session, requests: Iterable[Request]) -> None:
    sent = execute_concurrent(
        session,
        ((request.statement(), None) for request in requests),
        concurrency=IN_FLIGHT,
        raise_on_first_error=False,
        results_generator=True,
    )
    failed = sum(not success for success, _ in sent)
    if failed:
        raise WrongOutput(f"{failed} requests failed")


if __name__ == "__main__":
    main()
