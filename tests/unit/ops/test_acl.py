"""The rules of each role name what the code uses."""

from __future__ import annotations

import ast
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Final, get_args

import pytest
from typer.testing import CliRunner

from backends.cassandra import tables
from backends.cassandra.table_checks import table_of
from backends.stages.webhook_log import subscription_stage
from backends.sync_layout.layouts import Sharded, TopicPerRecipient
from ops.access.kafka_rules import AccessRule, ResourceKind, Role, kafka_rules
from ops.access.store_grants import WRITTEN_TABLES, cassandra_grants
from ops.commands.acl import printed_rules, users_of
from ops.commands.app import app
from schemas.errors import ConfigurationError
from schemas.number_types import EpochNumber
from schemas.settings import Settings
from schemas.topics import Topic
from stream_processors.commit.producer_settings import claimant_id, new_writer_id

ROOT: Final = Path(__file__).parents[3]
SHARDED: Final = Settings(namespace="t-1", operators="ops")
OWN_TOPICS: Final = Settings(namespace="t-1", sync_layout="topic-per-recipient")
ROOMS: Final = ("backends", "consumers", "gateway", "producers", "sinks", "stream_processors")
OF_ADMINISTRATORS: Final = {"dead-letters", "status"}
"""Groups that other roles need only for the page about the pipeline."""

_GROUP_AT: Final = {"assigned_consumer": 1, "StageGroup": 1, "group": 0}
"""The position of the group's name among the arguments of each function."""

_WRITES: Final = re.compile(r"(?:INSERT INTO|DELETE FROM|UPDATE) (\w+)")


def covers(rule: AccessRule, kind: ResourceKind, name: str) -> bool:
    """Whether a rule is about this resource."""
    matches = name.startswith(rule.name) if rule.is_prefix else name == rule.name
    return rule.kind == kind and matches


def permitted(settings: Settings, role: Role, kind: ResourceKind, name: str) -> set[str]:
    """The operations on a resource that the rules of a role permit."""
    rules = kafka_rules(settings)[role]
    return {each for rule in rules if covers(rule, kind, name) for each in rule.operations}


def named_groups(room: str) -> Iterator[str]:
    """The names of consumer groups in the sources of a room, without the namespace."""
    for path in ROOT.joinpath(room).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            place = _GROUP_AT.get(name, 0)
            if name in _GROUP_AT and len(node.args) > place:
                group = node.args[place]
                if isinstance(group, ast.Constant) and isinstance(group.value, str):
                    yield group.value


@pytest.mark.parametrize("settings", [SHARDED, OWN_TOPICS])
def test_each_role_may_describe_every_topic(settings: Settings) -> None:
    """Each process compares the ids of all topics, so no topic is hidden from any role."""
    for role in get_args(Role):
        for topic in Topic:
            assert permitted(settings, role, "topic", settings.topic(topic)), (role, topic)


def test_later_topics_of_sync_timelines_are_permitted() -> None:
    """The rules hold for the topics of epochs, and of recipients, that do not exist yet."""
    base = SHARDED.topic(Topic.SYNC)
    later = Sharded(base).topic_of(EpochNumber(7))
    own = TopicPerRecipient(base).recipient_topic("ann")
    operations: dict[Role, str] = {"workers": "Write", "sinks": "Read", "gateway": "Read"}
    for role, operation in operations.items():
        assert permitted(SHARDED, role, "topic", later) == {operation}
        assert permitted(SHARDED, role, "topic", own) == set()
        assert operation in permitted(OWN_TOPICS, role, "topic", own)
    assert permitted(OWN_TOPICS, "workers", "topic", own) >= {"Create"}
    assert permitted(OWN_TOPICS, "workers", "topic", OWN_TOPICS.topic(Topic.STATE)) == {
        "Read", "Write"
    }  # fmt: skip


@pytest.mark.parametrize(
    "name", [claimant_id(SHARDED, 4_000), new_writer_id(SHARDED)], ids=["claimant", "writer"]
)
def test_the_transactions_of_workers_are_permitted(name: str) -> None:
    """A worker may use the transactional ids that the code makes, and nobody else may."""
    assert permitted(SHARDED, "workers", "transactional-id", name) == {"Write"}
    others: tuple[Role, ...] = ("sinks", "gateway", "services")
    for role in others:
        assert not permitted(SHARDED, role, "transactional-id", name)


