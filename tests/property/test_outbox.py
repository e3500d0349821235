"""The outbox compared with a dictionary."""

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
    """After any puts, removals, crashes and restarts the outbox equals the model, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.outbox = Outbox(self.folder / "outbox.db", CAPACITY)
        self.model: dict[int, bytes] = {}
        self.last_id: str | None = None
        self.copies = 0

    @rule(values=st.lists(st.binary(max_size=8), max_size=5), own_ids=st.booleans())
    def put(self, values: list[bytes], own_ids: bool) -> None:  # noqa: FBT001 - Hypothesis draws it
        """Put commands, all of them or none."""
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
        """Remove commands in any order; a second removal has no effect."""
        positions = data.draw(st.lists(st.sampled_from(sorted(self.model)), max_size=6))
        self.outbox.remove(positions)
        for position in positions:
            self.model.pop(position, None)

    @rule()
    def restart(self) -> None:
        """Close the outbox, and open it in another process."""
        self.outbox.close()
        self.outbox = Outbox(self.folder / "outbox.db", CAPACITY)

    @rule()
    def crash(self) -> None:
        """Open a copy of the files as they are now, without a close."""
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
        """The outbox has the put commands that were not removed, in order, and the last id."""
        pending = self.outbox.pending()
        assert [queued.value for queued in pending] == list(self.model.values())
        assert [queued.position for queued in pending] == list(self.model)
        assert len(self.outbox) == len(self.model)
        assert self.outbox.last_id == self.last_id

    def teardown(self) -> None:
        """Remove the files."""
        self.outbox.close()
        shutil.rmtree(self.folder)


OutboxMachine.TestCase.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)
TestOutbox = OutboxMachine.TestCase
