"""The methods of a client about devices and their push addresses."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, TypeAlias

from im_timeline_client import routes
from im_timeline_client.device_answers import DeviceShown
from im_timeline_client.errors import RequestRefused
from im_timeline_client.gateway import NOT_FOUND
from im_timeline_client.session import Session


@dataclass(frozen=True, slots=True)
class WebhookAddress:
    """Notifications to a server of the application, in the form of Standard Webhooks.

    The ``repr`` of an address has no field: who has an address can send notifications.
    """

    url: str = field(repr=False)

    provider: ClassVar = "webhook"


@dataclass(frozen=True, slots=True)
class MatrixAddress:
    """Notifications to a Matrix push gateway, which delivers to APNs and FCM.

    ``gateway`` is the URL of its API, ``app_id`` names an application in the settings of the
    gateway, ``pushkey`` is the token that APNs or FCM gave to the device.
    """

    gateway: str = field(repr=False)
    app_id: str = field(repr=False)
    pushkey: str = field(repr=False)

    provider: ClassVar = "matrix"


@dataclass(frozen=True, slots=True)
class WebPushAddress:
    """Notifications to a browser by Web Push: a subscription and its keys, in base64url."""

    endpoint: str = field(repr=False)
    p256dh: str = field(repr=False)
    auth: str = field(repr=False)

    provider: ClassVar = "web_push"


PushAddress: TypeAlias = WebhookAddress | MatrixAddress | WebPushAddress


class Devices(Session):
    """The methods about devices. Errors: see `Client`."""

    async def devices(self) -> tuple[DeviceShown, ...]:
        """Return all devices of the person, by id.

        No device shows its push address: the address is a secret.
        """
        route = routes.DEVICES
        return (await self._open().read(route, route.at())).devices

    async def remove_device(self, device_id: str) -> None:
        """Remove a device and its push address. Without such a device, nothing happens."""
        await self._delete(routes.REMOVE_DEVICE, device_id)

    async def push_key(self) -> str | None:
        """Return the public key of the deployment for Web Push; None if it has none."""
        route = routes.PUSH
        return (await self._open().read(route, route.at())).vapid_key

    async def register_push(self, device_id: str, address: PushAddress) -> None:
        """Register the push address of a device, in place of an earlier one.

        The device is registered as well, if it is new.

        Args:
            device_id: The device of the person that receives the notifications.
            address: The address at one of the providers.

        Raises:
            RequestRefused: ``bad-body``: the deployment would send no request to the address.
        """
        gateway = self._open()
        new = {"device_id": device_id}
        await gateway.change(routes.REGISTER_DEVICE, routes.REGISTER_DEVICE.at(), new)
        body = {"provider": address.provider, **asdict(address)}
        await gateway.change(routes.REGISTER_PUSH, routes.REGISTER_PUSH.at(id=device_id), body)

    async def remove_push(self, device_id: str) -> None:
        """Remove the push address of a device. Without an address, nothing happens."""
        await self._delete(routes.REMOVE_PUSH, device_id)

    async def _delete(self, route: routes.Route[Any], device_id: str) -> None:
        """Delete; nothing to delete is a success, because a lost response is repeated."""
        try:
            await self._open().change(route, route.at(id=device_id))
        except RequestRefused as refused:
            if refused.status != NOT_FOUND:
                raise
