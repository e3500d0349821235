"""The sync records of a deployment on the log and in the store, for a comparison."""

from __future__ import annotations

from collections import defaultdict

from backends.cassandra.session import cassandra_session
from schemas.recipients import recipients_of
from schemas.settings import Settings
from schemas.topics import Topic
from tests.support.sync_rows import taken
from tests.support.topics import read_all


def logged_records(settings: Settings) -> list[tuple[str, int]]:
    """Recipient and offset of every record of the first epoch, in order."""
    return sorted(
        (user.decode(), message.offset() or 0)
        for message in read_all(settings, Topic.SYNC)
        for user in recipients_of(message.key() or b"")
    )


def stored_records(settings: Settings) -> list[tuple[str, int]]:
    """Recipient and sync SeqId of every record that a reader receives, in order."""
    rows: defaultdict[str, dict[int, str]] = defaultdict(dict)
    with cassandra_session(settings) as session:
        session.set_keyspace(settings.keyspace)
        for user, sync_seq, records in session.execute(
            "SELECT user_id, sync_seq, records FROM sync"
        ):
            rows[user][sync_seq] = records
    return sorted((user, each.sync_seq) for user in rows for each in taken(rows[user]))
