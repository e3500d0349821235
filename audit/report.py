"""The findings of an audit: counts, notes, and named differences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, Final, Literal, TypeAlias

from msgspec import Struct

from audit.rule_names import RuleName
from schemas.number_types import NO_SEQ, SeqId

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
    "missing",  # required, but absent
    "extra",  # present, but not required by the log
    "double",  # present more than once
    "altered",  # present with other content
    "misplaced",  # in a partition, bucket, index or routing where no reader finds it
    "out_of_order",  # after a later record
    "undecodable",  # not a record of this project
    RuleName,  # an entry that breaks a rule, given the entries before it
    "behind",  # a stage did not catch up within the audit's wait
    "shared_reply",  # a reply has several recipients
    "wrong_key",  # the key of a row is not the highest sync SeqId in it
    "row_too_long",  # a row of a sync timeline holds more records than a row may hold
    "skip_note_ahead",  # a skip note is above everything that the log has for its recipient
    "entry_inline",  # a row of a sync timeline holds an entry, not a reference
    "wrong_duplicate",  # a reply reports an earlier effect of a command that has none
    "refused_after_entry",  # a rejection of a command whose id has an entry
    "mark_went_back",  # a read mark that is not above the previous one
    "mark_of_a_stranger",  # a read mark of a person who was not a member
    "mute_of_a_stranger",  # a mute of a person who was not a member
    "no_position",  # the sequencer has no committed offset
    "no_data",  # the log is empty, without --allow-empty
]

NAMED: Final = 100
"""Named differences for each check and kind. Further differences are only counted."""

MAX_HELD: Final = 1_000_000
"""Maximum records beyond the snapshot that are checked again at the end; some 300 bytes each."""


class Difference(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A place where the data differs from the log.

    ``through``: last SeqId if the difference is a range. ``records``: number of differing records.
    ``where``: a topic partition and offset, a table, or an index. ``sync_seq``, ``bucket``: the
    place in a sync timeline; -1 if the difference has no such place. ``absent``: the columns that
    differ have no value, or an older one: a write of the sink is lost.
    """

    check: CheckName
    kind: DifferenceKind
    conv_id: str = ""
    seq: SeqId = NO_SEQ
    through: SeqId = NO_SEQ
    records: int = 1
    user: str = ""
    where: str = ""
    detail: str = ""
    sync_seq: int = -1
    bucket: int = -1
    absent: bool = False


class Section:
    """The figures of one check. ``counts``: records by name, in order of first count."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.differences: Counter[DifferenceKind] = Counter()
        self.notes: list[str] = []
        self.seconds = 0.0


class AuditReport:
    """Collects the findings of the checks.

    Args:
        on_difference: Called for each named difference when it is found.
        named: Maximum number of named differences for each check and kind.
    """

    def __init__(
        self, on_difference: Callable[[Difference], None] | None = None, named: int = NAMED
    ) -> None:
        self.sections: dict[CheckName, Section] = {}
        self.differences: list[Difference] = []
        self._on_difference = on_difference
        self._named = named
        self._held: list[tuple[Difference, Callable[[], bool]]] = []
        self._named_so_far: Counter[tuple[CheckName, DifferenceKind]] = Counter()

    @property
    def total(self) -> int:
        """The number of differing records, named or not."""
        return sum(section.differences.total() for section in self.sections.values())

    def section(self, check: CheckName) -> Section:
        """The figures of one check; new figures are empty."""
        return self.sections.setdefault(check, Section())

    def differ(self, check: CheckName, kind: DifferenceKind, **place: Any) -> None:
        """Report a difference. ``place``: fields of `Difference`."""
        self._add(Difference(check=check, kind=kind, **place))

    def wants_names(self, check: CheckName, kind: DifferenceKind) -> bool:
        """Whether the next difference of this kind would be named."""
        return self._named_so_far[check, kind] < self._named

    def hold(
        self,
        check: CheckName,
        is_newer: Callable[[], bool],
        kind: DifferenceKind = "extra",
        **place: Any,
    ) -> None:
        """Record a possible difference beyond the snapshot. `settle` decides later.

        Args:
            check: The check that found the record.
            is_newer: Whether the log, read again, has the record. Called by `settle`.
            kind: The kind of difference if the record is not newer.
            place: Fields of `Difference`.
        """
        if len(self._held) < MAX_HELD:
            self._held.append((Difference(check=check, kind=kind, **place), is_newer))
        else:
            self.section(check).counts["newer, not looked up"] += 1

    @property
    def holds_any(self) -> bool:
        """Whether `settle` has records to decide."""
        return bool(self._held)

    def settle(self) -> None:
        """Report each held record that is not newer than the snapshot as a difference."""
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
        self._named_so_far[check, kind] += 1
        self.differences.append(difference)
        if self._on_difference is not None:
            self._on_difference(difference)
