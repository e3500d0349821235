"""Ids that a client makes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from producers.ids import IdGenerator
from schemas.ids import MAX_RANDOM, is_client_msg_id, uuid7, uuid7_parts

times = st.integers(0, 2**47)


@given(st.lists(st.tuples(times, st.booleans()), min_size=2, max_size=50), st.randoms())
def test_ids_increase_under_any_clock_and_across_restarts(
    steps: list[tuple[int, bool]], random: Random
) -> None:
    """Each id is valid and above the last one, also as a string, with any clock and restarts."""
    clock = iter([ms for ms, _ in steps])
    made: list[str] = []
    generator = IdGenerator(clock=lambda: next(clock), random_bits=random.getrandbits)
    for _, restarts in steps:
        if restarts and made:
            generator = IdGenerator(made[-1], lambda: next(clock), random.getrandbits)
        made.append(generator.next())
    assert all(is_client_msg_id(id_) for id_ in made)
    assert all(earlier < later for earlier, later in pairwise(made))


@given(times, st.integers(0, 3))
def test_a_full_millisecond_borrows_the_next(ms: int, below: int) -> None:
    """An id increases even when the random part has no room for an increment."""
    last = uuid7(ms, MAX_RANDOM - below)
    following = IdGenerator(last, clock=lambda: 0).next()
    assert following > last
    assert uuid7_parts(following)[0] in {ms, ms + 1}


@given(times)
def test_an_id_has_the_time_of_a_monotonic_clock(ms: int) -> None:
    """With a clock that goes forward, an id contains the clock's time."""
    assert uuid7_parts(IdGenerator(clock=lambda: ms + 1).next())[0] == ms + 1


def test_threads_share_a_generator() -> None:
    """The ids of several threads differ, and increase within each thread."""
    generator = IdGenerator()
    with ThreadPoolExecutor(4) as pool:
        runs = [
            future.result()
            for future in [
                pool.submit(lambda: [generator.next() for _ in range(500)]) for _ in range(4)
            ]
        ]
    assert len({id_ for run in runs for id_ in run}) == 2_000
    assert all(run == sorted(run) for run in runs)
