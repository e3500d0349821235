"""Who has to get which entries of a conversation, and how far each recipient has got.

The folded log alone decides. The SeqIds of a recipient are mostly one long run, so they are stored
as runs. Recipients of the same key who are at the same SeqId are moved together: an entry costs
one step for each shard, not one for each recipient.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, Literal, NamedTuple, TypeAlias

from ops.verify.conversation import Conversation
from schemas.visibility import Period, periods

_DONE: Final = 0
"""The next SeqId where there is none: they begin with 1."""

Arrival: TypeAlias = Literal["next", "out_of_order", "double", "extra"]


class Run(NamedTuple):
    """SeqIds ``first`` to ``last``, both in it."""

    first: int
    last: int


def due_runs(conversation: Conversation, user: str) -> list[Run]:
    """The SeqIds that one person's sync timeline has to hold, in their order.

    All entries of their membership periods while the conversation was pushed, and the asides.
    """
    head = conversation.head
    stays = _closed(periods(conversation.changes.get(user, ())), head)
    pushed = _closed(conversation.pushed, head)
    runs = [
        Run(max(stay.first, push.first), min(stay.last, push.last))
        for stay in stays
        for push in pushed
        if stay.first <= push.last and push.first <= stay.last
    ]
    runs.extend(Run(seq, seq) for seq in conversation.asides.get(user, ()))
    return list(_merged(sorted(runs)))


def _closed(stays: Iterable[Period], head: int) -> list[Run]:
    return [Run(stay.first, head if stay.last is None else stay.last) for stay in stays]


def _merged(runs: Iterable[Run]) -> Iterator[Run]:
    current: Run | None = None
    for run in runs:
        if current is not None and run.first <= current.last + 1:
            current = Run(current.first, max(current.last, run.last))
            continue
        if current is not None:
            yield current
        current = run
    if current is not None:
        yield current


class Cursor:
    """How far one recipient's sync timeline has got in one conversation.

    ``next`` is the SeqId due next and ``last`` the end of its run; 0 when all have come.
    ``party`` moves the cursor while it is not None.

    Args:
        runs: What is due, in order, with gaps between.
    """

    __slots__ = ("_index", "_late", "_runs", "last", "next", "party")

    def __init__(self, runs: Iterable[Run]) -> None:
        self._runs = array("q", [seq for run in runs for seq in run])
        self._index = -2
        self._late: list[Run] = []
        self.party: _Party | None = None
        self.step()

    def step(self) -> None:
        """Moves to the begin of the next run."""
        self._index += 2
        if self._index < len(self._runs):
            self.next, self.last = self._runs[self._index : self._index + 2]
        else:
            self.next = self.last = _DONE

    def take(self, seq: int) -> Arrival:
        """Takes the next record of this recipient and conversation, and says what it is.

        What is passed over may still come, then out of order; if not, it is `missing`.
        """
        if not self._is_due(seq):
            return "extra"
        if self.next == _DONE or seq < self.next:
            return "out_of_order" if self._take_late(seq) else "double"
        self._late.extend(self._pass_over(seq))
        if seq == self.last:
            self.step()
        else:
            self.next = seq + 1
        return "next"

    def missing(self) -> list[Run]:
        """What was due and has not come. The cursor is at its end then."""
        while self.next != _DONE:
            self._late.append(Run(self.next, self.last))
            self.step()
        return sorted(self._late)

    def _is_due(self, seq: int) -> bool:
        runs = self._runs
        return any(runs[at] <= seq <= runs[at + 1] for at in range(0, len(runs), 2))

    def _pass_over(self, seq: int) -> Iterator[Run]:
        while seq > self.last:
            yield Run(self.next, self.last)
            self.step()
        if self.next < seq:
            yield Run(self.next, seq - 1)

    def _take_late(self, seq: int) -> bool:
        for index, (first, last) in enumerate(self._late):
            if first <= seq <= last:
                rest = [Run(first, seq - 1), Run(seq + 1, last)]
                self._late[index : index + 1] = [run for run in rest if run.first <= run.last]
                return True
        return False


class _Party:
    """Cursors of one conversation that wait for the same SeqId, moved as one.

    ``last``: the end of the shortest of their runs.
    """

    __slots__ = ("cursors", "key", "last", "next")

    def __init__(self, key: bytes, cursors: Sequence[Cursor]) -> None:
        self.key = key
        self.cursors = cursors
        self.next = cursors[0].next
        self.last = min(cursor.last for cursor in cursors)


class Cursors:
    """The cursors of one conversation.

    Args:
        by_user: A cursor for each recipient (UTF-8).
    """

    __slots__ = ("_by_user", "_parties")

    def __init__(self, by_user: dict[bytes, Cursor]) -> None:
        self._by_user = by_user
        self._parties: dict[bytes, _Party] = {}

    def advance(self, key: bytes, seq: int) -> bool:
        """Moves the recipients of a key past a SeqId, if all of them are known to wait for it.

        Returns:
            False if nothing was done: each recipient needs `take`.
        """
        line: _Party | Cursor | None = self._parties.get(key)
        if line is None:
            # A key of one recipient needs no party.
            line = self._by_user.get(key)
            if line is None or line.party is not None:
                return False
        if line.next != seq or seq >= line.last:
            return False
        line.next = seq + 1
        return True

    def take(self, user: bytes, seq: int) -> Arrival:
        """Takes one delivery, and says what it is."""
        cursor = self._by_user.get(user)
        if cursor is None:
            return "extra"
        if cursor.party is not None:
            self._dissolve(cursor.party)
        return cursor.take(seq)

    def unite(self, key: bytes, users: Sequence[bytes]) -> None:
        """Has the recipients of a key move together, if all of them wait for the same SeqId."""
        found = [self._by_user.get(user) for user in users]
        cursors = [cursor for cursor in found if cursor is not None and cursor.party is None]
        if len(cursors) < max(2, len(users)) or len({cursor.next for cursor in cursors}) > 1:
            return
        party = _Party(key, cursors)
        if party.next < party.last:
            self._parties[key] = party
            for cursor in cursors:
                cursor.party = party

    def missing(self) -> Iterator[tuple[bytes, Run]]:
        """(recipient, SeqIds) of what was due and has not come. The cursors are at their ends."""
        for party in list(self._parties.values()):
            self._dissolve(party)
        for user, cursor in self._by_user.items():
            yield from ((user, run) for run in cursor.missing())

    def _dissolve(self, party: _Party) -> None:
        del self._parties[party.key]
        for cursor in party.cursors:
            cursor.next, cursor.party = party.next, None


def cursors(conversation: Conversation, is_wanted: Callable[[str], bool]) -> Cursors:
    """A cursor for each wanted person who has to get anything."""
    people = conversation.changes.keys() | conversation.asides.keys()
    return Cursors(
        {user.encode(): Cursor(due_runs(conversation, user)) for user in people if is_wanted(user)}
    )
