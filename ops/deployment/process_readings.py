"""The readiness and the metrics of the processes of `im up`, read at their own addresses."""

from __future__ import annotations

import http.client
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
from msgspec import Struct
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from backends.monitoring.monitor import metrics_folder
from backends.monitoring.outbound_catalog import OUTBOUND_DEAD_LETTERS, OUTBOUND_RETRIES
from backends.stages.stage_names import PUSH_STAGE
from backends.stages.webhook_log import WEBHOOKS_STAGE
from devstack.supervision import ProcessState
from schemas.settings import Settings

READING_SECONDS: Final = 6.0
"""Timeout of one answer. The checks of the readiness take up to three seconds."""

_OUTBOUND: Final = frozenset({PUSH_STAGE, WEBHOOKS_STAGE})


class OutboundState(Struct, frozen=True):
    """The deliveries to one kind of receiver.

    ``retries``: deliveries that have failed and are repeated now. ``dead_letters``: deliveries
    that were given up since the start of the processes.
    """

    retries: int = 0
    dead_letters: int = 0


class ProcessReading(NamedTuple):
    """The answers of one process.

    ``not_ready``: why the process is not ready; None if it is ready, or if its address is not
    known. ``metrics``: the metrics of push and webhooks; empty for other processes.
    """

    not_ready: str | None = None
    metrics: str = ""


class _Readiness(Struct):
    ready: bool
    parts: dict[str, str]


class _Targets(Struct):
    targets: list[str]


_targets: Final = msgspec.json.Decoder(list[_Targets])
_readiness: Final = msgspec.json.Decoder(_Readiness)


def read_processes(
    settings: Settings, processes: Iterable[ProcessState]
) -> dict[str, ProcessReading]:
    """The reading of each running process by its name. Asks all processes at the same time.

    Args:
        settings: The deployment.
        processes: The supervised processes, which may include servers.
    """
    found = {
        each: address
        for each in processes
        if each.state == "RUNNING" and (address := _address(settings, each.name)) is not None
    }
    if not found:
        return {}
    with ThreadPoolExecutor(len(found)) as pool:
        asked = {
            each.name: pool.submit(_read, address, has_outbound=each.program in _OUTBOUND)
            for each, address in found.items()
        }
        return {name: answer.result() for name, answer in asked.items()}


def outbound_states(readings: Iterable[ProcessReading]) -> dict[str, OutboundState]:
    """The deliveries by receiver, summed over the processes."""
    states: dict[str, OutboundState] = {}
    for sample in (sample for reading in readings for sample in _samples(reading.metrics)):
        before = states.get(sample.labels.get("receiver", ""), OutboundState())
        count = int(sample.value)
        if sample.name == OUTBOUND_RETRIES.name:
            after = OutboundState(before.retries + count, before.dead_letters)
        elif sample.name == OUTBOUND_DEAD_LETTERS.name:
            after = OutboundState(before.retries, before.dead_letters + count)
        else:
            continue
        states[sample.labels["receiver"]] = after
    return states


def _samples(metrics: str) -> Iterator[Sample]:
    for family in text_string_to_metric_families(metrics):
        yield from family.samples


def _address(settings: Settings, process: str) -> str | None:
    """The address that a process has written to its file, see `backends.monitoring.monitor`."""
    file: Path = metrics_folder(settings) / f"{process}.json"
    try:
        (found,) = _targets.decode(file.read_bytes())
        (address,) = found.targets
    except (OSError, ValueError, msgspec.MsgspecError):
        return None
    return address


def _read(address: str, *, has_outbound: bool) -> ProcessReading:
    try:
        readiness = _readiness.decode(_get(address, "/readyz"))
        metrics = _get(address, "/metrics") if has_outbound else ""
    except (OSError, http.client.HTTPException, msgspec.MsgspecError):
        return ProcessReading(f"it does not answer at {address}")
    reasons = [reason for reason in readiness.parts.values() if reason != "ok"]
    return ProcessReading(None if readiness.ready else "; ".join(reasons), metrics)


def _get(address: str, path: str) -> str:
    connection = http.client.HTTPConnection(address, timeout=READING_SECONDS)
    try:
        connection.request("GET", path)
        return connection.getresponse().read().decode()
    finally:
        connection.close()
