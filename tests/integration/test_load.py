"""`im load` with the whole pipeline on real servers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

import ops.load.loader
from consumers.timeline_tail import ends
from ops.load.display import display
from ops.load.loader import Loader, LoadSummary
from ops.load.source import open_log
from producers.outbox import Outbox
from schemas.errors import InvalidLine, OutboxInUse, Stalled
from schemas.records import MessageSent
from schemas.settings import Settings
from schemas.topics import Topic
from tests.conftest import Servers
from tests.support.chat import write_chat
from tests.support.pipeline import im_under_way, prepare, sinks
from tests.support.processes import running, wait_until
from tests.support.topics import is_caught_up, timelines

pytestmark = pytest.mark.servers

PATIENCE = 180.0


@pytest.fixture(scope="module")
def settings(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A deployment in its own namespace."""
    settings = servers.settings(
        home=tmp_path_factory.mktemp("home"), partitions=2, sync_partitions=2
    )
    prepare(settings)
    return settings


@pytest.fixture(scope="module")
def pipeline(settings: Settings) -> Iterator[Settings]:
    """The deployment with all its processes."""
    with running(settings, "stream_processors"), sinks(settings):
        yield settings


def load(
    settings: Settings, path: Path, patience: float = PATIENCE, limit: int | None = None
) -> LoadSummary:
    """Loads a file in this process."""
    with display(Console(stderr=True)) as bars, open_log(path) as log:
        return Loader(settings, bars, None, patience).load(log, limit)


def written(settings: Settings) -> int:
    """The number of committed records on the timeline."""
    return sum(ends(settings, Topic.TIMELINE, committed_only=True).values())


def texts(settings: Settings, conv_id: str) -> list[str]:
    """The texts of a conversation, in the order of the log."""
    return [
        entry.content.text
        for entry in timelines(settings)[conv_id]
        if isinstance(entry, MessageSent)
    ]


def test_a_killed_load_can_be_continued(
    pipeline: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After `kill -9` of the loader, the same load again adds every missing line once, in order.

    The second load reaches its bounds again and again, among duplicates and among new lines.
    """
    for bound, commands in {"BATCH": 20, "RESUME_SENDING_AT": 50, "MAX_UNSEQUENCED": 100}.items():
        monkeypatch.setattr(ops.load.loader, bound, commands)
    path = write_chat(tmp_path / "chat.jsonl", 600)
    with im_under_way(pipeline, "load", path, "--rate", "15"):
        wait_until(lambda: written(pipeline) > 20, "the load is under way")
    again = load(pipeline, path)
    assert again.sequenced + again.duplicates + again.stale == again.commands
    assert again.sequenced
    assert again.duplicates
    assert again.is_whole
    said: dict[str, list[str]] = {}
    for line in map(json.loads, path.read_text().splitlines()):
        if line["kind"] == "message":
            said.setdefault(line["conv"], []).append(line["text"])
    for conv_id, in_order in said.items():
        assert texts(pipeline, conv_id) == in_order
        seqs = [entry.seq for entry in timelines(pipeline)[conv_id]]
        assert seqs == list(range(1, len(seqs) + 1))
    with_nothing_left = Outbox(pipeline.home / "load" / f"{pipeline.namespace}.db")
    assert len(with_nothing_left) == 0
    with_nothing_left.close()


def line(conv: str, text: str, kind: str = "message") -> str:
    """A line of a chat log."""
    at = "2010-01-01T00:00:00Z"
    return json.dumps({"conv": conv, "at": at, "kind": kind, "user": "ann", "text": text}) + "\n"


def test_refused_lines_are_counted_and_reported(pipeline: Settings, tmp_path: Path) -> None:
    """A rejected command is counted, the rest of the batch is loaded, and the exit code is 1."""
    path = tmp_path / "chat.jsonl"
    path.write_text(line("refused", "one") + line("refused", "x" * 9_000) + line("refused", "two"))
    with im_under_way(pipeline, "load", path) as loading:
        out, _ = loading.communicate(timeout=PATIENCE)
    assert loading.returncode == 1
    summary = json.loads(out)
    assert summary["rejected"] == {"too_large": 1}
    assert (summary["sequenced"], summary["commands"], summary["messages"]) == (3, 4, 3)
    assert texts(pipeline, "refused") == ["one", "two"]
    assert set(summary["seconds"]) == {
        "sending", "sequencing", "sink-message", "sink-sync", "sink-search",
    }  # fmt: skip


def test_a_bad_line_ends_a_load_with_its_line_number(pipeline: Settings, tmp_path: Path) -> None:
    """An invalid line ends a load with its number; a corrected file adds only the rest."""
    path = tmp_path / "chat.jsonl"
    path.write_text(line("bad", "one") * 500 + "secret\n")
    with pytest.raises(InvalidLine, match="line 501") as error:
        load(pipeline, path)
    assert "secret" not in str(error.value)
    path.write_text(line("bad", "one") * 500 + line("bad", "two"))
    summary = load(pipeline, path)
    assert summary.is_whole
    assert texts(pipeline, "bad") == ["one"] * 500 + ["two"]


def test_a_limit_loads_only_the_first_lines(pipeline: Settings, tmp_path: Path) -> None:
    """A limit loads the first lines; a later load of the whole file adds the others."""
    path = tmp_path / "chat.jsonl"
    path.write_text("".join(line("limited", str(number)) for number in range(9)))
    first = load(pipeline, path, limit=3)
    assert (first.lines, first.sequenced, first.duplicates) == (3, 4, 0)
    whole = load(pipeline, path)
    assert (whole.lines, whole.sequenced, whole.duplicates) == (9, 6, 4)


def stalls_at(settings: Settings, path: Path, patience: float, stage: str) -> bool:
    """Whether a load ends without progress of this stage.

    On a busy machine, an earlier stage may be without progress for so short a time. The next load
    continues with what is left in the outbox.
    """
    with pytest.raises(Stalled) as stalled:
        load(settings, path, patience)
    return str(stalled.value).startswith(stage)


def test_a_stage_without_progress_is_named(settings: Settings, tmp_path: Path) -> None:
    """A load that makes no progress ends after its patience and names the stage."""
    path = write_chat(tmp_path / "chat.jsonl", 50)
    own = settings.model_copy(update={"namespace": settings.namespace + "-still"})
    prepare(own)
    wait_until(lambda: stalls_at(own, path, 1.0, "the sequencer"), "the sequencer is named")
    with running(own, "stream_processors"):
        wait_until(lambda: is_caught_up(own, "sequencer", Topic.MESSAGES), "all is sequenced")
        wait_until(lambda: stalls_at(own, path, 5.0, "sink-"), "a sink is named")


def test_only_one_load_runs_at_a_time(settings: Settings, tmp_path: Path) -> None:
    """A second load at the same time fails before it sends anything."""
    path = write_chat(tmp_path / "chat.jsonl", 50)
    outbox = Outbox(settings.home / "load" / f"{settings.namespace}.db")
    with pytest.raises(OutboxInUse, match="another `im load`"):
        load(settings, path)
    outbox.close()
