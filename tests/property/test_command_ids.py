"""Ids that gateways make: increasing in a process; the id alone gives the installation."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from gateway.writes.command_ids import CommandIds, installation_of
from schemas.ids import is_client_msg_id, uuid7
from schemas.records import MAX_INSTALLATION_LENGTH

processes = st.integers(0, (1 << 32) - 1)
clocks = st.lists(st.integers(0, 5_000_000), min_size=1, max_size=50)


@given(processes, clocks)
def test_ids_increase_whatever_the_clock_does(process: int, times: list[int]) -> None:
    """The ids are valid, increase, and have one installation."""
    clock = iter(times)
    ids = CommandIds(process, lambda: next(clock))
    made = [ids.next() for _ in times]
    assert all(map(is_client_msg_id, made))
    assert all(earlier < later for earlier, later in itertools.pairwise(made))
    assert len({installation_of(each) for each in made}) == 1


@given(processes, processes)
def test_two_processes_have_two_installations(one: int, other: int) -> None:
    """Processes with different numbers never share a window of ids."""
    first, second = (installation_of(CommandIds(number).next()) for number in (one, other))
    assert (first == second) == (one == other)
    assert 1 <= len(str(first)) <= MAX_INSTALLATION_LENGTH


@given(st.integers(0, (1 << 48) - 1), st.integers(0, (1 << 74) - 1))
def test_an_id_of_a_client_has_no_installation_but_by_chance(ms: int, random: int) -> None:
    """Only an id with the mark of the gateways has an installation: the end of the id."""
    client_msg_id = uuid7(ms, random)
    expected = client_msg_id[-12:] if client_msg_id[-12:].startswith("6a7e") else UNSET
    assert installation_of(client_msg_id) == expected
