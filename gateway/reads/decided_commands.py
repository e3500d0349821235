"""The outcome of a command, from the sender's own sync timeline.

Every outcome is a record there: the entry, which goes to its sender in each mode of a
conversation, or a reply. So any gateway can find it, also one that never saw the command.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Final

from gateway.errors import CommandNotFound
from gateway.reads.sync_back import read_sync_back
from gateway.store.store_port import Store
from schemas.codec import decode_outcome_fields
from schemas.errors import UndecodableRecord
from schemas.http.answers import CommandStatus, SyncPage
from schemas.records import OutcomeFields
from schemas.sync_seq import MAX_SYNC_SEQ

SEARCHED_RECORDS: Final = 500
"""Records in which an outcome is looked for: the newest ones, in one page."""


async def decided_command(
    store: Store, user: str, conv_id: str, client_msg_id: str
) -> CommandStatus:
    """The outcome of a command of ``user``, if it is among the newest records of their timeline.

    An id can have several outcomes: a copy with other content is a ``conflict``, and a creation
    makes several entries. The oldest entry, or mark, is the outcome; without one, the rejection.

    Raises:
        CommandNotFound: No such record is stored.
        ServerUnavailable: The store does not answer, or does not have the newest entries yet.
    """
    page = await read_sync_back(store, user, MAX_SYNC_SEQ, SEARCHED_RECORDS)
    asked = conv_id, user, client_msg_id
    decided = [
        fields
        for fields in _outcomes(page)
        if (fields.conv_id, fields.sender, fields.client_msg_id) == asked
    ]
    if not decided:
        raise CommandNotFound
    accepted = [fields for fields in decided if fields.code is None]
    if accepted:
        return CommandStatus(
            conv_id=conv_id, client_msg_id=client_msg_id, state="sequenced", seq=accepted[-1].seq
        )
    code = decided[-1].code
    assert code is not None  # noqa: S101 - all have one
    return CommandStatus(conv_id=conv_id, client_msg_id=client_msg_id, state="rejected", code=code)


def _outcomes(page: SyncPage) -> Iterator[OutcomeFields]:
    for each in page.records:
        with contextlib.suppress(UndecodableRecord):  # from a later version
            yield decode_outcome_fields(bytes(each.record))
