"""The bodies of requests to the gateway. A body with an unknown field is refused."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from schemas.limits import MAX_CURSOR
from schemas.number_types import SyncSeqId
from schemas.records import Id


class RegisterDevice(Struct, frozen=True, forbid_unknown_fields=True):
    """The body that registers a device."""

    device_id: Id


class MoveCursor(Struct, frozen=True, forbid_unknown_fields=True):
    """The body with a device's new cursor."""

    cursor: Annotated[SyncSeqId, Meta(ge=-1, le=MAX_CURSOR)]
