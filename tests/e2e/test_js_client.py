"""The JavaScript client on the real stack, in Node: the scenarios of the Python device."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from pathlib import Path
from typing import Any, Final

import pytest

from schemas.settings import Settings
from schemas.topics import Topic
from tests.support.gateway import SECRET
from tests.support.local_world import seen_by
from tests.support.node import CLIENT, run_tests
from tests.support.pushed import count_switches, pushed_seqs
from tests.support.stored_addresses import stored_addresses
from tests.support.topics import read_all

pytestmark = pytest.mark.servers

SECONDS: Final = 600.0
ROUNDS: Final = 4
GROUP: Final = "the group"
SCENARIOS: Final = CLIENT / "test" / "e2e"


def environment(settings: Settings, other: Settings, result: Path) -> dict[str, str]:
    """The environment of the tests in Node."""
    address = f"http://{settings.gateway_host}:"
    return os.environ | {
        "IM_TEST_GATEWAY": f"{address}{settings.gateway_port}",
        "IM_TEST_WINDOW_GATEWAY": f"{address}{other.gateway_port}",
        "IM_TEST_SECRET": SECRET,
        "IM_TEST_ISSUER": settings.jwt_issuer,
        "IM_TEST_RESULT": str(result),
    }


def test_client(deployment: tuple[Settings, Settings], tmp_path: Path) -> None:
    """The outbox, devices in step, history, search, unread counts and push addresses work."""
    run_tests(
        SCENARIOS / "client.test.js", seconds=SECONDS,
        environment=environment(*deployment, tmp_path / "none"),
    )  # fmt: skip
    assert stored_addresses(deployment[0], "pia") == {
        "old": {
            "provider": "matrix", "gateway": "https://push.example/_matrix/push/v1/notify",
            "app_id": "org.example", "pushkey": "k",
        },
        "new": {"provider": "webhook", "url": "https://hooks.example/new"},
    }  # fmt: skip


def test_devices_end_with_the_timeline_of_the_store(
    deployment: tuple[Settings, Settings], tmp_path: Path
) -> None:
    """Devices end with exactly the readable timeline, live, by polling, and after kills.

    The group switches modes under load; members leave and rejoin; device processes are killed.
    Each device shows each SeqId once, in order, with the content of the log. Many of these entries
    were never in the device's sync timeline, so the device read them from the store.
    """
    settings, _ = deployment
    result = tmp_path / "result.json"
    run_tests(
        SCENARIOS / "devices.test.js", seconds=SECONDS,
        environment=environment(*deployment, result),
    )  # fmt: skip
    log: dict[str, list[bytes]] = defaultdict(list)
    for record in read_all(settings, Topic.TIMELINE):
        log[(record.key() or b"").decode()].append(record.value() or b"")
    devices = json.loads(result.read_text())
    assert [device["name"] for device in devices] == [
        "killed", "polling", "comes and goes", "window",
    ]  # fmt: skip
    assert devices[0]["lives"] == devices[2]["lives"] == ROUNDS + 1
    for device in devices:
        assert_equal_to_log(device, log)
    begin = devices[3]["stored"][GROUP]["start"]
    assert 1 < begin < len(log[GROUP])
    assert_that_many_entries_were_read_from_the_store(settings, log[GROUP])


def assert_equal_to_log(device: dict[str, Any], log: dict[str, list[bytes]]) -> None:
    """Asserts that a device has and shows what its owner may see, from its start on."""
    unread = {each["conv_id"]: each["unread"] for each in device["listed"]}
    for conv_id, stored in device["stored"].items():
        if conv_id not in unread:
            continue
        seen = seen_by(device["user"], log[conv_id])
        expected = {
            seq: (hole, None if hole else json.loads(value))
            for seq, (hole, value) in seen.items()
            if seq >= stored["start"]
        }
        assert by_seq(stored["items"]) == expected
        spans = [(item["first"], item["last"]) for item in stored["items"]]
        assert [(i["first"], i["last"]) for i in device["shown"][conv_id]] == spans
        assert stored["unread"] == unread[conv_id]
    assert GROUP in device["stored"]


def by_seq(items: list[dict[str, Any]]) -> dict[int, tuple[str | None, Any]]:
    """Items by SeqId."""
    return {
        seq: (item["hole"], item["entry"])
        for item in items
        for seq in range(item["first"], item["last"] + 1)
    }


def assert_that_many_entries_were_read_from_the_store(
    settings: Settings, group: list[bytes]
) -> None:
    """Asserts that the mode switched often, and that bob got many entries only from the store."""
    assert count_switches(group) == 2 * ROUNDS
    pushed = pushed_seqs(settings, "bob", GROUP)
    assert len(set(range(1, len(group) + 1)) - pushed) > ROUNDS * 10
