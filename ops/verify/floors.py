"""Which entries may have left a sync timeline in Kafka, because retention dropped old records."""

from __future__ import annotations

from bisect import bisect_right

from ops.verify.conversation import Conversation
from ops.verify.shards import Shards


class Floors:
    """For each shard and partition of ``im.timeline``, the offset of the first entry in the shard.

    The entries of one partition of the timeline come in one order, so an earlier entry of that
    partition may have been in the shard before its begin.

    Args:
        shards: All that there are.
    """

    def __init__(self, shards: Shards) -> None:
        self._shards = shards
        self._offsets: dict[tuple[int, int], int] = {}

    def note(self, number: int, conversation: Conversation, seq: int) -> None:
        """Takes an entry that is in a shard; the first of each partition counts."""
        place = number, conversation.partition
        if place not in self._offsets:
            self._offsets[place] = conversation.offsets[seq - 1]

    def trimmed(self, conversation: Conversation, user: str) -> int:
        """The last SeqId whose deliveries to a recipient retention may have dropped, 0 if none.

        All entries up to the first that is in the last shard with a dropped begin. If that shard
        has no entry of the partition, the next shard of the recipient decides.
        """
        chain = self._shards.chain(user)
        cut = [at for at, shard in enumerate(chain) if shard.low > 0]
        if not cut:
            return 0
        for shard in chain[cut[-1] :]:
            floor = self._offsets.get((shard.number, conversation.partition))
            if floor is not None:
                return bisect_right(conversation.offsets, floor)
        return conversation.head
