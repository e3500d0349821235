"""All providers of a deployment."""

from __future__ import annotations

from collections.abc import Mapping

from backends.push_keys import push_webhook_secrets, vapid_key
from schemas.push_addresses import MatrixAddress, PushAddress, WebhookAddress, WebPushAddress
from schemas.settings import Settings
from sinks.outbound.http_delivery import HttpDelivery
from sinks.outbound.outcomes import DeliveryOutcome, DeliveryRefused
from sinks.outbound.signatures import Signer
from sinks.push.matrix_provider import MatrixProvider
from sinks.push.provider_port import Notification, Provider
from sinks.push.web_push_provider import WebPushProvider
from sinks.push.webhook_provider import WebhookProvider


class Providers:
    """A `Provider` for addresses of every kind.

    Args:
        by_kind: The provider of each type of address. An address of another type is refused.
    """

    def __init__(self, by_kind: Mapping[type[PushAddress], Provider]) -> None:
        self._by_kind = by_kind

    async def deliver(self, address: PushAddress, notification: Notification) -> DeliveryOutcome:
        """See `Provider`."""
        provider = self._by_kind.get(type(address))
        if provider is None:
            return DeliveryRefused("the deployment has no key for this provider")
        return await provider.deliver(address, notification)


def all_providers(settings: Settings, http: HttpDelivery) -> Providers:
    """The providers for which the settings have keys.

    Raises:
        ConfigurationError: A secret or a key does not have its form.
    """
    by_kind: dict[type[PushAddress], Provider] = {MatrixAddress: MatrixProvider(http)}
    whsecs = push_webhook_secrets(settings)
    if whsecs:
        by_kind[WebhookAddress] = WebhookProvider(http, Signer(whsecs))
    key = vapid_key(settings)
    if key is not None:
        contact = settings.push_vapid_contact
        by_kind[WebPushAddress] = WebPushProvider(http, key, contact)
    return Providers(by_kind)
