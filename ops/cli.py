"""Entry point of `im`: turn every error into one line and an exit code.

Exit codes: 0 success, 1 failure (reason on standard error), 2 invalid arguments, 130 Ctrl-C.
"""

from __future__ import annotations

import os
import sys
from typing import Final, NoReturn

_FAILED: Final = 1
_INVALID: Final = 2
_INTERRUPTED: Final = 130

_UMASK: Final = 0o077
"""Only the owner may read the files that `im` writes: they hold messages and secrets."""


def main() -> None:
    """Run the command line. Never shows a traceback.

    The commands are imported inside `_run`, so that Ctrl-C during the import ends the process
    in the same way as Ctrl-C during a command.
    """
    os.umask(_UMASK)
    try:
        _run()
    except SystemExit as end:
        if end.code == _INTERRUPTED:
            _say("interrupted")
        raise
    except KeyboardInterrupt:
        _fail("interrupted", _INTERRUPTED)


def _run() -> None:
    from ops.commands.app import app  # noqa: PLC0415 - see `main`
    from ops.error_text import quiet_libraries  # noqa: PLC0415 - see `main`
    from schemas.errors import Interrupted  # noqa: PLC0415 - see `main`

    quiet_libraries()
    _check_arguments(sys.argv[1:])
    try:
        app()
    except Interrupted as error:
        _fail(str(error), _INTERRUPTED)
    except Exception as error:  # noqa: BLE001 - the outermost caller
        from ops.failures import line_of  # noqa: PLC0415 - imports all client libraries

        _fail(line_of(error), _FAILED)


def _check_arguments(arguments: list[str]) -> None:
    """Ends with exit code 2 if an argument is not UTF-8: no server could get it as a text."""
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:
            _fail(f"not UTF-8: {argument!a}", _INVALID)


def _fail(why: str, exit_code: int) -> NoReturn:
    _say(why)
    sys.exit(exit_code)


def _say(line: str) -> None:
    sys.stderr.write(f"im: {line}\n")
    sys.stderr.flush()
