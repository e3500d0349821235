"""Computes a plan: processes, partitions, brokers and nodes for a workload. Pure.

The rule for processor time: a benchmark of a rate ran on a machine whose cores the measured
process, its server and the load generator shared. The process has at most one core, because
Python has one lock for each process. So an operation at the rate r takes at most 1/r of a core in
the process, and at most (cores - 1)/r in the server. Both are upper bounds of the same run.
"""

from __future__ import annotations

import math
from typing import Final

from msgspec import Struct

from ops.capacity.assumptions import Assumptions, Workload
from ops.capacity.measured_costs import (
    DOCUMENT_BYTES,
    RESTORE_MICROS,
    SPREAD_INSERTS,
    STATE_BYTES,
    Costs,
)
from ops.capacity.planned import Need, Plan, Quantity
from schemas.limits import SYNC_BUCKET
from schemas.topics import Topic

_MICROS: Final = 1e-6
_TB: Final = 1e12
_GB: Final = 1e9
_DAY: Final = 86_400.0

CONNECTIONS_OF_A_GATEWAY: Final = 4_096
"""`gateway.log.wake_ups.MAX_LISTENERS`."""
LEAST_SHARE: Final = 0.1
"""The least part of a gateway's utilization for requests. If reading the log leaves less, the plan
says that gateways cannot follow."""
STATES_OF_A_PUSH_PROCESS: Final = 500_000
"""`sinks.push.push_writer.MAX_STATES`."""
BUCKET_ROW_BYTES: Final = 70.0
LARGEST_PARTITION_BYTES: Final = 100e6
"""A partition of Cassandra that is still easy to handle: `backends.cassandra.tables`."""
_TOPICS: Final = sum(
    not topic.spec.sharded_by_recipient and not topic.spec.ordered for topic in Topic
)
"""The topics with `IM_PARTITIONS` partitions each."""
AT_LEAST: Final = 2
"""Processes of each stage, so that one of them may end."""


class _Rates(Struct, frozen=True):
    """What follows from the workload: cores are those of processes, without headroom."""

    fan_out: float
    sync_records: float
    """Records of ``im.sync`` a second."""
    sequencer: float
    message_sink: float
    sync_sink: float
    search_sink: float
    push: float
    webhooks: float
    gateway: float
    following: float
    """The share of one gateway's time for reading the whole log."""


def make_plan(workload: Workload, assumed: Assumptions, costs: Costs) -> Plan:
    """The plan of a workload. With the measured costs, a larger workload never needs less."""
    rates = _rates(workload, assumed, costs)
    stages = _stages(workload, assumed, rates)
    counts = {need.part: need.count for need in stages}
    partitions = _partitions(workload, assumed, counts)
    gateways = counts["gateways"]
    disks = _disks(workload, assumed, rates)
    network = _network(workload, assumed, rates, gateways)
    machines = _machines(workload, assumed, costs, partitions, disks | network)
    cores = sum(counts.values())
    pipeline = Need("machines for all processes", {
        "cores": _up(cores / assumed.machine_cores), "at least": AT_LEAST,
    })  # fmt: skip
    units = dict.fromkeys(network, "Gbit/s") | dict.fromkeys(disks, "TB")
    return Plan(
        needs=(*stages, *partitions, *machines, pipeline),
        quantities=(
            Quantity("recipients of a message", rates.fan_out, ""),
            Quantity("cores of all processes", float(cores), "cores"),
            *(Quantity(name, value, units[name]) for name, value in (disks | network).items()),
        ),
        missed=tuple(_missed(workload, assumed, rates, costs)),
    )


