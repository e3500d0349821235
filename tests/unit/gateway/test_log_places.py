"""The gateway follows the shards of every epoch and layout."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from gateway.log.log_places import LogPlaces
from schemas.number_types import EpochNumber, Offset
from schemas.settings import Settings
from schemas.sync_seq import sync_seq


class Topics:
    """A consumer with these topics and their numbers of partitions."""

    def __init__(self, **topics: int) -> None:
        self._topics = topics

    def list_topics(self, timeout: float) -> object:
        assert timeout > 0
        named = {name.replace("_", "."): count for name, count in self._topics.items()}
        return SimpleNamespace(
            topics={n: SimpleNamespace(partitions=range(count)) for n, count in named.items()}
        )


@pytest.mark.parametrize(
    ("layout", "later"),
    [("sharded", "im_sync-1"), ("topic-per-recipient", "im_sync_ann")],
)
def test_shards_of_later_epochs_wake_as_well(layout: str, later: str) -> None:
    """Shards of later epochs are followed with their own sync SeqIds, other topics are not."""
    settings = Settings.model_validate({"partitions": 1, "sync_layout": layout})
    places = LogPlaces(settings)
    consumer: Any = Topics(im_sync=2, im_timeline=1, **{later: 1, "im_messages": 1, "x_sync": 1})
    topic = later.replace("_", ".")
    assert set(places.existing_partitions(cast(Any, consumer), 1.0)) == {
        ("im.sync", 0), ("im.sync", 1), (topic, 0), ("im.timeline", 0)
    }  # fmt: skip
    assert places.sync_seq("im.sync", Offset(7)) == 7
    assert places.sync_seq(topic, Offset(7)) == sync_seq(EpochNumber(1), Offset(7))
    assert places.sync_seq("im.timeline", Offset(7)) is None
