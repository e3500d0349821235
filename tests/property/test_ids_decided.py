"""One outcome for each id, with any repetitions, joins and crashes."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET, structs

from schemas.ids import uuid7
from schemas.records import (
    AddMembers,
    AnyCommand,
    AnyEntry,
    CreateConversation,
    Duplicate,
    Rejected,
    RemoveMembers,
    SendMessage,
    TextContent,
)
from stream_processors.core.strangers import Strangers
from stream_processors.sequencing.sequencer import Sequencer
from stream_processors.state.conversations import Conversations
from stream_processors.state.state_codec import LaneProgress
from tests.support.sequencing import SMALL_LIMITS, Commit, Crash, Log, run, source

GROUP = CreateConversation(
    conv_id="c1", sender="own", device_id="x", client_msg_id=uuid7(0, 0), members=["ann"],
    join="open",
)  # fmt: skip
Step = AnyCommand | type[Crash | Commit]


@st.composite
def sent(draw: st.DrawFn) -> list[Step]:
    """Draw commands of two people and two installations, some of which are sent again."""
    steps: list[Step] = [GROUP]
    queues: dict[tuple[str, str], list[AnyCommand]] = {}
    for number in range(draw(st.integers(1, 50))):
        step = draw(st.sampled_from(["new", "new", "again", "again", "owner", "crash", "commit"]))
        if step == "crash":
            steps.append(Crash)
        elif step == "commit":
            steps.append(Commit)
        elif step == "owner":
            about: dict[str, Any] = {"conv_id": "c1", "sender": "own", "device_id": "x"}
            about |= {"client_msg_id": uuid7(1 + number, 0), "members": ["bob"]}
            adds = draw(st.booleans())
            steps.append(AddMembers(**about) if adds else RemoveMembers(**about))
        else:
            author = draw(st.sampled_from([("ann", ""), ("bob", ""), ("bob", "new")]))
            queue = queues.setdefault(author, [])
            if step == "new" or not queue:
                queue.append(_new(draw, author, len(queue)))
                steps.append(queue[-1])
            else:
                steps.append(draw(st.sampled_from(queue)))
    return steps


def _new(draw: st.DrawFn, author: tuple[str, str], number: int) -> AnyCommand:
    sender, installation = author
    common: dict[str, Any] = {
        "conv_id": draw(st.sampled_from(["c1", "c1", "c1", "c2"])), "sender": sender,
        "device_id": "phone", "client_msg_id": uuid7(1 + number, 7),
        "installation": installation or UNSET,
    }  # fmt: skip
    match draw(st.integers(0, 5)):
        case 0:
            return AddMembers(**common, members=[sender])
        case 1:
            return RemoveMembers(**common, members=[sender])
        case 2:
            return CreateConversation(**common, members=[])
    text = draw(st.sampled_from(["hi", "much longer than the limit"]))
    return SendMessage(**common, content=TextContent(text=text))


def outcomes(steps: list[Step], log: Log) -> list[tuple[AnyCommand, Any]]:
    """Pair each command with its sender's first record: a SeqId, or the code of a rejection."""
    calm = [step for step in steps if not isinstance(step, type)]
    sequencer = Sequencer(SMALL_LIMITS, Conversations(), LaneProgress())
    found, syncs = [], []
    for offset, command in enumerate(calm):
        batch = Log()
        sequencer.process(source(offset, command), batch)
        first = batch.sync_of(command.sender)[0]
        assert isinstance(first, Duplicate | Rejected | AnyEntry)
        found.append((command, first.code if isinstance(first, Rejected) else first.seq))
        syncs += batch.syncs
    assert log.syncs == syncs
    return found


@settings(max_examples=60, deadline=None)
@given(sent(), st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from([1, 1_000]))
def test_an_id_has_one_outcome(steps: list[Step], compact_share: float, busy_limit: int) -> None:
    """A copy has the outcome of the first command, and new ids are accepted in order.

    This holds through joins and leaves between the copies, crashes, and compacted logs.
    """
    log = run(steps, busy_limit=busy_limit, compact_share=compact_share)
    first: dict[Any, Any] = {}
    newest: dict[Any, str] = {}
    for command, outcome in outcomes(steps, log):
        device = (command.conv_id, command.sender, command.device_id, command.installation)
        identity = (*device, command.client_msg_id)
        if identity in first:
            assert outcome == first[identity]
            continue
        first[identity] = outcome
        assert (outcome == "stale") == (command.client_msg_id <= newest.get(device, ""))
        newest[device] = max(newest.get(device, ""), command.client_msg_id)
    for conv_id in log.conversations:
        ids = [(e.sender, e.client_msg_id) for e in log.timeline_of(conv_id)]
        of_ann = [id_ for sender, id_ in ids if sender == "ann"]
        assert of_ann == sorted(of_ann)


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 2), st.booleans()), max_size=60),
    st.integers(1, 8),
    st.integers(1, 4),
)
def test_refusals_of_strangers_are_bounded_in_number(
    refused: list[tuple[str, int, bool]], places: int, each: int
) -> None:
    """The latest refusals are remembered within both bounds, also after a restore."""
    strangers, logged = Strangers(places, each), {}
    for number, (sender, device, restores) in enumerate(refused):
        command = structs.replace(
            GROUP, sender=sender, device_id=str(device), client_msg_id=uuid7(number, 0)
        )
        place, refusal = strangers.add(command, 0, "not_a_member")
        logged[place] = refusal
        assert strangers.window(command).newest == command.client_msg_id
        assert strangers.window(command).known(command.client_msg_id) is not None
        if restores:
            strangers = Strangers(places, each)
            for at, remembered in reversed(logged.items()):
                strangers.restore(at, remembered)
        assert len(logged) <= places
        of_sender = [remembered for remembered in logged.values() if remembered.sender == sender]
        assert len(of_sender) <= each
        assert refusal in of_sender
