"""What the push stage knows of devices and of live connections, from the records of two topics."""

from __future__ import annotations

import logging

import pytest

from schemas.codec import encode
from schemas.errors import UndecodableRecord
from schemas.live_people import LIVE_RECORD, LIVE_TTL, MAX_LIVE_TTL_MS, live_until
from schemas.number_types import Milliseconds
from schemas.push_addresses import MatrixAddress, PushAddress, WebhookAddress, WebPushAddress
from schemas.push_devices import PushDevice, decode_push_device
from schemas.user_keys import user_part_key, user_part_of
from sinks.push.address_reader import AddressBook
from sinks.push.live_reader import LiveBook

TTL_MS = int(LIVE_TTL.total_seconds() * 1000)
ADDRESSES: list[PushAddress] = [
    WebhookAddress(url="https://hooks.example/ann"),
    MatrixAddress(
        gateway="https://push.example/_matrix/push/v1/notify", app_id="app", pushkey="k-secret"
    ),
    WebPushAddress(endpoint="https://web.example/1", p256dh="B" * 87, auth="a" * 22),
]


def registered(address: PushAddress, at: int = 5) -> PushDevice:
    """A registration."""
    return PushDevice(at=Milliseconds(at), address=address)


@pytest.mark.parametrize("address", ADDRESSES, ids=lambda each: type(each).__name__)
def test_a_registration_is_decoded_as_it_was_encoded(address: PushAddress) -> None:
    """Each kind of address survives the topic."""
    assert decode_push_device(encode(registered(address))) == registered(address)


@pytest.mark.parametrize("key", [None, b"", b"ann", b"ann\n", b"\nphone", b"a\nb\nc", b"\xff\nb"])
def test_a_key_of_another_form_is_an_error(key: bytes | None) -> None:
    """Only the key of a person and a part is accepted; ids may have spaces and other signs."""
    with pytest.raises(UndecodableRecord):
        user_part_of(key)
    assert user_part_of(user_part_key("陈 | b", "my phone")) == ("陈 | b", "my phone")


def test_the_last_record_of_a_device_counts() -> None:
    """A registration replaces the earlier one of its device; a record without a value ends it."""
    book = AddressBook()
    webhook, matrix, web_push = map(registered, ADDRESSES)
    for device_id, device in [("phone", webhook), ("desk", matrix), ("phone", web_push)]:
        book.take(user_part_key("ann", device_id), encode(device))
    assert book.devices("ann") == {"phone": web_push, "desk": matrix}
    assert book.devices("bob") == {}
    book.take(user_part_key("ann", "phone"), None)
    book.take(user_part_key("bob", "phone"), None)
    assert book.devices("ann") == {"desk": matrix}
    book.take(user_part_key("ann", "desk"), None)
    assert len(book) == 0


def test_an_unreadable_registration_is_ignored_without_its_secret(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A later version's address is skipped; the log names the fault, and no part of the value."""
    book = AddressBook()
    book.take(user_part_key("ann", "phone"), b'{"at":5,"address":{"provider":"k-secret"}}')
    book.take(b"no part", encode(registered(ADDRESSES[1])))
    with caplog.at_level(logging.WARNING):
        assert book.devices("ann") == {}
    assert "ignored" in caplog.text
    assert "k-secret" not in caplog.text


@pytest.mark.parametrize("address", ADDRESSES, ids=lambda each: type(each).__name__)
def test_the_text_of_an_address_has_no_secret(address: PushAddress) -> None:
    """An address that gets into a message or a log line shows its kind alone."""
    for text in (repr(address), str(address), repr(registered(address))):
        assert "example" not in text
        assert "secret" not in text
        assert type(address).__name__ in text


def test_a_record_of_a_live_person_counts_for_its_ttl() -> None:
    """The broker's timestamp and the TTL determine the end. A wrong TTL is an error."""
    at = Milliseconds(1_000)
    assert live_until(LIVE_RECORD, at) == at + TTL_MS
    assert live_until(None, at) == at
    for wrong in (b"", b"{}", b'{"ttl_ms":0}', b'{"ttl_ms":%d}' % (MAX_LIVE_TTL_MS + 1)):
        with pytest.raises(UndecodableRecord):
            live_until(wrong, at)


def test_a_person_is_live_until_the_last_gateway_has_ended_or_expired() -> None:
    """Connections to several gateways count; a killed gateway's record ends by its TTL."""
    book = LiveBook()
    one, other = user_part_key("ann", "g1"), user_part_key("ann", "g2")
    book.take(one, LIVE_RECORD, Milliseconds(0))
    book.take(other, LIVE_RECORD, Milliseconds(10))
    assert book.is_live("ann", Milliseconds(TTL_MS - 1))
    book.take(other, None, Milliseconds(20))
    assert book.is_live("ann", Milliseconds(TTL_MS - 1))
    assert not book.is_live("ann", Milliseconds(TTL_MS))
    book.take(one, LIVE_RECORD, Milliseconds(TTL_MS))
    assert book.is_live("ann", Milliseconds(2 * TTL_MS - 1))
    assert not book.is_live("bob", Milliseconds(0))


def test_expired_people_are_forgotten() -> None:
    """The memory has the people of killed gateways for a minute more than they count."""
    book = LiveBook()
    for number in range(100):
        book.take(user_part_key(f"u{number}", "g"), LIVE_RECORD, Milliseconds(0))
    book.take(user_part_key("ann", "g"), LIVE_RECORD, Milliseconds(2 * TTL_MS))
    assert not book.is_live("u1", Milliseconds(3 * TTL_MS - 1))
    assert len(book) == 1
