"""The heads of a live connection, read by read."""

from __future__ import annotations

from msgspec import Struct

from gateway.live.head_pump import HeadPump
from gateway.log.wake_ups import WakeUps
from schemas.http.live_messages import LiveHead
from schemas.number_types import SeqId
from schemas.visibility import MembershipChange
from tests.support.gateway_store import FakeStore


class CountingStore(FakeStore):
    """Counts the reads of memberships."""

    membership_reads = 0

    async def changes(self, user: str, conv_id: str) -> list[MembershipChange]:
        """See `Store`."""
        self.membership_reads += 1
        return await super().changes(user, conv_id)


async def test_a_lagging_store_does_not_repeat_reads_of_the_membership() -> None:
    """While the head of the store does not move, a connection reads only the shared head."""
    store, sent = CountingStore(), list[Struct]()
    store.put_change("ann", "c", 1, joined=True)
    store.put_conversation("c", 3, "pull")

    async def send(answer: Struct) -> None:
        sent.append(answer)

    wake_ups = WakeUps(lambda: 0.0)
    with wake_ups.listening("ann") as listener:
        pump = HeadPump(store, listener, send)
        listener.watch(["c"])
        listener.heads["c"] = SeqId(5)
        for _ in range(10):
            await pump.send_heads()
        assert store.membership_reads == 1
        store.put_conversation("c", 5, "pull")
        await pump.send_heads()
    assert sent == [LiveHead(conv_id="c", seq=SeqId(3)), LiveHead(conv_id="c", seq=SeqId(5))]
    assert store.membership_reads == 2
    assert not listener.heads
