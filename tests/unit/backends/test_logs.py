"""Log lines: valid JSON from every source, and no text of an error that may quote a message."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import subprocess
import sys
import threading
from typing import Any, Final

import pytest
from confluent_kafka import KafkaError, KafkaException

from backends.processes.error_lines import MOST_ERRORS, error_lines
from backends.processes.logs import MOST_CHARACTERS, LineFormatter
from backends.processes.minute_log import LimitedLog
from schemas.errors import ServerUnavailable
from tests.support.clock import Clock
from tests.support.log_lines import json_lines
from tests.support.processes import ROOT

SECRET: Final = "s3cret 天气"

_SOURCES: Final = """
import asyncio, logging, sys, threading, warnings
from backends.processes.logs import configure_logs
configure_logs("sink-message")
secret = sys.argv[1]

logging.getLogger("gateway.x").debug("own", extra={"partition": 3, "text": secret})
for library in ("cassandra", "aiokafka", "faust", "mode", "elastic_transport"):
    logging.getLogger(library).debug(secret)
    logging.getLogger(library).error(f"of {library}: %r", KeyError(secret))
logging.getLogger("cassandra.cluster").warning("host %s", "127.0.0.1")

from confluent_kafka import Producer
from backends.kafka.clients import admin_client, common_config
from schemas.settings import Settings
settings = Settings(kafka_bootstrap="127.0.0.1:1")
admin_client(settings)
# A setting for consumers: the client library warns.
made = Producer(common_config(settings) | {"log_level": 7, "session.timeout.ms": 7000})
made.poll(0.1)

warnings.warn("an old function")

async def failing():
    raise ValueError(secret)

async def main():
    task = asyncio.create_task(failing())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    del task

asyncio.run(main())
thread = threading.Thread(target=lambda: {}[secret])
thread.start()
thread.join()

class Ignored:
    def __del__(self):
        raise ValueError(secret)

