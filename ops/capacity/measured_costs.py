"""The measured cost of each step: from the report of `make bench`, and from docs/figures.md."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable, Mapping
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from schemas.errors import ConfigurationError

BENCHMARK_REPORT: Final = Path(__file__).parents[2] / "docs" / "benchmarks" / "results.json"

_MICROS: Final = 1_000_000.0
_FIGURES: Final = "docs/figures.md"


class CostCurve(Struct, frozen=True):
    """The cost of one operation by its size. It never falls as the size grows.

    ``points``: pairs of size and cost, by size. Between two points the cost is on the line
    between them. Below the first point it is that of the first point. Above the last point it
    grows in proportion to the size. So outside the measured sizes the cost is an upper bound, if
    an operation has a fixed cost and a cost for each unit.
    """

    points: tuple[tuple[float, float], ...]

    def at(self, size: float) -> float:
        """The cost of an operation of this size, in microseconds."""
        (first, first_cost), (last, last_cost) = self.points[0], self.points[-1]
        if size <= first:
            return first_cost
        for (low, below), (high, above) in pairwise(self.points):
            if size <= high:
                return below + (above - below) * (size - low) / (high - low)
        return last_cost * size / last


class MeasuredCost(Struct, frozen=True):
    """One measured value, for the list of all of them.

    ``source``: the file with the value.
    """

    what: str
    value: float
    unit: str
    source: str


class Costs(Struct, frozen=True):
    """All costs, in microseconds unless the name has another unit.

    ``machine``, ``commit``: where and at which version the report was made. ``machine_cores``:
    the cores that servers, load generator and measured process shared.
    """

    machine: str
    commit: str
    machine_cores: int
    sequencing: CostCurve
    """A worker, one message, by fan-out."""
    following: CostCurve
    """A gateway that reads the whole log, one message, by fan-out."""
    sync_page: CostCurve
    """A gateway, one page of a sync timeline, by records."""
    history_page: CostCurve
    """A gateway, one page of a conversation, by entries."""
    spread_record: float
    """A sync sink, a record that is the only one of its recipient in a flush."""
    grouped_delivery: float
    """A sync sink, one of several deliveries to a recipient in a flush."""
    posted_message: float
    """A gateway, a message over HTTP with its outcome; processor time."""
    live_delivery: float
    """A gateway, a message to one live connection; processor time."""
    document: float
    """A search sink, one message."""
    notification: float
    """A process of ``sink-push``, a notification; processor time."""
    webhook_event: float
    """A process of ``webhooks``, an event; processor time."""
    measured: tuple[MeasuredCost, ...]
    """The values behind the costs."""


DOCUMENTS_PER_SECOND: Final = 2_426.0
DOCUMENT_BYTES: Final = 210.0
SPREAD_INSERTS: Final = 2.67
STATE_BYTES: Final = 256.0
RESTORE_MICROS: Final = 11.0
_FOLLOWED: Final = {3.0: 31_730.0, 100.0: 7_970.0, 500.0: 1_993.0}
_POST_MICROS: Final = 636.0
_LISTENER_MICROS: Final = 372.0
_NOTIFICATION_MICROS: Final = 1_300.0
_EVENT_MICROS: Final = 620.0

PUBLISHED: Final = (
    MeasuredCost("documents of one search sink", DOCUMENTS_PER_SECOND, "documents/s", _FIGURES),
    MeasuredCost("index for a document (21 MB for 100,000)", DOCUMENT_BYTES, "bytes", _FIGURES),
    MeasuredCost("inserts for a spread sync record", SPREAD_INSERTS, "inserts", _FIGURES),
    MeasuredCost("memory of the sequencer for a conversation", STATE_BYTES, "bytes", _FIGURES),
    MeasuredCost("restore of a conversation (11 s for 1,000,000)", RESTORE_MICROS, "µs", _FIGURES),
)  # fmt: skip
"""Values that are not in the report of `make bench`."""


class _Figure(Struct, frozen=True):
    name: str
    unit: str
    rounds: dict[str, list[float]]


class _Report(Struct, frozen=True):
    commit: str
    machine: str
    figures: list[_Figure]


def read_costs(file: Path) -> Costs:
    """The costs of a report of `make bench`.

    Raises:
        ConfigurationError: The file cannot be read, or a figure is not in it.
    """
    try:
        report = msgspec.json.decode(file.read_bytes(), type=_Report)
    except (OSError, msgspec.MsgspecError) as error:
        raise ConfigurationError(f"{file} is not a report of `make bench`: {error}") from None
    return _costs(report)


def _costs(report: _Report) -> Costs:
    found = _Found(report.figures)
    cores = re.match(r"(\d+) cores", report.machine)
    if cores is None:
        raise ConfigurationError("the report does not say how many cores its machine has")
    curves = (
        found.curve("sequencing, fan-out", r"sequencing, fan-out (\d+)", "sequencer"),
        found.curve(
            "one gateway follows the log, fan-out",
            r"one gateway reads the log, fan-out (\d+)",
            "highest",
            _FOLLOWED,
        ),
        found.curve("/v1/sync, records", r"pages of (\d+) of /v1/sync, one process", "gateway"),
        found.curve("history, entries", r"pages of (\d+) of history, one process", "gateway"),
    )
    values = (
        _MICROS / found.rate("sync sink, each record to another recipient", "sink-sync"),
        _MICROS / found.rate("sync sink, groups", "sink-sync"),
        found.micros(
            "processor time for a POST answered with 201, without sinks", "gateway", _POST_MICROS
        ),
        found.micros(
            "processor time of the gateway for each listener of a pushed group",
            "a message",
            _LISTENER_MICROS,
        ),
        _MICROS / DOCUMENTS_PER_SECOND,
        found.micros("processor time for a notification", "sink-push", _NOTIFICATION_MICROS),
        found.micros("processor time for a webhook event", "webhooks", _EVENT_MICROS),
    )
    return Costs(
        report.machine, report.commit, int(cores[1]), *curves, *values,
        measured=(*found.used, *PUBLISHED),
    )  # fmt: skip


class _Found:
    """Looks figures up by name, and notes each value that is used."""

    def __init__(self, figures: Iterable[_Figure]) -> None:
        self._figures = list(figures)
        self.used: list[MeasuredCost] = []

    def curve(
        self, what: str, pattern: str, variant: str, published: Mapping[float, float] | None = None
    ) -> CostCurve:
        """The costs of all figures whose name has the pattern, with the size as its group."""
        rates = {
            float(match[1]): self._median(figure, variant)
            for figure in self._figures
            if (match := re.fullmatch(pattern, figure.name))
        }
        source = "docs/benchmarks" if rates else _FIGURES
        rates = rates or dict(published or {})
        if not rates:
            raise ConfigurationError(f"the report has no figure with a name like {pattern}")
        for size in sorted(rates):
            self.used.append(MeasuredCost(f"{what} {size:g}", rates[size], "/s", source))
        costs = accumulate((_MICROS / rates[size] for size in sorted(rates)), max)
        return CostCurve(tuple(zip(sorted(rates), costs, strict=True)))

    def rate(self, name: str, variant: str) -> float:
        """The median rate of a figure."""
        figure = self._named(name)
        if figure is None:
            raise ConfigurationError(f"the report has no figure with the name {name!r}")
        value = self._median(figure, variant)
        self.used.append(MeasuredCost(name, value, "/s", "docs/benchmarks"))
        return value

    def micros(self, name: str, variant: str, published: float) -> float:
        """The median time of a figure, else the value in docs/figures.md, in microseconds."""
        figure = self._named(name)
        value = published
        if figure is not None:
            value = self._median(figure, variant) * {"ms": 1_000.0, "µs": 1.0}[figure.unit]
        source = "docs/benchmarks" if figure else _FIGURES
        self.used.append(MeasuredCost(name, value, "µs", source))
        return value

    def _named(self, name: str) -> _Figure | None:
        return next((figure for figure in self._figures if figure.name == name), None)

    @staticmethod
    def _median(figure: _Figure, variant: str) -> float:
        rounds = figure.rounds.get(variant)
        if not rounds or min(rounds) <= 0:
            raise ConfigurationError(f"the figure {figure.name!r} has no values of {variant!r}")
        return statistics.median(rounds)
