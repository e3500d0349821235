"""`im capacity`: a plan by hand, the units, the report that it reads, and its options."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.log.wake_ups import MAX_LISTENERS
from ops.capacity.assumptions import Assumptions, Workload, assumed
from ops.capacity.measured_costs import BENCHMARK_REPORT, CostCurve, Costs, read_costs
from ops.capacity.plan import (
    CONNECTIONS_OF_A_GATEWAY,
    STATES_OF_A_PUSH_PROCESS,
    make_plan,
)
from ops.capacity.plan_text import plan_text
from schemas.errors import ConfigurationError
from sinks.push.push_writer import MAX_STATES


def level(micros: float) -> CostCurve:
    """A cost that does not depend on the size, up to 1,000."""
    return CostCurve(((1.0, micros), (1_000.0, micros)))


COSTS = Costs(
    machine="2 cores", commit="abc", machine_cores=2,
    sequencing=level(100), following=level(10), sync_page=level(1_000), history_page=level(1_000),
    spread_record=100, grouped_delivery=1, posted_message=500, live_delivery=1_000, document=200,
    notification=1_000, webhook_event=2_000, measured=(),
)  # fmt: skip


def test_a_plan_by_hand() -> None:
    """Each number of a small workload is the one that was computed by hand."""
    workload = Workload(
        sync_writes=40_000, range_reads=5_000, messages=10_000, stored_tb=1, timelines=1_000_000
    )
    plan = make_plan(workload, Assumptions(conversations=1_000_000, spread_share=1), COSTS)

    assert {need.part: need.count for need in plan.needs} == {
        # 10,000/s x 100 µs = 1 core, at most half of each process.
        "sequencers": 2,
        # 3 inserts of 100/2.67 µs each: 1.12 cores.
        "message sinks": 3,
        "sync sinks": 8,
        "search sinks": 4,
        # 4,000 notifications/s of 1 ms.
        "processes of sink-push": 8,
        # 1,000 events/s of 2 ms.
        "processes of webhooks": 4,
        # 5 cores of pages, 5 of messages, 4,000 deliveries/s of 1 ms. The log takes 0.1 of 0.5.
        "gateways": 35,
        # Twice the processes of the search sinks.
        "IM_PARTITIONS": 8,
        "IM_SYNC_PARTITIONS": 16,
        # Out: 0.096 Gbit/s x 2 copies, the stages, and 35 gateways x 0.08.
        "brokers": 3,
        # (4 + 1.12) cores x 3 copies + 5 cores x 2 of 3 = 25.4, half of 16 each.
        "Cassandra nodes": 4,
        "Elasticsearch nodes": 3,
        # 64 processes.
        "machines for all processes": 4,
    }
    assert plan.missed == ()


def test_sizes_have_their_units() -> None:
    """A terabyte of entries is a terabyte in each copy, before the sync records."""
    workload = Workload(sync_writes=1, range_reads=1, messages=1, stored_tb=10, timelines=1)
    settings = ["copies=1", "log_compression=1", "store_compression=1", "entry_bytes=210"]
    plan = make_plan(workload, assumed(settings), COSTS)
    sizes = {each.what: (round(each.value, 3), each.unit) for each in plan.quantities}

    assert sizes["disks of Kafka"] == (10.0, "TB")
    assert sizes["disks of Cassandra"] == (10.0, "TB")
    # A document takes 210 bytes, like an entry here.
    assert sizes["disks of Elasticsearch"] == (10.0, "TB")


def test_a_gateway_that_cannot_follow_is_reported() -> None:
    """A plan says that gateways read the whole log, when one gateway cannot."""
    workload = Workload(messages=60_000, sync_writes=60_000)
    (sentence,) = make_plan(workload, Assumptions(), COSTS).missed
    assert "One gateway reads 100,000 messages/s" in sentence


def test_the_bound_of_connections_is_that_of_the_gateway() -> None:
    """The model has the bound of the gateway's code."""
    assert CONNECTIONS_OF_A_GATEWAY == MAX_LISTENERS


def test_the_bound_of_states_is_that_of_the_push_stage() -> None:
    """A person in a hundred with a mute needs a process for each 500,000 of them."""
    workload = Workload(timelines=1e9, sync_writes=1)
    plan = make_plan(workload, Assumptions(waiting_share=0.01), COSTS)
    assert STATES_OF_A_PUSH_PROCESS == MAX_STATES
    assert plan.count("processes of sink-push") == 20


@pytest.mark.parametrize("name", [*Workload.__struct_fields__, *Assumptions.__struct_fields__])
def test_each_assumption_is_printed(name: str) -> None:
    """The output has each number of the workload and each assumption, with a meaning."""
    text = plan_text(Workload(), Assumptions(), COSTS)
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {name} ")]
    assert all(cell.strip() for cell in line.strip("|").split("|"))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("copies", "not of the form name=number"),
        ("copy=3", "'copy' is not an assumption"),
        ("copies=many", "copies: Expected `int`"),
        ("copies=0", "copies: Expected `int` >= 1"),
        ("utilization=1.5", "utilization: Expected `float` <= 1"),
        ("utilization=nan", "utilization"),
    ],
)
def test_a_wrong_assumption_is_refused(text: str, reason: str) -> None:
    """A text without a number, an unknown name and a number out of range are each named."""
    with pytest.raises(ConfigurationError, match=reason.replace("(", r"\(")):
        assumed([text])


def test_a_cost_is_an_upper_bound_outside_the_measured_sizes() -> None:
    """A smaller operation costs as much as the smallest, a larger one its share of the largest."""
    curve = CostCurve(((10.0, 100.0), (20.0, 150.0)))
    assert [curve.at(size) for size in (1, 10, 15, 20, 40)] == [100, 100, 125, 150, 300]


@pytest.mark.parametrize("name", ["sequencing, fan-out 10", "sync sink, groups"])
def test_a_report_without_a_figure_is_refused(tmp_path: Path, name: str) -> None:
    """A report whose figure has another name, or no values, is refused by that name."""
    report = json.loads(BENCHMARK_REPORT.read_bytes())
    for figure in report["figures"]:
        if figure["name"] == name:
            figure["rounds"] = {variant: [] for variant in figure["rounds"]}
    file = tmp_path / "results.json"
    file.write_text(json.dumps(report), encoding="utf-8")
    with pytest.raises(ConfigurationError, match=name):
        read_costs(file)
    file.write_text(json.dumps(report | {"figures": []}), encoding="utf-8")
    with pytest.raises(ConfigurationError, match="has no figure"):
        read_costs(file)
    file.write_text("{", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="is not a report"):
        read_costs(file)


def test_the_command_prints_what_it_was_told() -> None:
    """Options and assumptions reach the plan, and the JSON has the same counts."""
    command = [sys.executable, "-c", "from ops.cli import main; main()", "capacity", "--json"]
    options = ["--messages", "100", "--set", "copies=5", "--set", "utilization=0.25"]
    done = subprocess.run([*command, *options], capture_output=True, check=True, timeout=60)
    shown = json.loads(done.stdout)

    assert (shown["workload"]["messages"], shown["assumed"]["copies"]) == (100, 5)
    plan = make_plan(
        Workload(messages=100),
        Assumptions(copies=5, utilization=0.25),
        read_costs(BENCHMARK_REPORT),
    )
    assert shown["counts"] == {need.part: need.count for need in plan.needs}
