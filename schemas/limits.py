"""Limits of commands, records and partitions, and the thresholds of the fan-out modes."""

from __future__ import annotations

from msgspec import Struct

from schemas.number_types import Milliseconds

PARTITION_BYTES = 100_000_000
"""Upper bound for each store partition that grows with a timeline: Cassandra reads, repairs and
compacts a partition as a whole. `tests/unit/backends/test_partition_sizes.py` computes the
sizes."""

MAX_SEQ = (1 << 63) - 1
"""The store has SeqIds as signed 64-bit integers."""

MAX_CURSOR = MAX_SEQ - 3
"""The highest cursor of a device: the store writes it with a timestamp that is a little higher."""

MAX_RECORD_BYTES = 4 * 1024 * 1024
"""Maximum size of a record's value. A longer value, possible by compression, is not decoded."""

MAX_REASON_LENGTH = 200
"""Maximum number of characters in the reason of a dead letter."""

MAX_TIME_MS = 253_402_300_799_999
"""The last millisecond of the year 9999: no record is older than 1970 or younger than this."""

MAX_ENTRY_BYTES = 9_375
"""Maximum size of an encoded entry, and so of a sync record. The sequencer enforces it."""

MAX_MESSAGE_BYTES = MAX_ENTRY_BYTES - 263
"""Maximum size of one version of a message, see `schemas.texts.message_bytes`.

The rest of its entry is names of fields, a client_msg_id and five numbers of 64 bits.
"""

MESSAGE_BUCKET = 10_000
"""SeqIds of a conversation in one partition of the store."""

SYNC_BUCKET = 10_000
"""Offsets of a sync shard in one partition of the store."""

MEMBER_BUCKETS = 16
"""Number of store partitions for the members of one conversation, by the hash of the person. One
query reads all of them. A change of the number requires refilling the table."""

USER_BUCKETS = 32
"""Number of store partitions for the memberships of one person, by the hash of the conversation.
One query reads all of them. A change of the number requires refilling the table."""

MAX_NAME_BYTES = 256
"""Maximum size of the name of a conversation, in UTF-8."""

MAX_METADATA_BYTES = 4_096
"""Maximum size of the metadata of a conversation, in UTF-8."""

MAX_METADATA_DEPTH = 32
"""Maximum number of objects and arrays around a value of the metadata: readers may parse JSON
recursively."""

DEDUP_WINDOW = 32
"""Decided ids remembered for each (conversation, sender, device, installation)."""

MAX_DEDUP_DEVICES = 16
"""Devices of one sender whose ids one conversation remembers. Each installation counts."""

STRANGER_REFUSALS = 4_096
"""Refused commands of strangers that one lane remembers. A stranger has no place in the
conversation."""

REFUSALS_OF_A_STRANGER = 64
"""Maximum number of these refused commands for one sender."""


RECENT_PAGE = 16
"""SeqIds in one page of the sequencer's memory of a conversation's messages."""

RECENT_PAGES = 64
"""Pages of a conversation, so that messages among its last 1,000 SeqIds can be recalled and
edited. A full set takes some 10 KB."""

MAX_PERIODS = 100
"""Maximum number of membership periods of one person in one conversation that count. Their rows
are in the store, and a search query lists each."""

MAX_NOTICES = 500
"""Maximum number of notices of one recall to former members. Former members whose sync timeline
has the text always get a notice and do not count."""

MAX_EDITS = 50
"""Maximum number of edits of one message. A recall lists each edit."""

DAY_MS = Milliseconds(24 * 3600 * 1000)


class Limits(Struct, frozen=True, kw_only=True):
    """The limits of one deployment. Counts are numbers of people, sizes are bytes of UTF-8.

    ``push_limit``: a conversation with more members switches to ``pull``.
    ``push_again_below``: a conversation with fewer members switches back to ``push``. Lower than
    ``push_limit``, so that one person who leaves and joins does not switch the mode each time.
    ``max_text_bytes``: for the text alone. `MAX_MESSAGE_BYTES` bounds the text and its mentions.
    ``members_per_entry``: a longer list of members becomes several entries, because each named
    person gets the entry, so one entry with n members would cost n times n. `MAX_ENTRY_BYTES` may
    make the lists shorter.
    ``recall_within_ms``, ``edit_within_ms``: the maximum age of the message, by the broker's times
    of both commands; 0 forbids the command.
    ``owner_recalls``: the owner of a conversation may also recall messages of other members.
    ``max_periods``, ``max_notices``: not settings of a deployment; smaller in tests.
    """

    push_limit: int = 500
    push_again_below: int = 400
    max_text_bytes: int = 8_192
    max_mentions: int = 100
    max_members_per_command: int = 10_000
    members_per_entry: int = 500
    recall_within_ms: Milliseconds = DAY_MS
    edit_within_ms: Milliseconds = DAY_MS
    owner_recalls: bool = False
    max_periods: int = MAX_PERIODS
    max_notices: int = MAX_NOTICES


def is_end_of_mute(until: Milliseconds) -> bool:
    """Whether a mute may end at this time, in milliseconds since 1970. 0 ends a mute."""
    return 0 <= until <= MAX_TIME_MS
