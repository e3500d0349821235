"""What an audit found: counts, notes, and each difference by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, Final, Literal, TypeAlias

from msgspec import Struct

from ops.verify.rule_names import RuleName

CheckName: TypeAlias = Literal[
    "input",  # im.messages against its outcomes
    "log",  # im.timeline against its own rules
    "store",  # the tables message and conversation
    "membership",  # both tables of membership
    "index",  # Elasticsearch
    "sync-log",  # im.sync
    "sync-store",  # the tables sync and sync_bucket
    "marks",  # the table read_mark
]

DifferenceKind: TypeAlias = Literal[
    "missing",  # has to be there, and is not
    "extra",  # is there, and nothing says that it should be
    "double",  # is there more often than once
    "altered",  # is there with another content
    "misplaced",  # is where nobody looks for it: another partition, bucket, index or routing
    "out_of_order",  # comes after a later one
    "undecodable",  # is none of our records
    RuleName,  # an entry that the log before it does not allow
    "behind",  # a stage has not come as far as the audit waits for
    "shared_reply",  # a reply has several recipients
    "wrong_key",  # the key of a row is not the highest sync SeqId in it
    "row_too_long",  # a row of a sync timeline holds more records than a row may hold
    "entry_inline",  # a row of a sync timeline holds an entry, not a reference
    "wrong_duplicate",  # a reply says that a command had its effect before, and it had not
    "refused_after_entry",  # a rejection of a command whose id has an entry
    "mark_went_back",  # a read mark that is not above the one before it
    "mark_of_a_stranger",  # a read mark of somebody who was not a member
    "no_position",  # the sequencer's committed offset is not there
    "no_data",  # nothing to audit, which nobody asked for
]

NAMED: Final = 100
"""Differences of one check and kind that are named; the others are only counted."""

MAX_HELD: Final = 1_000_000
"""Records newer than the snapshot that are looked up later; each takes some 300 bytes."""


class Difference(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One place where the system is not what the log says.

    ``through`` is the last SeqId where the difference is a run of them, ``records`` their number.
    ``where`` names a topic partition and offset, a table, or an index.
    """

    check: CheckName
    kind: DifferenceKind
    conv_id: str = ""
    seq: int = 0
    through: int = 0
    records: int = 1
    user: str = ""
    where: str = ""
    detail: str = ""


class Section:
    """The figures of one check. ``counts`` are records by name, in the order of their coming."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.differences: Counter[DifferenceKind] = Counter()
        self.notes: list[str] = []
        self.seconds = 0.0


class Report:
    """Collects what the checks find.

    Args:
        on_difference: Called for each difference that is named, when it is found.
        named: How many of each check and kind that is.
    """

    def __init__(
        self, on_difference: Callable[[Difference], None] | None = None, named: int = NAMED
    ) -> None:
        self.sections: dict[CheckName, Section] = {}
        self.differences: list[Difference] = []
        self._on_difference = on_difference
        self._named = named
        self._held: list[tuple[Difference, Callable[[], bool]]] = []
        self._told: Counter[tuple[CheckName, DifferenceKind]] = Counter()

    @property
    def total(self) -> int:
        """How many records differ, named or not."""
        return sum(section.differences.total() for section in self.sections.values())

    def section(self, check: CheckName) -> Section:
        """The figures of one check, empty at first."""
        return self.sections.setdefault(check, Section())

    def differ(self, check: CheckName, kind: DifferenceKind, **place: Any) -> None:
        """Notes a difference; ``place`` are fields of `Difference`."""
        self._add(Difference(check=check, kind=kind, **place))

    def wants_names(self, check: CheckName, kind: DifferenceKind) -> bool:
        """Whether the next difference of this kind would be named."""
        return self._told[check, kind] < self._named

    def hold(
        self,
        check: CheckName,
        is_newer: Callable[[], bool],
        kind: DifferenceKind = "extra",
        **place: Any,
    ) -> None:
        """Notes a record beyond the end of the snapshot, for `settle` to tell what it is.

        Args:
            check: Who found it.
            is_newer: Whether the log, read on, has it; asked when the audit is at its end.
            kind: What it is otherwise.
            place: Fields of `Difference`.
        """
        if len(self._held) < MAX_HELD:
            self._held.append((Difference(check=check, kind=kind, **place), is_newer))
        else:
            self.section(check).counts["newer, not looked up"] += 1

    @property
    def holds_any(self) -> bool:
        """Whether there is something to `settle`."""
        return bool(self._held)

    def settle(self) -> None:
        """Makes a difference of each held record that did not come after the snapshot."""
        for difference, is_newer in self._held:
            if is_newer():
                self.section(difference.check).counts["newer than the snapshot"] += 1
            else:
                self._add(difference)
        self._held.clear()

    def _add(self, difference: Difference) -> None:
        check, kind = difference.check, difference.kind
        self.section(check).differences[kind] += difference.records
        if not self.wants_names(check, kind):
            return
        self._told[check, kind] += 1
        self.differences.append(difference)
        if self._on_difference is not None:
            self._on_difference(difference)
