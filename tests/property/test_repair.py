"""The choice of what `im repair` writes, from the audit of damaged deployments."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.audit import audit
from audit.report import AuditReport
from ops.repair.lacks import COPIES, lacks_of
from sinks.cassandra.messages import StorePart
from tests.support.audited import System, lists
from tests.support.audited_building import system_of
from tests.support.damage import DAMAGES, Pick
from tests.support.damage.tools import Expected, NoPlaceForDamage
from tests.support.sequencing import run
from tests.support.stories import STORY

MOST = 1_000


def story() -> System:
    """A consistent deployment."""
    return system_of(run(STORY))


def chosen(system: System) -> tuple[bool, AuditReport]:
    """Whether anything is written again, and the findings of the audit."""
    report = AuditReport(named=MOST)
    data = audit(lists(system), report)
    return bool(lacks_of(data, report.differences, MOST)), report


def test_nothing_is_written_to_a_consistent_deployment() -> None:
    """Without differences there is nothing to repair."""
    is_any, report = chosen(story())

    assert report.differences == []
    assert not is_any


@pytest.mark.parametrize("name", sorted(DAMAGES))
@settings(max_examples=4)
@given(numbers=st.lists(st.integers(0, 500), max_size=8))
def test_only_what_is_missing_is_written(name: str, numbers: list[int]) -> None:
    """For each damage: something is written exactly if a copy lacks something."""
    system = story()
    try:
        DAMAGES[name](system, Pick(numbers))
    except NoPlaceForDamage:
        return
    is_any, report = chosen(system)
    is_late = any(each.kind == "behind" for each in report.differences)
    is_lacking = any(
        each.check in COPIES and (each.kind == "missing" or each.absent)
        for each in report.differences
    )
    assert is_any == (is_lacking and not is_late)


def test_the_text_of_a_recalled_message_is_erased_first() -> None:
    """A lost message is written with the recall that erases its text."""
    system = story()
    at, row = next((at, row) for at, row in enumerate(system.messages) if row.recalled_by)
    system.messages.pop(at)
    report = AuditReport()
    data = audit(lists(system), report)
    lacks = lacks_of(data, report.differences, MOST)

    assert (row.conv_id, row.seq) in lacks.rows[StorePart.MESSAGE]
    assert (row.conv_id, row.recalled_by) in lacks.rows[StorePart.ALTERATION]
    assert Expected("store", "missing", row.conv_id, row.seq).is_in(report)
