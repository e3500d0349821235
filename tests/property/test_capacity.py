"""The model of `im capacity`: monotone, rounded up, and with each limit satisfied."""

from __future__ import annotations

from math import isclose
from typing import Final

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from ops.capacity.assumptions import Assumptions, Workload
from ops.capacity.measured_costs import BENCHMARK_REPORT, CostCurve, read_costs
from ops.capacity.plan import AT_LEAST, make_plan
from ops.capacity.planned import Plan

COSTS: Final = read_costs(BENCHMARK_REPORT)

WORKLOADS: Final = st.builds(
    Workload,
    sync_writes=st.floats(1, 1e6),
    range_reads=st.floats(1, 1e6),
    messages=st.floats(1, 1e5),
    stored_tb=st.floats(0.001, 1_000),
    timelines=st.floats(1, 1e9),
)
LARGER_IS_MORE: Final = (
    "average_share", "copies", "inserts_per_message", "entries_per_read", "posted_share",
    "online_share", "live_share", "conversations", "spare_partitions",
    "sync_row_bytes", "lifetime_days", "commands_days", "log_compression", "store_compression",
    "spread_share", "notified_share", "event_share", "waiting_share",
)  # fmt: skip
LARGER_IS_LESS: Final = (
    "utilization", "worker_memory_gb", "restore_seconds", "machine_cores", "network_gbit",
    "broker_disk_tb", "broker_fill", "partitions_of_a_broker", "node_disk_tb", "node_fill",
    "index_disk_tb", "index_fill",
)  # fmt: skip
NOT_MONOTONE: Final = ("history_share", "entry_bytes")
"""More history is less sync: which page costs more depends on the measured costs. Longer entries
need more network, but a given number of terabytes has fewer of them to index."""


def is_at_most(small: Plan, large: Plan) -> bool:
    """Whether no number of the first plan is above that of the second."""
    return all(
        low.count <= high.count for low, high in zip(small.needs, large.needs, strict=True)
    ) and all(
        low.value <= high.value * (1 + 1e-9)
        for low, high in zip(small.quantities, large.quantities, strict=True)
        if low.what != "recipients of a message"
    )


@given(WORKLOADS, st.sampled_from(Workload.__struct_fields__), st.floats(1, 100))
def test_a_larger_workload_never_needs_less(workload: Workload, name: str, times: float) -> None:
    """No number and no size falls when one number of the workload rises."""
    larger = msgspec.structs.replace(workload, **{name: getattr(workload, name) * times})

    assert is_at_most(
        make_plan(workload, Assumptions(), COSTS), make_plan(larger, Assumptions(), COSTS)
    )


def test_each_assumption_has_a_direction() -> None:
    """Each assumption is in one of the lists."""
    listed = (*LARGER_IS_MORE, *LARGER_IS_LESS, *NOT_MONOTONE)
    assert sorted(listed) == sorted(Assumptions.__struct_fields__)


@given(WORKLOADS, st.sampled_from(LARGER_IS_MORE + LARGER_IS_LESS), st.floats(0.1, 1))
def test_an_assumption_has_one_direction(workload: Workload, name: str, times: float) -> None:
    """A smaller cost, or a larger machine, never needs more."""
    assumed = Assumptions()
    value = getattr(assumed, name) * times
    smaller = msgspec.structs.replace(
        assumed, **{name: max(round(value), 1) if name == "copies" else value}
    )
    plans = [make_plan(workload, each, COSTS) for each in (smaller, assumed)]
    low, high = plans if name in LARGER_IS_MORE else reversed(plans)

    assert is_at_most(low, high)


@given(WORKLOADS)
def test_numbers_are_whole_and_satisfy_each_limit(workload: Workload) -> None:
    """Each number is a whole one, at least that of each limit, and at least two or the copies."""
    plan = make_plan(workload, Assumptions(), COSTS)
    for need in plan.needs:
        assert {type(number) for number in need.limits.values()} == {int}
        assert max(need.limits.values()) <= need.count
        assert need.count in need.limits.values()
        assert need.count >= AT_LEAST or need.part.startswith("IM_")


@given(WORKLOADS)
def test_disks_and_processes_suffice(workload: Workload) -> None:
    """The disks of all machines hold the data, and the processes have time for the sync writes."""
    assumed = Assumptions()
    plan = make_plan(workload, assumed, COSTS)
    sizes = {each.what: each.value for each in plan.quantities}

    brokers = plan.count("brokers") * assumed.broker_disk_tb * assumed.broker_fill
    assert sizes["disks of Kafka"] <= brokers * (1 + 1e-6)
    nodes = plan.count("Cassandra nodes") * assumed.node_disk_tb * assumed.node_fill
    assert sizes["disks of Cassandra"] <= nodes * (1 + 1e-6)
    seconds = workload.sync_writes * COSTS.spread_record / 1e6
    assert seconds <= plan.count("sync sinks") * assumed.utilization * (1 + 1e-6)


@given(
    st.dictionaries(st.integers(1, 1_000), st.floats(0.1, 1e4), min_size=1, max_size=5),
    st.floats(0.1, 5_000),
    st.floats(1, 10),
)
def test_a_larger_operation_never_costs_less(
    points: dict[int, float], size: float, times: float
) -> None:
    """A curve whose points rise is monotone everywhere."""
    sizes, values = sorted(points), sorted(points.values())
    curve = CostCurve(tuple((float(at), cost) for at, cost in zip(sizes, values, strict=True)))

    assert curve.at(size) <= curve.at(size * times) * (1 + 1e-9)
    assert all(isclose(curve.at(at), cost) for at, cost in zip(sizes, values, strict=True))
