"""Names and numbers of the shards of sync timelines."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.sync_layout.layouts import OWN_EPOCH, Sharded, SyncShards, TopicPerRecipient
from schemas.errors import ConfigurationError
from schemas.number_types import EpochNumber
from schemas.sync_seq import epoch_of

BASE = "a" * 41 + ".sync"
NAME = re.compile(r"[a-zA-Z0-9._-]{1,249}", re.ASCII)
ids = st.text(min_size=1, max_size=128).filter(lambda text: text.isprintable() and text.isascii)
close_ids = st.text(st.sampled_from("a._-2e字"), min_size=1, max_size=6)


@given(st.lists(ids | close_ids, max_size=20))
def test_each_recipient_has_a_valid_topic_name(users: list[str]) -> None:
    """Each recipient has a valid topic name of their own, also where a dot and ``_`` are equal.

    No name belongs to an epoch of the other layout.
    """
    layout = TopicPerRecipient(BASE)
    names = {user: layout.topic(user, OWN_EPOCH) for user in users}
    assert all(NAME.fullmatch(name) for name in names.values())
    assert len({name.replace(".", "_") for name in names.values()}) == len(set(users))
    assert all(layout.epoch(name) == OWN_EPOCH for name in names.values())
    assert not any(Sharded(BASE).epoch(name) for name in names.values())
    assert all(epoch_of(layout.number(name, 0)) == OWN_EPOCH for name in names.values())


@pytest.mark.parametrize(
    ("topic", "epoch"),
    [("x.sync", 0), ("x.sync-1", 1), ("x.sync-12", 12), ("x.sync-01", None), ("x.sync-", None),
     ("x.sync.ann", None), ("y.sync", None), ("x.sync-1x", None)],
)  # fmt: skip
def test_the_topic_of_a_shard_identifies_its_epoch(topic: str, epoch: int | None) -> None:
    """The epoch is parsed from the topic's name, and other topics have none."""
    assert Sharded("x.sync").epoch(topic) == epoch


def test_shards_are_found_by_recipient_and_by_number() -> None:
    """Each epoch has one shard for a recipient, on the partition of Kafka's own partitioner."""
    shards = SyncShards(
        Sharded("x.sync"), {"x.sync": 3, "x.sync-1": 8, "x.messages": 2, "x.sync.ann": 1}
    )
    assert shards.epochs == [0, 1]
    assert len(shards.places) == 11
    home = shards.home("ann", EpochNumber(1))
    assert home is not None
    assert shards.places[home].topic == "x.sync-1"
    assert shards.number(shards.places[home]) == home
    assert shards.name(home).startswith("sync-1[")
    assert shards.home("ann", EpochNumber(2)) is None


def test_two_topics_with_the_same_number_are_distinguished(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two topics with the same number are an error instead of a mixture."""
    layout = TopicPerRecipient("x.sync")
    monkeypatch.setattr(layout, "number", lambda _topic, _partition: 7)
    with pytest.raises(ConfigurationError, match="collide"):
        SyncShards(layout, {"x.sync.ann": 1, "x.sync.bob": 1})
