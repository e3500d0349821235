"""The rules of the Python client's follower, each by an example."""

from __future__ import annotations

from typing import Any

from im_timeline_client import Conversation, Item, Period, SyncRecord
from im_timeline_client.answers import HistoryPage
from im_timeline_client.following import Batch, Following, Gap


def entry(seq: int, kind: str = "message_sent", **fields: Any) -> dict[str, Any]:
    """An entry of the conversation ``c``."""
    own = {"kind": kind, "conv_id": "c", "seq": seq, "sender": "ann", "at": seq}
    return own | {"client_msg_id": str(seq)} | fields


def batch(*records: dict[str, Any], after: int | None = 0) -> Batch:
    """Records as a batch after a cursor, with one sync SeqId each."""
    begin = after or 0
    numbered = tuple(SyncRecord(begin + n, each) for n, each in enumerate(records, 1))
    return Batch(after, numbered, begin + len(records), more=False)


def page(head: int, *items: dict[str, Any]) -> HistoryPage:
    """A page of history."""
    return HistoryPage("c", head, items, None)


def hole(first: int, last: int, kind: str = "hidden") -> dict[str, Any]:
    """A hole of a page."""
    return {"hole": kind, "from": first, "to": last}


def seqs(items: list[Item]) -> list[tuple[int, int, str | None]]:
    """The SeqIds of items, with the reasons of holes."""
    return [(item.first, item.last, item.hole) for item in items]


def test_an_entry_beyond_a_gap_is_read_from_the_history() -> None:
    """An entry that does not come next only shows how far the conversation extends."""
    following = Following("bob", 0, {"c": 1})
    assert seqs(following.apply(batch(entry(2), entry(5)))) == [(2, 2, None)]
    assert following.gaps() == [Gap("c", 3, 5)]
    assert seqs(following.learn(page(5, entry(2), entry(3)))) == [(3, 3, None)]
    assert following.gaps() == [Gap("c", 4, 5)]
    assert seqs(following.learn(page(9, hole(4, 4, "recalled"), entry(5)))) == [
        (4, 4, "recalled"), (5, 5, None),
    ]  # fmt: skip
    assert following.gaps() == []


def test_repeated_and_incomplete_batches_change_nothing() -> None:
    """A batch that is not after the cursor, or has no cursor, is not applied."""
    following = Following("bob", 7, {"c": 1})
    assert following.apply(batch(entry(2), after=8)) == []
    assert following.apply(batch(entry(2), after=None)) == []
    assert seqs(following.apply(batch(entry(1), entry(2), after=3))) == [(2, 2, None)]
    assert following.cursor == 7


def test_a_hole_counts_up_to_the_head_of_its_answer() -> None:
    """The store may not have more yet; a temporary hole never counts."""
    following = Following("bob", 0, {"c": 1})
    following.note_pushed_heads({"c": 9})
    assert seqs(following.learn(page(4, hole(2, 9)))) == [(2, 4, "hidden")]
    assert following.learn(page(9, hole(5, 5, "not_yet"), entry(6))) == []
    assert following.learn(page(4, hole(5, 9))) == []
    assert following.gaps() == [Gap("c", 5, 9)]


def test_an_answer_without_the_last_join_is_ignored() -> None:
    """An answer from before the join may hide what the person may read now."""
    following = Following("bob", 0, {"c": 1})
    joined = entry(6, "members_added", members=["bob"], mode="push")
    assert following.apply(batch(joined)) == []
    assert following.learn(page(5, hole(2, 5))) == []
    assert seqs(following.learn(page(6, hole(2, 5), joined))) == [(2, 5, "hidden"), (6, 6, None)]


def test_a_new_conversation_begins_with_its_first_entry() -> None:
    """The first record of an unknown conversation is the join of the person."""
    following = Following("bob", 0, {})
    joined = entry(6, "members_added", members=["bob"], mode="pull", history="all")
    assert seqs(following.apply(batch(joined))) == [(6, 6, None)]
    assert following.reads_history()
    removed = entry(7, "members_removed", members=["bob"], mode="pull")
    following.apply(batch(removed, after=1))
    assert not following.reads_history()


def test_a_listed_conversation_begins_with_its_first_period() -> None:
    """After a failure, all heads count; otherwise those of conversations in pull mode."""

    def listed(mode: str | None) -> Conversation:
        return Conversation("c", 9, 5, 0, 5, mode, (Period(4, None),))

    following = Following("bob", 0, {})
    following.note_listed([listed("push")], everything=False)
    assert following.gaps() == []
    assert not following.note_pushed_heads({"c": 9})
    following.note_listed([listed("pull")], everything=False)
    assert following.gaps() == [Gap("c", 4, 9)]
    other = Following("bob", 0, {"c": 7})
    other.note_listed([listed(None)], everything=True)
    assert other.gaps() == [Gap("c", 8, 9)]


def test_other_records_are_no_items() -> None:
    """Replies, retractions and unknown records are skipped; placeholders stand for their entry."""
    following = Following("bob", 0, {"c": 1})
    reply = entry(9, "read_marked", device_id="phone")
    retracted = {"kind": "retracted", "conv_id": "c", "target": 1, "edits": [], "at": 1}
    recalled = {"kind": "recalled", "conv_id": "c", "seq": 2}
    not_yet = {"kind": "not_yet", "conv_id": "c", "seq": 3}
    unknown = {"kind": "later_version", "conv_id": "c"}
    later_entry = entry(4, "later_kind", something=1)
    given = batch(reply, retracted, recalled, not_yet, unknown, later_entry)
    assert seqs(following.apply(given)) == [(2, 2, "recalled")]
    assert following.gaps() == [Gap("c", 3, 4)]
    [_, shown] = following.learn(page(4, entry(3), later_entry))
    assert shown.entry is not None
    assert (shown.entry.kind, shown.entry.fields["something"]) == ("later_kind", 1)
    damaged = {"kind": "message_sent", "conv_id": "c", "seq": 5, "client_msg_id": "5"}
    assert following.apply(batch(damaged, entry(6), after=6)) == []
    assert following.gaps() == [Gap("c", 5, 6)]


def test_a_checkpoint_is_before_the_items_that_wait() -> None:
    """An iteration from a checkpoint repeats the items that were not taken, and no others."""
    following = Following("bob", 0, {"c": 1, "d": 8})
    given = batch(entry(2), entry(3), entry(4))
    _, *waiting = following.apply(given)
    again = Following.from_checkpoint("bob", following.checkpoint(0, waiting))
    assert again.cursor == 0
    assert again.apply(given) == waiting
    assert Following.from_checkpoint("bob", following.checkpoint(0, [])).cursor == 3
