"""How often people were let into conversations, which bounds their memberships in the store.

Counted for each person and bucket of ``membership_by_user``. It is of a whole source partition, so
no conversation knows it, and it never goes down: who leaves has one row more in the store.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TypeAlias

from backends.memberships import user_bucket
from stream_processors.core.state import Change, MemberJoined

Place: TypeAlias = tuple[str, int]
"""A person, and a bucket of theirs."""


class Joins:
    """The joins of one source partition, by person and bucket."""

    def __init__(self) -> None:
        self._counts: Counter[Place] = Counter()
        self._touched: set[Place] = set()

    def allow(self, conv_id: str, changes: Sequence[Change], most: int) -> bool:
        """Whether nobody would be let in more than ``most`` times. Changes nothing."""
        bucket = user_bucket(conv_id)
        return all(self._counts[user, bucket] < most for user in _joining(changes))

    def count(self, conv_id: str, changes: Sequence[Change]) -> None:
        """Counts those who are let in; once each, as nobody joins twice by one command."""
        bucket = user_bucket(conv_id)
        places = [(user, bucket) for user in _joining(changes)]
        self._counts.update(places)
        self._touched.update(places)

    def take_touched(self) -> Iterator[tuple[Place, int]]:
        """The counts that have changed since this was last asked."""
        touched, self._touched = self._touched, set()
        return ((place, self._counts[place]) for place in touched)

    def restore(self, place: Place, count: int) -> None:
        """Takes in one record of the log."""
        self._counts[place] = count


def _joining(changes: Sequence[Change]) -> Iterator[str]:
    return (change.user for change in changes if isinstance(change, MemberJoined))
