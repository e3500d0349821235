"""What `im verify` finds on real servers."""

from __future__ import annotations

from ops.verify import servers as real
from ops.verify.audit import audit
from ops.verify.report import Report
from schemas.settings import Settings


def report_on(settings: Settings, wait_seconds: float, *, allow_empty: bool = False) -> Report:
    """What a whole audit finds, which waits so long for sinks that are behind."""
    report = Report()
    with real.servers(
        settings, advance=lambda _check, _number: None, wait_seconds=wait_seconds
    ) as sources:
        audit(sources, report, allow_empty=allow_empty)
    return report