@pytest.mark.parametrize("room", ROOMS)
def test_each_group_in_the_code_has_a_rule(room: str) -> None:
    """A client that names a group without a rule gets errors of the broker."""
    ruled = {
        rule.name.removeprefix("t-1.")
        for role, rules in kafka_rules(SHARDED).items()
        for rule in rules
        if rule.kind == "group" and role != "administrators"
    }
    assert set(named_groups(room)) <= ruled


def test_the_groups_of_the_page_need_operators() -> None:
    """A gateway without operators may not read commands and dead letters.

    No gateway may read the webhooks, which have secrets; it finds them by their groups.
    """
    assert permitted(SHARDED, "gateway", "topic", SHARDED.topic(Topic.WEBHOOKS)) == {"Describe"}
    quiet = Settings(namespace="t-1")
    for topic in (Topic.MESSAGES, Topic.DEAD_LETTER):
        assert "Read" in permitted(SHARDED, "gateway", "topic", SHARDED.topic(topic))
        assert "Read" not in permitted(quiet, "gateway", "topic", quiet.topic(topic))
    for group in {*OF_ADMINISTRATORS, subscription_stage("a1")}:
        assert permitted(SHARDED, "gateway", "group", f"t-1.{group}") == {"Describe"}
        assert not permitted(quiet, "gateway", "group", f"t-1.{group}")


def test_another_namespace_is_out_of_reach() -> None:
    """No rule matches a name of another deployment, also if the namespace begins alike."""
    other = Settings(namespace="t-12")
    for role in get_args(Role):
        assert not permitted(SHARDED, role, "topic", other.topic(Topic.SYNC))
        assert not permitted(SHARDED, role, "group", other.group("sequencer"))


@pytest.mark.parametrize(("role", "room"), [("sinks", "sinks"), ("gateway", "gateway")])
def test_each_written_table_has_a_grant(role: Role, room: str) -> None:
    """The grants are for the tables that the statements of a room write, and no others."""
    written = {
        table
        for path in ROOT.joinpath(room).rglob("*.py")
        for table in _WRITES.findall(path.read_text())
    }
    names = {table_of(statement)[0] for statement in tables._TABLES}  # noqa: SLF001 - under test
    assert set(WRITTEN_TABLES[role]) == written & names
    grants = [*cassandra_grants(SHARDED, users_of(SHARDED, []))]
    modified = {line.split()[4] for line in grants if "MODIFY" in line and f'"t-1-{role}"' in line}
    assert modified == {f"t_1.{table}" for table in WRITTEN_TABLES[role]}


def test_the_commands_are_those_of_kafkas_tool(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each line is a command of `kafka-acls`, with the given users in quotes where necessary."""
    monkeypatch.setenv("IM_NAMESPACE", "t-1")
    shown = CliRunner().invoke(app, ["acl", "--user", "sinks=CN=im sinks"])
    assert shown.exit_code == 0, shown.output
    words = [shlex.split(line) for line in shown.output.splitlines()]
    assert {line[0] for line in words} == {"kafka-acls"}
    principals = {line[line.index("--allow-principal") + 1] for line in words}
    assert principals == {
        "User:t-1-workers", "User:CN=im sinks", "User:t-1-gateway", "User:t-1-services",
        "User:t-1-administrators", "User:t-1-webhooks", "User:t-1-push",
    }  # fmt: skip
    assert (
        "kafka-acls --bootstrap-server 127.0.0.1:9092 --add --allow-principal User:t-1-workers"
        " --topic t-1.sync- --resource-pattern-type prefixed --operation Write"
    ) in shown.output


def test_the_privileges_of_elasticsearch_are_json() -> None:
    """Each line is the body of a request for an API key of one role."""
    lines = printed_rules(SHARDED, "elasticsearch", users_of(SHARDED, []))
    bodies = {body["name"]: body["role_descriptors"] for body in map(json.loads, lines)}
    assert bodies.keys() == {"t-1-sinks", "t-1-gateway", "t-1-administrators"}
    gateway = bodies["t-1-gateway"]["t-1-gateway"]["indices"]
    assert gateway == [
        {
            "names": ["t-1-message", "t-1-message-*", "t-1-deployment"],
            "privileges": ["read", "view_index_metadata"],
        }
    ]


@pytest.mark.parametrize("given", ["sinks", "sinks=", "sink=a", "=a"])
def test_a_user_of_no_role_is_refused(given: str) -> None:
    """A misspelt role would leave the default user with the rules."""
    with pytest.raises(ConfigurationError, match=f"--user {given}: must be ROLE=USER"):
        users_of(SHARDED, [given])
