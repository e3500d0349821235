"""The promises of a publisher to its caller, with a broker in memory."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import pytest
from confluent_kafka import KafkaError

from producers.backlog import Resend
from producers.outbox import Outbox
from producers.publisher import Publisher
from producers.receipts import ReceiptState
from schemas.codec import decode_command, encode
from schemas.errors import (
    AccessRefused,
    CommandRejected,
    ConfigurationError,
    FatalFailure,
    InvalidCommand,
    NotYet,
    OutboxFull,
    OutboxInUse,
    PublisherClosed,
)
from schemas.ids import uuid7
from schemas.number_types import Milliseconds, SeqId
from schemas.records import AddMembers, FanoutChanged, Rejected
from schemas.settings import Settings
from tests.support.publishing import FaultyBroker, SmallSequencer, message

Open = Callable[..., Publisher]

PATIENCE: Final = 30.0
"""Seconds for steps that take almost no time on an idle machine."""


@pytest.fixture
def broker() -> FaultyBroker:
    """A broker that acknowledges without faults."""
    return FaultyBroker(by_itself=True)


@pytest.fixture
def open_publisher(tmp_path: Path, broker: FaultyBroker) -> Iterator[Open]:
    """Open publishers on one outbox, and close them at the end."""
    opened = []

    def open_one(**options: Any) -> Publisher:
        publisher = Publisher(
            Settings(), "ann", "phone", tmp_path / "outbox.db",
            make_producer=options.pop("make_producer", broker.connect), **options,
        )  # fmt: skip
        opened.append(publisher)
        return publisher

    yield open_one
    for publisher in opened:
        publisher.close()


def test_the_files_of_an_outbox_are_private_to_their_owner(
    open_publisher: Open, tmp_path: Path
) -> None:
    """Only the owner can read an outbox, which contains texts of messages, under any umask."""
    before = os.umask(0)
    try:
        open_publisher().publish(message(1))
    finally:
        os.umask(before)
    files = list(tmp_path.glob("outbox.db*"))
    assert len(files) > 1
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


def sequence(broker: FaultyBroker, publisher: Publisher) -> None:
    """Run a sequencer on the log, and pass its records to the publisher."""
    sequencer = SmallSequencer(32)
    sequencer.run(broker.log)
    for record in sequencer.records:
        publisher.observe(record)


def test_a_command_is_accepted_and_then_sequenced(
    open_publisher: Open, broker: FaultyBroker
) -> None:
    """A receipt goes through its states, and the outbox is empty at the end."""
    publisher = open_publisher()
    receipts = [publisher.send("c", text) for text in ("one", "two", "three")]
    for receipt in receipts:
        receipt.wait_accepted(PATIENCE)
        assert receipt.state is ReceiptState.ACCEPTED
    sequence(broker, publisher)
    assert [receipt.wait_sequenced(PATIENCE) for receipt in receipts] == [1, 2, 3]
    publisher.close()
    assert publisher.counts() == dict.fromkeys(ReceiptState, 0) | {ReceiptState.SEQUENCED: 3}
    assert open_publisher().resumed == []


def test_commands_contain_their_arguments(open_publisher: Open, broker: FaultyBroker) -> None:
    """Each method makes its command with the given arguments, in the user's name."""
    publisher = open_publisher()
    publisher.create_conversation("c", ["bob"], join="open", history="all")
    publisher.add_members("c", ["eve"])
    publisher.remove_members("c", ["bob"])
    publisher.send("c", "hi", mentions=["eve"])
    publisher.edit("c", 4, "hello")
    publisher.recall("c", 4)
    publisher.flush(PATIENCE)
    commands: list[Any] = [decode_command(value) for _, value in broker.log]
    kinds = ["CreateConversation", "AddMembers", "RemoveMembers", "SendMessage"]
    kinds += ["EditMessage", "RecallMessage"]
    assert [type(command).__name__ for command in commands] == kinds
    assert commands[0].members == ["bob"]
    assert (commands[0].join, commands[0].history) == ("open", "all")
    assert (commands[1].members, commands[2].members) == (["eve"], ["bob"])
    assert commands[3].mentions == ["eve"]
    assert (commands[4].seq, commands[4].content.text, commands[5].seq) == (4, "hello", 4)
    assert {(c.conv_id, c.sender, c.device_id) for c in commands} == {("c", "ann", "phone")}
    ids = [command.client_msg_id for command in commands]
    assert ids == sorted(ids)


