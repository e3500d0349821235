"""Keys of sync records, and the records of one entry."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from backends.kafka.clients import partition_of
from backends.sync_layout.layouts import Sharded
from schemas.ids import is_valid_id
from schemas.number_types import EpochNumber
from schemas.recipients import is_recipient, key_parts, recipients_key, recipients_of
from stream_processors.commit.shard_destinations import ShardDestinations
from stream_processors.core.audience import Audience

ids = st.text(min_size=1, max_size=8).filter(is_valid_id)
people = st.lists(ids, min_size=1, max_size=30, unique=True)


@given(people, ids)
def test_a_key_lists_exactly_its_recipients(users: list[str], other: str) -> None:
    """A key contains exactly its recipients, with any printable characters in their ids."""
    key = recipients_key(users)
    assert recipients_of(key) == [user.encode() for user in users]
    assert is_recipient(other.encode(), key) is (other in users)
    assert not is_recipient(other.encode(), None)


@given(people, st.integers(1, 40))
def test_a_long_list_becomes_several_keys(users: list[str], most: int) -> None:
    """No recipient is lost or doubled, and a key is within the limit unless it has one id."""
    keys = list(key_parts(users, most))
    assert [user for key in keys for user in recipients_of(key)] == [u.encode() for u in users]
    assert all(len(key) <= most or len(recipients_of(key)) == 1 for key in keys)


@given(people, st.integers(1, 9), st.integers(1, 9))
def test_each_recipient_has_one_record_in_their_own_shard(
    users: list[str], partitions: int, later: int
) -> None:
    """An entry is one record for each shard, also after a change of the shard count."""
    audience = Audience(users)
    counts = {"sync": partitions, "sync-1": later}
    destinations = ShardDestinations(Sharded("sync"), counts.__getitem__)
    for epoch, topic in ((0, "sync"), (0, "sync"), (1, "sync-1")):
        destinations.use_epoch(EpochNumber(epoch))
        records = destinations.of(audience, b"")
        assert {name for name, _, _ in records} == {topic}
        assert len({partition for _, partition, _ in records}) == len(records)
        placed = {
            user.decode(): partition
            for _, partition, key in records
            for user in recipients_of(key)
        }
        assert placed == {user: partition_of(user, counts[topic]) for user in users}
        assert records == destinations.of(users, b"")
