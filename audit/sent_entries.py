"""The entries of one conversation that were sent to all members, or to single recipients."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence

from schemas.number_types import SeqId
from schemas.records import ConversationCreated, FanoutChanged
from schemas.visibility import Period, periods, visible


class SentEntries:
    """The recipients of the entries so far.

    Attributes:
        pushed: Ranges of SeqIds sent to all members.
        single: For each recipient, SeqIds sent to the recipient and not to all members.
    """

    def __init__(self) -> None:
        self.pushed: list[Period] = []
        self.single: dict[str, array[int]] = {}

    def create(self, entry: ConversationCreated) -> None:
        """The creation is sent to all members, in each mode."""
        self.pushed.append(Period(entry.seq, None if entry.mode == "push" else entry.seq))

    def switch(self, entry: FanoutChanged) -> None:
        """The change of the mode is sent to all members, in both directions."""
        if entry.mode == "push":
            self.pushed.append(Period(entry.seq))
        elif self.pushed and self.pushed[-1].last is None:
            self.pushed[-1] = Period(self.pushed[-1].first, entry.seq)
        else:
            self.pushed.append(Period(entry.seq, entry.seq))

    def add_single(self, seq: SeqId, recipients: Iterable[str]) -> None:
        """An entry is sent to these recipients only."""
        for user in recipients:
            self.single.setdefault(user, array("q")).append(seq)

    def recipients_of(
        self, seqs: Sequence[SeqId], changes: Mapping[str, Sequence[tuple[SeqId, bool]]]
    ) -> set[str]:
        """Everybody who received one of these entries.

        Args:
            seqs: The SeqIds of the entries.
            changes: For each present or former member, the SeqIds of joins and leaves.
        """
        pushed = [seq for seq in seqs if visible(self.pushed, seq)]
        users = {user for user, sent in self.single.items() if not set(seqs).isdisjoint(sent)}
        for user, own_changes in changes.items():
            stays = periods(own_changes)
            if any(visible(stays, seq) for seq in pushed):
                users.add(user)
        return users
