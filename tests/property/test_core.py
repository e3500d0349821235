"""Properties of the sequencer's core for any commands and crashes."""

from __future__ import annotations

from collections import defaultdict

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import msgpack, structs

from schemas.codec import decode_sync_record
from schemas.number_types import Milliseconds, SeqId
from schemas.records import (
    AnyCommand,
    AnyEntry,
    ConversationCreated,
    ConversationDescribed,
    FanoutChanged,
    HistoryRule,
    MembersAdded,
    MembersRemoved,
    MessageEdited,
    MessageRecalled,
    MessageSent,
    OwnershipTransferred,
    Retracted,
)
from stream_processors.core.decide import decide
from stream_processors.core.outcome import Accept, Decision, Mute
from stream_processors.core.state import Conversation, ConversationState, HeadAndOpenPage
from stream_processors.core.strangers import Strangers
from stream_processors.state.frozen import freeze, thaw
from stream_processors.state.state_codec import restored
from tests.support.commands import (
    commands,
    growing_group,
    message,
    opening,
    talk,
)
from tests.support.sequencing import SMALL_LIMITS, Commit, Crash, Log, run

command_lists = st.lists(commands, max_size=60)
talks = st.lists(talk, min_size=15, max_size=60).map(lambda said: [*opening(), *said])
"""Commands with many edits and recalls, by people who mostly have the right."""
step_lists = st.lists(st.one_of(commands, st.just(Crash), st.just(Commit)), max_size=80)


class Reading:
    """Recipients of entries, computed from one conversation timeline in the simplest way."""

    def __init__(self) -> None:
        self.members: set[str] = set()
        self.mode = "push"
        self.owner = ""
        # of each message: the recipients of it and of its edits
        self.texts: dict[int, list[set[str]]] = {}
        self.readers: dict[int, set[str]] = {}  # of each entry: the members at that time
        # of each recall: the former members with access to the text
        self.retracted: dict[int, set[str]] = {}

    def recipients(self, entry: AnyEntry) -> set[str]:  # noqa: PLR0911 - one of each kind
        """Read the next entry; return its recipients."""
        self.readers[entry.seq] = set(self.members)
        match entry:
            case ConversationCreated() | MembersAdded():
                self.owner = self.owner or entry.sender
                self.members |= set(entry.members)
                return self._all_or({entry.sender, *entry.members})
            case MembersRemoved():
                receivers = self._all_or({entry.sender, *entry.members})
                self.members -= set(entry.members)
                return receivers
            case FanoutChanged():
                self.mode = entry.mode
                return set(self.members)
            case MessageSent():
                receivers = self._all_or({entry.sender, *entry.mentions})
                self.texts[entry.seq] = [receivers]
                return receivers
            case ConversationDescribed():
                return self._all_or({entry.sender})
            case OwnershipTransferred():
                receivers = self._all_or({entry.sender, self.owner, entry.owner})
                self.owner = entry.owner
                return receivers
            case MessageEdited():
                had_text = set().union(*self.texts[entry.target])
                receivers = self._all_or({entry.sender, *entry.mentions, *had_text})
                self.texts[entry.target].append(receivers)
                return receivers
            case MessageRecalled():
                had_text = set().union(*self.texts.pop(entry.target))
                seqs = (entry.target, *entry.edits)
                could_read = set().union(*(self.readers[seq] for seq in seqs))
                self.retracted[entry.target] = could_read - self.members
                return self._all_or({entry.sender, *had_text})

    def _all_or(self, some: set[str]) -> set[str]:
        return set(self.members) if self.mode == "push" else some & self.members


def expected_recipients(timeline: list[AnyEntry]) -> list[set[str]]:
    """The recipients of each entry."""
    reading = Reading()
    return [reading.recipients(entry) for entry in timeline]


def received(log: Log, conv_id: str) -> dict[int, list[str]]:
    """The people whose sync timelines contain each SeqId of a conversation."""
    by_seq: dict[int, list[str]] = defaultdict(list)
    for user in {key for key, _ in log.syncs}:
        for record in log.sync_of(user):
            if isinstance(record, AnyEntry) and record.conv_id == conv_id:
                by_seq[record.seq].append(user)
    return by_seq


@given(command_lists)
def test_every_conversation_is_numbered_from_one_without_holes(steps: list[AnyCommand]) -> None:
    """SeqIds are dense and start at 1, with any rejections and repeated commands."""
    log = run(steps)
    for conv_id in log.conversations:
        seqs = [entry.seq for entry in log.timeline_of(conv_id)]
        assert seqs == list(range(1, len(seqs) + 1))


@given(command_lists)
def test_entries_reach_exactly_their_recipients(steps: list[AnyCommand]) -> None:
    """An entry is exactly once in the sync timeline of each recipient, and in no other."""
    log = run(steps)
    for conv_id in log.conversations:
        timeline = log.timeline_of(conv_id)
        got = received(log, conv_id)
        for entry, wanted in zip(timeline, expected_recipients(timeline), strict=True):
            assert sorted(got[entry.seq]) == sorted(wanted)


