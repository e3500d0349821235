"""Writing over HTTP, with a log in memory and the real rules of the sequencer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from gateway.http.http_app import writes_to
from gateway.http.tokens import issue_token
from gateway.writes.command_answers import Writes
from schemas.codec import decode_command, decode_entry, encode
from schemas.direct_chats import direct_chat_id
from schemas.ids import uuid7
from schemas.records import MUTED_WITHOUT_END, ConversationDescribed, MessageSent, Rejected
from tests.support.gateway import Answer, Caller, serving, token_settings
from tests.support.gateway_store import FakeIndex, FakeStore
from tests.support.sequenced_log import BEGIN_MS, SequencedLog
from tests.support.waiting import until

SETTINGS = token_settings(write_wait="PT0.3S")
MESSAGES = "/v1/conversations/c/messages"
PROBLEM = "urn:im-timeline:problem:"


@pytest.fixture
def log() -> SequencedLog:
    """A log without commands."""
    return SequencedLog()


@pytest.fixture
async def writes(log: SequencedLog) -> Writes:
    """The parts that write to the log."""
    made = writes_to(SETTINGS, log)
    log.feed(made.waiters)
    return made


@pytest.fixture
def store() -> FakeStore:
    """An empty store."""
    return FakeStore()


@pytest.fixture
async def gateway(writes: Writes, store: FakeStore) -> AsyncIterator[Caller]:
    """A gateway with the conversation ``c`` of ann, the owner, and bob."""
    async with serving(SETTINGS, store, FakeIndex(), writes=writes) as caller:
        made = await caller.write("POST", "/v1/conversations", "ann", conv_id="c", members=["bob"])
        assert made.status == 201
        yield caller


async def until_undelivered(log: SequencedLog) -> None:
    """Waits until a command has reached the log, which does not acknowledge the command."""

    async def is_undelivered() -> bool:
        return log.undelivered > 0

    await until(is_undelivered, 30)


async def send(gateway: Caller, user: str = "ann", **fields: Any) -> Answer:
    """Send a message."""
    return await gateway.write("POST", MESSAGES, user, **({"text": "hello"} | fields))


def problem(answer: Answer) -> tuple[int, str]:
    """Return the status and the kind of a problem."""
    return answer.status, answer.body["type"].removeprefix(PROBLEM)


async def test_a_message_is_answered_with_its_place(gateway: Caller, log: SequencedLog) -> None:
    """The response has the SeqId and the broker's time; the sender is the token's user."""
    answer = await send(gateway, text="hello", mentions=["bob"])
    assert answer.status == 201
    assert answer.body | {"client_msg_id": ""} == {
        "conv_id": "c", "seq": 2, "at": BEGIN_MS + 1, "client_msg_id": "",
    }  # fmt: skip
    entry = decode_entry(log.entries[-1][1])
    assert isinstance(entry, MessageSent)
    assert (entry.sender, entry.content.text, entry.mentions) == ("ann", "hello", ["bob"])
    assert entry.client_msg_id == answer.body["client_msg_id"]


async def test_every_command_has_a_route(gateway: Caller, log: SequencedLog) -> None:
    """Each route makes its command, and answers with the SeqId of its entry."""
    chat = "/v1/conversations/c"
    steps: list[tuple[str, str, str, dict[str, Any], str, int, int]] = [
        ("POST", "/messages", "ann", {"text": "one"}, "message_sent", 2, 201),
        ("PUT", "/messages/2", "ann", {"text": "two"}, "message_edited", 3, 201),
        ("DELETE", "/messages/2", "ann", {}, "message_recalled", 4, 201),
        ("POST", "/members", "bob", {"members": ["chen", "dora"]}, "members_added", 5, 201),
        ("DELETE", "/members/dora", "ann", {}, "members_removed", 6, 201),
        ("PUT", "/owner", "ann", {"owner": "bob"}, "ownership_transferred", 7, 201),
        ("PUT", "/read", "bob", {"seq": 6}, "ownership_transferred", 6, 200),
        ("PUT", "/mute", "bob", {"until": 5}, "ownership_transferred", 7, 200),
        ("PUT", "/mute", "bob", {}, "ownership_transferred", 7, 200),
        ("DELETE", "/mute", "bob", {}, "ownership_transferred", 7, 200),
        ("PUT", "/description", "bob", {"name": "us"}, "conversation_described", 8, 201),
        ("POST", "/leave", "ann", {}, "members_removed", 9, 201),
    ]
    for method, path, user, fields, kind, seq, status in steps:
        answer = await gateway.write(method, chat + path, user, **fields)
        assert (answer.status, answer.body.get("seq")) == (status, seq), (path, answer.body)
        assert decode_entry(log.entries[-1][1]).__struct_config__.tag == kind


async def test_a_new_conversation_has_a_name(gateway: Caller, log: SequencedLog) -> None:
    """The name and the metadata of a creation are the content of its last entry."""
    named = {"name": "team", "metadata": '{"color": "red"}'}
    made = await gateway.write("POST", "/v1/conversations", "ann", members=["bob"], **named)
    assert made.status == 201
    entry = decode_entry(log.entries[-1][1])
    assert isinstance(entry, ConversationDescribed)
    assert (entry.name, entry.metadata) == ("team", '{"color": "red"}')
    wrong = await gateway.write("POST", "/v1/conversations", "ann", members=[], metadata="[]")
    assert problem(wrong) == (400, "bad-body")


async def test_a_direct_chat_is_got_or_created(
    gateway: Caller, log: SequencedLog, store: FakeStore
) -> None:
    """Both people get the same chat, before and after the store has it; one entry creates it."""
    made = await gateway.send("PUT", "/v1/direct/bob", "ann")
    chat = direct_chat_id("ann", "bob")
    assert (made.status, made.body) == (201, {"conv_id": chat, "created": True})
    entries = len(log.entries)
    again = await gateway.send("PUT", "/v1/direct/ann", "bob")  # not stored yet
    assert (again.status, again.body) == (200, {"conv_id": chat, "created": False})
    store.put_conversation(chat, 1)
    store.put_change("bob", chat, 1, joined=True)
    stored = await gateway.send("PUT", "/v1/direct/ann", "bob", b"{}")
    assert (stored.status, stored.body) == (200, again.body)
    assert len(log.entries) == entries
    other = await gateway.send("PUT", "/v1/direct/eve", "ann")
    assert (other.status, other.body["conv_id"]) == (201, direct_chat_id("ann", "eve"))


async def test_two_people_who_create_their_chat_at_once_make_one(
    gateway: Caller, log: SequencedLog
) -> None:
    """One of simultaneous requests creates the chat, and all have its id."""
    before = len(log.entries)
    answers = await asyncio.gather(
        *(gateway.send("PUT", f"/v1/direct/{other}", user)
          for _ in range(3) for user, other in (("ann", "bob"), ("bob", "ann")))
    )  # fmt: skip
    assert sorted(answer.status for answer in answers) == [200] * 5 + [201]
    assert {answer.body["conv_id"] for answer in answers} == {direct_chat_id("ann", "bob")}
    assert len(log.entries) == before + 1


@pytest.mark.parametrize("user", ["ann", "%00", "x" * 129])
async def test_a_direct_chat_needs_another_person(gateway: Caller, user: str) -> None:
    """There is no direct chat with oneself, nor with an id that nobody can have."""
    answer = await gateway.send("PUT", f"/v1/direct/{user}", "ann")
    assert problem(answer) == (400, "bad-parameter")


async def test_a_body_without_needed_fields_may_be_absent(gateway: Caller) -> None:
    """A recall and a leave need no body."""
    await send(gateway)
    assert (await gateway.send("DELETE", f"{MESSAGES}/2", "ann")).status == 201
    assert (await gateway.send("POST", "/v1/conversations/c/leave", "bob")).status == 201


async def test_a_new_conversation_needs_no_id(gateway: Caller, log: SequencedLog) -> None:
    """A conversation without an id is the same one at each repetition."""
    made = await gateway.write("POST", "/v1/conversations", "ann", members=["bob"])
    assert made.status == 201
    assert made.body["conv_id"] == made.body["client_msg_id"]
    again = await gateway.write(
        "POST", "/v1/conversations", "ann",
        members=["bob"], client_msg_id=made.body["client_msg_id"],
    )  # fmt: skip
    assert (again.status, again.body["conv_id"]) == (201, made.body["conv_id"])
    assert len(log.entries) == 2


@pytest.mark.parametrize("as_header", [False, True])
async def test_a_repeated_request_has_the_first_outcome(
    gateway: Caller, log: SequencedLog, store: FakeStore, *, as_header: bool
) -> None:
    """The same id, in the body or as Idempotency-Key, gives the first SeqId and the first time."""
    client_msg_id = uuid7(1_764_000_000_000, 7)
    headers = {"Idempotency-Key": f'"{client_msg_id}"'} if as_header else {}
    id_field = "" if as_header else f',"client_msg_id":"{client_msg_id}"'
    body = f'{{"text":"once"{id_field}}}'.encode()
    first = await gateway.send("POST", MESSAGES, "ann", body, headers)
    entry = decode_entry(log.entries[-1][1])
    assert isinstance(entry, MessageSent)
    store.put_message(entry)
    again = await gateway.send("POST", MESSAGES, "ann", body, headers)
    assert first.status == again.status == 201
    assert first.body == again.body
    assert first.body["client_msg_id"] == client_msg_id
    assert len(log.entries) == 2


async def test_a_repetition_through_another_gateway_has_no_second_effect(
    gateway: Caller, log: SequencedLog, store: FakeStore
) -> None:
    """An id that one gateway made is recognised when another gateway sends it."""
    first = await send(gateway)
    other = writes_to(SETTINGS, log)
    log.feed(other.waiters)
    async with serving(SETTINGS, store, FakeIndex(), writes=other) as caller:
        await send(caller)  # an id of the other gateway
        again = await send(caller, client_msg_id=first.body["client_msg_id"])
    assert (again.status, again.body["seq"]) == (201, first.body["seq"])
    assert len(log.entries) == 3


async def test_other_content_under_a_used_id_is_a_conflict(gateway: Caller) -> None:
    """A used id with another text is rejected, not answered with the first message."""
    first = await send(gateway, text="one")
    answer = await send(gateway, text="two", client_msg_id=first.body["client_msg_id"])
    assert problem(answer) == (409, "conflict")
    assert answer.body["code"] == "conflict"
    assert answer.body["client_msg_id"] == first.body["client_msg_id"]


async def test_two_contents_under_one_id_at_once_have_their_own_outcomes(
    gateway: Caller, log: SequencedLog
) -> None:
    """One of two concurrent requests is accepted and the other one is a conflict."""
    log.sequences = False
    client_msg_id = uuid7(1_764_000_000_000, 7)
    sends = [
        asyncio.create_task(send(gateway, text=text, client_msg_id=client_msg_id))
        for text in ("one", "two")
    ]

    async def both_arrived() -> bool:
        return len(log.sources) == 3

    await until(both_arrived, 10)
    log.sequence()
    accepted, refused = sorted([await each for each in sends], key=lambda a: a.status)
    assert (accepted.status, problem(refused)) == (201, (409, "conflict"))


@pytest.mark.parametrize(
    ("user", "route", "fields", "expected"),
    [
        ("eve", "POST c/messages", {"text": "hi"}, (403, "not-a-member")),
        ("ann", "POST none/messages", {"text": "hi"}, (404, "unknown-conversation")),
        ("ann", "PUT c/messages/9", {"text": "hi"}, (404, "unknown-message")),
        ("bob", "DELETE c/members/ann", {}, (403, "not-allowed")),
        ("ann", "POST c/members", {"members": ["bob"]}, (409, "already-a-member")),
        ("ann", "PUT c/read", {"seq": 9}, (400, "invalid")),
        ("eve", "PUT c/mute", {}, (403, "not-a-member")),
        ("ann", "DELETE none/mute", {}, (404, "unknown-conversation")),
    ],
)
async def test_a_rejection_is_a_typed_problem(
    gateway: Caller, user: str, route: str, fields: dict[str, Any], expected: object
) -> None:
    """The code of the sequencer becomes the type of the problem."""
    method, path = route.split()
    answer = await gateway.write(method, f"/v1/conversations/{path}", user, **fields)
    assert problem(answer) == expected
    assert answer.body["code"].replace("_", "-") == answer.body["type"].removeprefix(PROBLEM)


async def test_the_id_of_a_mute_is_remembered(gateway: Caller) -> None:
    """A copy of a mute has the SeqId of the first one. Another mute with the id is a conflict."""
    given = {"client_msg_id": uuid7(1_764_000_000_000, 0), "installation": "one"}
    path = "/v1/conversations/c/mute"
    first = await gateway.write("PUT", path, "bob", **given)
    assert (await send(gateway)).body["seq"] == 2
    again = await gateway.write("PUT", path, "bob", **given)
    assert (first.status, again.status) == (200, 200)
    assert (first.body["seq"], again.body["seq"]) == (1, 1)
    other = await gateway.write("DELETE", path, "bob", **given)
    assert problem(other) == (409, "conflict")


@pytest.mark.parametrize("until", [-1, MUTED_WITHOUT_END + 1, None, "5", 1.5])
async def test_the_end_of_a_mute_is_a_time(gateway: Caller, until: object) -> None:
    """A wrong end is a problem that names the field, and nothing is sent."""
    answer = await gateway.write("PUT", "/v1/conversations/c/mute", "bob", until=until)
    assert (problem(answer), answer.body["parameter"]) == ((400, "bad-body"), "until")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"text":1}', "text"),
        (b'{"text":" "}', "text"),
        (b'{"text":""}', "text"),
        (b'{"text":"%s"}' % (b"x" * 8_193), "text"),
        (b'{"text":"\\ud800"}', "body"),
        (b"{}", "text"),
        (b'{"text":"hi","mentions":["\\u0000"]}', "mentions"),
        (b'{"text":"hi","mentions":[""]}', "mentions"),
        (b'{"text":"hi","mentions":%s}' % (b"[" + b'"a",' * 100 + b'"a"]'), "mentions"),
        (b'{"text":"hi","client_msg_id":"1"}', "client_msg_id"),
        (b'{"text":"hi","device_id":"\\u0000"}', "device_id"),
        (b'{"text":"hi","installation":""}', "installation"),
        (b'{"text":"hi","sender":"bob"}', "sender"),
        (b"[]", "body"),
        (b"nonsense", "body"),
    ],
)
async def test_a_wrong_value_is_a_400_with_the_name_of_its_field(
    gateway: Caller, log: SequencedLog, body: bytes, field: str
) -> None:
    """Nothing is sent, and the problem names the field."""
    before = len(log.sources)
    answer = await gateway.send("POST", MESSAGES, "ann", body)
    assert problem(answer) == (400, "bad-body"), answer.body
    assert answer.body["parameter"] == field
    assert len(log.sources) == before


async def test_a_wrong_rule_is_not_quoted(gateway: Caller) -> None:
    """The problem names the field and does not repeat the value."""
    answer = await gateway.write("POST", "/v1/conversations", "ann", members=[], join="quotable")
    assert problem(answer) == (400, "bad-body")
    assert answer.body["parameter"] == "join"
    assert "quotable" not in str(answer.body)


@pytest.mark.parametrize("key", ["abc", "019acbd6-2381-4000-8000-000000100007", '""'])
async def test_another_idempotency_key_is_refused(gateway: Caller, key: str) -> None:
    """Only a UUIDv7 can be an id of a command."""
    answer = await gateway.send(
        "POST", MESSAGES, "ann", b'{"text":"hi"}', {"Idempotency-Key": key}
    )
    assert problem(answer) == (400, "bad-body")
    assert answer.body["parameter"] == "Idempotency-Key"


async def test_a_wrong_key_is_refused_also_for_an_existing_direct_chat(gateway: Caller) -> None:
    """The response to a wrong key does not depend on whether the chat exists."""
    for expected in (201, 200):
        answer = await gateway.send(
            "PUT", "/v1/direct/bob", "ann", b"", {"Idempotency-Key": "abc"}
        )
        assert problem(answer) == (400, "bad-body")
        assert (await gateway.send("PUT", "/v1/direct/bob", "ann")).status == expected


async def test_a_wrong_owner_is_named_by_the_field_of_the_body(gateway: Caller) -> None:
    """The command has another name for the field than the body."""
    for owner in ("\0", "ann"):
        answer = await gateway.write("PUT", "/v1/conversations/c/owner", "ann", owner=owner)
        assert problem(answer) == (400, "bad-body")
        assert answer.body["parameter"] == "owner"


async def test_kafka_away_is_a_503_and_nothing_is_sent(gateway: Caller, log: SequencedLog) -> None:
    """A refused command never arrives."""
    log.is_away, before = True, len(log.sources)
    answer = await send(gateway)
    assert problem(answer) == (503, "unavailable")
    assert answer.headers["Retry-After"] == "1"
    log.is_away = False
    assert (await send(gateway)).body["seq"] == 2
    assert len(log.sources) == before + 1


async def test_without_an_outcome_the_answer_is_a_202_with_a_status(
    gateway: Caller, log: SequencedLog
) -> None:
    """The status is pending until the outcome, then the outcome; others do not see it."""
    log.sequences = False
    answer = await send(gateway)
    assert answer.status == 202
    assert answer.headers["Location"] == answer.body["status"]
    pending = await gateway.get(answer.body["status"], "ann")
    assert (pending.status, pending.body["state"]) == (200, "pending")
    log.sequence()
    decided = await gateway.get(answer.body["status"], "ann")
    assert (decided.body["state"], decided.body["seq"]) == ("sequenced", 2)
    assert problem(await gateway.get(answer.body["status"], "bob")) == (404, "no-such-command")


async def test_a_stored_outcome_is_found_by_a_gateway_that_never_saw_the_command(
    gateway: Caller, log: SequencedLog, store: FakeStore
) -> None:
    """An entry precedes a later ``conflict`` under its id; others than the sender find nothing."""
    sent = await send(gateway)
    entry = decode_entry(log.entries[-1][1])
    assert isinstance(entry, MessageSent)
    reply: dict[str, Any] = {"conv_id": "c", "device_id": "http", "at": BEGIN_MS}
    refused = uuid7(1, 1)
    conflict = Rejected(sender="ann", client_msg_id=entry.client_msg_id, code="conflict", **reply)
    other = Rejected(sender="ann", client_msg_id=refused, code="not_allowed", **reply)
    store.put_synced("ann", 1, entry)
    store.put_record("ann", 2, encode(conflict))
    store.put_record("ann", 3, encode(other))
    async with serving(SETTINGS, store, FakeIndex()) as caller:

        async def status(client_msg_id: str, user: str = "ann") -> Answer:
            path = f"/v1/commands/{client_msg_id}"
            return await caller.ask(path, user, {"conversation": "c"})

        found = await status(sent.body["client_msg_id"])
        assert (found.body["state"], found.body["seq"]) == ("sequenced", 2)
        found = await status(refused)
        assert (found.body["state"], found.body["code"]) == ("rejected", "not_allowed")
        assert problem(await status(refused, "bob")) == (404, "no-such-command")
        assert problem(await status(uuid7(2, 2))) == (404, "no-such-command")


async def test_the_status_of_a_rejection_has_its_code(gateway: Caller, log: SequencedLog) -> None:
    """A late rejection is found by the status."""
    log.sequences = False
    answer = await send(gateway, "eve")
    log.sequence()
    decided = await gateway.get(answer.body["status"], "eve")
    assert (decided.body["state"], decided.body["code"]) == ("rejected", "not_a_member")


@pytest.mark.parametrize("is_in_log", [False, True])
async def test_an_unknown_delivery_is_a_504_and_can_be_repeated(
    gateway: Caller, log: SequencedLog, *, is_in_log: bool
) -> None:
    """Whether the broker has the command or not, the repetition gives one message."""
    log.acknowledges = False
    sending = asyncio.create_task(send(gateway))
    await until_undelivered(log)
    log.lose(is_in_log=is_in_log)
    answer = await sending
    assert problem(answer) == (504, "delivery-unknown")
    assert answer.headers["Retry-After"] == "1"
    log.acknowledges = True
    again = await send(gateway, client_msg_id=answer.body["client_msg_id"])
    assert (again.status, again.body["seq"]) == (201, 2)
    assert len(log.entries) == 2


async def test_a_silent_broker_is_a_504_after_the_wait(gateway: Caller, log: SequencedLog) -> None:
    """Without an acknowledgement the response is not a 2xx, and a late one changes the status."""
    log.acknowledges = False
    answer = await send(gateway)
    assert problem(answer) == (504, "delivery-unknown")
    path = f"/v1/commands/{answer.body['client_msg_id']}"
    asked = {"conversation": "c"}
    assert (await gateway.ask(path, "ann", asked)).body["state"] == "unknown"
    log.acknowledge()
    assert (await gateway.ask(path, "ann", asked)).body["state"] == "sequenced"


async def test_an_acknowledgement_without_a_time_is_a_202(
    gateway: Caller, log: SequencedLog
) -> None:
    """Without the broker's time no outcome can be assigned to the copy: it is not guessed."""
    log.acknowledges = log.sequences = False
    sending = asyncio.create_task(send(gateway))
    await until_undelivered(log)
    log.acknowledge(is_timed=False)
    log.sequence()
    assert (await sending).status == 202


