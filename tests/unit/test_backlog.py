"""The order and the windows of what is to be sent, step by step."""

from __future__ import annotations

import threading

from producers.backlog import LOOK_SECONDS, Backlog, Parcel, Resend
from producers.receipts import Receipt
from schemas.codec import encode
from tests.support.publishing import message


def parcel(number: int) -> Parcel:
    """The ``number``-th message of one author, on its way."""
    command = message(number)
    receipt = Receipt(command.client_msg_id, threading.Condition(), lambda: None)
    return Parcel(number, command, encode(command), receipt)


def test_a_settled_command_is_under_way_until_it_has_left_the_outbox() -> None:
    """A crash between the two sends it again: it must still be among the ids remembered then."""
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
    """So many commands that the broker has."""
    parcels = [parcel(number) for number in range(1, count + 1)]
    for each in parcels:
        backlog.add(each)
    for each in parcels:
        assert backlog.head() is each
        backlog.mark_sent(each)
        backlog.accept(each)
    return parcels


def test_the_window_is_a_span_and_not_a_number_of_commands() -> None:
    """Two of three have their outcome, but none leaves the outbox before the oldest."""
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


def test_what_has_no_outcome_is_sent_again_in_order_and_less_and_less_often() -> None:
    """All that the broker has of the conversation, ahead of what waits; the wait doubles."""
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
        assert backlog.resend(now + wait - LOOK_SECONDS) == 0
        now += wait
    backlog.settle(first, now)
    assert backlog.resend(now + 9.0) == 0
    assert backlog.resend(now + 10.0) == 1
    assert backlog.head() is third


def test_a_command_observed_after_its_producer_was_given_up_is_under_way_too() -> None:
    """It reached the log although nobody said so, and it lies in the outbox."""
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
