"""The log tail without a broker, and its merged wake-ups."""

from __future__ import annotations

import asyncio

import pytest
from confluent_kafka import KafkaError, KafkaException

from devstack.ports import free_ports
from gateway.log import log_tail
from gateway.log.log_tail import LogTail
from gateway.log.wake_ups import Wake, WakeUps
from gateway.writes.outcome_waiters import OutcomeWaiters
from schemas.codec import encode
from schemas.number_types import SeqId, SyncSeqId
from schemas.recipients import recipients_key
from schemas.records import SendMessage, TextContent
from schemas.settings import Settings
from schemas.topics import Topic
from tests.support.gateway_store import message
from tests.support.waiting import until


async def test_a_log_tail_without_a_broker_reports_it_and_can_be_stopped(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing hangs: the lost connection is logged once, and the tail reconnects repeatedly."""
    monkeypatch.setattr(log_tail, "_ANSWER_SECONDS", 0.2)
    monkeypatch.setattr(log_tail, "_RETRY_SECONDS", 0.05)
    tries = 0
    consumer = LogTail._consumer  # noqa: SLF001 - to count its calls

    def counted(tail: LogTail) -> object:
        nonlocal tries
        tries += 1
        return consumer(tail)

    monkeypatch.setattr(LogTail, "_consumer", counted)
    wake_ups = WakeUps()
    wake_ups.now_live(is_live=True)
    tail = LogTail(Settings(kafka_bootstrap=f"127.0.0.1:{free_ports(1)[0]}"), wake_ups)
    tail.start()

    async def tried_again() -> bool:
        return tries >= 3

    await until(tried_again, 30)
    assert not wake_ups.is_live
    async with asyncio.timeout(15):
        await tail.stop()
    assert len([r for r in caplog.records if "waiting readers poll" in r.getMessage()]) == 1


async def test_passed_wake_ups_are_merged_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop gets the highest positions merged in one call; a full buffer blocks the thread."""
    monkeypatch.setattr(log_tail, "MAX_MERGED", 2)
    woken = []

    class Noting(WakeUps):
        def woke(self, wake: Wake) -> None:
            woken.append(wake)

    tail = LogTail(Settings(), Noting())
    tail._hand_over({"ann": SyncSeqId(1), "bob": SyncSeqId(5)}, {}, [])  # noqa: SLF001 - the call of its thread
    tail._hand_over({"ann": SyncSeqId(3)}, {"c": SeqId(2)}, [])  # noqa: SLF001 - the same
    handing = asyncio.to_thread(tail._hand_over, {"eve": SyncSeqId(1)}, {}, [])  # noqa: SLF001 - the same
    waiting = asyncio.create_task(handing)
    await asyncio.wait_for(waiting, 10)

    async def all_came() -> bool:
        return len(woken) == 2

    await until(all_came, 10)
    assert [each[:2] for each in woken] == [
        ({"ann": 3, "bob": 5}, {"c": 2}), ({"eve": 1}, {})
    ]  # fmt: skip


class ReadMessage:
    """A message in the conversation ``c``, as the client of Kafka returns the record.

    ``recipients``: None for the conversation timeline.
    """

    def __init__(self, offset: int = 9, recipients: list[str] | None = None) -> None:
        self.entry = message("c", 7)
        self._offset = offset
        self._recipients = recipients

    def topic(self) -> str:
        """The topic."""
        return Settings().topic(Topic.TIMELINE if self._recipients is None else Topic.SYNC)

    def partition(self) -> int:
        """The partition."""
        return 0

    def key(self) -> bytes:
        """The conversation, or the recipients."""
        return b"c" if self._recipients is None else recipients_key(self._recipients)

    def offset(self) -> int:
        """The offset."""
        return self._offset

    def error(self) -> None:
        """No error."""

    def value(self) -> bytes:
        """The entry."""
        return encode(self.entry)


async def test_the_outcome_of_a_later_command_is_found() -> None:
    """The tail passes outcomes to waiters that were empty when the tail was made."""
    waiters, arrived = OutcomeWaiters(), ReadMessage()
    tail = LogTail(Settings(), WakeUps(), waiters)
    entry = arrived.entry
    waiter = waiters.register(
        SendMessage(
            conv_id="c",
            sender=entry.sender,
            device_id="d",
            client_msg_id=entry.client_msg_id,
            content=TextContent(text="hello"),
        )
    )
    waiter.acknowledge(entry.at)
    tail._take([arrived])  # type: ignore[list-item]  # noqa: SLF001 - the call of its thread
    async with asyncio.timeout(10):
        assert (await waiter.outcome).seq == 7


async def test_messages_go_to_the_feeds_of_their_recipients() -> None:
    """A feed has the messages after the first record; a new connection to Kafka begins again."""
    wake_ups = WakeUps()
    tail = LogTail(Settings(), wake_ups)

    async def read(*offsets: int) -> None:
        records = [ReadMessage(offset, ["ann", "bob"]) for offset in offsets]
        tail._take(records)  # type: ignore[arg-type]  # noqa: SLF001 - the call of its thread
        await asyncio.sleep(0)

    with (
        wake_ups.listening("bob", has_feed=True) as bob,
        wake_ups.listening("ann") as ann,
    ):
        assert ann.feed is None
        assert bob.feed is not None
        await read(4, 6, 9)
        assert [seq for seq, _ in bob.feed.after(SyncSeqId(4), 10)] == [6, 9]
        assert bob.feed.after(SyncSeqId(6), 10) == [(9, encode(message("c", 7)))]
        tail._interrupt()  # noqa: SLF001 - the call of its thread
        await read(12)
        assert bob.feed.after(SyncSeqId(9), 10) == []
        await read(13)
        assert [seq for seq, _ in bob.feed.after(SyncSeqId(12), 10)] == [13]
    assert not wake_ups.followed


def test_records_that_the_log_has_dropped_end_the_consumer() -> None:
    """A jump over records that were not read must not look like the next record."""

    class Dropped(ReadMessage):
        def error(self) -> KafkaError:  # type: ignore[override]
            return KafkaError(KafkaError._AUTO_OFFSET_RESET)  # noqa: SLF001 - its public name

    async def take() -> None:
        tail = LogTail(Settings(), WakeUps())
        tail._take([Dropped()])  # type: ignore[list-item]  # noqa: SLF001 - the call of its thread

    with pytest.raises(KafkaException):
        asyncio.run(take())
