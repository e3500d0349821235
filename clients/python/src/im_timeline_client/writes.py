"""The methods of a client that send commands."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from typing import Any, Final, TypeVar

from im_timeline_client import routes
from im_timeline_client.answers import Outcome
from im_timeline_client.commands import Command, CommandSender
from im_timeline_client.errors import OutcomeUnknown
from im_timeline_client.ids import CommandIds
from im_timeline_client.routes import Route
from im_timeline_client.session import Session
from im_timeline_client.transport import Token

T = TypeVar("T")

_INSTALLATION_BYTES: Final = 16


class Writes(Session):
    """The methods that write. Errors: see `Client`. Arguments: see `connect`."""

    def __init__(self, address: str, token: Token, **options: Any) -> None:
        super().__init__(address, token, **options)
        self._ids = CommandIds()
        self._installation = secrets.token_hex(_INSTALLATION_BYTES)
        self._sender = CommandSender(self._outcome_seconds)

    async def create_conversation(  # noqa: PLR0913 - the settings, by keyword
        self,
        members: Iterable[str],
        *,
        conv_id: str | None = None,
        name: str | None = None,
        metadata: str | None = None,
        join: str = "invite",
        history: str = "since_join",
        client_msg_id: str | None = None,
    ) -> Outcome:
        """Create a conversation of these people and the caller, who becomes the owner.

        Args:
            members: The other people.
            conv_id: The id of the conversation. By default the ``client_msg_id``.
            name: One line for people.
            metadata: A JSON object as text, for the application.
            join: ``invite``: members add others. ``open``: in addition, anybody may join.
            history: Which entries from before their join members may read: ``since_join`` (none)
                or ``all``.
            client_msg_id: See `Client`.
        """
        body = {
            "members": list(members), "conv_id": conv_id, "name": name, "metadata": metadata,
            "join": join, "history": history,
        }  # fmt: skip
        route = routes.CREATE
        return await self._command(route, route.at(), conv_id or "", client_msg_id, **body)

    async def direct(self, user: str) -> str:
        """Get or create the one chat with another person; return its id."""
        route = routes.DIRECT
        chat = await self._command(route, route.at(user=user), f"direct {user}", None)
        return chat.conv_id

    async def send(
        self,
        conv_id: str,
        text: str,
        *,
        mentions: Iterable[str] = (),
        client_msg_id: str | None = None,
    ) -> Outcome:
        """Send a message. ``mentions`` are members to notify also in a large group."""
        body = {"text": text, "mentions": list(mentions)}
        path = routes.SEND.at(id=conv_id)
        return await self._command(routes.SEND, path, conv_id, client_msg_id, **body)

    async def edit(
        self,
        conv_id: str,
        seq: int,
        text: str,
        *,
        mentions: Iterable[str] = (),
        client_msg_id: str | None = None,
    ) -> Outcome:
        """Replace the text and the mentions of the message with a SeqId."""
        body = {"text": text, "mentions": list(mentions)}
        path = routes.EDIT.at(id=conv_id, seq=seq)
        return await self._command(routes.EDIT, path, conv_id, client_msg_id, **body)

    async def recall(self, conv_id: str, seq: int, *, client_msg_id: str | None = None) -> Outcome:
        """Recall the message with a SeqId: its text is erased everywhere."""
        path = routes.RECALL.at(id=conv_id, seq=seq)
        return await self._command(routes.RECALL, path, conv_id, client_msg_id)

    async def mark_read(
        self, conv_id: str, seq: int, *, client_msg_id: str | None = None
    ) -> Outcome:
        """Mark all entries up to a SeqId as read, on all devices of the person."""
        path = routes.MARK_READ.at(id=conv_id)
        return await self._command(routes.MARK_READ, path, conv_id, client_msg_id, seq=seq)

    async def mute(
        self, conv_id: str, until: int | None = None, *, client_msg_id: str | None = None
    ) -> Outcome:
        """Mute a conversation on all devices of the person: no notifications.

        Args:
            conv_id: The conversation.
            until: The end of the mute, in milliseconds since 1970. None: until `unmute`.
            client_msg_id: See `Client`.
        """
        path = routes.MUTE.at(id=conv_id)
        return await self._command(routes.MUTE, path, conv_id, client_msg_id, until=until)

    async def unmute(self, conv_id: str, *, client_msg_id: str | None = None) -> Outcome:
        """End the mute of a conversation."""
        path = routes.UNMUTE.at(id=conv_id)
        return await self._command(routes.UNMUTE, path, conv_id, client_msg_id)

    async def add_members(
        self, conv_id: str, members: Iterable[str], *, client_msg_id: str | None = None
    ) -> Outcome:
        """Add people. In an open conversation, the caller may also add themselves."""
        path, added = routes.ADD_MEMBERS.at(id=conv_id), list(members)
        return await self._command(routes.ADD_MEMBERS, path, conv_id, client_msg_id, members=added)

    async def remove_member(
        self, conv_id: str, user: str, *, client_msg_id: str | None = None
    ) -> Outcome:
        """Remove a person. Only the owner may remove others."""
        path = routes.REMOVE_MEMBER.at(id=conv_id, user=user)
        return await self._command(routes.REMOVE_MEMBER, path, conv_id, client_msg_id)

    async def leave(self, conv_id: str, *, client_msg_id: str | None = None) -> Outcome:
        """Leave a conversation."""
        path = routes.LEAVE.at(id=conv_id)
        return await self._command(routes.LEAVE, path, conv_id, client_msg_id)

    async def transfer_ownership(
        self, conv_id: str, owner: str, *, client_msg_id: str | None = None
    ) -> Outcome:
        """Make a member the owner of the conversation."""
        path = routes.TRANSFER.at(id=conv_id)
        return await self._command(routes.TRANSFER, path, conv_id, client_msg_id, owner=owner)

    async def describe(
        self,
        conv_id: str,
        *,
        name: str | None = None,
        metadata: str | None = None,
        client_msg_id: str | None = None,
    ) -> Outcome:
        """Set the name, or the metadata (a JSON object as text). An empty text removes it."""
        path, given = routes.DESCRIBE.at(id=conv_id), {"name": name, "metadata": metadata}
        return await self._command(routes.DESCRIBE, path, conv_id, client_msg_id, **given)

    async def repeat(self, unknown: OutcomeUnknown) -> Outcome:
        """Wait again for the outcome of a command. There is no second effect.

        After an `OutcomeUnknown` of `direct`, call `direct` again instead.
        """
        outcome: Outcome = await self._sender.outcome_of(self._open(), unknown.command)
        return outcome

    async def _command(
        self,
        route: Route[T],
        path: str,
        conv_id: str,
        client_msg_id: str | None,
        /,
        **fields: object,
    ) -> T:
        """Send a command; fields that are None are left out."""
        gateway = self._open()
        body = {name: value for name, value in fields.items() if value is not None}
        if self._device_id is not None:
            body["device_id"] = self._device_id
        async with self._sender.in_order(conv_id):
            body |= self._ids_of(client_msg_id)
            command = Command(route, path, conv_id, body)
            outcome: T = await self._sender.outcome_of(gateway, command)
            return outcome

    def _ids_of(self, client_msg_id: str | None) -> dict[str, object]:
        """Return the ids of a command.

        Ids that the client makes belong to an installation of their own, so they are above all
        earlier ones. An id of the application has none, so that any process can repeat it.
        """
        if client_msg_id is not None:
            return {"client_msg_id": client_msg_id}
        return {"client_msg_id": self._ids.next(), "installation": self._installation}
