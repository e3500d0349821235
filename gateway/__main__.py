"""`python -m gateway`: serves until SIGTERM or Ctrl-C, then sends its clients elsewhere."""

from __future__ import annotations

import asyncio
import logging
import sys
from functools import partial
from typing import Final

from backends.monitoring.metric_catalog import GATEWAY_STAGE
from backends.monitoring.monitor import Monitor, monitored
from backends.processes.logs import configure_logs
from gateway import bounds
from gateway.gateway_metrics import GatewayMetrics
from gateway.http.gateway_checks import gateway_checks
from gateway.http.http_app import compose
from gateway.http.server import serve
from gateway.http.tokens import key_source
from gateway.token_keys.key_source import with_secret
from schemas.errors import ConfigurationError
from schemas.settings import Settings, load_settings

SHUTDOWN_SECONDS: Final = bounds.REQUEST_SECONDS
"""Time limit for the requests in progress at the end of the process."""

log = logging.getLogger(__name__)


def main() -> int:
    """Runs the gateway.

    Returns:
        The exit code: 0 after a regular end, 78 if the gateway could not start.
    """
    configure_logs("gateway")
    try:
        _serve(with_secret(load_settings()))
    except ConfigurationError as error:
        log.critical("ends: %s", error)
        return error.exit_code
    return 0


def _serve(settings: Settings) -> None:
    key_source(settings)  # a wrong key ends the gateway before it says that it serves
    where = f"{settings.gateway_host}:{settings.gateway_port}"
    log.info("the gateway is about to serve at http://%s", where)
    try:
        with monitored(settings, GATEWAY_STAGE) as monitor:
            asyncio.run(_run(settings, monitor))
    except OSError as error:
        raise ConfigurationError(
            f"cannot listen on {where} ({error.strerror}): set IM_GATEWAY_HOST or IM_GATEWAY_PORT"
        ) from error


async def _run(settings: Settings, monitor: Monitor) -> None:
    app = await compose(settings, GatewayMetrics(monitor.registry))
    app.cleanup_ctx.append(partial(gateway_checks, monitor.health))
    await serve(app, settings.gateway_host, settings.gateway_port, SHUTDOWN_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
