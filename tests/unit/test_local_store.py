"""The parts of a device's local store, one by one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
from aiohttp import ClientSession, web
from msgspec import structs

import consumers.local.device
from consumers.local.device import Device
from consumers.local.gateway import GatewayTimelines
from consumers.local.knowledge import (
    BEFORE_ALL,
    Arrived,
    Beginning,
    Gap,
    HistoryPart,
    Listed,
    Start,
    SyncBatch,
    TimelineItem,
)
from consumers.local.spans import Span
from consumers.local.store import LocalStore
from schemas.codec import encode
from schemas.errors import (
    ConfigurationError,
    RequestRefused,
    ServerUnavailable,
    TransientFailure,
    Trimmed,
    UndecodableRecord,
)
from schemas.records import AnySyncRecord, Duplicate, FanoutChanged, FanoutMode, ReadMarked
from tests.support.gateway import message
from tests.support.waiting import until

NEWER = b'{"kind":"message_recalled","conv_id":"c","seq":2,"sender":"ann","at":1}'
"""Of a version that is not known here."""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LocalStore]:
    """Empty."""
    with closing(LocalStore(tmp_path / "deep" / "local.db", "ann", "phone")) as store:
        yield store


def arrived(sync_seq: int, record: AnySyncRecord) -> Arrived:
    """A record of the sync timeline."""
    return Arrived(sync_seq, encode(record), record)


def page(after: int | None, *records: Arrived, more: bool = False) -> SyncBatch:
    """Records that follow a cursor."""
    return SyncBatch(after, records, records[-1].sync_seq if records else after or 0, more)


def said(seq: int) -> TimelineItem:
    """An entry as the store has it."""
    return TimelineItem("c", seq, seq, None, encode(message("c", seq)))


def switched(seq: int, mode: FanoutMode) -> FanoutChanged:
    """From the next entry on, the conversation is fanned out otherwise."""
    return FanoutChanged(
        conv_id="c", seq=seq, sender="ann", client_msg_id="i", at=1, mode=mode, member_count=9,
        push_limit=8, push_again_below=6,
    )  # fmt: skip


def hole(kind: str, first: int, last: int) -> TimelineItem:
    """Why SeqIds are not shown."""
    return TimelineItem("c", first, last, kind, b"")


def seqs(items: list[TimelineItem]) -> list[int]:
    """The SeqIds of items."""
    return [seq for item in items for seq in range(item.first, item.last + 1)]


def test_entries_and_cursor_outlive_the_process(tmp_path: Path) -> None:
    """Another process finds both."""
    path = tmp_path / "local.db"
    with closing(LocalStore(path, "ann", "phone")) as store:
        assert store.cursor == BEFORE_ALL
        store.apply(page(BEFORE_ALL, arrived(7, message("c", 1)), arrived(9, message("c", 2))))
    with closing(LocalStore(path, "ann", "phone")) as store:
        assert store.cursor == 9
        assert store.timeline("c") == [said(1), said(2)]


def test_a_batch_that_does_not_follow_the_cursor_leaves_it(store: LocalStore) -> None:
    """Its entries are true all the same; what is between the two is still to come."""
    store.apply(page(BEFORE_ALL, arrived(7, message("c", 1))))
    store.apply(page(8, arrived(9, message("c", 3))))
    store.apply(page(None, arrived(12, message("c", 4))))
    assert store.cursor == 7
    assert seqs(store.timeline("c")) == [1]
    assert store.gaps(9) == [Gap("c", Span(2, 2))]
    store.apply(page(7, arrived(8, message("c", 2))))
    store.apply(page(BEFORE_ALL, arrived(7, message("c", 1))))
    assert store.cursor == 8
    assert seqs(store.timeline("c")) == [1, 2, 3, 4]


def test_a_reply_is_no_entry(store: LocalStore) -> None:
    """It moves the cursor, and takes no SeqId although it names one."""
    reply = Duplicate(
        conv_id="c", sender="ann", device_id="d", client_msg_id="i", at=1, seq=5
    )  # fmt: skip
    store.apply(page(BEFORE_ALL, arrived(3, reply)))
    assert store.cursor == 3
    assert store.conversations() == []


def test_a_hole_is_believed_up_to_the_head_that_came_with_it(store: LocalStore) -> None:
    """Above, the store may not know yet that its asker is in again."""
    store.apply(page(BEFORE_ALL, arrived(3, message("c", 9))))
    assert store.learn(HistoryPart("c", 4, [hole("hidden", 1, 8)]))
    assert store.timeline("c") == [hole("hidden", 1, 4)]
    assert store.gaps(9) == [Gap("c", Span(5, 8))]
    assert not store.learn(HistoryPart("c", 8, [hole("not_yet", 5, 8)]))
    assert store.learn(HistoryPart("c", 9, [hole("hidden", 1, 6), said(7), said(8)]))
    assert seqs(store.timeline("c")) == list(range(1, 10))


def test_a_kind_that_is_not_known_is_read_from_the_store(store: LocalStore) -> None:
    """From the sync timeline it may be anything; from the store it is an entry, and is kept."""
    store.apply(page(BEFORE_ALL, arrived(1, message("c", 1)), Arrived(2, NEWER, None)))
    store.apply(page(2, arrived(3, message("c", 3))))
    assert store.gaps(9) == [Gap("c", Span(2, 2))]
    store.learn(HistoryPart("c", 3, [TimelineItem("c", 2, 2, None, NEWER)]))
    items = store.timeline("c")
    assert seqs(items) == [1, 2, 3]
    assert items[1].json == NEWER
    with pytest.raises(UndecodableRecord):
        items[1].entry()


def test_what_was_shown_is_not_shown_again(store: LocalStore) -> None:
    """And nothing is, before all that comes before it is there."""
    store.apply(page(BEFORE_ALL, arrived(1, message("c", 1)), arrived(2, message("c", 3))))
    assert store.unshown(9) == [said(1)]
    store.mark_shown(said(3))
    assert store.conversation("c").shown == 1
    store.learn(HistoryPart("c", 3, [said(2)]))
    assert store.unshown(1) == [said(2)]
    store.mark_shown(said(2))
    assert store.unshown(9) == [said(3)]


def test_heads_matter_while_a_conversation_is_pulled(store: LocalStore) -> None:
    """In a pushed one the entries are on their way, unless the device was away."""
    store.apply(page(BEFORE_ALL, arrived(1, message("c", 1))))
    store.note_heads([Listed("c", 5, "push")], everything=False)
    assert store.gaps(9) == []
    store.note_heads([Listed("c", 5, "pull")], everything=False)
    assert store.gaps(9) == [Gap("c", Span(2, 5))]
    store.apply(page(1, arrived(2, switched(6, "pull"))))
    assert store.reads_store()
    store.note_heads([Listed("c", 8, "push")], everything=False)
    assert store.gaps(9) == [Gap("c", Span(2, 8))]
    store.note_heads([Listed("other", 3, "push")], everything=True)
    assert store.gaps(9)[1] == Gap("other", Span(1, 3))


def test_an_old_switch_that_arrives_late_turns_nothing_back(store: LocalStore) -> None:
    """What comes later in the conversation counts, not what comes later to the device."""
    store.apply(page(BEFORE_ALL, arrived(1, message("c", 1)), arrived(9, switched(7, "pull"))))
    late = encode(switched(3, "push"))
    rest = [said(2), TimelineItem("c", 3, 3, None, late), said(4), said(5), said(6)]
    assert store.learn(HistoryPart("c", 7, rest))
    assert store.reads_store()
    store.apply(page(9, arrived(10, switched(8, "push"))))
    assert not store.reads_store()


def test_its_cursor_is_a_cursor_store(store: LocalStore) -> None:
    """As of the contract, for its one device."""
    assert store.load("ann", "phone") is None
    store.save("ann", "phone", 0)
    assert store.load("ann", "phone") == 0
    for place in (5, 3):
        store.save("ann", "phone", place)
    assert store.load("ann", "phone") == 5
    store.forget("ann", "phone")
    assert store.load("ann", "phone") is None
    uses: list[Callable[[], object]] = [
        lambda: store.load("ann", "desk"),
        lambda: store.forget("bob", "phone"),
        lambda: store.save("ann", "desk", 1),
    ]
    for use in uses:
        with pytest.raises(ConfigurationError, match="another"):
            use()


def test_a_file_has_one_process(tmp_path: Path) -> None:
    """Two would show everything twice."""
    path = tmp_path / "local.db"
    with (
        closing(LocalStore(path, "ann", "phone")),
        pytest.raises(ConfigurationError, match=r"local\.db is in use"),
    ):
        LocalStore(path, "ann", "phone")
    LocalStore(path, "ann", "phone").close()


def of_another(path: Path) -> None:
    """It is there, of another device."""
    LocalStore(path, "ann", "desk").close()


@pytest.mark.parametrize(
    "spoil", [Path.mkdir, lambda path: path.write_bytes(b"no database" * 99), of_another]
)
def test_a_file_that_cannot_be_used_is_named(
    tmp_path: Path, spoil: Callable[[Path], object]
) -> None:
    """Not a traceback of the database."""
    path = tmp_path / "local.db"
    spoil(path)
    with pytest.raises(ConfigurationError, match=r"local\.db"):
        LocalStore(path, "ann", "phone")


def test_a_full_disk_changes_nothing(store: LocalStore) -> None:
    """Neither entries nor cursor; later it goes on."""
    (pages,) = store._db.execute("PRAGMA page_count").fetchone()  # noqa: SLF001
    store._db.execute(f"PRAGMA max_page_count = {pages}")  # noqa: SLF001
    many = [arrived(seq, message("c", seq, "x" * 500)) for seq in range(1, 100)]
    with pytest.raises(TransientFailure):
        store.apply(page(BEFORE_ALL, *many))
    assert store.cursor == BEFORE_ALL
    assert store.conversations() == []
    store._db.execute("PRAGMA max_page_count = 100000")  # noqa: SLF001
    store.apply(page(BEFORE_ALL, *many))
    assert seqs(store.timeline("c")) == list(range(1, 100))


class Script:
    """`SyncSource` and `History` that answer, or fail, as a test says."""

    def __init__(self) -> None:
        self.pages: list[SyncBatch | Exception] = []
        self.listed: list[Listed] = []
        self.entries: list[TimelineItem] = []
        self.lists = 0
        self.waits: list[float] = []

    async def after(self, cursor: int, wait: float = 0.0) -> SyncBatch:
        self.waits.append(wait)
        answer = self.pages.pop(0) if self.pages else page(cursor)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def part(self, conv_id: str, span: Span) -> HistoryPart:
        found = [item for item in self.entries if span.first <= item.first <= span.last]
        return HistoryPart(conv_id, span.last, found)

    async def conversations(self) -> list[Listed]:
        self.lists += 1
        return self.listed


async def until_done(device: Device, is_done: Callable[[], bool]) -> None:
    """Lets a device run until then."""
    stop = asyncio.Event()
    running = asyncio.create_task(device.run(stop))

    async def is_over() -> bool:
        return is_done() or running.done()

    await until(is_over, 20)
    stop.set()
    await running


@pytest.mark.parametrize(
    "failure", [Trimmed(5, 9), ServerUnavailable("no"), TransientFailure("no")]
)
async def test_after_being_away_everything_is_looked_at(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    """What the sync timeline does not tell any more is read from the store."""
    monkeypatch.setattr(consumers.local.device, "AFTER_FAILURE_SECONDS", 0.0)
    script, shown = Script(), list[TimelineItem]()
    device = Device(store, script, script, shown.append)
    script.pages = [page(BEFORE_ALL, arrived(5, message("c", 1)))]
    await device.turn()
    await device.turn()
    assert script.lists == 1  # at the start, and no more while all is well
    script.listed = [Listed("c", 3, "push")]
    script.entries = [said(2), said(3)]
    script.pages = [failure]
    await until_done(device, lambda: len(shown) == 3)
    assert shown == [said(1), said(2), said(3)]
    assert store.cursor == (8 if isinstance(failure, Trimmed) else 5)


async def test_it_waits_for_records_when_there_is_nothing_else_to_do(store: LocalStore) -> None:
    """Not before it has looked at everything, nor long while a conversation is pulled or missed.

    To stop it does not take as long as the wait.
    """

    class Waiting(Script):
        async def after(self, cursor: int, wait: float = 0.0) -> SyncBatch:
            batch = await super().after(cursor, wait)
            if wait > 1:
                await asyncio.Event().wait()
            return batch

    script = Waiting()
    script.pages = [page(BEFORE_ALL, arrived(5, message("c", 1)))]
    device = Device(store, script, script, lambda _: None)
    await until_done(device, lambda: bool(script.waits) and script.waits[-1] > 1)
    assert script.lists == 1
    assert set(script.waits[:-1]) == {0.0}
    assert script.waits[-1] == consumers.local.device.PATIENCE_SECONDS
    script.waits.clear()
    store.apply(SyncBatch(5, [arrived(6, message("c", 3))], 6, more=False))  # 2 is missing
    device = Device(store, script, script, lambda _: None)
    await until_done(device, lambda: len(script.waits) == 3)
    assert set(script.waits) == {0.0}


async def test_a_record_is_told_before_the_cursor_moves(store: LocalStore) -> None:
    """Who hears of it and fails hears of it again."""
    heard: list[AnySyncRecord] = []

    def hear(record: AnySyncRecord) -> None:
        heard.append(record)
        if len(heard) == 1:
            raise ZeroDivisionError

    script, shown = Script(), list[TimelineItem]()
    device = Device(store, script, script, shown.append, hear)
    script.pages = [page(BEFORE_ALL, arrived(5, message("c", 1)))] * 2
    with pytest.raises(ZeroDivisionError):
        await device.turn()
    assert store.cursor == BEFORE_ALL
    assert await device.turn()
    assert heard == [message("c", 1)] * 2
    assert shown == [said(1)]


async def test_what_is_whole_is_shown_while_the_store_is_away(store: LocalStore) -> None:
    """A device on the log shows what comes, whether or not the gateway answers."""

    class NoHistory(Script):
        async def conversations(self) -> list[Listed]:
            raise ServerUnavailable("no")

    script, shown = NoHistory(), list[TimelineItem]()
    script.pages = [page(BEFORE_ALL, arrived(5, message("c", 1)))]
    with pytest.raises(ServerUnavailable):
        await Device(store, script, script, shown.append).turn()
    assert shown == [said(1)]


@asynccontextmanager
async def answering(*answers: tuple[int, bytes]) -> AsyncIterator[GatewayTimelines]:
    """A client of a server that gives these answers, one after the other."""
    left = list(answers)

    async def answer(_request: web.Request) -> web.Response:
        status, body = left.pop(0)
        return web.Response(status=status, body=body)

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with ClientSession() as http:
            address = f"http://127.0.0.1:{runner.addresses[0][1]}"
            yield GatewayTimelines(address, lambda: "token", http)
    finally:
        await runner.cleanup()
    assert not left


UNAVAILABLE = (503, b'{"detail": "Try again."}')


async def test_a_gateway_that_is_away_for_a_moment_is_asked_again() -> None:
    """The caller does not notice."""
    async with answering(
        UNAVAILABLE, (500, b"?"), (200, b'{"conversations":[],"next":null}')
    ) as g:
        assert await g.conversations() == []


async def test_a_gateway_that_stays_away_is_named() -> None:
    """After as many attempts as make sense."""
    async with answering(*[UNAVAILABLE] * 5) as gateway:
        with pytest.raises(ServerUnavailable, match="Try again"):
            await gateway.after(-1)


async def test_a_token_that_is_refused_is_not_tried_again() -> None:
    """Asking again would not help."""
    async with answering((401, b'{"detail": "The token has expired."}')) as gateway:
        with pytest.raises(RequestRefused, match="expired") as refused:
            await gateway.part("c", Span(1, 2))
        assert refused.value.status == 401


async def test_an_expired_timeline_is_told_by_its_own_error() -> None:
    """With what is kept, so that the device knows where to go on."""
    async with answering((410, b'{"detail": "Gone.", "cursor": 5, "oldest": 9}')) as gateway:
        with pytest.raises(Trimmed) as trimmed:
            await gateway.after(5)
        assert (trimmed.value.cursor, trimmed.value.oldest) == (5, 9)


async def test_a_conversation_that_is_not_there_yet_tells_nothing() -> None:
    """The store may be behind the sync timeline."""
    async with answering((404, b'{"detail": "There is no such conversation"}')) as gateway:
        assert await gateway.part("c", Span(1, 2)) == HistoryPart("c", 0, [])


@pytest.mark.parametrize("body", [b"secret text", b'{"records": "secret text"}', b"\xff"])
async def test_an_answer_of_something_else_is_not_quoted(body: bytes) -> None:
    """It may hold the text of messages."""
    async with answering((200, body)) as gateway:
        with pytest.raises(UndecodableRecord) as failure:
            await gateway.after(-1)
        assert "secret" not in str(failure.value)


def counted(seq: int, messages: int, sender: str = "bob") -> TimelineItem:
    """A message of ``c``, which says how many there are up to it."""
    entry = structs.replace(message("c", seq, sender=sender), messages=messages)
    return TimelineItem("c", seq, seq, None, encode(entry))


def marked(sync_seq: int, seq: int) -> Arrived:
    """Another device of hers has read up to an entry."""
    record = ReadMarked(
        conv_id="c", sender="ann", device_id="desk", client_msg_id="i", at=1, seq=seq
    )  # fmt: skip
    return arrived(sync_seq, record)


def test_a_mark_of_another_device_is_counted_when_its_entry_is_here(store: LocalStore) -> None:
    """Before that the number is not told rather than told wrong; an old mark moves nothing."""
    store.learn(HistoryPart("c", 9, [counted(5, 3), counted(9, 7)]))
    assert store.unread("c") == 7
    store.apply(page(BEFORE_ALL, marked(1, 7)))
    assert store.unread("c") is None
    assert store.lacks_count()
    store.learn(HistoryPart("c", 9, [counted(7, 5)]))
    assert (store.unread("c"), store.read_mark("c")) == (2, 7)
    store.apply(page(1, marked(2, 5)))
    assert (store.unread("c"), store.read_mark("c")) == (2, 7)
    store.apply(page(2, marked(3, 12)))  # ahead of what has come
    assert store.unread("c") == 0
    assert not store.lacks_count()


def test_what_the_store_lists_counts_without_its_entries(store: LocalStore) -> None:
    """A mark whose entry is not kept here is counted by the list, and so is a long way to go."""
    store.apply(page(BEFORE_ALL, marked(1, 7)))
    store.note_heads([Listed("c", 40, "push", 30, 7, 25)], everything=True)
    assert (store.unread("c"), store.read_mark("c")) == (25, 7)
    store.learn(HistoryPart("c", 41, [counted(41, 31, "ann")]))
    assert (store.unread("c"), store.read_mark("c")) == (0, 41)


def test_unread_counts_outlive_the_process(tmp_path: Path) -> None:
    """They are in the file, with the entries that they come from."""
    path = tmp_path / "local.db"
    with closing(LocalStore(path, "ann", "phone")) as store:
        store.learn(HistoryPart("c", 9, [counted(5, 3), counted(9, 7)]))
        store.apply(page(BEFORE_ALL, marked(1, 5)))
    with closing(LocalStore(path, "ann", "phone")) as store:
        assert (store.unread("c"), store.read_mark("c")) == (4, 5)


def late(*starts: Start, cursor: int = 4) -> Beginning:
    """A device that begins with new messages alone."""
    return Beginning("new-messages-only", cursor, starts)


def test_a_late_device_shows_from_its_start_on(store: LocalStore) -> None:
    """What lies before is neither kept nor missed, although it is told of once more."""
    store.begin(late(Start("c", 10, 9, "push")))
    assert (store.cursor, store.timeline("c"), store.gaps(9)) == (4, [], [])
    store.apply(page(4, arrived(5, message("c", 8)), arrived(6, message("c", 10))))
    store.learn(HistoryPart("c", 12, [hole("hidden", 7, 11), said(12)]))
    assert seqs(store.timeline("c")) == [10, 11, 12]
    assert store.gaps(9) == []
    store.apply(page(6, arrived(9, message("c", 14))))
    assert store.gaps(9) == [Gap("c", Span(13, 13))]


def test_a_late_device_knows_that_a_conversation_is_pulled(store: LocalStore) -> None:
    """Nothing that is pushed to it would tell: it asks from the first moment on."""
    store.begin(late(Start("c", 10, 9, "pull"), Start("d", 3, 2, "push")))
    assert store.reads_store()
    store.note_heads([Listed("c", 12, "pull"), Listed("d", 5, "push")], everything=False)
    assert store.gaps(9) == [Gap("c", Span(10, 12))]


def test_what_comes_after_a_late_device_is_shown_whole(store: LocalStore) -> None:
    """A conversation begins with the first that is told of it in order, whatever came before.

    What comes out of order is left for later, when what lies before it is there.
    """
    store.begin(late())
    store.apply(page(None, arrived(9, message("new", 8))))
    assert store.conversations() == []
    store.apply(page(4, arrived(7, message("new", 6)), arrived(8, message("new", 7))))
    store.apply(page(8, arrived(9, message("new", 8))))
    assert seqs(store.timeline("new")) == [6, 7, 8]
    assert store.gaps(9) == []
    store.note_heads([Listed("missed", 9, "push", since=5)], everything=True)
    assert store.gaps(9) == [Gap("missed", Span(5, 9))]


def test_a_device_begins_once(store: LocalStore) -> None:
    """One that has something goes on where it is: it is not told to show less, or to skip."""
    store.apply(page(BEFORE_ALL, arrived(2, message("c", 1))))
    store.begin(late(Start("c", 10, 9, "push"), cursor=700))
    assert store.has_begun()
    assert (store.cursor, seqs(store.timeline("c"))) == (2, [1])
    store.begin(late(Start("c", 20, 19, "push"), cursor=800))
    store.apply(page(2, arrived(3, message("c", 2))))
    assert seqs(store.timeline("c")) == [1, 2]


async def test_what_was_recalled_may_have_been_ones_own(store: LocalStore) -> None:
    """A hole does not tell that its owner had read up to there: the list is asked once more."""
    script = Script()
    device = Device(store, script, script, lambda _: None)
    script.pages = [page(BEFORE_ALL, arrived(5, message("c", 1)))]
    await device.turn()
    script.pages = [
        page(5, arrived(6, structs.replace(message("c", 3, sender="bob"), messages=3)))
    ]
    script.entries = [hole("recalled", 2, 2)]
    script.listed = [Listed("c", 3, "push", 3, 2, 1)]
    await device.turn()
    await device.turn()
    assert (script.lists, store.read_mark("c"), store.unread("c")) == (2, 2, 1)
    await device.turn()
    assert script.lists == 2


class FakeRegistry:
    """Where a device is known. Refuses, or is away, for as long as it is told to."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int]] = []
        self.failure: Exception | None = None

    async def register(self, device_id: str) -> Beginning:
        if self.failure is not None:
            raise self.failure
        self.told.append((device_id, -1))
        return late(Start("c", 3, 2, "push"), cursor=BEFORE_ALL)

    async def report(self, device_id: str, cursor: int) -> None:
        if self.failure is not None:
            raise self.failure
        self.told.append((device_id, cursor))


async def test_a_device_registers_first_and_tells_its_cursor(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It follows nothing before it knows where it begins. A report that fails is made again."""
    monkeypatch.setattr(consumers.local.device, "REPORT_SECONDS", 0.0)
    registry, source = FakeRegistry(), Script()
    source.pages = [page(BEFORE_ALL, *(arrived(n, message("c", n)) for n in (1, 2, 3)))]
    shown: list[TimelineItem] = []
    device = Device(store, source, source, shown.append, registry=registry)
    registry.failure = ServerUnavailable("away")
    with pytest.raises(ServerUnavailable):
        await device.turn()
    assert store.cursor == BEFORE_ALL
    registry.failure = None
    await device.turn()
    assert (seqs(shown), registry.told) == ([3], [("phone", -1), ("phone", 3)])
    source.pages = [page(3, arrived(4, message("c", 4)))]
    registry.failure = ServerUnavailable("away")
    await device.turn()
    registry.failure = None
    await device.turn()
    await device.turn()
    assert registry.told[2:] == [("phone", 4)]
    source.pages = [page(4, arrived(5, message("c", 5)))]
    registry.failure = RequestRefused(404, "taken out")
    with pytest.raises(RequestRefused):
        await device.turn()
