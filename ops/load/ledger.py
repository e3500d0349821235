"""What became of each command that a load has sent."""

from __future__ import annotations

from collections import Counter
from typing import Final

import msgspec
from msgspec import Struct

from producers.backlog import Identity, identity_of
from schemas.records import AnyCommand

_REPLIES: Final = (b'{"kind":"duplicate"', b'{"kind":"rejected"', b'{"kind":"read_marked"')
"""How the replies begin among the entries of ``im.sync``, which are many more."""


class _Told(Struct):
    """The part of an entry or reply that tells of a command."""

    kind: str
    conv_id: str
    sender: str
    client_msg_id: str
    device_id: str = ""
    code: str = ""


_decoder = msgspec.json.Decoder(_Told)


class Ledger:
    """Commands whose outcome is not known yet, and the count of all others.

    Args:
        device_id: Whose replies count.

    Attributes:
        sequenced: Commands that took effect now.
        duplicates: Commands that had taken effect before.
        stale: Commands older than the sequencer's window: they had, or came far too late.
        rejected: All others, by reason.
        unanswered: Commands that nothing tells of, against all promises.
    """

    def __init__(self, device_id: str) -> None:
        self._device_id = device_id
        self._open: set[Identity] = set()
        self.sequenced = 0
        self.duplicates = 0
        self.stale = 0
        self.rejected: Counter[str] = Counter()
        self.unanswered = 0

    def __len__(self) -> int:
        """Commands whose outcome is not known."""
        return len(self._open)

    @property
    def settled(self) -> int:
        """Commands whose outcome is known."""
        return self.sequenced + self.duplicates + self.stale + self.rejected.total()

    def sent(self, command: AnyCommand) -> None:
        """Notes a command that is on its way."""
        self._open.add(identity_of(command))

    def refused(self, code: str) -> None:
        """Notes a command that the client did not even take."""
        self.rejected[code] += 1

    def see_entry(self, value: bytes | None) -> None:
        """Looks at a record of ``im.timeline``. The first entry of a command is its effect."""
        told = _decode(value)
        if told is not None and self._close(told):
            self.sequenced += 1

    def see_sync_record(self, value: bytes | None) -> None:
        """Looks at a record of ``im.sync``; only replies tell anything new."""
        if value is None or not value.startswith(_REPLIES):
            return
        told = _decode(value)
        if told is None or told.device_id != self._device_id or not self._close(told):
            return
        if told.kind == "read_marked":
            self.sequenced += 1
        elif told.kind == "duplicate":
            self.duplicates += 1
        elif told.code == "stale":
            self.stale += 1
        else:
            self.rejected[told.code] += 1

    def close(self) -> None:
        """Everything that could tell was seen: what is still open will never be answered."""
        self.unanswered += len(self._open)
        self._open.clear()

    def _close(self, told: _Told) -> bool:
        identity = told.conv_id, told.sender, told.client_msg_id
        if identity not in self._open:
            return False
        self._open.remove(identity)
        return True


def _decode(value: bytes | None) -> _Told | None:
    try:
        return None if value is None else _decoder.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None  # somebody else's; `im verify` names it
