"""The outbox against a list."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from producers.outbox import Outbox
from schemas.errors import OutboxFull
from schemas.ids import uuid7

CAPACITY = 12


class OutboxMachine(RuleBasedStateMachine):
    """Any puts, removals, crashes and restarts: it holds what a list would hold, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.outbox = Outbox(self.folder / "outbox.db", CAPACITY)
        self.model: dict[int, bytes] = {}
        self.last_id: str | None = None
        self.copies = 0

    @rule(values=st.lists(st.binary(max_size=8), max_size=5), own_ids=st.booleans())
    def put(self, values: list[bytes], own_ids: bool) -> None:  # noqa: FBT001 - Hypothesis draws it
        """Commands are kept together or not at all."""
        last_id = uuid7(len(self.model), self.copies) if own_ids and values else None
        try:
            positions = self.outbox.put(values, last_id)
        except OutboxFull:
            assert len(self.model) + len(values) > CAPACITY
            return
        self.model |= dict(zip(positions, values, strict=True))
        self.last_id = last_id or self.last_id

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        """Settled commands leave in any order; to remove one twice does nothing."""
        positions = data.draw(st.lists(st.sampled_from(sorted(self.model)), max_size=6))
        self.outbox.remove(positions)
        for position in positions:
            self.model.pop(position, None)

    @rule()
    def restart(self) -> None:
        """An orderly end, and another process."""
        self.outbox.close()
        self.outbox = Outbox(self.folder / "outbox.db", CAPACITY)

    @rule()
    def crash(self) -> None:
        """Another process finds the files as they are now, with no end having been made."""
        self.copies += 1
        folder = self.folder / str(self.copies)
        folder.mkdir()
        for file in self.folder.glob("outbox.db*"):
            shutil.copy(file, folder / file.name)
        self.outbox.close()
        for file in folder.iterdir():
            shutil.copy(file, self.folder / file.name)
        self.outbox = Outbox(self.folder / "outbox.db", CAPACITY)

    @invariant()
    def holds_what_was_put_and_not_removed(self) -> None:
        """In the order of putting, with the last id of its own."""
        pending = self.outbox.pending()
        assert [queued.value for queued in pending] == list(self.model.values())
        assert [queued.position for queued in pending] == list(self.model)
        assert len(self.outbox) == len(self.model)
        assert self.outbox.last_id == self.last_id

    def teardown(self) -> None:
        """Leaves no files."""
        self.outbox.close()
        shutil.rmtree(self.folder)


OutboxMachine.TestCase.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)
TestOutbox = OutboxMachine.TestCase
