"""`im capacity`: the processes and machines that a workload needs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from ops.capacity.assumptions import MEANINGS, Workload, assumed, checked
from ops.capacity.measured_costs import BENCHMARK_REPORT, read_costs
from ops.capacity.plan import make_plan
from ops.capacity.plan_text import plan_text
from ops.console import Json, emit

_DEFAULT: Final = Workload()


def _named(name: str) -> Any:
    return typer.Option(
        f"--{name.replace('_', '-')}", help=f"{MEANINGS[name][:1].upper()}{MEANINGS[name][1:]}."
    )


def capacity(  # noqa: PLR0913 - each argument is an option
    *,
    sync_writes: Annotated[float, _named("sync_writes")] = _DEFAULT.sync_writes,
    range_reads: Annotated[float, _named("range_reads")] = _DEFAULT.range_reads,
    messages: Annotated[float, _named("messages")] = _DEFAULT.messages,
    stored_tb: Annotated[float, _named("stored_tb")] = _DEFAULT.stored_tb,
    timelines: Annotated[float, _named("timelines")] = _DEFAULT.timelines,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="NAME=NUMBER: an assumption. The output lists all of them."),
    ] = None,
    figures: Annotated[
        Path, typer.Option(help="The report of `make bench`, in JSON.")
    ] = BENCHMARK_REPORT,
    json: Json = False,
) -> None:
    """Compute processes, partitions, brokers and nodes from the measured costs."""
    workload = checked(
        {
            "sync_writes": sync_writes,
            "range_reads": range_reads,
            "messages": messages,
            "stored_tb": stored_tb,
            "timelines": timelines,
        },
        Workload,
    )
    chosen, costs = assumed(settings or []), read_costs(figures)
    if not json:
        typer.echo(plan_text(workload, chosen, costs))
        return
    plan = make_plan(workload, chosen, costs)
    emit(
        {
            "workload": workload,
            "counts": {need.part: need.count for need in plan.needs},
            "plan": plan,
            "assumed": chosen,
            "measured": costs.measured,
        }
    )
