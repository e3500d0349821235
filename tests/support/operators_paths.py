"""The paths that a process serves for operators, as Prometheus and an orchestrator use them."""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.request
from typing import Any, Final

from backends.monitoring.monitor import metrics_folder
from schemas.settings import Settings
from tests.support.metric_values import MetricValues
from tests.support.processes import wait_until

SCRAPE_SECONDS: Final = 10.0
"""The default timeout of Prometheus."""


class WatchedProcess:
    """A process with a free port for operators.

    Args:
        settings: The deployment.
        stage: The kind of the process.
        process: The process, whose file names the address.
    """

    def __init__(self, settings: Settings, stage: str, process: subprocess.Popen[bytes]) -> None:
        self.stage = stage
        self._file = metrics_folder(settings) / f"{stage}-{process.pid}.json"

    @property
    def address(self) -> str:
        """The address, as soon as the process serves."""
        wait_until(self._file.exists, f"the file of {self.stage}")
        ((address,),) = [each["targets"] for each in json.loads(self._file.read_bytes())]
        return str(address)

    def metrics(self) -> MetricValues:
        """The present metrics."""
        status, text = self._get("/metrics")
        assert status == 200
        return MetricValues(text)

    def is_ready(self) -> bool:
        """Whether `/readyz` answers 200."""
        return self._get("/readyz")[0] == 200

    def parts(self) -> dict[str, Any]:
        """The parts that `/readyz` names."""
        parts: dict[str, Any] = json.loads(self._get("/readyz")[1])["parts"]
        return parts

    def is_live(self) -> bool:
        """Whether `/livez` answers 200."""
        return self._get("/livez")[0] == 200

    def _get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(
                f"http://{self.address}{path}", timeout=SCRAPE_SECONDS
            ) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
