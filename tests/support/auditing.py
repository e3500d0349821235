"""The result of `im verify` on real servers."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from audit import real_sources as real
from audit.audit import audit
from audit.report import AuditReport
from schemas.settings import Settings
from tests.support.sequencing import SMALL_LIMITS

SMALL_LIMITS_AS_SETTINGS: Final[dict[str, Any]] = {
    "push_limit": SMALL_LIMITS.push_limit,
    "push_again_below": SMALL_LIMITS.push_again_below,
    "max_text_bytes": SMALL_LIMITS.max_text_bytes,
    "members_per_entry": SMALL_LIMITS.members_per_entry,
    "recall_within": timedelta(milliseconds=SMALL_LIMITS.recall_within_ms),
    "edit_within": timedelta(milliseconds=SMALL_LIMITS.edit_within_ms),
    "recall_by": "sender_or_owner" if SMALL_LIMITS.owner_recalls else "sender",
}
"""For a deployment whose records were made by `tests.support.sequencing`."""


def report_on(
    settings: Settings, wait_seconds: float, *, allow_empty: bool = False
) -> AuditReport:
    """The result of a whole audit that waits this number of seconds for sinks that lag."""
    report = AuditReport()
    with real.real_servers(
        settings, advance=lambda _check, _number: None, wait_seconds=wait_seconds
    ) as sources:
        audit(sources, report, allow_empty=allow_empty)
    return report
