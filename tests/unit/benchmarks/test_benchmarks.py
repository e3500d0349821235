"""Judgement and report of measured figures."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from benchmarks import report, yardstick
from benchmarks.results import Figure, Report, Target

FIGURE = Figure(
    "sending, fan-out 3",
    "messages/s",
    {"ours": [80.0, 300.0, 90.0], "other": [100.0, 100.0, 200.0]},
    [
        Target("ours", 0.7, "other", if_missed="not printed"),
        Target("ours", 100, if_missed="the cause; next: a lever"),
        Target("ours", 95, direction="at_most"),
    ],
)


def test_a_share_is_the_median_of_the_rounds() -> None:
    """The share of each round compares rates of that round; the median of the shares counts."""
    share, rate, most = FIGURE.targets
    assert FIGURE.reached(share) == 0.8  # the median of 0.8, 3.0 and 0.45
    assert FIGURE.is_met(share)
    assert FIGURE.reached(rate) == 90
    assert not FIGURE.is_met(rate)
    assert FIGURE.is_met(most)


def test_a_report_replaces_the_previous_report(tmp_path: Path) -> None:
    """A report replaces the old one: readable JSON, and a page with verdicts and charts.

    Only a missed target has its reason and the next lever.
    """
    (tmp_path / "results.json").write_text("old", encoding="utf-8")
    written = Report("a1b2c3", "2 cores", [FIGURE])
    report.write(written, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "README.md", "results.json",
    ]  # fmt: skip
    text = (tmp_path / "results.json").read_bytes()
    assert msgspec.json.decode(text, type=Report) == written
    page = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "ours: 90, target at least 100, missed (the cause; next: a lever)<br>" in page
    assert "not printed" not in page
    assert "ours / other: 0.8, target at least 0.7, met" in page
    assert '    x-axis ["ours", "other"]\n    y-axis "messages/s" 0 --> 330\n' in page
    assert "    bar [90, 100]\n    line [80, 100]\n    line [300, 200]\n" in page


def test_a_yardstick_is_any_program_that_prints_its_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command gets the values of the run; the last line of its output is the rate."""
    command = "sh -c 'echo noise; echo {{\\\"warm\\\": {fan_out}{messages}}}'"
    monkeypatch.setenv(yardstick.VARIABLE, command)
    assert yardstick.measure("127.0.0.1:1", 2, 10) == 210