def test_replies_settle_a_command(open_publisher: Open) -> None:
    """A rejection raises its code, and a duplicate gives the SeqId of the first copy."""
    publisher = open_publisher()
    refused, repeated = publisher.publish_many([message(1), message(2)])
    about: dict[str, Any] = {"conv_id": "c", "sender": "ann", "at": 0}
    wrong_device = Rejected(
        client_msg_id=refused.client_msg_id, device_id="desk", code="conflict", **about
    )
    publisher.observe(wrong_device)
    assert refused.code is None
    publisher.observe(
        Rejected(client_msg_id=refused.client_msg_id, device_id="phone", code="stale", **about)
    )
    with pytest.raises(CommandRejected) as rejection:
        refused.wait_sequenced(PATIENCE)
    assert rejection.value.code == "stale"
    sequencer = SmallSequencer(32)
    log = [(b"c", value) for value in (encoded(2), encoded(2))]
    sequencer.run(log)
    publisher.observe(sequencer.records[1])
    assert repeated.wait_sequenced(PATIENCE) == 1
    assert repeated.state is ReceiptState.DUPLICATE


def encoded(number: int) -> bytes:
    """The bytes of a message."""
    return encode(message(number))


def test_the_first_of_several_entries_is_the_outcome(open_publisher: Open) -> None:
    """The first entry of a command gives its SeqId, not a consequence such as a change of mode."""
    publisher = open_publisher()
    (receipt,) = publisher.publish_many([message(1)])
    for seq in (7, 8):
        publisher.observe(
            FanoutChanged(
                conv_id="c",
                seq=SeqId(seq),
                sender="ann",
                client_msg_id=receipt.client_msg_id,
                at=Milliseconds(0),
                mode="pull",
                member_count=1,
                push_limit=1,
                push_again_below=1,
            )
        )
    assert receipt.wait_sequenced(PATIENCE) == 7


def test_at_most_one_window_of_commands_is_in_flight(
    open_publisher: Open, broker: FaultyBroker
) -> None:
    """A command beyond the window waits for an earlier one; other authors do not wait."""
    publisher = open_publisher(window=3)
    receipts = publisher.publish_many([message(number) for number in range(5)])
    (other,) = publisher.publish_many([message(9, sender="bob", conv_id="d")])
    other.wait_accepted(PATIENCE)
    receipts[2].wait_accepted(PATIENCE)
    with pytest.raises(NotYet):
        receipts[3].wait_accepted(0.05)
    sequence(broker, publisher)
    publisher.flush(PATIENCE)
    assert [value for key, value in broker.log if key == b"c"] == [encoded(n) for n in range(5)]


def test_commands_without_an_observer_leave_the_outbox_when_accepted(
    open_publisher: Open,
) -> None:
    """A load does not wait for outcomes, and deletes commands that the broker has acknowledged."""
    publisher = open_publisher(window=None, done_when="accepted")
    publisher.publish_many([message(number) for number in range(100)])
    publisher.flush(PATIENCE)
    assert publisher.counts()[ReceiptState.ACCEPTED] == 100
    publisher.close()
    assert open_publisher().resumed == []


def test_the_next_process_sends_the_remaining_commands(
    open_publisher: Open, broker: FaultyBroker
) -> None:
    """The next process resumes unsettled commands in order, before new ones with higher ids."""
    broker.by_itself = False
    first = open_publisher()
    left = [first.send("c", "one"), first.send("c", "two")]
    first._dispatcher.stop()  # noqa: SLF001 - a stop without the flush
    first.close()
    broker.by_itself = True
    second = open_publisher()
    assert [r.client_msg_id for r in second.resumed] == [r.client_msg_id for r in left]
    new = second.send("c", "three")
    second.flush(PATIENCE)
    assert new.client_msg_id > left[1].client_msg_id
    assert [b'"one"' in value for _, value in broker.log] == [True, False, False]
    assert [b'"three"' in value for _, value in broker.log] == [False, False, True]


