"""Arguments of several commands: ids and times. A wrong one ends with exit code 2."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, TypeAlias

import typer

from schemas.ids import is_valid_id
from schemas.number_types import Milliseconds
from schemas.records import MAX_ID_LENGTH


def valid_id(value: str) -> str:
    """The id, for the option ``callback`` of an argument.

    Raises:
        typer.BadParameter: No person, device or conversation can have this id.
    """
    if not (1 <= len(value) <= MAX_ID_LENGTH and is_valid_id(value)):
        raise typer.BadParameter(f"an id has 1 to {MAX_ID_LENGTH} printable characters")
    return value


def utc_ms(moment: datetime) -> Milliseconds:
    """Milliseconds since 1970. A time without an offset is UTC."""
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return Milliseconds(int(aware.timestamp() * 1000))


UserArgument: TypeAlias = Annotated[
    str, typer.Argument(metavar="USER", help="The person.", callback=valid_id)
]
ConversationArgument: TypeAlias = Annotated[
    str, typer.Argument(metavar="CONV", help="The conversation.", callback=valid_id)
]
