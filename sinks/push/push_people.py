"""The devices of people with their push addresses, and the people with a live connection.

A thread follows both topics. The methods of `PushPeople` may be called by any thread.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Event, Lock, Thread
from typing import Final

from confluent_kafka import Message

from schemas.errors import FatalFailure
from schemas.live_people import LIVE_TTL
from schemas.number_types import Milliseconds
from schemas.push_devices import PushDevice
from schemas.settings import Settings
from schemas.topics import Topic
from sinks.push.address_reader import AddressBook
from sinks.push.live_reader import LiveBook
from sinks.push.push_state import PushPerson
from sinks.topic_follower import TopicFollower, followed_topic

_POLL_SECONDS: Final = 0.1
_JOIN_SECONDS: Final = 5.0


class PushPeople:
    """The newest record of each device and of each live person.

    Args:
        addresses: Receives the records of devices.
        live: Receives the records of live people.
    """

    def __init__(self, addresses: AddressBook, live: LiveBook) -> None:
        self._lock = Lock()
        self._addresses = addresses
        self._live = live

    def __len__(self) -> int:
        """The number of people with a device."""
        return len(self._addresses)

    def take_address(self, message: Message) -> None:
        """Takes a record of ``push-devices``."""
        with self._lock:
            self._addresses.take_record(message)

    def take_live(self, message: Message) -> None:
        """Takes a record of ``live``."""
        with self._lock:
            self._live.take_record(message)

    def has_devices(self, user: str) -> bool:
        """Whether a device of the person has an address."""
        return user in self._addresses

    def devices(self, user: str) -> Mapping[str, PushDevice]:
        """The devices of a person that have an address, by id."""
        with self._lock:
            return self._addresses.devices(user)

    def person(self, user: str, now: Milliseconds) -> PushPerson:
        """The devices of a person, and whether the person is live.

        Args:
            user: The person.
            now: The present time in milliseconds since 1970.
        """
        with self._lock:
            return PushPerson(list(self._addresses.devices(user)), self._live.is_live(user, now))


class PeopleThread:
    """Follows both topics.

    Args:
        followers: The followers of both topics.
    """

    def __init__(self, *followers: TopicFollower) -> None:
        self._followers = followers
        self._failure: BaseException | None = None
        self._stop = Event()
        self._thread = Thread(target=self._run, name="push-people", daemon=True)

    def start(self) -> None:
        """Reads both topics to their ends, then follows them.

        Raises:
            TransientFailure: The topics were not read in time.
        """
        for follower in self._followers:
            follower.catch_up()
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread."""
        self._stop.set()
        self._thread.join(_JOIN_SECONDS)

    def check(self) -> None:
        """Raises `FatalFailure` if the topics are not followed any more."""
        if self._failure is not None:
            raise FatalFailure(
                f"the devices of people are not known any more: {type(self._failure).__name__}"
            )

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                for follower in self._followers:
                    follower.read(_POLL_SECONDS)
        except BaseException as error:  # noqa: BLE001 - raised by `check`
            self._failure = error


@contextmanager
def people_followers(
    settings: Settings, people: PushPeople
) -> Iterator[tuple[TopicFollower, TopicFollower]]:
    """The followers of addresses and of live people, which pass the records to ``people``.

    Raises:
        ServerUnavailable: The broker does not answer, or a topic does not exist.
        TransientFailure: The broker does not answer in time.
    """
    # Older records than the TTL have expired. Twice the TTL allows for a difference of clocks.
    with (
        followed_topic(settings, Topic.PUSH_DEVICES, people.take_address) as addresses,
        followed_topic(settings, Topic.LIVE, people.take_live, newest=2 * LIVE_TTL) as live,
    ):
        yield addresses, live


@contextmanager
def followed_people(settings: Settings, people: PushPeople) -> Iterator[PeopleThread]:
    """Passes the records of a deployment to ``people``. Errors: see `people_followers`."""
    with people_followers(settings, people) as followers:
        thread = PeopleThread(*followers)
        thread.start()
        try:
            yield thread
        finally:
            thread.stop()
