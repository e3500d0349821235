"""Waiting for a condition."""

from __future__ import annotations

import pytest

from backends.processes.polling import poll_until


def test_the_awaited_state_ends_the_wait() -> None:
    """The state is looked at until it is the awaited one."""
    states = iter(range(10))
    assert poll_until(lambda: next(states), 60, done=lambda state: state == 3, pause=0) == 3
    assert next(states) == 4


def test_the_last_state_is_returned_when_the_time_is_over() -> None:
    """A wait of 0 seconds looks once."""
    states = iter(["", "", "done"])
    assert poll_until(lambda: next(states), 0) == ""
    assert list(states) == ["", "done"]


def test_an_error_ends_the_wait() -> None:
    """Only a state is looked at again, an error is not."""
    calls = []

    def look() -> bool:
        calls.append(1)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        poll_until(look, 60, pause=0)
    assert len(calls) == 1