@settings(max_examples=300)
@given(talks)
def test_a_recall_reaches_every_recipient_of_the_text(steps: list[AnyCommand]) -> None:
    """Everybody who has a text receives its recall, in any mode and after any leave.

    A member receives the entry, and a former member receives a notice. Other people receive
    nothing, except members of a pushed conversation. Nothing is edited or recalled after its
    recall.
    """
    log = run(steps)
    timeline = log.timeline_of("c1")
    got = received(log, "c1")
    reading = Reading()
    for entry in timeline:
        assert sorted(got[entry.seq]) == sorted(reading.recipients(entry))
    for target, left in reading.retracted.items():
        receivers = [user for user in {key for key, _ in log.syncs}
                for record in log.sync_of(user)
                if isinstance(record, Retracted) and record.target == target]  # fmt: skip
        assert sorted(receivers) == sorted(left)
    altered = [e for e in timeline if isinstance(e, MessageEdited | MessageRecalled)]
    for entry in altered:
        before = [e for e in altered if e.target == entry.target and e.seq < entry.seq]
        assert not any(isinstance(e, MessageRecalled) for e in before)
        if isinstance(entry, MessageRecalled):
            assert entry.edits == [e.seq for e in before]


@settings(max_examples=200)
@given(talks)
def test_only_permitted_people_recall_and_edit_within_the_time_limit(
    steps: list[AnyCommand],
) -> None:
    """Only the sender edits or recalls, within the time limits; the owner may recall, too."""
    owner = "ann"
    for entry in (timeline := run(steps).timeline_of("c1")):
        if isinstance(entry, OwnershipTransferred):
            owner = entry.owner
        if isinstance(entry, MessageEdited | MessageRecalled):
            target = timeline[entry.target - 1]
            assert isinstance(target, MessageSent)
            recalls = isinstance(entry, MessageRecalled)
            assert entry.sender in ({target.sender, owner} if recalls else {target.sender})
            within = SMALL_LIMITS.recall_within_ms if recalls else SMALL_LIMITS.edit_within_ms
            assert entry.at - target.at <= within


@settings(max_examples=200)
@given(step_lists, st.integers(0, 12), st.sampled_from(["since_join", "all"]))
def test_every_join_has_the_history_rule_of_its_conversation(
    steps: list[AnyCommand | type[Crash | Commit]], more: int, rule: HistoryRule
) -> None:
    """Each join has the history rule of the creation, after mode changes and crashes.

    Readers use the rule of the conversation's first command.
    """
    asked = {"c1": rule}
    created, *joins = growing_group(1 + more)
    log = run([structs.replace(created, history=rule), *joins, *steps])
    for conv_id in log.conversations:
        for entry in log.timeline_of(conv_id):
            if isinstance(entry, ConversationCreated):
                assert asked.setdefault(conv_id, entry.history) == entry.history
            elif isinstance(entry, MembersAdded):
                assert entry.history == asked[conv_id]


@given(command_lists)
def test_a_sync_timeline_keeps_the_order_of_each_conversation(steps: list[AnyCommand]) -> None:
    """In a sync timeline the SeqIds of each conversation increase."""
    log = run(steps)
    for user in {key for key, _ in log.syncs}:
        last: dict[str, int] = {}
        for record in log.sync_of(user):
            if isinstance(record, AnyEntry):
                assert record.seq > last.get(record.conv_id, 0)
                last[record.conv_id] = record.seq


@given(command_lists)
def test_every_command_becomes_an_entry_or_a_reply(steps: list[AnyCommand]) -> None:
    """Each command is accepted, or gets a reply: a duplicate or a rejection."""
    log = run(steps)
    accepted = {(entry.conv_id, entry.sender, entry.client_msg_id)
                for conv in log.conversations for entry in log.timeline_of(conv)}  # fmt: skip
    records = [decode_sync_record(value) for _, value in log.syncs]
    replies = sum(not isinstance(record, AnyEntry) for record in records)
    devices = {(c.conv_id, c.sender, c.client_msg_id, c.device_id) for c in steps}
    assert len(accepted) <= len(devices)
    assert replies >= len(steps) - len(devices)


@given(command_lists)
def test_sending_everything_again_adds_nothing(steps: list[AnyCommand]) -> None:
    """A second run of the same commands accepts no command that the first run accepted."""
    once, twice = run(steps), run([*steps, *steps])
    ids = [(e.conv_id, e.sender, e.client_msg_id, e.seq)
           for conv in twice.conversations for e in twice.timeline_of(conv)]  # fmt: skip
    first_ids = {(e.conv_id, e.sender, e.client_msg_id, e.seq)
                 for conv in once.conversations for e in once.timeline_of(conv)}  # fmt: skip
    accepted_again = [i for i in ids if i not in first_ids and i[:3] in {f[:3] for f in first_ids}]
    by_device = {(c.conv_id, c.sender, c.client_msg_id) for c in steps if c.device_id == "phone"}
    both = by_device & {
        (c.conv_id, c.sender, c.client_msg_id) for c in steps if c.device_id == "desk"
    }
    assert [i for i in accepted_again if i[:3] not in both] == []


