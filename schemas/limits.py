"""The numbers that bound what people can do, and when fan-out changes."""

from __future__ import annotations

from msgspec import Struct

PARTITION_BYTES = 100_000_000
"""What no partition of the store that grows with a timeline may reach: Cassandra reads, repairs
and compacts a partition as a whole. `tests/unit/test_partition_sizes.py` adds it up."""

MAX_SEQ = (1 << 63) - 1
"""SeqIds take 64 bits with a sign in the store."""

MAX_RECORD_BYTES = 4 * 1024 * 1024
"""The value of a record. A longer one, which compression can bring in, is not decoded."""

MAX_REASON_LENGTH = 200
"""Characters of the reason of a dead letter."""

MAX_TIME_MS = 253_402_300_799_999
"""The last millisecond of the year 9999: no record is older than 1970 or younger than this."""

MAX_ENTRY_BYTES = 9_375
"""An encoded entry, and so a sync record. The sequencer makes none that is longer."""

MAX_SAID_BYTES = MAX_ENTRY_BYTES - 263
"""What one version of a message says (`schemas.texts.said_bytes`). The rest of its entry is names
of fields, a client_msg_id and five numbers of 64 bits."""

MESSAGE_BUCKET = 10_000
"""SeqIds of a conversation in one partition of the store."""

SYNC_BUCKET = 10_000
"""Offsets of a sync shard in one partition of the store."""

MEMBERSHIP_BUCKET = 1_000
"""SeqIds whose changes of membership are in one partition by conversation. An entry has a row for
each person that it names."""

USER_BUCKETS = 32
"""Partitions of the store with the memberships of one person, by the hash of the conversation. A
reader of all of them reads each at once. Another number needs the table filled anew."""

DEDUP_WINDOW = 32
"""Decided ids remembered for each (conversation, sender, device, installation)."""

MAX_DEVICES = 16
"""Devices of one sender whose ids one conversation remembers, installations counted apart."""

STRANGER_REFUSALS = 4_096
"""Refused commands that one lane remembers of senders who have no place in the conversation."""

REFUSALS_OF_A_STRANGER = 64
"""Of these, how many of one sender."""


RECENT_PAGE = 16
"""SeqIds of a conversation in one page of what the sequencer remembers of its messages."""

RECENT_PAGES = 64
"""Such pages, so that of each conversation the messages among the last 1,000 SeqIds can be
recalled and edited. A full set takes some 10 KB."""

MAX_PERIODS = 100
"""Membership periods of one person in one conversation that count. Their rows are in the store,
and a search names each."""

MAX_NOTICES = 500
"""Notices of one recall to former members, those left out whose sync timeline has the text: to
these a notice always goes."""

MAX_EDITS = 50
"""Of one message. A recall names each of them."""

DAY_MS = 24 * 3600 * 1000


class Limits(Struct, frozen=True, kw_only=True):
    """What one deployment allows. Counts are of people, sizes in bytes of UTF-8.

    ``push_limit``: a conversation with more members goes to ``pull``.
    ``push_again_below``: with fewer members it goes back to ``push``. Lower than ``push_limit``,
    so that one person who comes and goes does not switch the mode each time.
    ``max_text_bytes``: of the text alone. `MAX_SAID_BYTES` bounds the text and its mentions.
    ``members_per_entry``: a longer list of members becomes several entries, because each person
    named gets the entry: an entry of all n would cost n times n. `MAX_ENTRY_BYTES` may make them
    shorter.
    ``recall_within_ms``, ``edit_within_ms``: how old a message may be, by the broker's times of
    both commands; with 0 nobody may.
    ``owner_recalls``: the owner of a conversation recalls what others have said, too.
    ``max_periods``, ``max_notices``: not for a deployment to set; smaller in tests.
    """

    push_limit: int = 500
    push_again_below: int = 400
    max_text_bytes: int = 8_192
    max_mentions: int = 100
    max_members_per_command: int = 10_000
    members_per_entry: int = 500
    recall_within_ms: int = DAY_MS
    edit_within_ms: int = DAY_MS
    owner_recalls: bool = False
    max_periods: int = MAX_PERIODS
    max_notices: int = MAX_NOTICES
