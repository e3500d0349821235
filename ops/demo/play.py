"""Send the script's messages, and receive them at each recipient."""

from __future__ import annotations

import secrets
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from ops.demo.events import Sequenced, SyncHeld
from ops.demo.person import Person
from ops.demo.script import LINES, MEMBERS, PEOPLE
from producers.receipts import Receipt
from schemas.errors import ServerUnavailable
from schemas.settings import Settings

SEQUENCED_SECONDS: Final = 30.0
"""Longer than a rebalance of the stream processors takes."""

People = Mapping[str, Person]


@dataclass(frozen=True)
class Played:
    """The conversations of one run. Their ids are new, so that a run sees no earlier run.

    ``ids``: by the names in the script. ``texts``: the texts sent, by (id, SeqId).
    """

    ids: dict[str, str]
    texts: dict[tuple[str, int], str] = field(default_factory=dict)

    @classmethod
    def fresh(cls) -> Played:
        """New conversations."""
        run = secrets.token_hex(3)
        return cls({name: f"{name}-{run}" for name in MEMBERS})

    def seqs(self, conv_id: str) -> list[int]:
        """All expected SeqIds of a conversation: its creation, and each message."""
        sent = [seq for conversation, seq in self.texts if conversation == conv_id]
        return list(range(1, len(sent) + 2))


def play(settings: Settings, played: Played) -> Iterator[Sequenced | SyncHeld]:
    """Create the conversations, send all messages, and check each sync timeline.

    Args:
        settings: The deployment.
        played: Filled with the messages sent.

    Raises:
        ServerUnavailable: A command was not sequenced in time.
        CommandRejected: The sequencer rejected a command.
    """
    device = f"demo-{secrets.token_hex(3)}"
    with TemporaryDirectory(prefix="im-demo-") as folder, ExitStack() as opened:
        people = {
            user: opened.enter_context(Person(settings, user, device, Path(folder)))
            for user in PEOPLE
        }
        yield from _create(people, played)
        yield from _speak(people, played)
        _hear(people.values(), played)
        for person in people.values():
            yield _held(person, played)


def _create(people: People, played: Played) -> Iterator[Sequenced]:
    for name, (owner, *others) in MEMBERS.items():
        conv_id = played.ids[name]
        receipt = people[owner].publisher.create_conversation(conv_id, others)
        seq = _sequenced(people[owner], receipt)
        yield Sequenced(conv_id=conv_id, seq=seq, sender=owner, ok=seq == 1)


def _speak(people: People, played: Played) -> Iterator[Sequenced]:
    for line in LINES:
        speaker, conv_id = people[line.sender], played.ids[line.conversation]
        expected = len(played.seqs(conv_id)) + 1
        seq = _sequenced(speaker, speaker.publisher.send(conv_id, line.text, line.mentions))
        played.texts[conv_id, seq] = line.text
        yield Sequenced(
            conv_id=conv_id, seq=seq, sender=line.sender, text=line.text, ok=seq == expected
        )


def _sequenced(person: Person, receipt: Receipt) -> int:
    deadline = time.monotonic() + SEQUENCED_SECONDS
    while receipt.seq is None and receipt.code is None:
        if time.monotonic() > deadline:
            raise ServerUnavailable(
                f"a command of {person.user} has no SeqId after {SEQUENCED_SECONDS:.0f} s "
                f"(state: {receipt.state}): see `im status`"
            )
        person.listen()
    return receipt.wait_sequenced(0)


def _hear(people: Collection[Person], played: Played) -> None:
    """Listen until everybody has received everything, or the time is over."""
    deadline = time.monotonic() + SEQUENCED_SECONDS
    waiting = list(people)
    while waiting and time.monotonic() < deadline:
        for person in waiting:
            person.listen()
        waiting = [person for person in waiting if not _held(person, played).ok]


def _held(person: Person, played: Played) -> SyncHeld:
    own = [played.ids[name] for name, members in MEMBERS.items() if person.user in members]
    seqs = {conv_id: person.seqs_of(conv_id) for conv_id in played.ids.values()}
    expected = {
        conv_id: played.seqs(conv_id) if conv_id in own else [] for conv_id in played.ids.values()
    }
    return SyncHeld(user=person.user, seqs=seqs, ok=seqs == expected)