def test_each_outbox_file_is_an_installation_of_its_own(
    open_publisher: Open, broker: FaultyBroker, tmp_path: Path
) -> None:
    """The installation's id survives a restart, and a new file has a new id."""
    for number in range(2):
        publisher = open_publisher(done_when="accepted")
        publisher.send("c", str(number))
        publisher.close()
    (tmp_path / "outbox.db").unlink()
    publisher = open_publisher(done_when="accepted")
    publisher.send("c", "anew")
    publisher.close()
    first, again, anew = [decode_command(value).installation for _, value in broker.log]
    assert first == again != anew
    assert isinstance(first, str)
    assert len(first) == 16


def test_a_command_without_an_outcome_is_sent_again_without_a_restart(
    open_publisher: Open, broker: FaultyBroker
) -> None:
    """A command without an outcome is sent again, and the copy's outcome settles the command."""
    publisher = open_publisher(resend=Resend(first=0.0, most=0.0))
    receipt = publisher.publish(message(1))
    receipt.wait_accepted(PATIENCE)
    deadline = time.monotonic() + PATIENCE
    while len(broker.log) < 2 and time.monotonic() < deadline:
        publisher.flush(PATIENCE)
    sequencer = SmallSequencer(32)
    sequencer.run(broker.log)
    publisher.observe(sequencer.records[1])
    assert receipt.wait_sequenced(PATIENCE) == 1
    assert receipt.state is ReceiptState.DUPLICATE


def test_the_same_command_is_not_queued_twice(open_publisher: Open, broker: FaultyBroker) -> None:
    """A repeated command returns the same receipt; its id with other content is a conflict."""
    publisher = open_publisher()
    first, twin = publisher.publish_many([message(1), message(1)])
    assert first is twin
    assert publisher.publish(message(1)) is first
    with pytest.raises(InvalidCommand) as refusal:
        publisher.publish(
            AddMembers(
                conv_id="c", sender="ann", device_id="phone", client_msg_id=uuid7(1, 0),
                members=["ann"],
            )
        )  # fmt: skip
    assert refusal.value.code == "conflict"
    publisher.flush(PATIENCE)
    assert len(broker.log) == 1


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (lambda p: p.send("", "hi"), "invalid"),
        (lambda p: p.send("c\n", "hi"), "invalid"),
        (lambda p: p.send("c" * 129, "hi"), "invalid"),
        (lambda p: p.send("c", "\ud800"), "invalid"),
        (lambda p: p.send("c", "字" * 2731), "too_large"),
        (lambda p: p.send("c", '"' * 8_000), "too_large"),  # each takes two bytes in JSON
        (lambda p: p.send("c", "hi", ["x"] * 101), "too_large"),
        (lambda p: p.send("c", "hi", [""]), "invalid"),
        (lambda p: p.edit("c", 1, "字" * 2731), "too_large"),
        (lambda p: p.edit("c", 1, '"' * 8_000), "too_large"),
        (lambda p: p.edit("c", 0, "hi"), "unknown_message"),
        (lambda p: p.recall("c", -1), "unknown_message"),
        (lambda p: p.add_members("c", []), "invalid"),
        (lambda p: p.add_members("c", ["\x00"]), "invalid"),
        (lambda p: p.remove_members("c", ["x"] * 10_001), "too_large"),
        (lambda p: p.add_members("c", ["字" * 128] * 10_000 + ["x"]), "too_large"),
        (lambda p: p.add_members("c", ["😀" * 128] * 10_000), "too_large"),
        (lambda p: p.publish(message(1, conv_id="\u202e")), "invalid"),
        (lambda p: p.create_conversation("c", history="everything"), "invalid"),
        (lambda p: p.create_conversation("c", join="closed"), "invalid"),
    ],
)
def test_a_command_that_no_sequencer_accepts_is_not_queued(
    open_publisher: Open, call: Callable[[Publisher], object], code: str
) -> None:
    """A command that every sequencer would reject is an error at once, and is not queued."""
    publisher = open_publisher()
    with pytest.raises(InvalidCommand) as refusal:
        call(publisher)
    assert refusal.value.code == code
    assert publisher.counts() == dict.fromkeys(ReceiptState, 0)


