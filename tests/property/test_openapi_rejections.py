"""The rejections in the OpenAPI document are those of the sequencer's rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from gateway.http.openapi_commands import SHOWN_COMMANDS, rejection_codes
from schemas.codec import decode_sync_record
from schemas.errors import REJECTION_CODES
from schemas.http.command_bodies import (
    CommandBody,
    EditedMessage,
    LeftConversation,
    MutedConversation,
    NewConversation,
    NewDescription,
    NewMembers,
    NewMessage,
    NewOwner,
    ReadUpTo,
    RecalledMessage,
    RemovedMember,
)
from schemas.ids import uuid7
from schemas.records import (
    AddMembers,
    AnyCommand,
    CreateConversation,
    DescribeConversation,
    EditMessage,
    MarkRead,
    MuteConversation,
    RecallMessage,
    Rejected,
    RemoveMembers,
    SendMessage,
    TransferOwnership,
)
from tests.support.commands import commands, opening, talk
from tests.support.sequencing import SMALL_LIMITS, run

BODIES: Final[dict[type[AnyCommand], type[CommandBody]]] = {
    CreateConversation: NewConversation,
    AddMembers: NewMembers,
    RemoveMembers: RemovedMember,
    TransferOwnership: NewOwner,
    DescribeConversation: NewDescription,
    SendMessage: NewMessage,
    RecallMessage: RecalledMessage,
    EditMessage: EditedMessage,
    MarkRead: ReadUpTo,
    MuteConversation: MutedConversation,
}
"""The body of the route of each command."""

said = st.lists(st.one_of(commands, talk), max_size=60).map(lambda more: [*opening(), *more])


@given(said)
@settings(max_examples=200)
def test_each_rejection_is_in_the_document(steps: Sequence[AnyCommand]) -> None:
    """The operation of a command has each code with which the sequencer rejects the command."""
    sent = {
        (client_msg_id := uuid7(1_000 + number, 0)): structs.replace(
            step, client_msg_id=client_msg_id
        )
        for number, step in enumerate(steps)
    }
    for _, value in run(list(sent.values()), limits=SMALL_LIMITS).syncs:
        record = decode_sync_record(value)
        if isinstance(record, Rejected):
            command = sent[record.client_msg_id]
            assert record.code in rejection_codes(BODIES[type(command)]), command
            if isinstance(command, RemoveMembers) and command.members == [command.sender]:
                assert record.code in rejection_codes(LeftConversation)


def test_each_code_is_that_of_an_operation() -> None:
    """The operations together have all codes."""
    assert {code for body in SHOWN_COMMANDS for code in rejection_codes(body)} == set(
        REJECTION_CODES
    )
