"""The audit of a running pipeline."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from audit.report import AuditReport
from backends.cassandra.session import cassandra_session
from schemas.ids import uuid7
from schemas.records import (
    AddMembers,
    AnyCommand,
    CreateConversation,
    HistoryRule,
    RemoveMembers,
    SendMessage,
    TextContent,
)
from schemas.settings import Settings
from tests.support.auditing import report_on
from tests.support.pipeline import prepare
from tests.support.processes import WAIT_SECONDS, running, wait_until
from tests.support.servers import Servers
from tests.support.topics import publish

pytestmark = pytest.mark.servers

PEOPLE = [f"u{number}" for number in range(10)]
CONVERSATIONS = [f"c{number}" for number in range(4)]
RULES: list[HistoryRule] = ["since_join", "all"]
PROCESSES = (("stream_processors",), ("sinks", "message"), ("sinks", "sync"), ("sinks", "search"))
SEED = 7
AUDITS = 3


def _commands() -> Iterator[AnyCommand]:
    """Creations first; then mixed commands, half of which are rejected."""
    chance = random.Random(SEED)
    ids = (uuid7(number, 0) for number in range(1, 1 << 40))

    def common(conv_id: str, sender: str) -> dict[str, Any]:
        return {
            "conv_id": conv_id, "sender": sender, "device_id": "d", "client_msg_id": next(ids),
        }  # fmt: skip

    for conv_id, rule in zip(CONVERSATIONS, 2 * RULES, strict=True):
        creator = common(conv_id, "u0")
        yield CreateConversation(**creator, members=PEOPLE[:4], join="open", history=rule)
    while True:
        where = common(chance.choice(CONVERSATIONS), chance.choice(PEOPLE))
        people = chance.sample(PEOPLE, 2)
        kind = chance.choice((AddMembers, RemoveMembers, *[SendMessage] * 8))
        if kind is SendMessage:
            yield SendMessage(**where, content=TextContent(text="hello"), mentions=people)
        else:
            yield kind(**where, members=people)


@contextmanager
def _talking(settings: Settings) -> Iterator[None]:
    """Sends commands in small batches during the block."""
    over = threading.Event()
    commands = _commands()

    def talk() -> None:
        while not over.wait(0.02):
            publish(settings, [next(commands) for _ in range(20)])

    thread = threading.Thread(target=talk)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(WAIT_SECONDS)


def _audit(settings: Settings) -> AuditReport:
    return report_on(settings, WAIT_SECONDS, allow_empty=True)


def test_the_audit_of_a_running_pipeline_finds_no_difference(
    servers: Servers, tmp_path: Path
) -> None:
    """An audit of a busy pipeline finds no difference, because it compares one point in time.

    The last audit, after the traffic, finds every sequenced entry in every store.
    """
    settings = servers.settings(home=tmp_path, partitions=2, sync_partitions=3, push_limit=6)
    prepare(settings)
    with cassandra_session(settings) as session, ExitStack() as processes:
        processes.callback(session.execute, f"DROP KEYSPACE {settings.keyspace}", timeout=60)
        for module in PROCESSES:
            processes.enter_context(running(settings, *module))
        with _talking(settings):
            wait_until(lambda: _entries(_audit(settings)) > 0, "an entry is on the timeline")
            found = [_audit(settings) for _ in range(AUDITS)]
        last = _audit(settings)

    assert [report.differences for report in (*found, last)] == [[]] * (AUDITS + 1)
    entries = [_entries(report) for report in (*found, last)]
    assert entries == sorted(entries)
    assert entries[0] < entries[-1]


def _entries(report: AuditReport) -> int:
    return report.section("log").counts["entries"]
