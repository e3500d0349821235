"""Waits for a condition that only repeated calls can detect."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from tenacity import RetryCallState, Retrying, retry_if_result, stop_after_delay, wait_fixed

T = TypeVar("T")

PAUSE_SECONDS: Final = 0.1


def poll_until(
    read_state: Callable[[], T],
    seconds: float,
    *,
    done: Callable[[T], object] = bool,
    pause: float = PAUSE_SECONDS,
) -> T:
    """Calls `read_state` until its result is the awaited one or the time is over.

    Args:
        read_state: Returns the present state. Any error of the call is raised at once.
        seconds: Maximum wait. `read_state` is called at least once, and once more after the last
            pause.
        done: Whether a state is the awaited one; by default, a true value is.
        pause: Seconds between two calls.

    Returns:
        The last state: the awaited one, unless the time is over.
    """

    def last(state: RetryCallState) -> T:
        assert state.outcome is not None  # noqa: S101 - there was a call
        result: T = state.outcome.result()
        return result

    attempts = Retrying(
        retry=retry_if_result(lambda state: not done(state)),
        stop=stop_after_delay(seconds),
        wait=wait_fixed(pause),
        retry_error_callback=last,
    )
    return attempts(read_state)
