"""`python -m gateway`: serves until SIGTERM or Ctrl-C, then sends its clients elsewhere."""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import Final

from gateway import bounds
from gateway.http.http_app import compose
from gateway.http.server import serve
from gateway.http.tokens import key_source
from gateway.log_lines import configure_logging
from gateway.token_keys.key_source import with_secret
from schemas.errors import ConfigurationError
from schemas.settings import Settings, load_settings

SHUTDOWN_SECONDS: Final = bounds.REQUEST_SECONDS
"""Time limit for the requests in progress at the end of the process."""

log = logging.getLogger(__name__)


def main() -> int:
    """Runs the gateway.

    Returns:
        The exit code: 0 after a regular end, 1 if the gateway could not start.
    """
    configure_logging()
    try:
        _serve(with_secret(load_settings()))
    except ConfigurationError as error:
        return _failed(str(error))
    return 0


def _failed(why: str) -> int:
    print(f"gateway: {why}", file=sys.stderr)  # noqa: T201 - for the operator
    return 1


def _serve(settings: Settings) -> None:
    key_source(settings)  # a wrong key ends the gateway before it says that it serves
    where = f"{settings.gateway_host}:{settings.gateway_port}"
    log.info("the gateway is about to serve at http://%s", where)
    try:
        asyncio.run(_run(settings))
    except OSError as error:
        raise ConfigurationError(
            f"cannot listen on {where} ({error.strerror}): set IM_GATEWAY_HOST or IM_GATEWAY_PORT"
        ) from error


async def _run(settings: Settings) -> None:
    app = await compose(settings)
    await serve(app, settings.gateway_host, settings.gateway_port, SHUTDOWN_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
