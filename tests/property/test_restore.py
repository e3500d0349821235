"""A restore gives the same state after any compaction of the log."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from schemas.ids import uuid7
from schemas.records import AnyCommand
from stream_processors.state import gathering
from stream_processors.state.frozen import freeze
from stream_processors.state.packed_records import last_of_each, packed, without_replaced
from stream_processors.state.state_codec import PROGRESS_KEY
from tests.support.commands import CONVERSATIONS, commands, opening, talk
from tests.support.sequencing import Commit, Crash, restore, run

StateLog = list[tuple[bytes, bytes | None]]

steps = st.lists(commands | talk | st.just(Commit), max_size=60)


def numbered(
    made: Sequence[AnyCommand | type[Crash | Commit]],
) -> list[AnyCommand | type[Crash | Commit]]:
    """Give the commands increasing ids, so that most of them are accepted."""
    return [
        step if isinstance(step, type) else structs.replace(step, client_msg_id=uuid7(9_000, at))
        for at, step in enumerate(made)
    ]


def compacted_at_random(log: StateLog, rng: random.Random) -> StateLog:
    """Keep the last record of each key and a random part of the others.

    A tombstone may be dropped, too.
    """
    last = {key: at for at, (key, _) in enumerate(log)}
    return [
        (key, value)
        for at, (key, value) in enumerate(log)
        if (last[key] == at and value is not None) or rng.random() < 0.5
    ]


def without_revived(log: StateLog, kept: StateLog) -> bool:
    """Return whether no deleted key has an earlier value without its tombstone."""
    ended = {key for key, value in dict(log).items() if value is None}
    return all(dict(kept)[key] is None for key in ended & {key for key, _ in kept})


def everything(log: StateLog, busy_limit: int) -> dict[str, bytes | None]:
    """Return each conversation of a restore, and the progress."""
    conversations, progress = restore(log, busy_limit)
    found = {
        conv_id: freeze(conversation) if (conversation := conversations.get(conv_id)) else None
        for conv_id in CONVERSATIONS
    }
    return {**found, "progress": repr(progress).encode()}


@given(steps, st.randoms(use_true_random=False), st.integers(1, 3))
def test_a_compacted_log_restores_the_same_state_as_the_whole_log(
    made: list[AnyCommand | type[Crash | Commit]], rng: random.Random, busy_limit: int
) -> None:
    """A compacted log restores the same bytes, with conversations as objects or packed."""
    log = run([*opening(), *numbered(made)]).states
    whole = everything(log, 1_000)
    for limit in (16 * 1024, 30):
        with pytest.MonkeyPatch.context() as patch:
            # how early replaced records are dropped
            patch.setattr(gathering, "_FIRST_LIMIT", limit)
            assert everything(log, busy_limit) == whole
            kept = compacted_at_random(log, rng)
            if without_revived(log, kept):
                assert everything(kept, busy_limit) == whole


@given(st.lists(st.tuples(st.integers(0, 3), st.none() | st.sampled_from([1, 254, 255, 70_000]))))
def test_packed_records_are_read_back_unchanged(made: list[tuple[int, int | None]]) -> None:
    """For records of all lengths, the last record of each key is read, in the order of the log."""
    records = [
        (b"k" * 253 + b"x" * key, None if size is None else b"v" * size) for key, size in made
    ]
    joined = b"".join(packed(key, value) for key, value in records)
    last: dict[bytes, bytes | None] = {}
    for key, value in records:
        last.pop(key, None)
        last[key] = value
    assert last_of_each(joined) == list(last.items())
    assert last_of_each(without_replaced(joined)) == list(last.items())


def test_a_restored_state_always_has_a_progress_record() -> None:
    """The state log always has a progress, so that the comparison above is not empty."""
    assert dict(run(opening()).states)[PROGRESS_KEY]