@settings(max_examples=300)
@given(step_lists, st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from([1, 1_000]))
def test_a_crash_at_any_point_changes_nothing(
    steps: list[AnyCommand | type[Crash | Commit]], compact_share: float, busy_limit: int
) -> None:
    """Crashes and restores from logs with any compaction do not change the output."""
    calm = run([step for step in steps if step is not Crash and step is not Commit])
    stormy = run(steps, busy_limit=busy_limit, compact_share=compact_share)
    assert stormy.entries == calm.entries
    assert stormy.syncs == calm.syncs


@settings(max_examples=200)
@given(
    talks,
    st.lists(st.integers(0, 70), max_size=8),
    st.sampled_from([0.0, 0.5, 1.0]),
    st.sampled_from([1, 1_000]),
)
def test_a_crash_changes_no_decision_about_recalls_and_edits(
    said: list[AnyCommand], crashes: list[int], compact_share: float, busy_limit: int
) -> None:
    """Crashes do not change who may recall or edit which message, and who receives the recall."""
    steps: list[AnyCommand | type[Crash | Commit]] = []
    for number, command in enumerate(said):
        steps += [command, Commit] if number % 3 == 0 else [command]
        steps += [Crash] if number in crashes else []
    calm = run(said)
    stormy = run(steps, busy_limit=busy_limit, compact_share=compact_share)
    assert stormy.entries == calm.entries
    assert stormy.syncs == calm.syncs


@given(
    st.integers(1, 12),
    st.lists(st.one_of(st.integers(0, 100), st.just(Crash), st.just(Commit)), max_size=40),
    st.sampled_from([0.0, 0.5, 1.0]),
)
def test_a_full_window_survives_a_crash(
    each: int, later: list[int | type[Crash | Commit]], compact_share: float
) -> None:
    """With more commands than the window holds, a crash forgets no id of the window."""
    steps: list[int | type[Crash | Commit]] = []
    for number in range(20, 80):
        steps += [number, Commit] if number % each == 0 else [number]
    steps += [Crash, *later]
    sent = [message(step) if isinstance(step, int) else step for step in steps]
    calm = run([*growing_group(1), *filter(is_command, sent)])
    stormy = run([*growing_group(1), *sent], compact_share=compact_share)
    assert stormy.entries == calm.entries
    assert stormy.syncs == calm.syncs


def is_command(step: AnyCommand | type[Crash | Commit]) -> bool:
    """Return whether a step is a command, and not a crash or a commit."""
    return not isinstance(step, type)


@given(command_lists)
def test_idle_conversations_decide_like_busy_ones(steps: list[AnyCommand]) -> None:
    """The output is the same when idle conversations are stored encoded."""
    assert run(steps, busy_limit=1).entries == run(steps).entries


def test_a_state_from_before_the_history_rule_is_restored() -> None:
    """A stored head without a history rule, by an earlier version, gets ``since_join``."""
    head = msgpack.encode(["ann", "open", "push", 7])
    assert restored(b"c", head) == HeadAndOpenPage(
        ConversationState("ann", "open", "push", SeqId(7), "since_join", 0), 0, {}
    )


@given(command_lists)
def test_a_decision_does_not_change_the_state(steps: list[AnyCommand]) -> None:
    """`decide` is pure: it does not change its input, and repeats its result."""
    conversation = Conversation()
    for at, command in enumerate(steps):
        before = freeze(conversation)
        decision = decide(SMALL_LIMITS, conversation, command, Milliseconds(at))
        assert freeze(conversation) == before
        again = decide(SMALL_LIMITS, thaw(before), command, Milliseconds(at))
        assert comparable(again) == comparable(decision)
        if isinstance(decision, Accept):
            decision.apply_to(conversation)
        elif isinstance(decision, Mute):
            decision.apply_to(conversation, Strangers())


def comparable(decision: Decision) -> object:
    """Return the decision with the content of its window in place of the window."""
    if not isinstance(decision, Accept):
        return decision
    window = decision.window
    return structs.replace(decision, window=None), window and (window.place, list(window.held))


@given(command_lists)
def test_the_mode_follows_the_number_of_members_with_hysteresis(steps: list[AnyCommand]) -> None:
    """Above the limit the mode is pull, below the lower limit push, and between them unchanged."""
    log = run(steps)
    for conv_id in log.conversations:
        members: set[str] = set()
        mode = "push"
        timeline = log.timeline_of(conv_id)
        for entry, following in zip(timeline, [*timeline[1:], None], strict=True):
            if isinstance(entry, ConversationCreated | MembersAdded):
                members |= set(entry.members)
            elif isinstance(entry, MembersRemoved):
                members -= set(entry.members)
            elif isinstance(entry, FanoutChanged):
                assert entry.mode != mode
                assert entry.member_count == len(members)
                mode = entry.mode
            if not isinstance(following, FanoutChanged):
                assert mode == "pull" or len(members) <= SMALL_LIMITS.push_limit
                assert mode == "push" or len(members) >= SMALL_LIMITS.push_again_below
