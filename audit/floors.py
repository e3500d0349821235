"""The entries that retention may have removed from a sync timeline in Kafka."""

from __future__ import annotations

from bisect import bisect_right

from audit.conversation import AuditedConversation
from audit.sync_shards import AuditedShards
from schemas.number_types import SeqId


class Floors:
    """For each shard and partition of ``im.timeline``, the offset of the first entry in the shard.

    The entries of one timeline partition are in the same order in a shard. So retention may have
    removed any earlier entry of that partition from the shard.

    Args:
        shards: All shards.
    """

    def __init__(self, shards: AuditedShards) -> None:
        self._shards = shards
        self._offsets: dict[tuple[int, int], int] = {}

    def note(self, number: int, conversation: AuditedConversation, seq: SeqId) -> None:
        """Record an entry that is in a shard; only the first of each partition counts."""
        place = number, conversation.partition
        if place not in self._offsets:
            self._offsets[place] = conversation.offsets[seq - 1]

    def trimmed(self, conversation: AuditedConversation, user: str) -> int:
        """The last SeqId whose deliveries to a recipient retention may have removed; 0 if none.

        The last shard of the recipient with removed records decides: its first entry, and all
        entries before. If that shard has no entry of the partition, the recipient's next shard
        decides.
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
