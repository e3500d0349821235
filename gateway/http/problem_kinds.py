"""The kinds of problems, each with its status, title and detail.

Problem
├── 400 bad-parameter    an invalid query parameter; ``parameter`` names it
├── 400 cursor-ahead     a cursor beyond the end of the log: from another deployment
├── 400 too-wide         a search over more ranges of SeqIds than one query may name
├── 400 bad-body         a body that the route does not accept; ``parameter`` names the field
├── 401 unauthorized     no token, or an invalid one
├── 403 origin-not-permitted a live connection of a web page of another origin
├── 403 not-a-member     the caller was a member, and only present members may read this
├── 404 not-found        the conversation does not exist, or the caller was never a member
├── 404 no-such-device   the device was never registered, or was removed
├── 409 too-many-devices the person has the maximum number of devices
├── 410 trimmed          sync records above the cursor have expired: rebuild from the store
├── 400 not-http         a request line or a header that is not HTTP, or longer than allowed
├── 408 too-slow         headers or a body that did not arrive in time
├── 426 upgrade-required  the route is served only over a WebSocket
├── 400 too-many-members one command names too many people
├── 413 body-too-large   a body that is longer than any route accepts
├── 429 too-many-waiting the maximum number of requests of the caller wait
├── 429 too-many-waiting-in-all the maximum number of requests of all callers wait
├── 429 too-many-requests the caller has the maximum number of requests
├── 429 too-many-connections the caller has the maximum number of connections
├── 429 too-many-commands the caller has sent too many commands
├── 429 conversation-busy the conversation has received too many commands
├── 429 too-many-additions the caller has added too many people
├── 4xx http             a wrong route or method, with HTTP's own status
├── 4xx …                a rejection, see `gateway.http.command_problems`
├── 500 internal         a defect; the log has it under the request's id
├── 503 unavailable      a server behind the gateway does not answer
├── 503 starting         the data is not yet verified to belong to the deployment
├── 503 busy             the gateway has the maximum number of requests
├── 503 too-many-connections-in-all the gateway has the maximum number of connections
└── 504 delivery-unknown the command was sent, and the broker has not acknowledged it

No problem quotes a token, a query or a message.
"""

from __future__ import annotations

import math
from typing import Final

from aiohttp import web

from gateway.http.problem_details import Problem
from schemas.number_types import SyncSeqId

RETRY_SECONDS: Final = 1
"""The gateway reconnects to a restarted server every second, so an earlier retry is useless."""


def bad_parameter(name: str, why: str) -> Problem:
    """A query parameter cannot be used; `why` completes "the parameter …"."""
    return Problem(
        status=400,
        kind="bad-parameter",
        title="Bad parameter",
        detail=f"The parameter {name} {why}.",
        parameter=name,
    )


def cursor_ahead(name: str) -> Problem:
    """The cursor is beyond the end of this deployment's log."""
    return Problem(
        status=400,
        kind="cursor-ahead",
        title="Cursor ahead",
        detail=(
            "The cursor is ahead of this deployment, so it is from another one. Rebuild from the "
            "store: take next from /v1/sync/end."
        ),
        parameter=name,
    )


def too_wide() -> Problem:
    """A search over all conversations needs too many ranges of SeqIds."""
    return Problem(
        status=400,
        kind="too-wide",
        title="Too many conversations",
        detail="You were in too many conversations to search all of them: name one.",
        parameter="conversation",
    )


def unauthorized(why: str, *, token_given: bool) -> Problem:
    """The caller did not prove who they are."""
    error = ', error="invalid_token"' if token_given else ""
    return Problem(
        status=401,
        kind="unauthorized",
        title="Not authenticated",
        detail=why,
        headers={"WWW-Authenticate": f'Bearer realm="im-timeline"{error}'},
    )


def invalid_token() -> Problem:
    """The token is refused. Every reason has this answer, because a reason helps an attacker."""
    return unauthorized("The token is not valid here.", token_given=True)


def no_such_conversation() -> Problem:
    """The conversation does not exist, or the caller was never a member: the same response."""
    return Problem(
        status=404,
        kind="not-found",
        title="Not found",
        detail="There is no such conversation, or you were never in it.",
    )


def not_a_member() -> Problem:
    """The caller was a member, and only present members may read this."""
    return Problem(
        status=403,
        kind="not-a-member",
        title="Not a member",
        detail="You are not a member of the conversation now.",
    )


def origin_not_permitted() -> Problem:
    """A live connection of a web page whose origin is not permitted."""
    return Problem(
        status=403,
        kind="origin-not-permitted",
        title="Origin not permitted",
        detail="Web pages of this origin may not connect: see IM_CORS_ORIGINS.",
    )


def cursor_of_another_order() -> Problem:
    """The cursor is not from a page in the requested order."""
    return bad_parameter("after", "is not from a page in this order: begin without it")


def bad_body(why: str, field: str = "body") -> Problem:
    """The body cannot be used; `why` completes "the body …". ``field`` is the wrong field."""
    return Problem(
        status=400, kind="bad-body", title="Bad body", detail=f"The body {why}.", parameter=field
    )


def no_such_device() -> Problem:
    """The caller has no device with this id."""
    return Problem(
        status=404,
        kind="no-such-device",
        title="No such device",
        detail="You have no device with this id: register it first.",
    )


def too_many_devices(most: int) -> Problem:
    """The caller has the maximum number of devices."""
    return Problem(
        status=409,
        kind="too-many-devices",
        title="Too many devices",
        detail=f"You have {most} devices, which is the maximum: remove one that you do not use.",
    )


