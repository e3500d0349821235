"""The kinds of problems of a request, each with its status, title and detail.

Problem
├── 400 bad-parameter        an invalid query parameter; ``parameter`` names it
├── 400 cursor-ahead         a cursor beyond the end of the log: from another deployment
├── 400 too-wide             a search over more ranges of SeqIds than one query may name
├── 400 bad-body             a body that the route does not accept; ``parameter`` names the field
├── 400 too-many-members     one command names too many people
├── 400 not-http             a request line or a header that is not HTTP, or longer than allowed
├── 401 unauthorized         no token, or an invalid one
├── 403 origin-not-permitted a live connection of a web page of another origin
├── 403 not-an-operator      the caller is not an operator of the deployment
├── 403 not-a-member         the caller was a member, and only present members may read this
├── 404 not-found            the conversation does not exist, or the caller was never a member
├── 404 no-such-device       the device was never registered, or was removed
├── 408 too-slow             headers or a body that did not arrive in time
├── 409 too-many-devices     the person has the maximum number of devices
├── 410 trimmed              sync records above the cursor have expired: rebuild from the store
├── 413 body-too-large       a body that is longer than any route accepts
├── 426 upgrade-required     the route is served only over a WebSocket
├── 4xx http                 a wrong route or method, with HTTP's own status
├── 4xx, 504 …               the problems of commands: see `gateway.http.command_problems`
├── 429, 503 …               the problems of a busy gateway: see `gateway.http.load_problems`
└── 500 internal             a defect; the log has it under the request's id

No problem quotes a token, a query or a message.
"""

from __future__ import annotations

from aiohttp import web

from gateway.http.problem_details import Problem
from schemas.number_types import SyncSeqId


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
            "The cursor is ahead of this deployment: it is from another one, or the log has lost "
            "records. Discard what was received, and begin again without a cursor."
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


def not_an_operator() -> Problem:
    """Only operators may see the pipeline."""
    return Problem(
        status=403,
        kind="not-an-operator",
        title="Not an operator",
        detail="You are not an operator of this deployment: see IM_OPERATORS.",
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


def too_many_members(most: int) -> Problem:
    """A command names too many people. A repetition does not help."""
    return Problem(
        status=400,
        kind="too-many-members",
        title="Too many members",
        detail=f"One request names at most {most} people: send several.",
        parameter="members",
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
