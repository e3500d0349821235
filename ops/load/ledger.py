"""The outcome of each command of a load."""

from __future__ import annotations

from collections import Counter
from typing import Final

import msgspec
from msgspec import Struct

from producers.backlog import Identity, identity_of
from schemas.records import AnyCommand

_REPLIES: Final = tuple(
    f'{{"kind":"{kind}"'.encode()
    for kind in ("duplicate", "rejected", "read_marked", "conversation_muted")
)
"""First bytes of a reply. ``im.sync`` holds far more entries than replies."""


class _Outcome(Struct):
    """The fields of an entry or a reply that identify a command and its outcome."""

    kind: str
    conv_id: str
    sender: str
    client_msg_id: str
    device_id: str = ""
    code: str = ""


_decoder = msgspec.json.Decoder(_Outcome)


class Ledger:
    """The commands without a known outcome, and counts of the others.

    Args:
        device_id: The device whose replies count.

    Attributes:
        sequenced: Commands that took effect now.
        duplicates: Commands that took effect before.
        stale: Commands older than the sequencer's window: took effect before, or too late.
        rejected: Other rejected commands, by reason.
        first_rejected: By reason, the first line of the file whose command was rejected.
        unanswered: Commands without an outcome, which should not happen.
    """

    def __init__(self, device_id: str) -> None:
        self._device_id = device_id
        self._open: dict[Identity, int] = {}
        """The line number in the file, by command."""
        self.sequenced = 0
        self.duplicates = 0
        self.stale = 0
        self.rejected: Counter[str] = Counter()
        self.first_rejected: dict[str, int] = {}
        self.unanswered = 0

    def __len__(self) -> int:
        """Number of commands without a known outcome."""
        return len(self._open)

    @property
    def settled(self) -> int:
        """Number of commands with a known outcome."""
        return self.sequenced + self.duplicates + self.stale + self.rejected.total()

    def sent(self, command: AnyCommand, line: int) -> None:
        """Record that a command was sent, with its line number in the file."""
        self._open[identity_of(command)] = line

    def refused(self, code: str, line: int) -> None:
        """Record that a command was rejected, with its line number in the file."""
        self.rejected[code] += 1
        self.first_rejected[code] = min(line, self.first_rejected.get(code, line))

    def see_entry(self, value: bytes | None) -> None:
        """Process a record of ``im.timeline``. The first entry of a command is its outcome."""
        outcome = _decode(value)
        if outcome is not None and self._close(outcome) is not None:
            self.sequenced += 1

    def see_sync_record(self, value: bytes | None) -> None:
        """Process a record of ``im.sync``. Only replies matter: entries are counted elsewhere."""
        if value is None or not value.startswith(_REPLIES):
            return
        outcome = _decode(value)
        if outcome is None or outcome.device_id != self._device_id:
            return
        line = self._close(outcome)
        if line is None:
            return
        if outcome.kind in {"read_marked", "conversation_muted"}:
            self.sequenced += 1
        elif outcome.kind == "duplicate":
            self.duplicates += 1
        elif outcome.code == "stale":
            self.stale += 1
        else:
            self.refused(outcome.code, line)

    def close(self) -> None:
        """Count open commands as unanswered. Call after all outcomes were processed."""
        self.unanswered += len(self._open)
        self._open.clear()

    def _close(self, outcome: _Outcome) -> int | None:
        """Remove an open command and return its line; None if the command is not open."""
        return self._open.pop((outcome.conv_id, outcome.sender, outcome.client_msg_id), None)


def _decode(value: bytes | None) -> _Outcome | None:
    try:
        return None if value is None else _decoder.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None  # not a record of this project; `im verify` reports it