Ignored()
logging.getLogger("gateway.x").info("%d", secret)
raise RuntimeError(secret) from ValueError(secret)
"""


def _ended(log_format: str) -> str:
    """The standard error of a process with a line from every source."""
    ended = subprocess.run(
        [sys.executable, "-c", _SOURCES, SECRET],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
        env=os.environ | {"IM_LOG_FORMAT": log_format, "IM_LOG_LEVEL": "debug"},
    )  # fmt: skip
    assert ended.returncode == 1
    return ended.stderr


def test_each_source_writes_json_without_the_texts_of_errors() -> None:
    """Own lines, libraries, warnings and uncaught errors are JSON objects with the same fields.

    The texts of errors, and fields that are not declared, are in no line.
    """
    written = _ended("json")
    lines: list[dict[str, Any]] = [json.loads(line) for line in written.splitlines()]
    assert SECRET not in written
    assert SECRET not in "".join(map(str, lines))
    for line in lines:
        assert list(line)[:5] == ["time", "level", "logger", "event", "process"], line
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", line["time"])
        assert line["process"] == "sink-message"
    by_logger = {line["logger"]: line for line in lines}
    assert by_logger["cassandra"]["event"] == "of cassandra: 'KeyError'"
    assert {"faust", "aiokafka", "mode", "elastic_transport", "librdkafka", "py.warnings"} <= set(
        by_logger
    )
    own = [line for line in lines if line["logger"] == "gateway.x"]
    assert own[0]["partition"] == 3
    assert own[0]["level"] == "debug"
    assert own[1]["event"].endswith("cannot be written: TypeError")
    assert by_logger["asyncio"]["exception"].endswith("ValueError")
    assert "failing" in by_logger["asyncio"]["exception"]
    ends = {line["event"]: line["exception"] for line in lines if line["level"] == "critical"}
    assert list(ends) == ["a thread ends", "an error is ignored", "the process ends"]
    assert ends["a thread ends"].endswith("KeyError")
    assert ends["the process ends"].splitlines()[0] == "ValueError"
    assert ends["the process ends"].endswith("RuntimeError")


def test_lines_for_people_have_the_same_content() -> None:
    """The format ``text`` has one readable line for each event, also without texts of errors."""
    written = _ended("text")
    assert SECRET not in written
    assert re.search(r"^\S+Z DEBUG gateway\.x own partition=3$", written, re.MULTILINE)
    assert re.search(
        r"^\S+Z CRITICAL backends\.processes\.logs the process ends\n", written, re.MULTILINE
    )


def test_errors_of_this_project_and_of_addresses_are_readable() -> None:
    """The text of an error that quotes no message is in the line, also as an argument."""
    with json_lines() as lines:
        log = logging.getLogger("gateway.x")
        log.warning("%s", ServerUnavailable("Kafka does not answer"))
        log.warning("%s", ConnectionRefusedError(111, "refused"))
        log.warning("%r", KafkaException(KafkaError(KafkaError._TRANSPORT)))  # noqa: SLF001 - public
        log.warning("%(why)s", {"why": ValueError(SECRET)})
        log.error("without an error", exc_info=True)  # noqa: LOG014 - a mistake of a caller
    assert [line["event"] for line in lines[:2]] == [
        "Kafka does not answer", "[Errno 111] refused",
    ]  # fmt: skip
    assert "_TRANSPORT" in lines[2]["event"]
    assert [line["event"] for line in lines[3:]] == ["ValueError", "without an error"]


def test_a_line_is_bounded() -> None:
    """Container engines split long lines, so a long event and a long chain are cut."""

    def fail(depth: int) -> None:
        if depth:
            try:
                fail(depth - 1)
            except ValueError as error:
                raise ValueError(SECRET) from error
        raise ValueError(SECRET)

    with json_lines() as lines:
        logging.getLogger("x").warning("y" * 100_000)
        try:
            fail(50)
        except ValueError as error:
            rendered = error_lines(error)
            logging.getLogger("x").exception("failed")
    assert rendered.splitlines().count("ValueError") == MOST_ERRORS
    assert len(lines[0]["event"]) == MOST_CHARACTERS
    assert len(lines[1]["exception"]) <= MOST_CHARACTERS


def test_the_parts_of_a_group_are_in_the_line() -> None:
    """A group of errors has the type of each of them."""
    with json_lines() as lines:
        group = ExceptionGroup(SECRET, [KeyError(SECRET), OSError("gone")])
        logging.getLogger("x").error("failed", exc_info=group)
    assert lines[0]["exception"].splitlines()[:2] == ["KeyError", "OSError: gone"]
    assert SECRET not in str(lines)


def test_only_plain_declared_fields_are_written() -> None:
    """A field is written if it is declared and a number or a text."""
    with json_lines() as lines:
        extra = {"offset": 1, "partition": object(), "word": SECRET, "conv_id": "c", "code": None}
        logging.getLogger("x").info("event", extra=extra)
    del lines[0]["time"]
    assert lines == [
        {
            "level": "info", "logger": "x", "event": "event", "process": "test",
            "offset": 1, "conv_id": "c",
        }
    ]  # fmt: skip


def test_lines_of_many_threads_stay_whole(tmp_path: Any) -> None:
    """Threads that log at the same time write whole lines, each once."""
    path = tmp_path / "log"
    handler = logging.FileHandler(path)
    handler.setFormatter(LineFormatter("test", as_json=True))
    log = logging.getLogger("tests.many")
    log.addHandler(handler)
    log.propagate = False
    log.setLevel(logging.INFO)

    def write(number: int) -> None:
        for at in range(500):
            log.info("line", extra={"partition": number, "offset": at})

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    log.removeHandler(handler)
    handler.close()
    found = [json.loads(line) for line in path.read_text().splitlines()]
    assert sorted((each["partition"], each["offset"]) for each in found) == [
        (number, at) for number in range(4) for at in range(500)
    ]


def test_a_second_has_a_limited_number_of_lines() -> None:
    """Further lines in a second are counted, and the next second says how many there were."""
    clock = Clock()
    with json_lines() as lines:
        limited = LimitedLog(logging.getLogger("x"), per_second=2, clock=clock)
        for at in range(5):
            limited.log(logging.INFO, "line", offset=at)
        clock.now += 1
        limited.log(logging.INFO, "line", offset=5)
    assert [line.get("offset") for line in lines] == [0, 1, None, 5]
    assert lines[2]["event"] == "3 more lines like the following"


@pytest.mark.parametrize(
    "module", ["gateway.__main__", "sinks.assembly", "stream_processors.__main__"]
)
def test_without_traces_no_process_imports_opentelemetry(module: str) -> None:
    """A process that makes no traces does not pay for the packages.

    The client of Elasticsearch imports the package `opentelemetry.trace` by itself, without use.
    """
    code = f"import sys, {module}; sys.exit('opentelemetry.sdk' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60, check=False).returncode
        == 0
    )


def test_an_error_of_a_task_is_reported_without_its_arguments() -> None:
    """Asyncio prints the representation of a failed call, with its arguments; a line has none."""

    async def main() -> None:
        asyncio.get_running_loop().call_soon(_fail, SECRET)
        await asyncio.sleep(0.01)

    with json_lines() as lines:
        asyncio.run(main())
    (line,) = [each for each in lines if each["level"] == "error"]
    assert SECRET not in str(line)
    assert line["exception"].endswith("ZeroDivisionError")


def _fail(_text: str) -> None:
    raise ZeroDivisionError
