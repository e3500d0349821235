"""`im dead-letter list`, `show`, `replay` and `drop`."""

from __future__ import annotations

import time
from contextlib import closing
from datetime import datetime
from typing import Annotated, Any, Final

import typer

from backends.kafka.confirmed_producer import ConfirmedProducer
from backends.stages.dead_letter_log import read_letters, record_consumer
from backends.stages.letters import Letter
from ops.commands.arguments import utc_ms
from ops.console import Json, emit, out, table_with
from ops.dead_letters.chosen_letters import (
    LetterFilter,
    LetterPage,
    chosen,
    page_of,
    settled_together,
)
from ops.dead_letters.letter_notes import LetterNotes
from ops.dead_letters.replay import PASSED, Replayed, replay
from ops.dead_letters.sent_again import content_behind
from ops.dead_letters.shown_record import escaped, known_fields
from ops.deployment.running import live_settings
from ops.lines import printable
from schemas.errors import ConfigurationError
from schemas.number_types import Milliseconds
from schemas.settings import Settings

_FAILED: Final = 1
_PAGE: Final = 100
_NONE: Final = "there are no such open dead letters"

_Stage = Annotated[
    str, typer.Option("--stage", help="Only letters of this stage, such as sink-search.")
]
_Reason = Annotated[
    str, typer.Option("--reason", help="Only letters whose reason contains this text.")
]
_OfTopic = Annotated[
    str, typer.Option("--topic", help="Only letters about records of this topic.")
]
_Since = Annotated[
    datetime | None, typer.Option("--since", help="Only letters from this time (UTC) on.")
]
_Until = Annotated[
    datetime | None, typer.Option("--until", help="Only letters before this time (UTC).")
]
_All = Annotated[
    bool, typer.Option("--all", help="Also letters that were replayed or dropped before.")
]
_Limit = Annotated[int, typer.Option("--limit", min=1, help="Letters on a page.")]
_After = Annotated[
    str | None,
    typer.Option("--after", metavar="ID", help="Continue after the letter with this id."),
]
_Places = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[TOPIC:PARTITION:OFFSET]...", help="Only letters about these records."
    ),
]
_Place = Annotated[str, typer.Argument(metavar="TOPIC:PARTITION:OFFSET", help="The record.")]
_Text = Annotated[
    bool,
    typer.Option("--text", help="Show the whole record, which may have the text of a message."),
]
_Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


def list_letters(  # noqa: PLR0913 - one parameter an option
    stage: _Stage = "",
    reason: _Reason = "",
    topic: _OfTopic = "",
    since: _Since = None,
    *,
    until: _Until = None,
    after: _After = None,
    limit: _Limit = _PAGE,
    with_settled: _All = False,
    json: Json = False,
) -> None:
    """Show a page of the open dead letters, the oldest first: id, time, stage, record, reason."""
    by = LetterFilter(stage, reason, topic, _ms(since), _ms(until), with_settled=with_settled)
    page = page_of(chosen(read_letters(live_settings()), by), after, limit)
    if json:
        for letter in page.letters:
            emit(letter)
        if page.following is not None:
            emit({"following": page.following})
    else:
        _print_page(page)


def show_letter(place: _Place, *, text: _Text = False, json: Json = False) -> None:
    """Show all dead letters about one record, and the record without texts."""
    settings = live_settings()
    by = LetterFilter(places=[place], with_settled=True)
    letters = chosen(read_letters(settings), by)
    content = _content_of(settings, letters[-1], text=text)
    if json:
        emit({"letters": letters, "record": content})
        return
    for letter in letters:
        for name, shown in _lines_of(letter).items():
            out.print(f"{name:>9}  {printable(str(shown))}", markup=False, soft_wrap=True)
        out.print()
    for name, shown in (content or {"record": "not in the log any more"}).items():
        out.print(f"{name:>9}  {shown}", markup=False, soft_wrap=True)


