"""`im webhook`: the subscriptions of integrators."""

from __future__ import annotations

import secrets
import time
from typing import Annotated, Any, Final

import typer
from msgspec import structs

from backends.stages.webhook_groups import delete_webhook_group
from backends.stages.webhook_log import (
    WEBHOOKS_STAGE,
    begin_at_the_end,
    read_subscriptions,
    write_subscription,
)
from devstack.layout import Layout
from devstack.supervision import Supervisor
from ops.console import Json, emit, out, table_with
from ops.deployment.prepare_log import prepare_log
from ops.deployment.running import live_settings
from schemas.codec import encode
from schemas.errors import ConfigurationError, UndecodableRecord
from schemas.ids import is_valid_id
from schemas.number_types import Milliseconds
from schemas.outbound_urls import ForbiddenAddress, check_url
from schemas.settings import Settings
from schemas.webhooks import (
    MAX_WEBHOOKS,
    WEBHOOK_EVENTS,
    WebhookSubscription,
    decode_subscription,
)
from sinks.outbound.signatures import make_secret

_ID_BYTES: Final = 6

_Url = Annotated[str, typer.Argument(metavar="URL", help="Receives the events.")]
_Id = Annotated[str, typer.Argument(metavar="ID", help="The id of the subscription.")]
_Events = Annotated[
    list[str] | None,
    typer.Option("--event", help=f"{', '.join(WEBHOOK_EVENTS)}; may be repeated. Default: all."),
]
_Scope = Annotated[
    list[str] | None,
    typer.Option(
        "--conversation",
        help="Only this conversation; with * at the end, all that begin so. May be repeated.",
    ),
]
_Text = Annotated[bool, typer.Option("--text", help="Include the texts of messages.")]


def add_webhook(
    url: _Url,
    event: _Events = None,
    conversation: _Scope = None,
    *,
    text: _Text = False,
    json: Json = False,
) -> None:
    """Send the events from now on to URL. Print the secret, which is not shown again."""
    settings = live_settings()
    subscription = _valid(
        {
            "id": secrets.token_hex(_ID_BYTES),
            "url": url,
            "events": event or list(WEBHOOK_EVENTS),
            "conversations": conversation or [],
            "text": text,
            "secrets": [make_secret()],
            "created_at": Milliseconds(time.time_ns() // 1_000_000),
        }
    )
    _check(subscription, settings)
    prepare_log(settings)  # a deployment of an earlier version has no topic of webhooks
    if len(read_subscriptions(settings)) >= MAX_WEBHOOKS:
        raise ConfigurationError(f"there are {MAX_WEBHOOKS} webhooks, the maximum: remove one")
    begin_at_the_end(settings, subscription.id)
    write_subscription(settings, subscription.id, subscription)
    _start_stage(settings)
    _show_secret(subscription, json=json)


def list_webhooks(*, json: Json = False) -> None:
    """Show all webhooks, without their secrets."""
    found = sorted(read_subscriptions(live_settings()).values(), key=lambda each: each.created_at)
    if json:
        for each in found:
            emit({k: v for k, v in structs.asdict(each).items() if k != "secrets"})
        return
    names = ("id", "url", "events", "conversations", "text", "since (UTC)")
    table = table_with(*names, whole=["id"])
    for each in found:
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(each.created_at / 1000))
        scope = " ".join(each.conversations) or "all"
        text = "yes" if each.text else "no"
        table.add_row(each.id, each.url, " ".join(each.events), scope, text, since)
    out.print(table if found else "there are no webhooks")


def remove_webhook(webhook: _Id, *, json: Json = False) -> None:
    """Send no further events to a webhook."""
    settings = live_settings()
    _known(settings, webhook)
    write_subscription(settings, webhook, None)
    delete_webhook_group(settings, webhook)
    emit({"removed": webhook}) if json else out.print(f"removed {webhook}", markup=False)


def rotate_webhook(webhook: _Id, *, json: Json = False) -> None:
    """Make a new secret. Requests are signed with the new and the previous secret."""
    settings = live_settings()
    known = _known(settings, webhook)
    rotated = structs.replace(known, secrets=[make_secret(), known.secrets[0]])
    write_subscription(settings, webhook, rotated)
    _show_secret(rotated, json=json)


def _valid(fields: dict[str, Any]) -> WebhookSubscription:
    try:
        subscription = decode_subscription(encode(fields))
    except UndecodableRecord as error:
        raise ConfigurationError(f"the webhook is not valid: {error}") from None
    if not all(scope and is_valid_id(scope) for scope in subscription.conversations):
        raise ConfigurationError("a conversation has printable characters, and at least one")
    return subscription


def _check(subscription: WebhookSubscription, settings: Settings) -> None:
    try:
        check_url(subscription.url, settings.outbound_policy)
    except ForbiddenAddress as error:
        raise ConfigurationError(
            f"{error}: see IM_OUTBOUND_ALLOW, IM_OUTBOUND_PORTS and IM_OUTBOUND_HTTP"
        ) from None


def _known(settings: Settings, webhook: str) -> WebhookSubscription:
    subscription = read_subscriptions(settings).get(webhook)
    if subscription is None:
        raise ConfigurationError(f"there is no webhook {webhook}: see `im webhook list`")
    return subscription


def _start_stage(settings: Settings) -> None:
    """Start the stage if `im up` runs here: without webhooks, it did not start the stage."""
    supervisor = Supervisor(Layout(settings.home.absolute()))
    if supervisor.is_running():
        supervisor.start(WEBHOOKS_STAGE)


def _show_secret(subscription: WebhookSubscription, *, json: bool) -> None:
    if json:
        emit({"id": subscription.id, "secret": subscription.secrets[0]})
        return
    out.print(f"webhook {subscription.id}", markup=False)
    out.print(f"secret  {subscription.secrets[0]}", markup=False, soft_wrap=True)
