"""The outcome of each command that a load has sent."""

from __future__ import annotations

from collections import Counter
from typing import Final

import msgspec
from msgspec import Struct

from producers.backlog import Identity, identity_of
from schemas.records import AnyCommand

_REPLIES: Final = (b'{"kind":"duplicate"', b'{"kind":"rejected"', b'{"kind":"read_marked"')
"""How the replies begin among the entries of ``im.sync``, which are many more."""


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
    """Commands whose outcome is not known yet, and the count of all others.

    Args:
        device_id: Whose replies count.

    Attributes:
        sequenced: Commands that took effect now.
        duplicates: Commands that had taken effect before.
        stale: Commands older than the sequencer's window: they had, or came far too late.
        rejected: All others, by reason.
        first_rejected: By reason, the first line of the file whose command was rejected.
        unanswered: Commands without an outcome, against all promises.
    """

    def __init__(self, device_id: str) -> None:
        self._device_id = device_id
        self._open: dict[Identity, int] = {}
        """The line of the file by command."""
        self.sequenced = 0
        self.duplicates = 0
        self.stale = 0
        self.rejected: Counter[str] = Counter()
        self.first_rejected: dict[str, int] = {}
        self.unanswered = 0

    def __len__(self) -> int:
        """Commands whose outcome is not known."""
        return len(self._open)

    @property
    def settled(self) -> int:
        """Commands whose outcome is known."""
        return self.sequenced + self.duplicates + self.stale + self.rejected.total()

    def sent(self, command: AnyCommand, line: int) -> None:
        """Notes a command that is on its way, and the line of the file that it stems from."""
        self._open[identity_of(command)] = line

    def refused(self, code: str, line: int) -> None:
        """Notes a rejected command, and the line of the file that it stems from."""
        self.rejected[code] += 1
        self.first_rejected[code] = min(line, self.first_rejected.get(code, line))

    def see_entry(self, value: bytes | None) -> None:
        """Takes in a record of ``im.timeline``. The first entry of a command is its effect."""
        outcome = _decode(value)
        if outcome is not None and self._close(outcome) is not None:
            self.sequenced += 1

    def see_sync_record(self, value: bytes | None) -> None:
        """Takes in a record of ``im.sync``. Only replies have an outcome that entries lack."""
        if value is None or not value.startswith(_REPLIES):
            return
        outcome = _decode(value)
        if outcome is None or outcome.device_id != self._device_id:
            return
        line = self._close(outcome)
        if line is None:
            return
        if outcome.kind == "read_marked":
            self.sequenced += 1
        elif outcome.kind == "duplicate":
            self.duplicates += 1
        elif outcome.code == "stale":
            self.stale += 1
        else:
            self.refused(outcome.code, line)

    def close(self) -> None:
        """Counts what is open as unanswered. To be called when all outcomes were taken in."""
        self.unanswered += len(self._open)
        self._open.clear()

    def _close(self, outcome: _Outcome) -> int | None:
        """The line of a command that was open until now."""
        return self._open.pop((outcome.conv_id, outcome.sender, outcome.client_msg_id), None)


def _decode(value: bytes | None) -> _Outcome | None:
    try:
        return None if value is None else _decoder.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None  # not a record of ours; `im verify` reports it
