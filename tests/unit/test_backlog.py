"""The order and the windows of what is to be sent, step by step."""

from __future__ import annotations

import threading

from producers.backlog import Backlog, Parcel
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
    backlog.settle(first)
    assert backlog.head() is None
    backlog.clear(first)
    assert backlog.head() is second


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
