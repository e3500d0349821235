"""The recipients of each entry of a conversation, and the progress of each recipient.

The folded log alone decides. The SeqIds of a recipient are mostly one long run, so they are stored
as runs. Recipients with the same key and the same next SeqId move together: an entry costs one
step for each shard, not one step for each recipient.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, Literal, NamedTuple, TypeAlias

from audit.conversation import AuditedConversation
from schemas.visibility import Period, periods

_DONE: Final = 0
"""The next SeqId at the end of a cursor. SeqIds begin with 1."""

Arrival: TypeAlias = Literal["next", "out_of_order", "double", "extra"]


class AudienceRun(NamedTuple):
    """The SeqIds ``first`` to ``last``, both included."""

    first: int
    last: int


def due_runs(conversation: AuditedConversation, user: str) -> list[AudienceRun]:
    """The SeqIds that one person's sync timeline must hold, in order.

    All entries of the person's membership periods while the mode was push, and the entries
    sent to this person and not to all members.
    """
    head = conversation.head
    stays = _closed(periods(conversation.changes.get(user, ())), head)
    pushed = _closed(conversation.sent.pushed, head)
    runs = [
        AudienceRun(max(stay.first, push.first), min(stay.last, push.last))
        for stay in stays
        for push in pushed
        if stay.first <= push.last and push.first <= stay.last
    ]
    runs.extend(AudienceRun(seq, seq) for seq in conversation.sent.single.get(user, ()))
    return list(_merged(sorted(runs)))


def _closed(stays: Iterable[Period], head: int) -> list[AudienceRun]:
    return [AudienceRun(stay.first, head if stay.last is None else stay.last) for stay in stays]


def _merged(runs: Iterable[AudienceRun]) -> Iterator[AudienceRun]:
    current: AudienceRun | None = None
    for run in runs:
        if current is not None and run.first <= current.last + 1:
            current = AudienceRun(current.first, max(current.last, run.last))
            continue
        if current is not None:
            yield current
        current = run
    if current is not None:
        yield current


class Cursor:
    """The progress of one recipient's sync timeline in one conversation.

    ``next`` is the SeqId due next and ``last`` the end of its run; both are 0 at the end.
    ``party`` moves the cursor while it is not None.

    Args:
        runs: The SeqIds due, in order, with gaps between the runs.
    """

    __slots__ = ("_index", "_late", "_runs", "last", "next", "party")

    def __init__(self, runs: Iterable[AudienceRun]) -> None:
        self._runs = array("q", [seq for run in runs for seq in run])
        self._index = -2
        self._late: list[AudienceRun] = []
        self.party: _Party | None = None
        self.step()

    def step(self) -> None:
        """Move to the beginning of the next run."""
        self._index += 2
        if self._index < len(self._runs):
            self.next, self.last = self._runs[self._index : self._index + 2]
        else:
            self.next = self.last = _DONE

    def take(self, seq: int) -> Arrival:
        """Process the next record of this recipient and conversation, and classify it.

        A skipped SeqId may still arrive, out of order; otherwise `missing` returns it.
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

    def missing(self) -> list[AudienceRun]:
        """The SeqIds that were due and did not arrive. Moves the cursor to its end."""
        while self.next != _DONE:
            self._late.append(AudienceRun(self.next, self.last))
            self.step()
        return sorted(self._late)

    def _is_due(self, seq: int) -> bool:
        runs = self._runs
        return any(runs[at] <= seq <= runs[at + 1] for at in range(0, len(runs), 2))

    def _pass_over(self, seq: int) -> Iterator[AudienceRun]:
        while seq > self.last:
            yield AudienceRun(self.next, self.last)
            self.step()
        if self.next < seq:
            yield AudienceRun(self.next, seq - 1)

    def _take_late(self, seq: int) -> bool:
        for index, (first, last) in enumerate(self._late):
            if first <= seq <= last:
                rest = [AudienceRun(first, seq - 1), AudienceRun(seq + 1, last)]
                self._late[index : index + 1] = [run for run in rest if run.first <= run.last]
                return True
        return False


class _Party:
    """Cursors of one conversation with the same next SeqId, moved together.

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
        """Move the recipients of a key past a SeqId, if it is the next SeqId of each of them.

        Returns:
            False if nothing was done: call `take` for each recipient.
        """
        line: _Party | Cursor | None = self._parties.get(key)
        if line is None:
            # A key with one recipient needs no party.
            line = self._by_user.get(key)
            if line is None or line.party is not None:
                return False
        if line.next != seq or seq >= line.last:
            return False
        line.next = seq + 1
        return True

    def take(self, user: bytes, seq: int) -> Arrival:
        """Process one delivery, and classify it."""
        cursor = self._by_user.get(user)
        if cursor is None:
            return "extra"
        if cursor.party is not None:
            self._dissolve(cursor.party)
        return cursor.take(seq)

    def unite(self, key: bytes, users: Sequence[bytes]) -> None:
        """Let the recipients of a key move together, if they have the same next SeqId."""
        found = [self._by_user.get(user) for user in users]
        cursors = [cursor for cursor in found if cursor is not None and cursor.party is None]
        if len(cursors) < max(2, len(users)) or len({cursor.next for cursor in cursors}) > 1:
            return
        party = _Party(key, cursors)
        if party.next < party.last:
            self._parties[key] = party
            for cursor in cursors:
                cursor.party = party

    def missing(self) -> Iterator[tuple[bytes, AudienceRun]]:
        """(recipient, SeqIds) of due entries that did not arrive. Moves the cursors to the end."""
        for party in list(self._parties.values()):
            self._dissolve(party)
        for user, cursor in self._by_user.items():
            yield from ((user, run) for run in cursor.missing())

    def _dissolve(self, party: _Party) -> None:
        del self._parties[party.key]
        for cursor in party.cursors:
            cursor.next, cursor.party = party.next, None


def cursors(conversation: AuditedConversation, is_wanted: Callable[[str], bool]) -> Cursors:
    """A cursor for each wanted person with a membership change or an entry sent to them."""
    people = conversation.changes.keys() | conversation.sent.single.keys()
    return Cursors(
        {user.encode(): Cursor(due_runs(conversation, user)) for user in people if is_wanted(user)}
    )
