"""The records on the topics: commands as input, entries and sync records as output.

All records are JSON objects with a ``kind``. Decoding is strict about types, ignores unknown
fields (a newer writer may add some) and refuses unknown kinds and versions.

    Command (im.messages)     Entry (im.timeline)       sync record (im.sync)
    ---------------------     -------------------       ---------------------
    CreateConversation   ->   ConversationCreated  ->   the entry, byte for byte
    AddMembers           ->   MembersAdded         ->   the entry, byte for byte
    RemoveMembers        ->   MembersRemoved       ->   the entry, byte for byte
    TransferOwnership    ->   OwnershipTransferred ->   the entry, byte for byte
    DescribeConversation ->   ConversationDescribed ->  the entry, byte for byte
    SendMessage          ->   MessageSent          ->   the entry, byte for byte
    RecallMessage        ->   MessageRecalled      ->   the entry, byte for byte
    EditMessage          ->   MessageEdited        ->   the entry, byte for byte
                              FanoutChanged        ->   the entry, byte for byte
    MarkRead             ->                        ->   ReadMarked (to the reader)
    MuteConversation     ->                        ->   ConversationMuted (to the sender)
                                                   ->   Retracted  (of a recall, to ex-members)
    (refused)                                      ->   Rejected   (to the sender)
    (sent before)                                  ->   Duplicate  (to the sender)

All other packages import the records from here.
"""

from __future__ import annotations

from schemas.records.commands import (
    AddMembers,
    AnyCommand,
    Command,
    CreateConversation,
    DescribeConversation,
    EditMessage,
    MarkRead,
    MuteConversation,
    RecallMessage,
    RemoveMembers,
    SendMessage,
    TransferOwnership,
    makes_no_entry,
)
from schemas.records.entries import (
    AnyEntry,
    ConversationCreated,
    ConversationDescribed,
    Entry,
    FanoutChanged,
    MembersAdded,
    MembersRemoved,
    MessageEdited,
    MessageRecalled,
    MessageSent,
    OwnershipTransferred,
)
from schemas.records.sync import (
    AnyReply,
    AnySyncRecord,
    ConversationMuted,
    Duplicate,
    EntryPosition,
    NotStoredHole,
    OutcomeFields,
    ReadMarked,
    RecalledHole,
    Rejected,
    Reply,
    Retracted,
)
from schemas.records.values import (
    MAX_ID_LENGTH,
    MAX_INSTALLATION_LENGTH,
    MUTED_WITHOUT_END,
    Content,
    FanoutMode,
    HistoryRule,
    Id,
    InstallationId,
    JoinRule,
    NewDevicePolicy,
    TextContent,
)

__all__ = [
    "MAX_ID_LENGTH",
    "MAX_INSTALLATION_LENGTH",
    "MUTED_WITHOUT_END",
    "AddMembers",
    "AnyCommand",
    "AnyEntry",
    "AnyReply",
    "AnySyncRecord",
    "Command",
    "Content",
    "ConversationCreated",
    "ConversationDescribed",
    "ConversationMuted",
    "CreateConversation",
    "DescribeConversation",
    "Duplicate",
    "EditMessage",
    "Entry",
    "EntryPosition",
    "FanoutChanged",
    "FanoutMode",
    "HistoryRule",
    "Id",
    "InstallationId",
    "JoinRule",
    "MarkRead",
    "MembersAdded",
    "MembersRemoved",
    "MessageEdited",
    "MessageRecalled",
    "MessageSent",
    "MuteConversation",
    "NewDevicePolicy",
    "NotStoredHole",
    "OutcomeFields",
    "OwnershipTransferred",
    "ReadMarked",
    "RecallMessage",
    "RecalledHole",
    "Rejected",
    "RemoveMembers",
    "Reply",
    "Retracted",
    "SendMessage",
    "TextContent",
    "TransferOwnership",
    "makes_no_entry",
]