def trimmed(cursor: SyncSeqId, oldest: SyncSeqId) -> Problem:
    """Sync records above the cursor may have expired."""
    return Problem(
        status=410,
        kind="trimmed",
        title="Trimmed",
        detail=(
            "Records after your cursor have expired, or were not stored for you because you were "
            "not in touch. Rebuild from the store: take next from "
            "/v1/sync/end, then read /v1/conversations and their messages, then follow /v1/sync "
            "with that as after."
        ),
        members={"cursor": cursor, "oldest": oldest},
    )


def unavailable() -> Problem:
    """A server behind the gateway does not answer, or lags. `/healthz` shows which one."""
    return Problem(
        status=503,
        kind="unavailable",
        title="Unavailable for now",
        detail="A server that this request needs does not answer, or lags. Try again.",
        headers={"Retry-After": str(RETRY_SECONDS)},
    )


def starting() -> Problem:
    """The gateway has not yet verified that the data belongs to its deployment."""
    return Problem(
        status=503,
        kind="starting",
        title="Starting",
        detail="The gateway compares the identities of its servers. Try again.",
        headers={"Retry-After": str(RETRY_SECONDS)},
    )


def busy() -> Problem:
    """The gateway has the maximum number of requests in flight."""
    return Problem(
        status=503,
        kind="busy",
        title="Busy for now",
        detail="The gateway has the maximum number of requests in flight. Try again.",
        headers={"Retry-After": str(RETRY_SECONDS)},
    )


def too_many_requests() -> Problem:
    """The caller has the maximum number of requests in flight."""
    return _too_many(
        "requests", "You have the maximum number of requests in flight. Wait for a response."
    )


def too_many_connections() -> Problem:
    """The caller has the maximum number of connections, all of them in use."""
    return _too_many("connections", "You have the maximum number of connections. Reuse them.")


def too_many_commands(wait_seconds: float) -> Problem:
    """The caller has sent too many commands."""
    return _too_many("commands", "You have sent too many commands.", wait_seconds)


def too_many_additions(wait_seconds: float) -> Problem:
    """The caller has added too many people to conversations."""
    return _too_many("additions", "You have added too many people.", wait_seconds)


def conversation_busy(wait_seconds: float) -> Problem:
    """All people together have sent too many commands to the conversation."""
    return Problem(
        status=429,
        kind="conversation-busy",
        title="Conversation busy",
        detail="The conversation has received too many commands.",
        headers={"Retry-After": str(math.ceil(wait_seconds))},
    )


def too_many_members(most: int) -> Problem:
    """A command names too many people. A repetition does not help."""
    return Problem(
        status=400,
        kind="too-many-members",
        title="Too many members",
        detail=f"One request names at most {most} people: send several.",
        parameter="members",
    )


def _too_many(what: str, detail: str, wait_seconds: float = RETRY_SECONDS) -> Problem:
    return Problem(
        status=429,
        kind=f"too-many-{what}",
        title=f"Too many {what}",
        detail=detail,
        headers={"Retry-After": str(math.ceil(wait_seconds))},
    )


def no_room() -> Problem:
    """The gateway has the maximum number of connections, all of them in use."""
    return Problem(
        status=503,
        kind="too-many-connections-in-all",
        title="Too many connections in all",
        detail="The gateway has the maximum number of connections. Try again.",
        headers={"Retry-After": str(RETRY_SECONDS)},
    )


def not_http() -> Problem:
    """The bytes are not a request. The response quotes none of them."""
    return Problem(
        status=400,
        kind="not-http",
        title="Not a request",
        detail="The request line or a header is malformed, or longer than allowed.",
    )


def head_timeout() -> Problem:
    """The headers of a request did not arrive in time."""
    return _too_slow("The headers of the request did not arrive in time.")


def body_timeout() -> Problem:
    """The body of a request did not arrive in time."""
    return _too_slow("The body of the request did not arrive in time.")


def _too_slow(detail: str) -> Problem:
    return Problem(status=408, kind="too-slow", title="Too slow", detail=detail)


def upgrade_required() -> Problem:
    """The route needs a WebSocket, and the request is not an upgrade."""
    return Problem(
        status=426,
        kind="upgrade-required",
        title="Upgrade required",
        detail="This is a WebSocket: request an upgrade of the connection.",
        headers={"Upgrade": "websocket"},
    )


def too_many_listeners() -> Problem:
    """The maximum number of requests of this person wait for records."""
    return _too_many("waiting", "Too many of your requests wait. End one, or do not wait.")


def no_listener_place() -> Problem:
    """The maximum number of requests of all people wait for records."""
    return _too_many("waiting-in-all", "Too many requests wait. Send a request without wait.")


def too_large() -> Problem:
    """The body of the request is longer than any route accepts."""
    return Problem(
        status=413,
        kind="body-too-large",
        title="Body too large",
        detail="The body of the request is too long.",
    )


def internal() -> Problem:
    """A defect of the gateway."""
    return Problem(
        status=500,
        kind="internal",
        title="Internal error",
        detail="The gateway failed. The request id finds the cause in its log.",
    )


def from_http(error: web.HTTPException) -> Problem:
    """An exception of aiohttp: no such route, wrong method."""
    problem = _http(error.status, error.reason, f"{error.reason}.")
    if "Allow" in error.headers:
        problem.headers["Allow"] = error.headers["Allow"]
    return problem


def _http(status: int, title: str, detail: str) -> Problem:
    return Problem(status=status, kind="http", title=title, detail=detail)
