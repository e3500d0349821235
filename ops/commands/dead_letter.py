"""`im dead-letters list` and `im dead-letters replay`."""

from __future__ import annotations

import time
from typing import Annotated, Final

import typer
from rich.table import Table

from backends.stages.dead_letter_log import Letter, read_letters
from ops.console import Json, emit, out
from ops.dead_letters.replay import STORED, Replayed, replay
from ops.deployment.running import live_settings

_FAILED: Final = 1

_Stage = Annotated[
    str | None, typer.Option("--stage", help="Only letters of this stage, such as sink-search.")
]
_Places = Annotated[
    list[str] | None,
    typer.Argument(metavar="[TOPIC:PARTITION:OFFSET]...", help="Only these records."),
]


def list_letters(stage: _Stage = None, *, json: Json = False) -> None:
    """Show each dead letter: time, stage, place of the record, size and reason."""
    letters = _chosen(stage, None)
    if json:
        for letter in letters:
            emit(letter)
        return
    table = Table("time (UTC)", "stage", "record", "bytes", "reason", box=None)
    for letter in letters:
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(letter.at / 1000))
        table.add_row(at, letter.stage, letter.place, str(letter.size), letter.reason)
    out.print(table if letters else "there are no dead letters")


def replay_letters(places: _Places = None, stage: _Stage = None, *, json: Json = False) -> None:
    """Store the records of the sinks' dead letters again. Exit with 1 if any is not stored."""

    def report(done: Replayed) -> None:
        if json:
            emit(done)
        else:
            why = f" ({done.why})" if done.why else ""
            out.print(f"{done.stage} {done.place}: {done.outcome}{why}", markup=False)

    counts = replay(live_settings(), _chosen(stage, places), report)
    if counts.total() != counts[STORED]:
        raise typer.Exit(_FAILED)


def _chosen(stage: str | None, places: list[str] | None) -> list[Letter]:
    return [
        letter
        for letter in read_letters(live_settings())
        if stage in {None, letter.stage} and (not places or letter.place in places)
    ]
