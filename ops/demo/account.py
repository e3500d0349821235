"""Print the demonstration as text."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

from ops.console import out
from ops.demo.events import (
    Event,
    HistoryRead,
    PageLink,
    PipelineLink,
    Reachable,
    SearchHits,
    Sequenced,
    SyncHeld,
)
from ops.lines import history_line, hit_line

_HEADINGS: Final[dict[type[Event], str]] = {
    Sequenced: "Messages and their SeqIds",
    SyncHeld: "The sync timeline of each recipient",
    HistoryRead: "The history, read back from Cassandra",
    SearchHits: "Search",
    Reachable: "The gateway",
    PageLink: "The page: a link for each person, for one browser window each",
    PipelineLink: "The pipeline at work: a page for operators",
}
_MARKS: Final = {True: "[green]✓[/]", False: "[red]✗[/]"}


class Account:
    """Prints events, with a heading before each kind of event."""

    def __init__(self) -> None:
        self._heading = ""

    def print_event(self, event: Event) -> None:
        """Print an event."""
        heading = _HEADINGS[type(event)]
        if heading != self._heading:
            out.print(f"\n[bold]{heading}[/]")
            self._heading = heading
        out.print(f"  {_MARKS[event.ok]}", end=" ")
        for number, line in enumerate(_lines(event)):
            out.print("      " * bool(number) + line, markup=False, soft_wrap=True)


def _lines(event: Event) -> list[str]:
    match event:
        case Sequenced(conv_id=conv_id, seq=seq, sender=sender, text=None):
            return [f"{conv_id} #{seq}  {sender} creates the conversation"]
        case Sequenced(conv_id=conv_id, seq=seq, sender=sender, text=text):
            return [f"{conv_id} #{seq}  {sender}: {text}"]
        case SyncHeld(user=user, seqs=seqs):
            held = [f"{conv_id} {_ranges(got)}" for conv_id, got in seqs.items() if got]
            return [f"{user}: {', '.join(held)}"]
        case HistoryRead(conv_id=conv_id, reader=reader, items=items):
            return [f"{conv_id}, as {reader} reads it", *map(history_line, items)]
        case SearchHits(query=query, reader=reader, hits=hits):
            return [f"{reader} searches for {query}", *map(hit_line, hits)]
        case (
            Reachable(address=first, command=second)
            | PageLink(person=first, link=second)
            | PipelineLink(operator=first, link=second)
        ):
            return [first, second]
        case _:
            raise AssertionError(f"no words for {type(event).__name__}")


def _ranges(seqs: list[int]) -> str:
    """A dense run as ``#1-#4``, otherwise each number."""
    if len(seqs) > 1 and all(after == before + 1 for before, after in pairwise(seqs)):
        return f"#{seqs[0]}-#{seqs[-1]}"
    return " ".join(f"#{seq}" for seq in seqs)
