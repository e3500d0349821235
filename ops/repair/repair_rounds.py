"""Audits a deployment, writes what its copies lack, and audits again, until nothing is missing.

A round writes a bounded number of rows, so that a large loss needs bounded memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from audit.audit import audit
from audit.report import AuditReport, CheckName
from audit.sources import Sources
from ops.repair.lacks import COPIES, Lacks, lacks_of, late_checks
from ops.repair.written_again import RepairWriter, WrittenAgain
from schemas.settings import Settings

MOST_OF_A_KIND: Final = 50_000
"""Differences of one kind that a round repairs: some 150 MB of records."""


class RepairResult(NamedTuple):
    """The last audit, and what was written before it.

    Attributes:
        report: The findings of the last audit.
        lacks: What the copies lack by the last audit.
        late: The copies that their sink was still writing: nothing was written there.
        written: What was written.
        rounds: The number of rounds that wrote something.
    """

    report: AuditReport
    lacks: Lacks
    late: set[CheckName]
    written: WrittenAgain
    rounds: int

    @property
    def missing(self) -> int:
        """The number of missing rows and documents, named or not."""
        return missing_in(self.report)


def repair_rounds(
    settings: Settings,
    sources: Sources,
    *,
    apply: bool,
    report_round: Callable[[str], None] = lambda _: None,
) -> RepairResult:
    """Audits and, with ``apply``, writes what is lacking.

    Args:
        settings: The deployment.
        sources: Its data.
        apply: Write; otherwise only audit.
        report_round: Receives a line about each round.

    Raises:
        ServerUnavailable: A server does not answer.
        TransientFailure: A store does not accept rows within a bound.
        FatalFailure: A store refuses this client.
    """
    written = WrittenAgain()
    before: int | None = None
    rounds = 0
    while True:
        report = AuditReport(named=MOST_OF_A_KIND)
        data = audit(sources, report, allow_empty=True)
        lacks = lacks_of(data, report.differences, MOST_OF_A_KIND)
        missing = missing_in(report)
        has_progress = before is None or missing < before
        if not apply or not lacks or not has_progress:
            late = late_checks(report.differences)
            return RepairResult(report, lacks, late, written, rounds)
        before, rounds = missing, rounds + 1
        report_round(f"round {rounds}: {missing:,} missing")
        done = RepairWriter(settings, sources, data).write(lacks)
        for what, number in done.counts.items():
            written.note(what, number)
        written.note("", 0, done.refused)


def missing_in(report: AuditReport) -> int:
    """The number of missing rows, documents and columns, named or not."""
    absent = sum(each.records for each in report.differences if each.absent)
    return absent + sum(
        section.differences["missing"]
        for check, section in report.sections.items()
        if check in COPIES
    )
