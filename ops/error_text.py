"""Text of the errors of libraries, and silence of their loggers."""

from __future__ import annotations

import logging
import re
import sys
from typing import Final

import stamina

_KAFKA_ERROR: Final = re.compile(r'KafkaError\{code=[^}]*?str="([^"]*)"\}')
"""The text form of an error of confluent-kafka. The group is the error's message."""


def quiet_libraries() -> None:
    """Silence the loggers of libraries: `line_of` reports their errors."""
    logging.basicConfig(level=logging.ERROR, stream=sys.stderr, format="im: %(message)s")
    for library in ("cassandra", "elastic_transport", "elasticsearch", "aiohttp", "asyncio"):
        logger = logging.getLogger(library)
        logger.propagate = False
        logger.addHandler(logging.NullHandler())
    stamina.instrumentation.set_on_retry_hooks([])


def tidy(text: str) -> str:
    """The text, with each error of confluent-kafka reduced to the error's message."""
    return _KAFKA_ERROR.sub(r"\1", text)
