"""The ids that follow a request: from the gateway, in headers of its command, to the sequencer.

| header of a command | content |
|---|---|
| ``request-id`` | the id of the request, which the gateway returned as ``X-Request-Id`` |
| ``traceparent`` | the trace and the parent span (W3C Trace Context), only of a sampled trace |

Any producer can write any headers, so a reader takes only values of the exact form.
"""

from __future__ import annotations

import re
import uuid
from contextvars import ContextVar
from itertools import islice
from typing import Any, Final, TypeAlias

REQUEST_ID_HEADER: Final = "request-id"
TRACE_HEADER: Final = "traceparent"

MOST_HEADERS: Final = 8
"""Headers of a record in which a reader looks for the two. A hostile record has a million."""

_SHORTEST: Final = 8
_LONGEST: Final = 64
_REQUEST_ID: Final = re.compile(rf"[A-Za-z0-9-]{{{_SHORTEST},{_LONGEST}}}", re.ASCII)
_REQUEST_ID_BYTES: Final = re.compile(_REQUEST_ID.pattern.encode())
_TRACE: Final = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}", re.ASCII)
_TRACE_LENGTH: Final = 55

current_request_id: Final[ContextVar[str | None]] = ContextVar("request_id", default=None)
"""The id of the request that the present task handles."""

current_trace_parent: Final[ContextVar[str | None]] = ContextVar("trace_parent", default=None)
"""The present span of a sampled trace, as a ``traceparent``; None without a trace."""


KnownHeaders: TypeAlias = tuple[str | None, str | None]
"""The id of the request and the ``traceparent`` in the headers of a record, as far as valid. A
plain tuple, because the sequencer makes one for each command of a gateway."""

NO_HEADERS: Final[KnownHeaders] = (None, None)


def request_id_of(given: str | None) -> str:
    """A given id if it is valid, otherwise a new one."""
    return given if given and _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def sampled_trace(given: str | None) -> str | None:
    """A ``traceparent`` if it is valid and its trace is sampled; otherwise None."""
    if not given or len(given) != _TRACE_LENGTH or not _TRACE.fullmatch(given):
        return None
    return given if int(given[-2:], 16) & 1 else None


def command_headers() -> list[tuple[str, str | bytes | None]]:
    """The headers of a command that the present task sends."""
    found = (
        (REQUEST_ID_HEADER, current_request_id.get()),
        (TRACE_HEADER, current_trace_parent.get()),
    )
    return [(name, value.encode()) for name, value in found if value is not None]


def known_headers(headers: Any) -> KnownHeaders:
    """The ids in the first `MOST_HEADERS` headers of a record; other values are ignored.

    Args:
        headers: Pairs of a name and bytes or None, as both Kafka clients return them.
    """
    request_id = trace_parent = None
    for name, value in islice(headers, MOST_HEADERS):
        if name == REQUEST_ID_HEADER:
            if value and _is_request_id(value):
                request_id = value.decode()
        elif name == TRACE_HEADER and value and len(value) == _TRACE_LENGTH:
            trace_parent = sampled_trace(value.decode("ascii", errors="replace"))
    return (request_id, trace_parent) if request_id or trace_parent else NO_HEADERS


def _is_request_id(value: bytes) -> bool:
    # The first condition holds for the gateway's own ids, and is five times as fast.
    is_plain = value.isalnum() and _SHORTEST <= len(value) <= _LONGEST
    return is_plain or bool(_REQUEST_ID_BYTES.fullmatch(value))
