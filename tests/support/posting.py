"""People who post through a gateway that may fail, and the check of the log afterwards."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import Counter, defaultdict
from typing import Final, NamedTuple

from aiohttp import ClientError, ClientSession, ClientTimeout

from schemas.codec import decode_command
from schemas.ids import uuid7
from schemas.records import MessageSent
from schemas.settings import Settings
from schemas.topics import Topic
from tests.support.topics import read_all, timelines
from tests.support.waiting import until
from tests.support.writing import WriteAnswer, WritingPerson

REQUEST_LIMIT_SECONDS: Final = 30.0
"""The gateway's bound of a request (10 s), with time for a busy machine; the wait for an
acknowledgement of the broker has a longer bound."""

PATIENCE: Final = 180.0
NOT_YET: Final = frozenset({202, 429, 503, 504})
"""Statuses of a command whose outcome is not known yet: its sender repeats the request."""

_PAUSE_SECONDS: Final = 0.1
LOST: Final = 0
"""In place of a status: the connection ended without a response."""


class Attempt(NamedTuple):
    """One request, and its response."""

    status: int
    kind: str = ""


class Poster:
    """Sends one message after the other, and repeats each request until it has a 2xx.

    Attributes:
        attempts: All requests, by the id of the message.
        places: The SeqIds of messages that were answered with 201, by id.
        pending: The paths of the status of messages that were answered with 202, by id.
    """

    def __init__(self, settings: Settings, user: str, conv_id: str, http: ClientSession) -> None:
        self.conv_id = conv_id
        self.attempts: defaultdict[str, list[Attempt]] = defaultdict(list)
        self.places: dict[str, int] = {}
        self.pending: dict[str, str] = {}
        self.person = WritingPerson(settings, user, http, ClientTimeout(REQUEST_LIMIT_SECONDS))

    @property
    def delivered(self) -> int:
        """The number of messages with a 2xx."""
        return len(self.places) + len(self.pending)

    def statuses(self) -> Counter[Attempt]:
        """The number of attempts of each kind."""
        return Counter(each for attempts in self.attempts.values() for each in attempts)

    async def post_until(self, ending: asyncio.Event) -> None:
        """Posts until the event, and then until the present message has a 2xx."""
        while not ending.is_set():
            client_msg_id = uuid7(time.time_ns() // 1_000_000, secrets.randbits(62))
            await self._deliver(client_msg_id)

    async def post(self, client_msg_id: str) -> WriteAnswer:
        """Sends one request. The text of the message is its id."""
        return await self.person.write(
            "POST", f"/v1/conversations/{self.conv_id}/messages",
            headers={"Idempotency-Key": client_msg_id}, text=client_msg_id,
        )  # fmt: skip

    async def _deliver(self, client_msg_id: str) -> None:
        while True:
            is_delivered = await self._is_delivered(client_msg_id)
            await asyncio.sleep(_PAUSE_SECONDS)
            if is_delivered:
                return

    async def _is_delivered(self, client_msg_id: str) -> bool:
        try:
            answer = await self.post(client_msg_id)
        except ClientError:  # a timeout is not one, and ends the test
            self.attempts[client_msg_id].append(Attempt(LOST))
            return False
        if answer.status == 201:
            self.places[client_msg_id] = answer.body["seq"]
        elif answer.status == 202:
            self.pending[client_msg_id] = answer.headers["Location"]
        else:
            assert int(answer.headers["Retry-After"]) >= 1, answer
            self.attempts[client_msg_id].append(Attempt(answer.status, answer.kind))
            return False
        self.attempts[client_msg_id].append(Attempt(answer.status))
        return True


async def assert_each_is_in_the_log_once(settings: Settings, posters: list[Poster]) -> None:
    """Each message with a 2xx is one entry, with the SeqId of the response, and nothing else is.

    A 503 `unavailable` has not sent its copy: there are at most as many copies as other attempts.
    """
    wanted = {each for poster in posters for each in poster.attempts}

    async def all_are_sequenced() -> bool:
        return wanted <= set((await asyncio.to_thread(_messages, settings)).keys())

    await until(all_are_sequenced, PATIENCE)
    found = await asyncio.to_thread(_messages, settings)
    assert set(found) == wanted
    assert {len(places) for places in found.values()} == {1}
    copies = await asyncio.to_thread(_copies, settings)
    for poster in posters:
        for client_msg_id, seq in poster.places.items():
            assert found[client_msg_id] == [(poster.conv_id, seq)]
        for client_msg_id, attempts in poster.attempts.items():
            sent = [each for each in attempts if each != (503, "unavailable")]
            assert copies[client_msg_id] <= len(sent), attempts


async def assert_repetitions_have_the_first_outcome(posters: list[Poster], count: int) -> None:
    """The newest messages of each person have the same SeqId again."""
    for poster in posters:
        for client_msg_id, seq in list(poster.places.items())[-count:]:
            again = await _repeated(poster, client_msg_id)
            assert (again.status, again.body["seq"]) == (201, seq)


async def _repeated(poster: Poster, client_msg_id: str) -> WriteAnswer:
    """The outcome of a message that is sent again, until the gateway has the outcome."""
    async with asyncio.timeout(PATIENCE):
        while True:
            again = await poster.post(client_msg_id)
            poster.attempts[client_msg_id].append(Attempt(again.status, again.kind))
            if again.status not in NOT_YET:
                return again
            await asyncio.sleep(_PAUSE_SECONDS)


async def until_each_202_is_sequenced(posters: list[Poster]) -> None:
    """Each message that was answered with 202 has the state `sequenced` soon."""
    for poster in posters:
        for path in poster.pending.values():

            async def is_sequenced(poster: Poster = poster, path: str = path) -> bool:
                status = await poster.person.write("GET", path)
                if status.status in NOT_YET:
                    return False
                assert status.body["state"] != "rejected", status
                return bool(status.body["state"] == "sequenced")

            await until(is_sequenced, PATIENCE)


def _messages(settings: Settings) -> dict[str, list[tuple[str, int]]]:
    """The places of each message, by its text."""
    found: dict[str, list[tuple[str, int]]] = {}
    for conv_id, entries in timelines(settings).items():
        for entry in entries:
            if isinstance(entry, MessageSent):
                found.setdefault(entry.content.text, []).append((conv_id, entry.seq))
    return found


def _copies(settings: Settings) -> Counter[str]:
    """The number of copies of each command, by its id."""
    records = read_all(settings, Topic.MESSAGES)
    return Counter(decode_command(each.value()).client_msg_id for each in records)