async def test_concurrent_requests_of_one_device_are_all_accepted(
    gateway: Caller, log: SequencedLog
) -> None:
    """Generated ids reach the log in their order, so none is stale."""
    answers = await asyncio.gather(*(send(gateway, text=str(n)) for n in range(60)))
    assert {answer.status for answer in answers} == {201}
    ids = [decode_command(source.value).client_msg_id for source in log.sources[1:]]
    assert ids == sorted(ids)
    assert sorted(answer.body["seq"] for answer in answers) == list(range(2, 62))


async def test_the_device_is_that_of_the_token_or_of_the_request(
    gateway: Caller, log: SequencedLog
) -> None:
    """A field of the request precedes the claim of the token; without both there is a default."""
    token = issue_token(SETTINGS, "ann", timedelta(minutes=1), device="desk")
    headers = {"Authorization": f"Bearer {token}"}
    await gateway.send("POST", MESSAGES, None, b'{"text":"hi"}', headers)
    body = b'{"text":"hi","device_id":"phone"}'
    await gateway.send("POST", MESSAGES, None, body, headers)
    await send(gateway)
    commands = [decode_command(source.value) for source in log.sources[1:]]
    assert [command.device_id for command in commands] == ["desk", "phone", "http"]
    assert {command.sender for command in commands} == {"ann"}


async def test_nobody_writes_without_a_token(gateway: Caller) -> None:
    """Every route that writes needs a token."""
    assert (await gateway.send("POST", MESSAGES, None, b'{"text":"hi"}')).status == 401
