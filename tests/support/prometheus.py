"""A real Prometheus that scrapes processes of a test, and its answers to queries."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import yaml

from devstack.ports import free_ports
from tests.support.processes import ROOT, wait_until

RULES: Final = ROOT / "monitoring/prometheus/alerts.yml"
DASHBOARD: Final = ROOT / "monitoring/grafana/im-timeline.json"

_RATE_INTERVAL: Final = re.compile(r"\$__rate_interval")
_ANSWER_SECONDS: Final = 60.0
"""Of a busy machine."""


class Prometheus:
    """A running Prometheus.

    Args:
        address: Its address.
    """

    def __init__(self, address: str) -> None:
        self._address = address

    def is_ready(self) -> bool:
        """Whether it answers."""
        try:
            return bool(self._get("/api/v1/status/runtimeinfo"))
        except OSError:
            return False

    def values(self, expression: str, rate_interval: str) -> list[float]:
        """The present values of a query of the dashboard, without those that are not numbers.

        Args:
            expression: The query.
            rate_interval: The value of Grafana's variable of this name.
        """
        query = _RATE_INTERVAL.sub(rate_interval, expression)
        answer = self._get("/api/v1/query?" + urllib.parse.urlencode({"query": query}))
        values = [float(each["value"][1]) for each in answer["result"]]
        return [value for value in values if not math.isnan(value)]

    def alerts(self) -> dict[str, str]:
        """The state of each alert that is not quiet, by name: ``firing`` if any of the name is."""
        found = self._get("/api/v1/alerts")["alerts"]
        found.sort(key=lambda each: each["state"] == "firing")
        return {each["labels"]["alertname"]: each["state"] for each in found}

    def healthy_targets(self) -> int:
        """The number of processes that it reaches."""
        targets = self._get("/api/v1/targets")["activeTargets"]
        return sum(target["health"] == "up" for target in targets)

    def _get(self, path: str) -> Any:
        with urllib.request.urlopen(
            f"http://{self._address}{path}", timeout=_ANSWER_SECONDS
        ) as response:
            return json.load(response)["data"]


@contextmanager
def running_prometheus(folder: Path, addresses: Sequence[str]) -> Iterator[Prometheus]:
    """A Prometheus that scrapes these addresses each second, with the alert rules."""
    program = shutil.which("prometheus")
    assert program is not None, "Prometheus is missing: apt-get install prometheus"
    (port,) = free_ports(1)
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(RULES)],
        "scrape_configs": [
            {"job_name": "im-timeline", "static_configs": [{"targets": list(addresses)}]}
        ],
    }
    file = folder / "prometheus.yml"
    file.write_text(yaml.safe_dump(config))
    address = f"127.0.0.1:{port}"
    process = subprocess.Popen(
        [
            program, f"--config.file={file}", f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address={address}",
        ],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        prometheus = Prometheus(address)
        wait_until(prometheus.is_ready, "Prometheus answers")
        yield prometheus
    finally:
        process.terminate()
        process.wait(_ANSWER_SECONDS)


def panel_queries() -> Iterator[tuple[str, str]]:
    """The title of each panel of the dashboard, with each of its queries."""
    for panel in json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]