def test_the_largest_text_is_accepted(open_publisher: Open) -> None:
    """A text of exactly the limit in UTF-8 is accepted, and a conversation without others."""
    publisher = open_publisher()
    publisher.send("c", "字" * 2730 + "ab")
    publisher.create_conversation("c " + "|`[x]\\" + "😀", [])
    publisher.flush(PATIENCE)


def test_a_full_outbox_raises_an_error(open_publisher: Open, broker: FaultyBroker) -> None:
    """A batch that does not fit is refused as a whole; acknowledged commands free their place."""
    broker.by_itself = False
    publisher = open_publisher(capacity=2, done_when="accepted")
    publisher.send("c", "one")
    with pytest.raises(OutboxFull):
        publisher.publish_many([message(1), message(2)])
    publisher.send("c", "two")
    broker.by_itself = True
    publisher.flush(PATIENCE)
    publisher.close()
    assert len(broker.log) == 2


def test_waits_for_an_outcome_end_at_their_timeout(
    open_publisher: Open, broker: FaultyBroker
) -> None:
    """Each wait ends with its timeout while the broker is silent; the command is sent later."""
    broker.by_itself = False
    publisher = open_publisher()
    receipt = publisher.send("c", "one")
    with pytest.raises(NotYet, match="is queued, and the broker has not acknowledged it after"):
        receipt.wait_accepted(0.01)
    with pytest.raises(TimeoutError):
        publisher.flush(0.01)
    broker.by_itself = True
    receipt.wait_accepted(PATIENCE)
    with pytest.raises(NotYet, match=r"nothing has passed its outcome to `Publisher\.observe`"):
        receipt.wait_sequenced(0.01)


def test_a_closed_publisher_raises_an_error(open_publisher: Open, broker: FaultyBroker) -> None:
    """A closed publisher ends each wait with an error, and accepts no command."""
    broker.by_itself = False
    publisher = open_publisher()
    receipt = publisher.send("c", "one")
    publisher._dispatcher.stop()  # noqa: SLF001 - a stop without the flush
    with pytest.raises(PublisherClosed):
        receipt.wait_accepted(PATIENCE)
    with pytest.raises(PublisherClosed):
        publisher.flush(PATIENCE)
    publisher.close()
    with pytest.raises(PublisherClosed):
        publisher.send("c", "two")


def test_the_end_of_the_sending_thread_is_reported(
    open_publisher: Open, broker: FaultyBroker
) -> None:
    """An unexpected error in the thread ends each wait with `FatalFailure`."""
    publisher = open_publisher()
    broker.polling_fails = True
    receipt = publisher.send("c", "one")
    with pytest.raises(FatalFailure):
        receipt.wait_accepted(PATIENCE)
    with pytest.raises(FatalFailure):
        publisher.send("c", "two")


def test_a_user_that_may_not_send_gets_the_reason(
    open_publisher: Open, broker: FaultyBroker
) -> None:
    """A refusal of the broker ends each wait: another attempt would be refused, too.

    The command remains in the outbox, and the next publisher sends it.
    """
    publisher = open_publisher()
    broker.error = KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)
    broker.producer.break_down()
    receipt = publisher.send("c", "one")
    with pytest.raises(AccessRefused, match="`im acl` has the rules"):
        receipt.wait_accepted(PATIENCE)
    publisher.close()
    with open_publisher() as again:
        (resumed,) = again.resumed
        broker.producer.write(1)
        broker.producer.report()
        resumed.wait_accepted(PATIENCE)


def test_several_threads_can_send(open_publisher: Open, broker: FaultyBroker) -> None:
    """The ids of a device increase in the log, although threads send at the same time."""
    publisher = open_publisher(window=None)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: publisher.send("c", str(n)), range(200)))
    publisher.flush(PATIENCE)
    ids = [decode_command(value).client_msg_id for _, value in broker.log]
    assert len(ids) == 200
    assert ids == sorted(ids)


