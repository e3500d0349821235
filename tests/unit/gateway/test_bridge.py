"""Results from another thread reach the loop, many with one wake-up."""

from __future__ import annotations

import asyncio
from threading import Thread

import pytest

from gateway.store.bridge import Bridge


async def test_many_results_cause_one_wake_up() -> None:
    """Results that arrive while the loop is busy share one wake-up, one for each future."""
    bridge: Bridge[int] = Bridge()
    futures = [bridge.future() for _ in range(1_000)]

    def driver() -> None:
        for number, future in enumerate(futures):
            bridge.succeed(number, future)

    thread = Thread(target=driver)
    thread.start()
    thread.join()  # the loop is busy until here
    assert await asyncio.gather(*futures) == list(range(1_000))
    assert bridge.wake_ups == 1


async def test_results_of_several_threads_and_turns_all_arrive() -> None:
    """Results of several threads all arrive, also between two wake-ups."""
    bridge: Bridge[int] = Bridge()
    futures = [bridge.future() for _ in range(3_000)]

    def driver(part: int) -> None:
        for number in range(part, len(futures), 3):
            bridge.succeed(number, futures[number])

    threads = [Thread(target=driver, args=(part,)) for part in range(3)]
    for thread in threads:
        thread.start()
    async with asyncio.timeout(10):
        assert await asyncio.gather(*futures) == list(range(3_000))


async def test_an_error_is_raised_where_it_is_awaited() -> None:
    """An error reaches only the future of its own read."""
    bridge: Bridge[int] = Bridge()
    good, bad = bridge.future(), bridge.future()
    bridge.fail(KeyError("x"), bad)
    bridge.succeed(1, good)
    assert await good == 1
    with pytest.raises(KeyError):
        await bad


async def test_a_late_result_of_a_cancelled_read_is_dropped() -> None:
    """A result for a cancelled future is dropped, and other futures get their results."""
    bridge: Bridge[int] = Bridge()
    given_up, failed, waiting = bridge.future(), bridge.future(), bridge.future()
    given_up.cancel()
    failed.cancel()
    bridge.succeed(1, given_up)
    bridge.fail(KeyError(), failed)
    bridge.succeed(2, waiting)
    assert await waiting == 2


def test_a_result_after_the_end_of_the_loop_is_dropped() -> None:
    """A driver may answer after the end of the loop without an error."""

    async def made() -> tuple[Bridge[int], asyncio.Future[int]]:
        bridge: Bridge[int] = Bridge()
        return bridge, bridge.future()

    bridge, future = asyncio.run(made())
    bridge.succeed(1, future)
    assert not future.done()
