"""The registration of push addresses. The topic alone has the addresses: see docs/push.md."""

from __future__ import annotations

from base64 import urlsafe_b64decode
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey

from gateway.contacts.address_log import AddressLog
from gateway.errors import DeviceNotFound, InvalidPushAddress
from gateway.reads.device_registry import show_device, take_out
from gateway.store.store_port import Store
from schemas.outbound_urls import ForbiddenAddress, OutboundPolicy, check_url
from schemas.push_addresses import MatrixAddress, PushAddress, WebhookAddress, WebPushAddress
from schemas.push_addresses import url_of as push_url_of

MATRIX_PATH: Final = "/_matrix/push/v1/notify"
"""The path of every Matrix push gateway, from the Matrix specification."""

_URL_FIELDS: Final[dict[type[PushAddress], str]] = {
    WebhookAddress: "url",
    MatrixAddress: "gateway",
    WebPushAddress: "endpoint",
}


def check_address(address: PushAddress, policy: OutboundPolicy) -> None:
    """Checks an address before it is stored.

    The push stage checks the host again when it connects, because names can change.

    Raises:
        InvalidPushAddress: The deployment would send no request to the address.
    """
    field = _URL_FIELDS[type(address)]
    try:
        check_url(push_url_of(address), policy)
    except ForbiddenAddress as error:
        raise InvalidPushAddress(field, str(error)) from None
    if isinstance(address, MatrixAddress) and not address.gateway.endswith(MATRIX_PATH):
        raise InvalidPushAddress(field, f"the path must be {MATRIX_PATH}")
    if isinstance(address, WebPushAddress) and not _is_public_key(address.p256dh):
        raise InvalidPushAddress("p256dh", "the key must be a point of the curve P-256")


async def register_address(
    store: Store, log: AddressLog, user: str, device_id: str, address: PushAddress
) -> None:
    """Replaces the push address of a registered device.

    Only a registered device has an address, so a person has at most as many as devices. The
    device is checked again afterwards: its removal may have happened in between.

    Raises:
        DeviceNotFound: There is no device with this id.
        ServerUnavailable: The store or the broker does not answer.
    """
    await show_device(store, user, device_id)
    await log.put(user, device_id, address)
    try:
        await show_device(store, user, device_id)
    except DeviceNotFound:
        await log.remove(user, device_id)
        raise


async def remove_address(store: Store, log: AddressLog, user: str, device_id: str) -> None:
    """Removes the push address of a registered device. Errors as for `register_address`."""
    await show_device(store, user, device_id)
    await log.remove(user, device_id)


async def remove_device(store: Store, log: AddressLog, user: str, device_id: str) -> None:
    """Removes a device with its push address.

    The device is removed first, so that `register_address` notices the removal. The address is
    removed also if there is no device: an earlier attempt may have ended between the two steps.

    Raises:
        DeviceNotFound: There is no device with this id.
        ServerUnavailable: The store or the broker does not answer.
    """
    try:
        await take_out(store, user, device_id)
    except DeviceNotFound:
        await log.remove(user, device_id)
        raise
    await log.remove(user, device_id)


def _is_public_key(text: str) -> bool:
    """Whether this is a point of P-256 in base64url without padding."""
    try:
        EllipticCurvePublicKey.from_encoded_point(SECP256R1(), urlsafe_b64decode(text + "="))
    except ValueError:
        return False
    return True