def _rates(workload: Workload, assumed: Assumptions, costs: Costs) -> _Rates:
    fan_out = max(1.0, workload.sync_writes / workload.messages)
    alone = assumed.spread_share
    record = alone * costs.spread_record + (1 - alone) * costs.grouped_delivery
    pages = _page_cost(assumed, costs)
    insert = costs.spread_record / SPREAD_INSERTS
    gateway = (
        workload.range_reads * pages
        + workload.messages * assumed.posted_share * costs.posted_message
        + workload.sync_writes * assumed.live_share * costs.live_delivery
    )
    return _Rates(
        fan_out=fan_out,
        # At most a record for each recipient: several recipients of a shard share one.
        sync_records=max(workload.sync_writes, workload.messages),
        sequencer=workload.messages * costs.sequencing.at(fan_out) * _MICROS,
        message_sink=workload.messages * assumed.inserts_per_message * insert * _MICROS,
        sync_sink=workload.sync_writes * record * _MICROS,
        search_sink=workload.messages * costs.document * _MICROS,
        push=workload.sync_writes * assumed.notified_share * costs.notification * _MICROS,
        webhooks=workload.messages * assumed.event_share * costs.webhook_event * _MICROS,
        gateway=gateway * _MICROS,
        following=workload.messages * costs.following.at(fan_out) * _MICROS,
    )


def _page_cost(assumed: Assumptions, costs: Costs) -> float:
    size, share = assumed.entries_per_read, assumed.history_share
    return share * costs.history_page.at(size) + (1 - share) * costs.sync_page.at(size)


def _stages(workload: Workload, assumed: Assumptions, rates: _Rates) -> tuple[Need, ...]:
    def processes(cores: float) -> int:
        return _up(cores / assumed.utilization)

    online = workload.timelines * assumed.online_share
    floor = {"at least": AT_LEAST}
    return (
        Need("sequencers", {
            "rate": processes(rates.sequencer),
            "memory of the state": _up(_state_gb(assumed) / assumed.worker_memory_gb), **floor,
        }),
        Need("message sinks", {"rate": processes(rates.message_sink), **floor}),
        Need("sync sinks", {"rate": processes(rates.sync_sink), **floor}),
        Need("search sinks", {"rate": processes(rates.search_sink), **floor}),
        Need("processes of sink-push", {
            "rate": processes(rates.push),
            "mutes and waiting conversations": _up(
                workload.timelines * assumed.waiting_share / STATES_OF_A_PUSH_PROCESS
            ), **floor,
        }),
        Need("processes of webhooks", {"rate": processes(rates.webhooks), **floor}),
        Need("gateways", {
            "requests and deliveries": _up(rates.gateway / _gateway_share(assumed, rates)),
            "live connections": _up(online / CONNECTIONS_OF_A_GATEWAY), **floor,
        }),
    )  # fmt: skip


def _gateway_share(assumed: Assumptions, rates: _Rates) -> float:
    """The share of a gateway's core for requests and deliveries: it also reads the whole log."""
    return max(assumed.utilization - rates.following, LEAST_SHARE * assumed.utilization)


def _state_gb(assumed: Assumptions) -> float:
    return assumed.conversations * STATE_BYTES / _GB


def _partitions(
    workload: Workload, assumed: Assumptions, counts: dict[str, int]
) -> tuple[Need, ...]:
    spare = assumed.spare_partitions
    restore = assumed.conversations * RESTORE_MICROS * _MICROS / assumed.restore_seconds
    buckets = workload.sync_writes * assumed.lifetime_days * _DAY / SYNC_BUCKET
    stages = ("sequencers", "message sinks", "search sinks")
    return (
        Need("IM_PARTITIONS", {
            "processes and spare": _up(spare * max(counts[stage] for stage in stages)),
            "restore of a partition": _up(restore),
        }),
        Need("IM_SYNC_PARTITIONS", {
            "processes and spare": _up(
                spare * max(counts["sync sinks"], counts["processes of sink-push"])
            ),
            "size of `sync_bucket`": _up(buckets * BUCKET_ROW_BYTES / LARGEST_PARTITION_BYTES),
        }),
    )  # fmt: skip