def replay_letters(
    places: _Places = None,
    stage: _Stage = "",
    reason: _Reason = "",
    topic: _OfTopic = "",
    *,
    json: Json = False,
) -> None:
    """Replay the records of open dead letters. Exit with 1 if any needs more work.

    A sink's record is stored again, a command is sent again, and the stage of a notification or of
    a webhook delivers it again. A letter that was settled before is reported and left alone.
    """

    def report(done: Replayed) -> None:
        if json:
            emit(done)
        else:
            why = f" ({done.why})" if done.why else ""
            out.print(f"{done.stage} {done.place}: {done.outcome}{why}", markup=False)

    settings = live_settings()
    # A place that was settled before is named, so that a second replay is noticed.
    by = LetterFilter(stage, reason, topic, places=places or (), with_settled=bool(places))
    letters = settled_together(read_letters(settings), by)
    counts = replay(settings, letters, report)
    if not letters and not json:
        out.print(_NONE)
    if counts.keys() - PASSED:
        raise typer.Exit(_FAILED)


def drop_letters(  # noqa: PLR0913 - one parameter an option
    places: _Places = None,
    stage: _Stage = "",
    reason: _Reason = "",
    topic: _OfTopic = "",
    *,
    yes: _Yes = False,
    json: Json = False,
) -> None:
    """Settle open dead letters without a replay: lists hide them. Asks before, without --yes."""
    settings = live_settings()
    by = LetterFilter(stage, reason, topic, places=places or ())
    if by.is_open:
        raise ConfigurationError("name the records, or a --stage, --reason or --topic")
    letters = settled_together(read_letters(settings), by)
    if letters and not yes:
        typer.confirm(
            f"Drop {len(letters)} dead letters? Their records stay unprocessed", abort=True
        )
    notes = LetterNotes(settings, ConfirmedProducer(settings))
    for letter in letters:
        notes.settle(letter, "dropped")
        if json:
            emit({"stage": letter.stage, "place": letter.place, "outcome": "dropped"})
        else:
            out.print(f"{letter.stage} {letter.place}: dropped", markup=False)
    if not letters and not json:
        out.print(_NONE)


def _print_page(page: LetterPage) -> None:
    names = ("id", "time (UTC)", "stage", "record", "bytes", "reason", "settled")
    table = table_with(*names, whole=["id", "stage", "record"])
    for letter in page.letters:
        table.add_row(
            letter.own_place,
            _time(letter.at),
            printable(letter.stage),
            printable(letter.place),
            str(letter.size),
            printable(letter.reason),
            letter.fate or "",
        )
    out.print(table if page.letters else "there are no open dead letters")
    if page.following is not None:
        out.print(f"more: --after {page.following}")


def _lines_of(letter: Letter) -> dict[str, object]:
    settled = f"{letter.fate} {_time(letter.fate_at)}" if letter.fate and letter.fate_at else "no"
    return {
        "id": letter.own_place,
        "time": _time(letter.at),
        "stage": letter.stage,
        "reason": letter.reason,
        "place": letter.place,
        "size": letter.size,
        "sha256": letter.sha256,
        "settled": settled,
    }


def _content_of(settings: Settings, letter: Letter, *, text: bool) -> dict[str, Any] | None:
    """The record of a letter; None if nothing has a copy."""
    if letter.is_batch:
        return {"batch": f"offsets {letter.offset} to {letter.last_offset}"}
    with closing(record_consumer(settings)) as consumer:
        content = content_behind(consumer, settings, letter)
    if content is None:
        return None
    shown: dict[str, Any] = {"key": escaped(content.key)}
    if text:
        return shown | {"value": escaped(content.value)}
    return shown | known_fields(content.value) | {"value": "hidden; --text shows it"}


def _time(at: Milliseconds) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at / 1000))


def _ms(moment: datetime | None) -> Milliseconds | None:
    return None if moment is None else utc_ms(moment)
