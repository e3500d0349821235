"""The table of the commands of `im`."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from ops.commands.app import app


@pytest.mark.parametrize(
    "command",
    [
        "run", "up", "down", "status", "prepare", "token", "history", "conversations", "sync",
        "search", "load", "verify", "acl", "repair", "reindex", "explain", "topics create",
        "topics reshard", "dead-letter list", "dead-letter show",
        "dead-letter replay", "dead-letter drop",
    ],
)  # fmt: skip
def test_each_command_is_imported_on_use(command: str) -> None:
    """Each command of the table has a function, and shows its help."""
    shown = CliRunner().invoke(app, [*command.split(), "--help"])

    assert shown.exit_code == 0, shown.output
    assert command.rsplit(maxsplit=1)[-1] in shown.output


def test_the_list_of_commands_imports_all_of_them() -> None:
    """`im --help` lists each command."""
    shown = CliRunner().invoke(app, ["--help"])

    assert shown.exit_code == 0
    assert "dead-letter" in shown.output
    assert "verify" in shown.output
