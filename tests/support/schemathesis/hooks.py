"""What schemathesis does besides its configuration: a check, and requests without ids."""

from __future__ import annotations

import itertools
from typing import Any, Final

import schemathesis
from schemathesis import Case, CheckContext, GenerationMode, HookContext, Response

_BAD_REQUEST: Final = 400
_PREFIX: Final = "urn:im-timeline:problem:"
_IDS: Final = ("client_msg_id", "device_id", "installation")
_turns: Final = itertools.cycle((True, False))

RULES: Final = {
    "after": "the next of an earlier page, in the same order; a cursor of this deployment",
    "cursor": "the next of an earlier page; a cursor of this deployment",
    "before": "not together with after or wait",
    "to": "not below from",
    "q": "has something to search for",
    "conversation": "too many ranges of SeqIds without it",
    "text": "has a visible character, and is within the limits",
    "name": "one line with a visible character, and within the limits",
    "metadata": "a JSON object as text, within the limits",
    "user": "the id of another person",
    "owner": "the id of another person",
    "client_msg_id": "the same id as in the header",
    "Idempotency-Key": "schemathesis generates the key 0, which does not match the pattern",
    **dict.fromkeys(("conv_id", "device_id", "installation", "members", "mentions"), "printable"),
    "body": "no lone surrogates",
    **dict.fromkeys(("seq", "until"), "not in the notation of a float"),
    **dict.fromkeys(("url", "gateway", "endpoint"), "a URL that may get requests"),
    **dict.fromkeys(("p256dh", "auth"), "a key of a browser"),
    f"{_PREFIX}not-http": "a path with its query has at most 8,190 bytes",
    f"{_PREFIX}invalid": "a read mark is not above the head",
}
"""The rules that no schema can express, by the parameter or else the type of the problem."""


@schemathesis.check
def refused_by_a_known_rule(_ctx: CheckContext, response: Response, case: Case[Any]) -> None:
    """Fails if a request whose data fits the schemas is a 400 for no reason of `RULES`."""
    if _is_positive(case) and response.status_code == _BAD_REQUEST:
        problem = response.json()
        assert problem.get("parameter", problem["type"]) in RULES, problem


@schemathesis.hook
def before_call(_ctx: HookContext, case: Case[Any], _kwargs: dict[str, Any]) -> None:
    """Every second request with fitting data leaves its ids to the gateway, so it is not stale."""
    if _is_positive(case) and isinstance(case.body, dict) and next(_turns):
        case.body = {name: value for name, value in case.body.items() if name not in _IDS}
        if case.headers is not None:
            case.headers.pop("Idempotency-Key", None)


def _is_positive(case: Case[Any]) -> bool:
    return case.meta is not None and case.meta.generation.mode is GenerationMode.POSITIVE
