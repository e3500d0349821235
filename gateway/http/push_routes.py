"""The routes for push: the address of a device, and the public key of Web Push."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, cast

from aiohttp import web

from gateway.contacts.address_log import PushInputs
from gateway.http.parameters import parse_parameters
from gateway.http.request_bodies import json_response, read_body
from gateway.http.request_places import USER
from gateway.http.route_paths import route_pattern
from gateway.reads import push_registration as registration
from gateway.store.store_port import Store
from schemas.http.device_answers import PushOffered
from schemas.http.queries import NoQuery
from schemas.outbound_urls import OutboundPolicy
from schemas.push_addresses import PushAddress

PUSH: Final = "/v1/push"
_DEVICE: Final = "/v1/devices/{id}"
DEVICE_PUSH: Final = "/v1/devices/{id}/push"


@dataclass(frozen=True)
class PushGate:
    """The parts that the routes use."""

    store: Store
    inputs: PushInputs
    policy: OutboundPolicy


_ADDRESS: Final = cast("type[PushAddress]", PushAddress)
"""The decoder takes a union in place of a type."""

PUSH_GATE: Final = web.AppKey("push_gate", PushGate)


async def get_push(request: web.Request) -> web.Response:
    """`GET /v1/push`."""
    parse_parameters(request.query, NoQuery)
    return json_response(PushOffered(vapid_key=request.app[PUSH_GATE].inputs.vapid_key))


async def put_push(request: web.Request) -> web.Response:
    """`PUT /v1/devices/{id}/push`."""
    parse_parameters(request.query, NoQuery)
    gate = request.app[PUSH_GATE]
    address = await read_body(request, _ADDRESS)
    registration.check_address(address, gate.policy)
    user, device_id = request[USER], request.match_info["id"]
    await registration.register_address(
        gate.store, gate.inputs.addresses, user, device_id, address
    )
    return web.Response(status=204)


async def delete_push(request: web.Request) -> web.Response:
    """`DELETE /v1/devices/{id}/push`."""
    parse_parameters(request.query, NoQuery)
    gate, device_id = request.app[PUSH_GATE], request.match_info["id"]
    await registration.remove_address(gate.store, gate.inputs.addresses, request[USER], device_id)
    return web.Response(status=204)


async def delete_device(request: web.Request) -> web.Response:
    """`DELETE /v1/devices/{id}`."""
    parse_parameters(request.query, NoQuery)
    gate, device_id = request.app[PUSH_GATE], request.match_info["id"]
    await registration.remove_device(gate.store, gate.inputs.addresses, request[USER], device_id)
    return web.Response(status=204)


def add_push_routes(app: web.Application, gate: PushGate) -> None:
    """Adds the routes, and the removal of a device, which includes its address."""
    app[PUSH_GATE] = gate
    app.router.add_get(route_pattern(PUSH), get_push)
    app.router.add_put(route_pattern(DEVICE_PUSH), put_push)
    app.router.add_delete(route_pattern(DEVICE_PUSH), delete_push)
    app.router.add_delete(route_pattern(_DEVICE), delete_device)
