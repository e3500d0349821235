"""The push stage knows who looks at a live connection, from the records of several gateways."""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Final

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from gateway.contacts.connection_records import ConnectionRecords, LiveActivity
from schemas.live_people import LIVE_RECORD, LIVE_TTL
from schemas.number_types import Milliseconds
from schemas.user_keys import user_part_key
from sinks.push.live_reader import LiveBook

USERS: Final = ["ann", "陈"]
GATEWAYS: Final = ["one", "two"]
TTL_MS: Final = LIVE_TTL // timedelta(milliseconds=1)


class Appender:
    """`LiveAppender` of one gateway, whose records the stage reads at once."""

    def __init__(self, people: LivePeople, gateway: str) -> None:
        self._people = people
        self._gateway = gateway
        self.is_dead = False

    def append(self, user: str, *, is_live: bool) -> asyncio.Future[None]:
        """See `LiveAppender`."""
        if not self.is_dead:
            key = user_part_key(user, self._gateway)
            self._people.book.take(key, LIVE_RECORD if is_live else None, self._people.now)
        done: asyncio.Future[None] = self._people.loop.create_future()
        done.set_result(None)
        return done


class Connection:
    """A live connection, as the model knows it."""

    def __init__(
        self, user: str, gateway: str, context: AbstractContextManager[LiveActivity]
    ) -> None:
        self.user, self.gateway = user, gateway
        self.is_active = True
        self._context = context
        self._activity = context.__enter__()

    def note(self, *, is_active: bool) -> None:
        """The client says whether the person looks at it."""
        self.is_active = is_active
        self._activity.note(is_active=is_active)

    def end(self) -> None:
        """The connection ends."""
        self._context.__exit__(None, None, None)


class LivePeople(RuleBasedStateMachine):
    """People connect to gateways, look away and back, and disconnect, while time passes.

    A gateway dies without a word; its people count as live until their last records expire.
    """

    connections = Bundle("connections")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.now = Milliseconds(1_764_000_000_000)
        self.book = LiveBook()
        self.open: list[Connection] = []
        self.lost: list[Connection] = []
        """The connections of killed gateways."""
        self.appenders: dict[str, Appender] = {}
        self.gateways = {name: self.new_gateway(name) for name in GATEWAYS}
        self.died: dict[str, Milliseconds] = {}
        """The time up to which the records of a gateway that has died may count, by person."""

    def new_gateway(self, name: str) -> ConnectionRecords:
        """A gateway that starts now, under an id of its own."""
        appender = self.appenders[name] = Appender(self, f"{name}-{len(self.lost)}-{self.now}")
        return ConnectionRecords(appender, lambda: self.now / 1000)

    @rule(target=connections, user=st.sampled_from(USERS), gateway=st.sampled_from(GATEWAYS))
    def connect(self, user: str, gateway: str) -> Connection:
        """A live connection begins."""
        made = Connection(user, gateway, self.gateways[gateway].connected(user))
        self.open.append(made)
        return made

    @rule(connection=connections, is_active=st.booleans())
    def look(self, connection: Connection, is_active: bool) -> None:  # noqa: FBT001 - drawn
        """The client says whether the person looks at it."""
        if connection in self.open:
            connection.note(is_active=is_active)

    @rule(connection=consumes(connections))
    def disconnect(self, connection: Connection) -> None:
        """A connection ends in order."""
        if connection in self.open:
            self.open.remove(connection)
            connection.end()

    @rule(gateway=st.sampled_from(GATEWAYS))
    def die(self, gateway: str) -> None:
        """A gateway is killed, and another one takes its place."""
        self.appenders[gateway].is_dead = True
        for connection in [each for each in self.open if each.gateway == gateway]:
            self.open.remove(connection)
            self.lost.append(connection)
            self.died[connection.user] = Milliseconds(self.now + TTL_MS)
        self.gateways[gateway] = self.new_gateway(gateway)

    @rule(seconds=st.integers(1, 40))
    def wait(self, seconds: int) -> None:
        """Time passes, and the gateways repeat their records each second."""
        for _ in range(seconds):
            self.now = Milliseconds(self.now + 1_000)
            for each in self.gateways.values():
                self.loop.run_until_complete(each.renew())

    @invariant()
    def the_stage_knows_who_looks(self) -> None:
        """A person is live while a connection is active, and not otherwise.

        After the death of a gateway, a person may be live until the TTL.
        """
        for user in USERS:
            looks = any(each.is_active for each in self.open if each.user == user)
            is_live = self.book.is_live(user, self.now)
            if looks or self.now >= self.died.get(user, 0):
                assert is_live == looks

    def teardown(self) -> None:
        """The stage forgets everybody who has no connection."""
        for connection in (*self.open, *self.lost):
            connection.end()
        self.open = []
        self.now = Milliseconds(self.now + 2 * TTL_MS)
        self.the_stage_knows_who_looks()
        self.loop.close()


TestLivePeople = LivePeople.TestCase
TestLivePeople.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