def _disks(workload: Workload, assumed: Assumptions, rates: _Rates) -> dict[str, float]:
    """Terabytes with all copies, before the share of a disk that remains free."""
    average = assumed.average_share * _DAY * assumed.entry_bytes / _TB * assumed.log_compression
    expiring = average * (
        rates.sync_records * assumed.lifetime_days + workload.messages * assumed.commands_days
    )
    log = workload.stored_tb * assumed.log_compression + expiring
    rows = workload.sync_writes * assumed.average_share * assumed.lifetime_days * _DAY
    sync_tb = rows * assumed.sync_row_bytes / _TB
    documents = workload.stored_tb * _TB / assumed.entry_bytes
    return {
        "disks of Kafka": log * assumed.copies,
        "disks of Cassandra": (workload.stored_tb + sync_tb)
        * assumed.store_compression
        * assumed.copies,
        "disks of Elasticsearch": documents * DOCUMENT_BYTES / _TB * assumed.copies,
    }


def _network(
    workload: Workload, assumed: Assumptions, rates: _Rates, gateways: int
) -> dict[str, float]:
    """Gigabits a second of all brokers together, at the busiest time."""
    record = assumed.entry_bytes * assumed.log_compression * 8 / _GB
    commands, entries = workload.messages * record, workload.messages * record
    sync = rates.sync_records * record
    written = commands + entries + sync
    return {
        "network of the brokers, in": written * assumed.copies,
        "network of the brokers, out": written * (assumed.copies - 1)  # to the other copies
        + commands  # the sequencers
        + 2 * entries  # the message sinks and the search sinks
        + 2 * sync  # the sync sinks and sink-push
        + gateways * (entries + sync),
    }


def _machines(
    workload: Workload,
    assumed: Assumptions,
    costs: Costs,
    partitions: tuple[Need, ...],
    sizes: dict[str, float],
) -> tuple[Need, ...]:
    servers = costs.machine_cores - 1
    copies, quorum = assumed.copies, assumed.copies // 2 + 1

    def cores(process_cores: float, times: float) -> int:
        needed = process_cores * servers * times / assumed.utilization
        return _up(needed / assumed.machine_cores)

    rates = _rates(workload, assumed, costs)
    reads = workload.range_reads * _page_cost(assumed, costs) * _MICROS
    written = rates.sync_sink + rates.message_sink
    node_cores = written * copies + reads * quorum
    conversation, sync = (need.count for need in partitions)
    replicas = (_TOPICS * conversation + sync) * copies
    network = max(sizes["network of the brokers, in"], sizes["network of the brokers, out"])
    floor = {"copies": _up(copies)}
    return (
        Need("brokers", {
            "cores": cores(rates.sequencer, copies),
            "disks": _up(sizes["disks of Kafka"] / assumed.broker_disk_tb / assumed.broker_fill),
            "network": _up(network / assumed.network_gbit / assumed.utilization),
            "partitions": _up(replicas / assumed.partitions_of_a_broker), **floor,
        }),
        Need("Cassandra nodes", {
            "cores": cores(node_cores, 1),
            "disks": _up(sizes["disks of Cassandra"] / assumed.node_disk_tb / assumed.node_fill),
            **floor,
        }),
        Need("Elasticsearch nodes", {
            "cores": cores(rates.search_sink, copies),
            "disks": _up(
                sizes["disks of Elasticsearch"] / assumed.index_disk_tb / assumed.index_fill
            ), **floor,
        }),
    )  # fmt: skip


def _missed(workload: Workload, assumed: Assumptions, rates: _Rates, costs: Costs) -> list[str]:
    missed = []
    if rates.following > (1 - LEAST_SHARE) * assumed.utilization:
        highest = 1 / (costs.following.at(rates.fan_out) * _MICROS)
        missed.append(
            f"Each gateway reads the whole log. One gateway reads {highest:,.0f} messages/s at"
            f" {rates.fan_out:g} recipients (measured), and the workload has"
            f" {workload.messages:,.0f}. Gateways that cannot follow lose nothing, but deliver"
            " late: docs/gateway.md, 'The rate of one gateway', has the next step."
        )
    return missed


def _up(value: float) -> int:
    """Rounds up. A number that is whole but for an error of the arithmetic is whole."""
    return math.ceil(value - 1e-9)
