"""The problems of a busy gateway. The same request may succeed later: see ``Retry-After``.

Problem
├── 429 too-many-waiting            the maximum number of requests of the caller wait
├── 429 too-many-waiting-in-all     the maximum number of requests of all callers wait
├── 429 too-many-requests           the caller has the maximum number of requests
├── 429 too-many-connections        the caller has the maximum number of connections
├── 429 too-many-commands           the caller has sent too many commands
├── 429 too-many-additions          the caller has added too many people
├── 429 conversation-busy           the conversation has received too many commands
├── 503 unavailable                 a server behind the gateway does not answer
├── 503 starting                    the data is not yet verified to belong to the deployment
├── 503 busy                        the gateway has the maximum number of requests
└── 503 too-many-connections-in-all the gateway has the maximum number of connections
"""

from __future__ import annotations

import math
from typing import Final

from gateway.http.problem_details import Problem

RETRY_SECONDS: Final = 1
"""The gateway reconnects to a restarted server every second, so an earlier retry is useless."""


def unavailable() -> Problem:
    """A server behind the gateway does not answer, or lags. `/healthz` shows which one."""
    return _try_again(
        "unavailable",
        "Unavailable for now",
        "A server that this request needs does not answer, or lags.",
    )


def starting() -> Problem:
    """The gateway has not yet verified that the data belongs to its deployment."""
    return _try_again(
        "starting", "Starting", "The gateway compares the identities of its servers."
    )


def busy() -> Problem:
    """The gateway has the maximum number of requests in flight."""
    return _try_again(
        "busy", "Busy for now", "The gateway has the maximum number of requests in flight."
    )


def no_room() -> Problem:
    """The gateway has the maximum number of connections, all of them in use."""
    return _try_again(
        "too-many-connections-in-all",
        "Too many connections in all",
        "The gateway has the maximum number of connections.",
    )


def too_many_requests() -> Problem:
    """The caller has the maximum number of requests in flight."""
    return _too_many(
        "requests", "You have the maximum number of requests in flight. Wait for a response."
    )


def too_many_connections() -> Problem:
    """The caller has the maximum number of connections, all of them in use."""
    return _too_many("connections", "You have the maximum number of connections. Reuse them.")


def too_many_listeners() -> Problem:
    """The maximum number of requests of this person wait for records."""
    return _too_many("waiting", "Too many of your requests wait. End one, or do not wait.")


def no_listener_place() -> Problem:
    """The maximum number of requests of all people wait for records."""
    return _too_many("waiting-in-all", "Too many requests wait. Send a request without wait.")


def too_many_commands(wait_seconds: float) -> Problem:
    """The caller has sent too many commands."""
    return _too_many("commands", "You have sent too many commands.", wait_seconds)


def too_many_additions(wait_seconds: float) -> Problem:
    """The caller has added too many people to conversations."""
    return _too_many("additions", "You have added too many people.", wait_seconds)


def conversation_busy(wait_seconds: float) -> Problem:
    """All people together have sent too many commands to the conversation."""
    return _too_many_for_now(
        "conversation-busy",
        "Conversation busy",
        "The conversation has received too many commands.",
        wait_seconds,
    )


def _try_again(kind: str, title: str, cause: str) -> Problem:
    """The gateway cannot serve this request now, whoever sends it."""
    return Problem(
        status=503,
        kind=kind,
        title=title,
        detail=f"{cause} Try again.",
        headers={"Retry-After": str(RETRY_SECONDS)},
    )


def _too_many(what: str, detail: str, wait_seconds: float = RETRY_SECONDS) -> Problem:
    return _too_many_for_now(f"too-many-{what}", f"Too many {what}", detail, wait_seconds)


def _too_many_for_now(kind: str, title: str, detail: str, wait_seconds: float) -> Problem:
    """A limit is reached; after `wait_seconds` there may be room again."""
    return Problem(
        status=429,
        kind=kind,
        title=title,
        detail=detail,
        headers={"Retry-After": str(math.ceil(wait_seconds))},
    )
