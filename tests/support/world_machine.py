"""The events in the world of one person, as rules of a Hypothesis state machine."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from tests.support.local_world import CONVERSATIONS, ME, OWNER, PEOPLE, World

conversations = st.sampled_from(CONVERSATIONS)
counts = st.integers(0, 8)


class WorldMachine(RuleBasedStateMachine):
    """People write, join, leave, edit and recall; sinks lag.

    A subclass has the device or client of the person.
    """

    def __init__(self) -> None:
        super().__init__()
        self.world = World()

    @rule(conv_id=conversations, sender=st.sampled_from([OWNER, *PEOPLE]), mentioned=st.booleans())
    def say(self, conv_id: str, sender: str, mentioned: bool) -> None:  # noqa: FBT001 - drawn
        """A person sends a message."""
        self.world.say(conv_id, sender, [ME] if mentioned else [])

    @rule(
        conv_id=conversations,
        people=st.lists(st.sampled_from(PEOPLE), min_size=1, max_size=5, unique=True),
        join=st.booleans(),
    )
    def change(self, conv_id: str, people: list[str], join: bool) -> None:  # noqa: FBT001 - drawn
        """People join or leave, maybe with the person; the mode follows."""
        self.world.change(conv_id, people, join=join)

    @rule(
        conv_id=conversations,
        sender=st.sampled_from([OWNER, OWNER, ME]),
        back=st.integers(0, 6),
        recall=st.booleans(),
    )
    def alter(self, conv_id: str, sender: str, back: int, recall: bool) -> None:  # noqa: FBT001 - drawn
        """A person edits or recalls a message near the end, if they have the right."""
        seq = len(self.world.log.timeline_of(conv_id)) - back
        alter = self.world.recall if recall else self.world.edit
        alter(conv_id, sender, seq)

    @rule(conv_id=conversations, back=st.integers(0, 5))
    def read_elsewhere(self, conv_id: str, back: int) -> None:
        """The person reads on another device, up to near the end."""
        self.world.mark(conv_id, len(self.world.log.timeline_of(conv_id)) - back)

    @rule(conv_id=conversations, until=st.sampled_from([0, 5, 9]))
    def mute_elsewhere(self, conv_id: str, until: int) -> None:
        """The person mutes a conversation on another device, or ends the mute."""
        self.world.mute(conv_id, until)

    @rule(memberships=counts, entries=counts, heads=counts, sync=counts)
    def sink(self, memberships: int, entries: int, heads: int, sync: int) -> None:
        """Each sink writes some records."""
        store = self.world.store
        store.write_memberships(memberships)
        store.write_entries(entries)
        store.write_heads(heads)
        store.write_sync(sync)
