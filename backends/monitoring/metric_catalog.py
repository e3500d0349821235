"""All metrics: each name is declared here, once, with its unit and its meaning.

Those of push and webhooks are in `backends.monitoring.outbound_catalog`.

`docs/metrics.md` has the table of the declarations, and `make schemas` writes it. Labels have few
values: never a person, a conversation or a device.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from backends.monitoring import outbound_catalog
from backends.monitoring.declared_metric import DeclaredMetric, MetricLabel
from backends.stages.stage_names import PUSH_STAGE, SEQUENCER, SINKS
from backends.stages.webhook_log import WEBHOOKS_STAGE
from schemas.dead_letters import REASON_CLASSES
from schemas.errors import REJECTION_CODES

GATEWAY_STAGE: Final = "gateway"
"""The gateway as a value of the label ``stage``."""

PROCESSES: Final = (SEQUENCER, *SINKS, PUSH_STAGE, WEBHOOKS_STAGE, GATEWAY_STAGE)
"""The values of the label ``stage``: the kinds of processes."""


_WRITERS: Final = (*SINKS, PUSH_STAGE)
_STAGES: Final = (SEQUENCER, *_WRITERS)
_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_RECORDS: Final = (1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000)

_PROCESS: Final = MetricLabel("stage", PROCESSES)
_STAGE: Final = MetricLabel("stage", _STAGES)

DELAY_ENDS: Final = {
    SEQUENCER: "sequenced",
    "sink-message": "stored",
    "sink-sync": "listed",
    "sink-search": "indexed",
    PUSH_STAGE: "planned",
    GATEWAY_STAGE: "sent",
}
"""The end of the delay that each kind of process measures: a value of the label ``until``."""

READY: Final = DeclaredMetric(
    "im_ready",
    "gauge",
    "1 or 0",
    "1 while `/readyz` of the process answers 200.",
    PROCESSES,
    (_PROCESS,),
)
LAG: Final = DeclaredMetric(
    "im_stage_lag_offsets",
    "gauge",
    "offsets",
    "Offsets between the finished records of the process and the ends of its partitions; markers "
    "of transactions count. The index lag is that of `sink-search`. Absent while Kafka does not "
    "answer, and without partitions.",
    _STAGES,
    (_STAGE,),
)
PARTITIONS: Final = DeclaredMetric(
    "im_stage_partitions",
    "gauge",
    "partitions",
    "Partitions that the process has.",
    _STAGES,
    (_STAGE,),
)
DELAY: Final = DeclaredMetric(
    "im_delay_seconds",
    "histogram",
    "seconds",
    "End-to-end delay: from the broker's time of a command until its record is sequenced, stored "
    "(in the timeline of its conversation), listed (in the sync timelines), indexed, planned (by "
    "the push stage), or sent over a live connection. `_count` counts records. Of a large batch, "
    "some records are measured.",
    tuple(DELAY_ENDS),
    (MetricLabel("until", tuple(DELAY_ENDS.values())),),
    _SECONDS,
)
FINISHED: Final = DeclaredMetric(
    "im_stage_records_total",
    "counter",
    "records",
    "Source records that the process has finished, dead letters included. A record that a new "
    "process writes again counts again.",
    _STAGES,
    (_STAGE,),
)
BATCH_SIZES: Final = DeclaredMetric(
    "im_batch_records",
    "histogram",
    "records",
    "Source records of a batch: of a transaction of the sequencer, or of a write of a sink.",
    _STAGES,
    (_STAGE,),
    _RECORDS,
)
BATCH_SECONDS: Final = DeclaredMetric(
    "im_batch_seconds",
    "histogram",
    "seconds",
    "Duration of a batch, with the waits for servers: of a transaction of the sequencer, or from "
    "the begin of a sink's write until all records are durable.",
    _STAGES,
    (_STAGE,),
    _SECONDS,
)
DEAD_LETTERS: Final = DeclaredMetric(
    "im_dead_letters_total",
    "counter",
    "records",
    "Dead letters, by the class of their reason.",
    _STAGES,
    (_STAGE, MetricLabel("reason", REASON_CLASSES)),
)
COMMANDS: Final = DeclaredMetric(
    "im_commands_total",
    "counter",
    "commands",
    "Sequenced commands by outcome. A duplicate repeats a command that had its effect before.",
    (SEQUENCER,),
    (MetricLabel("outcome", ("accepted", "duplicate", "rejected")),),
)
REJECTIONS: Final = DeclaredMetric(
    "im_rejections_total",
    "counter",
    "commands",
    "Rejected commands, by code.",
    (SEQUENCER,),
    (MetricLabel("code", REJECTION_CODES),),
)
ENTRIES: Final = DeclaredMetric(
    "im_entries_total",
    "counter",
    "entries",
    "Entries that the sequencer has written to conversation timelines.",
    (SEQUENCER,),
)
DELIVERIES: Final = DeclaredMetric(
    "im_deliveries_total",
    "counter",
    "deliveries",
    "Recipients of sync records, summed: one delivery for each record and recipient, replies "
    "included. Divided by the entries: the fan-out.",
    (SEQUENCER,),
)
SYNC_RECORDS: Final = DeclaredMetric(
    "im_sync_records_total",
    "counter",
    "records",
    "Sync records that the sequencer has written. Recipients of a shard share a record.",
    (SEQUENCER,),
)
RESTORE: Final = DeclaredMetric(
    "im_restore_seconds",
    "histogram",
    "seconds",
    "Restore time: from the assignment of a partition until the sequencer has its state.",
    (SEQUENCER,),
    (),
    (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600),
)
RETRIES: Final = DeclaredMetric(
    "im_write_retries_total",
    "counter",
    "attempts",
    "Writes of a sink that failed and were repeated.",
    _WRITERS,
    (MetricLabel("stage", _WRITERS),),
)
ROW_DELIVERIES: Final = DeclaredMetric(
    "im_row_deliveries_total",
    "counter",
    "deliveries",
    "Deliveries that the sync sink wrote for active recipients, or skipped for inactive ones. "
    "Counted with `IM_SKIP_INACTIVE` alone.",
    ("sink-sync",),
    (MetricLabel("outcome", ("written", "skipped")),),
)
REQUESTS: Final = DeclaredMetric(
    "im_http_requests_total",
    "counter",
    "requests",
    "Answered HTTP requests. Status 499: the client went away before the answer.",
    (GATEWAY_STAGE,),
    (
        MetricLabel("route", bounded_by="the paths of the OpenAPI document and of the page"),
        MetricLabel("method", bounded_by="the methods of these paths; `other` for the rest"),
        MetricLabel("status", bounded_by="the statuses of these paths"),
    ),
)
REQUEST_SECONDS_HISTOGRAM: Final = DeclaredMetric(
    "im_http_request_seconds",
    "histogram",
    "seconds",
    "Duration of an HTTP request: short requests alone, without live connections and waits.",
    (GATEWAY_STAGE,),
    (),
    _SECONDS,
)
IN_PROGRESS: Final = DeclaredMetric(
    "im_requests_in_progress",
    "gauge",
    "requests",
    "Requests in progress that have a place of the gateway.",
    (GATEWAY_STAGE,),
)
CONNECTIONS_OPEN: Final = DeclaredMetric(
    "im_connections", "gauge", "connections", "Open TCP connections of clients.", (GATEWAY_STAGE,)
)
CONNECTIONS_LIMIT: Final = DeclaredMetric(
    "im_connections_limit",
    "gauge",
    "connections",
    "Maximum number of open TCP connections of clients.",
    (GATEWAY_STAGE,),
)
LISTENERS: Final = DeclaredMetric(
    "im_listeners",
    "gauge",
    "connections",
    "Live connections and requests that wait for records.",
    (GATEWAY_STAGE,),
)
LOG_FOLLOWED: Final = DeclaredMetric(
    "im_log_followed",
    "gauge",
    "1 or 0",
    "1 while the gateway follows the log. Otherwise, waiting clients get new records late.",
    (GATEWAY_STAGE,),
)
SENDS: Final = DeclaredMetric(
    "im_sends_total",
    "counter",
    "commands",
    "Outcomes of commands that clients sent to the gateway: accepted; duplicate; rejected by the "
    "sequencer; refused before the log (invalid, or beyond a limit); pending (202); unknown (504);"
    " unavailable (503); failed (a defect, or a client that went away).",
    (GATEWAY_STAGE,),
    (
        MetricLabel(
            "outcome",
            (
                "accepted", "duplicate", "rejected", "refused", "pending", "unknown",
                "unavailable", "failed",
            ),
        ),
    ),
)  # fmt: skip
LIVE_RECORDS: Final = DeclaredMetric(
    "im_live_records_total",
    "counter",
    "records",
    "Records that the gateway has sent over live connections.",
    (GATEWAY_STAGE,),
)


def declared_metrics() -> Iterator[DeclaredMetric]:
    """All metrics, in the order of their declarations."""
    declared = (*globals().values(), *vars(outbound_catalog).values())
    yield from (each for each in declared if isinstance(each, DeclaredMetric))
