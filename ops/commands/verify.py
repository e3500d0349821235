"""`im verify`: audit every copy of the data against the log."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Annotated

import typer

from audit.audit import audit
from audit.real_sources import real_servers
from audit.report import AuditReport
from ops.commands.arguments import utc_ms
from ops.commands.verify_output import line, report_table, summary, verify_progress
from ops.console import Json, emit, err, out
from ops.deployment.running import live_settings
from schemas.number_types import Milliseconds

AllowEmpty = Annotated[
    bool, typer.Option("--allow-empty", help="An empty log is not a difference.")
]
_Wait = Annotated[
    float, typer.Option("--wait", min=0, help="Seconds to wait for each sink to catch up.")
]
SettingsSince = Annotated[
    datetime | None,
    typer.Option(
        "--settings-since",
        help="Time (UTC) of the last change of limits: earlier entries may exceed the limits.",
    ),
]


def verify(
    *,
    allow_empty: AllowEmpty = False,
    wait: _Wait = 60.0,
    settings_since: SettingsSince = None,
    json: Json = False,
) -> None:
    """Compare store, index and sync timelines with the log; exit with 1 if they differ."""
    settings = live_settings()
    report = AuditReport(emit if json else None)
    begin = time.monotonic()
    with (
        verify_progress(err) as advance,
        real_servers(settings, advance=advance, wait_seconds=wait) as sources,
    ):
        audit(sources, report, allow_empty=allow_empty, settings_since=_ms(settings_since))
    seconds = time.monotonic() - begin
    if json:
        emit(summary(report, seconds))
    else:
        for difference in report.differences:
            out.print(line(difference), markup=False, soft_wrap=True)
        out.print(report_table(report, seconds))
    if report.total:
        raise typer.Exit(1)


def _ms(moment: datetime | None) -> Milliseconds:
    """Milliseconds since 1970; 0 for None."""
    return Milliseconds(0) if moment is None else utc_ms(moment)
