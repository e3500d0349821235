"""The operations of the OpenAPI document for push."""

from __future__ import annotations

from typing import Any, Final, get_args

from gateway.http.openapi_parts import operation, placed_at, reference, with_responses
from gateway.http.openapi_problems import response_headers
from gateway.http.push_routes import DEVICE_PUSH, PUSH
from schemas.http.device_answers import PushOffered
from schemas.http.queries import NoQuery
from schemas.push_addresses import PushAddress

_ADDRESSES: Final = get_args(PushAddress)
PUSH_STRUCTS: Final = (PushOffered, *_ADDRESSES)
"""The bodies and the answers of these operations."""


def push_operations() -> dict[str, dict[str, Any]]:
    """The operations, by path and method."""
    offered = operation(
        "getPush",
        "The public key of Web Push, with which a browser subscribes",
        "PushOffered",
        NoQuery,
    )
    register = operation(
        "registerPush",
        "Replaces the address at which a push provider reaches a registered device",
        None,
        NoQuery,
        "bad-body", "no-such-device",
    )  # fmt: skip
    remove = operation(
        "removePush", "Removes the push address of a device", None, NoQuery,
        "bad-body", "no-such-device",
    )  # fmt: skip
    done = {"204": {"description": "Done", "headers": response_headers()}}
    return {
        PUSH: {"get": offered},
        DEVICE_PUSH: {
            "put": placed_at(DEVICE_PUSH, with_responses(register, done)) | _body(),
            "delete": placed_at(DEVICE_PUSH, with_responses(remove, done)),
        },
    }


def _body() -> dict[str, Any]:
    schema = {
        "oneOf": [reference(each.__name__) for each in _ADDRESSES],
        "discriminator": {
            "propertyName": "provider",
            "mapping": {
                each.__struct_config__.tag: reference(each.__name__)["$ref"] for each in _ADDRESSES
            },
        },
    }
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
