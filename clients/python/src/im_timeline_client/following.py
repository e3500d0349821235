"""The rules by which a follower shows each SeqId once, in order: pure, no I/O.

A conversation is dense: a follower that knows SeqId n knows that 1 to n-1 exist. So an entry that
does not follow the last shown one is not stored here. It only shows that the SeqIds up to it
exist; the follower reads all of them from the history. This one rule covers a conversation in
pull mode, an interrupted membership, and expired records, and the state of a conversation is a few
numbers.

The gateway alone decides what a person may see. A follower accepts a hole from the gateway only up
to the head of the same answer, and nothing from an answer that does not include the person's last
join: the store may not know of the join yet. (These are the rules of the device of im-timeline,
`consumers/device/knowledge.py`.)
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from im_timeline_client.answers import Conversation, Entry, HistoryPage, Item, SyncRecord
from im_timeline_client.errors import UnexpectedAnswer

NOT_YET: Final = "not_yet"
"""The reason of a temporary hole: an entry exists, and the store does not have it yet."""

_RECALLED: Final = "recalled"
_PULL: Final = "pull"


class Gap(NamedTuple):
    """SeqIds of a conversation, both included, that exist and were not shown."""

    conv_id: str
    first: int
    last: int


class Batch(NamedTuple):
    """Records of the sync timeline.

    Args:
        after: The batch has all records above this cursor and up to ``next``. None: none at all.
        records: The records, in order.
        next: The cursor of a follower that has applied the batch.
        more: Whether more records are available now.
        heads: Pushed heads of conversations in pull mode. None if heads are not pushed, or if the
            push begins with this batch: the follower then has to read all heads.
    """

    after: int | None
    records: tuple[SyncRecord, ...]
    next: int
    more: bool
    heads: Mapping[str, int] | None = None


@dataclass(slots=True)
class _Place:
    """The state of one followed conversation.

    Everything was shown ``through`` this SeqId, and the SeqIds up to ``head`` exist. ``joined`` is
    the last known join of the person. ``mode`` is the mode as of the SeqId ``mode_seq``.
    """

    through: int
    head: int
    joined: int = 0
    mode: str | None = None
    mode_seq: int = 0

    def show(self, item: Item) -> Item | None:
        """Return the item if it comes next, without the SeqIds that were shown."""
        if item.last <= self.through:
            return None
        if item.first > self.through + 1:
            self.head = max(self.head, item.last)
            return None
        first, self.through = self.through + 1, item.last
        self.head = max(self.head, item.last)
        return Item(item.conv_id, first, item.last, item.hole, item.entry)

    def note_mode(self, mode: str | None, seq: int) -> None:
        """Note a mode. An older entry must not restore an old mode."""
        if seq >= self.mode_seq:
            self.mode, self.mode_seq = mode, seq


class Following:
    """The state of one follower.

    Args:
        user: The person.
        cursor: The sync SeqId up to which everything was applied.
        through: The last shown SeqId of each known conversation.
    """

    def __init__(self, user: str, cursor: int, through: Mapping[str, int]) -> None:
        self.cursor = cursor
        self._user = user
        self._places = {conv_id: _Place(seq, seq) for conv_id, seq in through.items()}

    @classmethod
    def from_checkpoint(cls, user: str, checkpoint: str) -> Following:
        """Return the state of a `checkpoint`.

        Raises:
            ValueError: The text is not a checkpoint.
        """
        match json.loads(checkpoint):
            case {"cursor": int(cursor), "through": dict(through)} if all(
                isinstance(seq, int) for seq in through.values()
            ):
                return cls(user, cursor, through)
        raise ValueError("this text is not a checkpoint")

    def checkpoint(self, cursor: int, waiting: Sequence[Item]) -> str:
        """Return the state as JSON, as it was before the last items.

        Args:
            cursor: The cursor before these items.
            waiting: Items that were returned by `apply` and `learn`, and not shown yet, in order.
        """
        through = {conv_id: place.through for conv_id, place in self._places.items()}
        for item in reversed(waiting):
            through[item.conv_id] = item.first - 1
        before = cursor if waiting else self.cursor
        return json.dumps({"cursor": before, "through": through}, ensure_ascii=False)

    def apply(self, batch: Batch) -> list[Item]:
        """Apply a batch, and move the cursor; return the items that come next."""
        if batch.after is None or batch.after > self.cursor:
            return []
        items = [self._record(each.record) for each in batch.records]
        self.cursor = max(self.cursor, batch.next)
        return [item for item in items if item is not None]

    def skip_to(self, cursor: int) -> None:
        """Move the cursor forward over records that have expired."""
        self.cursor = max(self.cursor, cursor)

    def go_back(self, heads: Mapping[str, int]) -> None:
        """Begin again, because the log has lost the records up to the cursor.

        The next entries take the SeqIds of lost entries, so they are shown as well.

        Args:
            heads: The heads of all conversations of the person.
        """
        self.cursor = -1
        self._places = {
            conv_id: _Place(min(place.through, heads[conv_id]), heads[conv_id])
            for conv_id, place in self._places.items()
            if conv_id in heads
        }

    def note_pushed_heads(self, heads: Mapping[str, int]) -> bool:
        """Note pushed heads; return whether all these conversations are known."""
        for conv_id in heads.keys() & self._places.keys():
            place = self._places[conv_id]
            place.head = max(place.head, heads[conv_id])
        return heads.keys() <= self._places.keys()

    def note_listed(self, listed: Iterable[Conversation], *, everything: bool) -> None:
        """Note how far conversations extend.

        Args:
            listed: The person's conversations.
            everything: Note all heads, as after a disconnection. Otherwise only the heads of
                conversations in pull mode, because all other entries arrive by themselves.
        """
        for each in listed:
            place = self._places.get(each.conv_id)
            if everything or _PULL in {each.mode, place and place.mode}:
                if place is None:
                    begin = each.periods[0].first - 1
                    place = self._places[each.conv_id] = _Place(begin, begin)
                place.head = max(place.head, each.head)
            if place is not None:
                place.note_mode(each.mode, each.head)

    def reads_history(self) -> bool:
        """Return whether a conversation is in pull mode, so that its entries do not arrive."""
        return any(place.mode == _PULL for place in self._places.values())

    def gaps(self) -> list[Gap]:
        """Return what to read next, one gap of each conversation that misses something."""
        return [
            Gap(conv_id, place.through + 1, place.head)
            for conv_id, place in self._places.items()
            if place.head > place.through
        ]

    def learn(self, page: HistoryPage) -> list[Item]:
        """Apply an answer about a gap; return the items that come next."""
        place = self._places[page.conv_id]
        found: list[Item] = []
        for item in page.shown():
            if page.head < place.joined or item.hole == NOT_YET or item.first > page.head:
                break  # the store is not that far yet
            last = min(item.last, page.head)
            shown = place.show(Item(item.conv_id, item.first, last, item.hole, item.entry))
            if item.entry is not None:
                self._note(place, item.entry)
            if shown is not None:
                found.append(shown)
        return found

    def _record(self, record: Mapping[str, Any]) -> Item | None:
        match record:
            case {"client_msg_id": str(), "device_id": str()}:
                return None  # a reply
            case {"kind": str(), "conv_id": str(conv_id), "seq": int(seq), "client_msg_id": str()}:
                place = self._places.setdefault(conv_id, _Place(seq - 1, seq - 1))
                return self._entry(place, record, seq)
            case {"kind": kind, "conv_id": str(conv_id), "seq": int(seq)} if (
                kind in {_RECALLED, NOT_YET} and conv_id in self._places
            ):
                return self._placeholder(str(kind), conv_id, seq)
        return None  # a retraction, or a kind of a later version

    def _entry(self, place: _Place, record: Mapping[str, Any], seq: int) -> Item | None:
        try:
            entry = Entry.from_json(record)
        except UnexpectedAnswer:
            place.head = max(place.head, seq)  # reading the history reports the error
            return None
        self._note(place, entry)
        return place.show(Item.of(entry))

    def _placeholder(self, kind: str, conv_id: str, seq: int) -> Item | None:
        """Apply a record in place of an entry that the store does not have (any more)."""
        place = self._places[conv_id]
        if kind == _RECALLED:
            return place.show(Item(conv_id, seq, seq, kind, None))
        place.head = max(place.head, seq)
        return None

    def _note(self, place: _Place, entry: Entry) -> None:
        """Note what an entry says about the membership of the person and the mode."""
        is_named = self._user in entry.members
        if is_named and entry.kind == "members_removed":
            place.note_mode(None, entry.seq)
        elif (mode := entry.fields.get("mode")) is not None:
            place.note_mode(mode, entry.seq)
        if is_named and entry.kind in {"members_added", "conversation_created"}:
            place.joined = max(place.joined, entry.seq)
