"""The report of the differences."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner, Result

from audit.report import NAMED, AuditReport, Difference
from ops.commands import verify as command
from ops.commands.verify_output import line, report_table, summary
from schemas.number_types import SeqId
from schemas.settings import Settings
from tests.support.audited import System, lists
from tests.support.audited_building import system_of
from tests.support.damage import DAMAGES, Pick
from tests.support.sequencing import run
from tests.support.stories import STORY


@contextmanager
def _servers_of(system: System, **_: Any) -> Iterator[object]:
    yield lists(system)


def _verify(monkeypatch: pytest.MonkeyPatch, system: System, *arguments: str) -> Result:
    """Run the command on lists in place of servers."""
    monkeypatch.setattr(command, "live_settings", lambda: Settings(namespace="t"))
    monkeypatch.setattr(command, "real_servers", lambda _, **more: _servers_of(system, **more))
    app = typer.Typer()
    app.command()(command.verify)
    return CliRunner().invoke(app, arguments)


@pytest.fixture
def system() -> System:
    """A consistent deployment."""
    return system_of(run(STORY))


def test_verify_exits_with_0_for_a_consistent_deployment(
    monkeypatch: pytest.MonkeyPatch, system: System
) -> None:
    """The output of a consistent deployment has the counts and the verdict."""
    result = _verify(monkeypatch, system)

    assert result.exit_code == 0
    assert f"{len(system.timeline)} entries" in result.output
    assert "no difference" in result.output


def test_verify_exits_with_1_and_names_the_difference(
    monkeypatch: pytest.MonkeyPatch, system: System
) -> None:
    """The output has the name and the place of the difference."""
    expected = DAMAGES["store_loses_a_message"](system, Pick([3]))

    result = _verify(monkeypatch, system)

    assert result.exit_code == 1
    assert f"store: missing {expected.conv_id}#{expected.seq}" in result.output


def test_the_json_output_has_an_object_in_each_line_and_ends_with_the_summary(
    monkeypatch: pytest.MonkeyPatch, system: System
) -> None:
    """With ``--json`` each line is a difference, and the last line is the summary."""
    expected = DAMAGES["sync_store_loses_a_reference"](system, Pick([3]))

    result = _verify(monkeypatch, system, "--json")

    *found, last = [msgspec.json.decode(text) for text in result.stdout.splitlines()]
    assert result.exit_code == 1
    assert [(each["check"], each["kind"], each["user"]) for each in found] == [
        ("sync-store", "missing", expected.user)
    ]
    assert last["summary"] is True
    assert (last["ok"], last["differences"]) == (False, 1)
    assert last["checks"]["log"]["counts"]["entries"] == len(system.timeline)


def test_an_empty_log_is_a_failure_unless_it_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty deployment may be the wrong one, so it is a failure without ``--allow-empty``."""
    assert _verify(monkeypatch, System()).exit_code == 1
    assert _verify(monkeypatch, System(), "--allow-empty").exit_code == 0


def test_some_of_many_differences_are_named_and_all_are_counted() -> None:
    """All differences are counted, but only a bounded number of each kind is listed."""
    printed: list[Difference] = []
    report = AuditReport(printed.append)

    for seq in range(1, 1_001):
        report.differ("store", "missing", conv_id="c", seq=seq, records=2)
    report.differ("store", "extra", conv_id="c", seq=1)

    assert report.total == 2_001
    assert len(printed) == len(report.differences) == NAMED + 1
    assert summary(report, 0.0)["checks"]["store"]["differences"]["missing"] == 2_000


def test_a_line_has_place_and_reason_without_control_characters() -> None:
    """Ids come from users, so control characters in them are not printed."""
    printed = line(
        Difference(
            check="sync-log",
            kind="out_of_order",
            conv_id="c\x1b[2J",
            seq=SeqId(3),
            through=SeqId(5),
            records=3,
            user="|QuaD-",
            where="sync[1]@7",
            detail="why",
        )
    )

    assert printed == "sync-log: out_of_order c·[2J#3-5 for |QuaD- (sync[1]@7) - why [3 records]"


def test_the_table_has_a_row_for_each_check(system: System) -> None:
    """The table has a row with counts for each check, also without a difference."""
    console = Console(width=200, file=io.StringIO(), record=True)
    report = system.audit()
    report.section("sync-log").notes.append("a note [with brackets]")

    console.print(report_table(report, 1.0))

    text = console.export_text()
    assert "a note [with brackets]" in text
    assert f"{len(system.sync_rows)} rows" in text
    assert all(section in text for section in ("the search index", "membership in the store"))
