"""The metrics: declared once, documented, and the only ones in the dashboard and in the alerts."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from prometheus_client import CollectorRegistry, ProcessCollector

from backends.monitoring.instruments import ReadGauge
from backends.monitoring.metric_catalog import (
    GATEWAY_STAGE,
    LAG,
    PARTITIONS,
    PROCESSES,
    READY,
    declared_metrics,
)
from backends.monitoring.metrics_page import METRICS_PAGE, page_with_table
from backends.monitoring.outbound_catalog import WEBHOOK_RECEIVER
from backends.stages.stage_names import PUSH_STAGE, SEQUENCER, SINKS
from backends.stages.webhook_log import WEBHOOKS_STAGE
from gateway.gateway_metrics import GatewayMetrics
from sinks.base.sink_metrics import SinkMetrics
from sinks.outbound.outbound_metrics import OutboundMetrics
from sinks.push.push_metrics import PushMetrics
from stream_processors.lanes.lane_metrics import SequencerMetrics

ROOT: Final = Path(__file__).parents[3]
RULES: Final = ROOT / "monitoring/prometheus/alerts.yml"
RULES_TEST: Final = ROOT / "monitoring/prometheus/alerts_test.yml"
CONFIG: Final = ROOT / "monitoring/prometheus/prometheus.yml"
DASHBOARD: Final = ROOT / "monitoring/grafana/im-timeline.json"
OPERATING: Final = ROOT / "docs/operating.md"

NAME: Final = re.compile(r"\b(?:im|process)_\w+")
MOST_VALUES: Final = 30


def registry_of(stage: str) -> CollectorRegistry:
    """The metrics of one kind of process, made as the process makes them."""
    registry = CollectorRegistry()
    own = {"stage": stage}
    ReadGauge(registry, READY, lambda: 1, own)
    if stage == WEBHOOKS_STAGE:
        OutboundMetrics(registry, (WEBHOOK_RECEIVER,))
        return registry
    if stage == GATEWAY_STAGE:
        GatewayMetrics(registry).show(
            in_progress=int, connections=int, listeners=int, follows_log=bool
        )
        return registry
    ReadGauge(registry, LAG, lambda: 0, own)
    ReadGauge(registry, PARTITIONS, lambda: 0, own)
    if stage == SEQUENCER:
        SequencerMetrics(registry)
    else:
        SinkMetrics(stage, registry)
    if stage == PUSH_STAGE:
        PushMetrics(registry)
    return registry


def known_names() -> set[str]:
    """The names of all series of all processes, and of Prometheus about a process."""
    system = CollectorRegistry()
    ProcessCollector(registry=system)
    of_system = {sample.name for family in system.collect() for sample in family.samples}
    declared = {name for metric in declared_metrics() for name in metric.series_names}
    return declared | of_system


def expressions() -> Iterator[str]:
    """The queries of the dashboard and of the rules."""
    for panel in json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]:
        for target in panel.get("targets", ()):
            yield target["expr"]
    for rule in rules():
        yield rule["expr"]


def rules() -> list[dict[str, Any]]:
    """The alert rules."""
    (group,) = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def promtool(*arguments: str) -> str:
    """The output of promtool, which must succeed."""
    tool = shutil.which("promtool")
    assert tool is not None, "promtool is missing: apt-get install prometheus"
    ran = subprocess.run(
        [tool, *arguments], capture_output=True, text=True, check=False, timeout=60
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_each_name_is_declared_once() -> None:
    """No two declarations share a name, and each has a unit and a meaning that ends as a text."""
    declared = list(declared_metrics())
    assert len({metric.name for metric in declared}) == len(declared) > 20
    assert all(metric.unit and metric.meaning.endswith(".") for metric in declared)
    assert all(metric.name.endswith("_total") == (metric.kind == "counter") for metric in declared)


def test_the_declarations_are_the_only_place_of_a_name() -> None:
    """No module other than the two catalogues has the name of a metric."""
    names = [metric.name for metric in declared_metrics()]
    rooms = ["schemas", "backends", "stream_processors", "sinks", "gateway", "ops"]
    modules = [path for room in rooms for path in (ROOT / room).rglob("*.py")]
    found = {
        path.name
        for path in modules
        for name in names
        if f'"{name}"' in path.read_text(encoding="utf-8")
    }
    assert found == {"metric_catalog.py", "outbound_catalog.py"}


@pytest.mark.parametrize("stage", PROCESSES)
def test_a_process_has_the_declared_metrics(stage: str) -> None:
    """The registry of a process has exactly the metrics that its declarations name."""
    families = {family.name for family in registry_of(stage).collect()}
    declared = {
        metric.name.removesuffix("_total")
        for metric in declared_metrics()
        if stage in metric.processes
    }
    assert families == declared


def test_labels_have_few_values() -> None:
    """Each label has a closed list of values or a stated bound, and none identifies a person."""
    labels = [label for metric in declared_metrics() for label in metric.labels]
    assert all(bool(label.values) != bool(label.bounded_by) for label in labels)
    assert max(len(label.values) for label in labels) <= MOST_VALUES
    names = {label.name for label in labels}
    assert names == {
        "stage", "until", "reason", "outcome", "code", "route", "method", "status", "receiver",
    }  # fmt: skip


def test_the_page_has_the_table_of_the_declarations() -> None:
    """docs/metrics.md has the generated table of the present declarations."""
    page = METRICS_PAGE.read_text(encoding="utf-8")
    assert page_with_table(page) == page, "run: make schemas"


def test_the_dashboard_and_the_alerts_name_declared_metrics() -> None:
    """Every name of a metric in a query exists, and every declared metric is in some query."""
    used = {name for expression in expressions() for name in NAME.findall(expression)}
    assert used - known_names() == set()
    unused = [
        metric.name for metric in declared_metrics() if not used.intersection(metric.series_names)
    ]
    assert unused == ["im_row_deliveries_total"]  # with a setting that is off by default


def test_promtool_accepts_the_rules_and_the_configuration() -> None:
    """The rules and the example configuration are valid for Prometheus."""
    assert f"{len(rules())} rules found" in promtool("check", "rules", str(RULES))
    assert "SUCCESS" in promtool("check", "config", str(CONFIG))


def test_the_alerts_fire_and_do_not_fire() -> None:
    """`promtool test rules` passes: each alert fires in a case, and not in the healthy case."""
    assert "SUCCESS" in promtool("test", "rules", str(RULES_TEST))
    tests = yaml.safe_load(RULES_TEST.read_text(encoding="utf-8"))["tests"]
    cases = [(test["name"], case) for test in tests for case in test["alert_rule_test"]]
    alerts = [rule["alert"] for rule in rules()]
    quiet = {c["alertname"] for name, c in cases if name == "healthy" and not c["exp_alerts"]}
    firing = [c["alertname"] for name, c in cases if name != "healthy" and c["exp_alerts"]]
    assert quiet == set(alerts)
    assert firing == alerts


def test_each_alert_has_a_section() -> None:
    """docs/operating.md has a section for each alert, in the order of the rules."""
    _, _, sections = OPERATING.read_text(encoding="utf-8").partition("\n## Alerts\n")
    sections = sections.partition("\n## ")[0]
    headings = re.findall(r"^### (\w+)$", sections, re.MULTILINE)
    assert headings == [rule["alert"] for rule in rules()]
    parts = re.split(r"^### \w+$", sections, flags=re.MULTILINE)[1:]
    assert all("What to do" in part for part in parts)


def test_each_panel_has_a_title_a_description_and_a_place() -> None:
    """The dashboard has unique panels, none of which overlaps another."""
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    shown = [panel for panel in panels if panel["type"] != "row"]
    assert all(panel["title"] and panel["description"] and panel["targets"] for panel in shown)
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for panel in panels
        for place in [panel["gridPos"]]
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(cells)) == len(cells)


def test_every_sink_has_metrics() -> None:
    """The kinds of processes are the stages of the pipeline and the gateway."""
    assert (SEQUENCER, *SINKS, PUSH_STAGE, WEBHOOKS_STAGE, GATEWAY_STAGE) == PROCESSES