def test_an_outbox_has_one_owner(tmp_path: Path) -> None:
    """A second open, here or in another process, is `OutboxInUse` until the first one closes."""
    path = tmp_path / "outbox.db"
    code = (
        "import sys, pathlib; from producers.outbox import Outbox\n"
        "from schemas.errors import OutboxInUse\n"
        "try: Outbox(pathlib.Path(sys.argv[1]))\n"
        "except OutboxInUse: sys.exit(3)\n"
    )
    command = [sys.executable, "-c", code, str(path)]
    outbox = Outbox(path)
    with pytest.raises(OutboxInUse):
        Outbox(path)
    assert subprocess.run(command, check=False, timeout=30).returncode == 3
    outbox.close()
    assert subprocess.run(command, check=False, timeout=30).returncode == 0


@pytest.mark.parametrize(
    "content", [b"not a database, but long enough to look at" * 20, b"SQLite format 3\x00" * 99]
)
def test_a_file_that_is_not_an_outbox_is_refused(tmp_path: Path, content: bytes) -> None:
    """The error names the file, and the file does not change."""
    path = tmp_path / "outbox.db"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"outbox\.db"):
        Outbox(path)
    assert path.read_bytes() == content


def test_an_outbox_of_another_version_is_refused(tmp_path: Path, open_publisher: Open) -> None:
    """An unknown command of a newer version is an error, and the file does not change."""
    with pytest.raises(ConfigurationError):
        Outbox(tmp_path)  # a folder
    outbox = Outbox(tmp_path / "outbox.db")
    outbox.put([b'{"kind":"recall_message"}'])
    outbox.close()
    with pytest.raises(ConfigurationError, match="another version"):
        open_publisher()
    assert outbox_value(tmp_path / "outbox.db") == b'{"kind":"recall_message"}'


def outbox_value(path: Path) -> bytes:
    """The only command of an outbox."""
    outbox = Outbox(path)
    try:
        return outbox.pending()[0].value
    finally:
        outbox.close()


@pytest.mark.parametrize(
    "call",
    [
        lambda publisher: publisher.add_members("g", "dave"),
        lambda publisher: publisher.add_members("g", b"dave"),
        lambda publisher: publisher.add_members("g", None),
        lambda publisher: publisher.add_members("g", {"dave": 1}),
        lambda publisher: publisher.add_members("g", ["ann", 7]),
        lambda publisher: publisher.remove_members("g", "dave"),
        lambda publisher: publisher.create_conversation("g", "dave"),
        lambda publisher: publisher.create_conversation("g", ["a"], join=None),
        lambda publisher: publisher.create_conversation(None),
        lambda publisher: publisher.transfer_ownership("g", ["dave"]),
        lambda publisher: publisher.send("g", None),
        lambda publisher: publisher.send("g", b"hi"),
        lambda publisher: publisher.send(7, "hi"),
        lambda publisher: publisher.send("g", "hi", mentions="dave"),
        lambda publisher: publisher.send("g", "hi", mentions=[None]),
        lambda publisher: publisher.send("g", " \n"),
        lambda publisher: publisher.edit("g", "1", "hi"),
        lambda publisher: publisher.edit("g", True, "hi"),  # noqa: FBT003 - the wrong type
        lambda publisher: publisher.edit("g", 1, ""),
        lambda publisher: publisher.mark_read("g", 1.5),
        lambda publisher: publisher.recall("g", None),
        lambda publisher: publisher.publish(None),
        lambda publisher: publisher.publish_many(None),
        lambda publisher: publisher.publish_many("ab"),
    ],
)
def test_an_argument_of_a_wrong_type_is_refused(
    open_publisher: Open, call: Callable[[Publisher], object]
) -> None:
    """A wrong argument is an error, and nothing is queued."""
    publisher = open_publisher()
    with pytest.raises(InvalidCommand):
        call(publisher)
    assert publisher.counts() == dict.fromkeys(ReceiptState, 0)
