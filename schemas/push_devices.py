"""The push addresses of devices: records of the topic ``push-devices``.

A record replaces the earlier record of its device. A record without a value removes the address.
The key has the person and the device (`schemas.user_keys`), and the partition is that of the
person, so the records of a person have one order.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct

from schemas.codec import decode
from schemas.push_addresses import PushAddress
from schemas.records.values import Ms


class PushDevice(Struct, frozen=True, kw_only=True):
    """The value of a record of ``push-devices``. ``at``: the time of the registration."""

    at: Ms
    address: PushAddress


_decoder: Final[msgspec.json.Decoder[PushDevice]] = msgspec.json.Decoder(PushDevice)


def decode_push_device(value: bytes | None) -> PushDevice | None:
    """Decodes the value of a record of ``push-devices``; None if it removes the address.

    Raises:
        UndecodableRecord: The value is not a record that this version knows.
    """
    return None if value is None else decode(_decoder, value)
