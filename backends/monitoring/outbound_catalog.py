"""The metrics of deliveries to servers outside of the deployment: push providers and webhooks."""

from __future__ import annotations

from typing import Final

from backends.monitoring.declared_metric import DeclaredMetric, MetricLabel
from backends.stages.stage_names import PUSH_STAGE
from backends.stages.webhook_log import WEBHOOKS_STAGE

PUSH_RECEIVERS: Final = ("push_webhook", "push_matrix", "push_web_push")
"""The kinds of providers of notifications as values of the label ``receiver``."""

WEBHOOK_RECEIVER: Final = "webhook"
"""A webhook of an integrator as a value of the label ``receiver``."""

_OUTBOUND: Final = (PUSH_STAGE, WEBHOOKS_STAGE)
_DELIVERY_SECONDS: Final = (
    0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1_800, 3_600, 21_600, 86_400,
)  # fmt: skip
_RECEIVER: Final = MetricLabel("receiver", (*PUSH_RECEIVERS, WEBHOOK_RECEIVER))

ATTEMPTS: Final = DeclaredMetric(
    "im_outbound_attempts_total",
    "counter",
    "attempts",
    "Requests to push providers and to webhooks, by outcome: delivered; refused (a dead letter); "
    "gone (the address is removed; never of a webhook); failed (repeated until the maximum age).",
    _OUTBOUND,
    (_RECEIVER, MetricLabel("outcome", ("delivered", "refused", "gone", "failed"))),
)
OUTBOUND_RETRIES: Final = DeclaredMetric(
    "im_outbound_retries",
    "gauge",
    "deliveries",
    "Notifications and events that have failed at least once, and are repeated now.",
    _OUTBOUND,
    (_RECEIVER,),
)
OUTBOUND_DEAD_LETTERS: Final = DeclaredMetric(
    "im_outbound_dead_letters_total",
    "counter",
    "deliveries",
    "Notifications and events that were given up: refused, or not acknowledged in time. They are "
    "not part of `im_dead_letters_total`.",
    _OUTBOUND,
    (_RECEIVER,),
)
OUTBOUND_DELAY: Final = DeclaredMetric(
    "im_outbound_delay_seconds",
    "histogram",
    "seconds",
    "From the broker's time of an entry to the acknowledgement of its notification or event, with "
    "the collapse window and all retries.",
    _OUTBOUND,
    (_RECEIVER,),
    _DELIVERY_SECONDS,
)
DROPPED: Final = DeclaredMetric(
    "im_notifications_dropped_total",
    "counter",
    "messages",
    "Messages to a person with a device that cause no notification of their own: muted; live (a "
    "device was connected); read (or the person wrote later, or left); recalled; collapsed (the "
    "notification is about a later message); no_device (the last address was removed).",
    (PUSH_STAGE,),
    (MetricLabel("reason", ("muted", "live", "read", "recalled", "collapsed", "no_device")),),
)
