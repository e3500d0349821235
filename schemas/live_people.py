"""The people with a live connection: records of the topic ``live``.

Each gateway writes a record for each person who is connected to it, when the first connection
begins and again before the record expires; and a record without a value when the last connection
ends. The key has the person and the gateway (`schemas.user_keys`). The broker's timestamp and
``ttl_ms`` determine the end of a record, so the records of a killed gateway end by themselves, and
the clocks of gateways do not matter.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from schemas.codec import decode, encode
from schemas.number_types import Milliseconds

LIVE_TTL: Final = timedelta(seconds=60)
"""How long a record counts. The end of a killed gateway is noticed after this time."""

LIVE_RENEWAL: Final = LIVE_TTL / 2
"""Age at which a gateway repeats a record: one lost record does no harm."""

LIVE_RETENTION: Final = timedelta(hours=1)
"""Retention of the topic: far longer than any record counts, for any delay of a reader."""

MAX_LIVE_TTL_MS: Final = LIVE_RETENTION // timedelta(milliseconds=1)


class LivePerson(Struct, frozen=True):
    """The value of a record of ``live``. ``ttl_ms``: how long the record counts."""

    ttl_ms: Annotated[Milliseconds, Meta(gt=0, le=MAX_LIVE_TTL_MS)]


LIVE_RECORD: Final = encode(LivePerson(Milliseconds(LIVE_TTL // timedelta(milliseconds=1))))
"""The value that a gateway writes."""

_decoder: Final[msgspec.json.Decoder[LivePerson]] = msgspec.json.Decoder(LivePerson)


def live_until(value: bytes | None, at: Milliseconds) -> Milliseconds:
    """The end of a record of ``live``, in milliseconds since 1970.

    Args:
        value: The value; None for the end of the last connection.
        at: The broker's timestamp.

    Raises:
        UndecodableRecord: The value is not a record that this version knows.
    """
    return at if value is None else Milliseconds(at + decode(_decoder, value).ttl_ms)
