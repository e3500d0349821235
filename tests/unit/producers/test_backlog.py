"""The order and the windows of commands in the outbox, step by step."""

from __future__ import annotations

import threading

from producers.backlog import BACKLOG_CHECK_SECONDS, Backlog, Parcel, Resend
from producers.receipts import Receipt
from schemas.codec import encode
from tests.support.publishing import message


def parcel(number: int) -> Parcel:
    """The ``number``-th message of one author, with its receipt."""
    command = message(number)
    receipt = Receipt(command.client_msg_id, threading.Condition(), lambda: None)
    return Parcel(number, command, encode(command), receipt)


def test_a_settled_command_is_in_flight_until_it_has_left_the_outbox() -> None:
    """A settled command occupies the window until the outbox has deleted it.

    After a crash between the two steps the command is sent again, and the sequencer must still
    remember its id.
    """
    backlog = Backlog(window=1)
    first, second = parcel(1), parcel(2)
    backlog.add(first)
    backlog.add(second)
    backlog.mark_sent(first)
    assert backlog.settle(first) == [first]
    assert backlog.head() is None
    backlog.clear(first)
    assert backlog.head() is second


def sent(backlog: Backlog, count: int) -> list[Parcel]:
    """Send a number of commands that the broker acknowledges."""
    parcels = [parcel(number) for number in range(1, count + 1)]
    for each in parcels:
        backlog.add(each)
    for each in parcels:
        assert backlog.head() is each
        backlog.mark_sent(each)
        backlog.accept(each)
    return parcels


def test_the_window_is_a_range_of_ids() -> None:
    """The window is a range of ids: the oldest unsettled command blocks new ones."""
    backlog = Backlog(window=3)
    first, second, third = sent(backlog, 3)
    fourth = parcel(4)
    backlog.add(fourth)
    assert backlog.settle(second) == []
    assert backlog.settle(third) == []
    assert backlog.head() is None
    assert backlog.settle(first) == [first, second, third]
    for each in (first, second, third):
        backlog.clear(each)
    assert backlog.head() is fourth


def test_commands_without_an_outcome_are_sent_again_in_order_with_backoff() -> None:
    """Commands without an outcome are sent again in order, before new ones; the pause doubles."""
    backlog = Backlog(32, Resend(first=10.0, most=30.0))
    first, second, third = sent(backlog, 3)
    backlog.add(parcel(4))
    backlog.settle(second)
    assert backlog.resend(9.0) == 0
    now = 10.0
    for wait in (20.0, 30.0, 30.0):
        assert backlog.resend(now) == 2
        for each in (first, third):
            assert backlog.head() is each
            backlog.mark_sent(each)
            assert backlog.accept(each, now)
        assert backlog.resend(now + wait - BACKLOG_CHECK_SECONDS) == 0
        now += wait
    backlog.settle(first, now)
    assert backlog.resend(now + 9.0) == 0
    assert backlog.resend(now + 10.0) == 1
    assert backlog.head() is third


def test_a_command_observed_after_its_producer_was_replaced_is_in_flight() -> None:
    """A command whose outcome arrives without an acknowledgement occupies the window, too."""
    backlog = Backlog(window=1)
    first, second = parcel(1), parcel(2)
    backlog.add(first)
    backlog.mark_sent(first)
    backlog.rewind()
    backlog.add(second)
    backlog.settle(first)
    assert backlog.head() is None
    backlog.clear(first)
    assert backlog.head() is second
