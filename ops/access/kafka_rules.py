"""The least permissions of each role in Kafka. Without I/O.

Topics, groups and transactional ids are those that the code uses. The suite
``tests/security/test_secured_servers.py`` runs the pipeline with exactly these rules.

Two facts about Kafka make the rules longer than the work of a role:

- Each process compares the ids of all topics with the deployment's identity, so each role may
  describe all topics. ``Read`` and ``Write`` include ``Describe``.
- A client that names a group asks for the coordinator of the group, also if the client never
  becomes a member. So a role may describe such a group.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, Literal, NamedTuple, TypeAlias

from backends.stages.stage_names import PUSH_STAGE, SEQUENCER, SINKS, SOURCES
from backends.stages.webhook_log import subscription_stage
from backends.sync_layout.layouts import by_layout
from schemas.settings import Settings
from schemas.topics import Topic

Role: TypeAlias = Literal[
    "workers", "sinks", "push", "webhooks", "gateway", "services", "administrators"
]
ResourceKind: TypeAlias = Literal["topic", "group", "transactional-id"]
Operation: TypeAlias = Literal["All", "Create", "Describe", "DescribeConfigs", "Read", "Write"]

EVERYTHING: Final[tuple[Operation, ...]] = ("All",)


class AccessRule(NamedTuple):
    """A permission: operations on a resource, or on all resources whose names begin alike."""

    kind: ResourceKind
    name: str
    operations: tuple[Operation, ...]
    is_prefix: bool = False


class _Needs(NamedTuple):
    """What a role does. Topics and groups without their prefix.

    ``sync``: the operation on all topics of sync timelines, those of later epochs included.
    ``joined``, ``joined_prefix``: the groups of which a process is a member, or whose offsets the
    process commits.
    ``named``, ``named_prefix``: the groups whose coordinator, members or offsets a process asks
    for.
    """

    reads: Iterable[Topic]
    writes: Iterable[Topic]
    sync: Operation | None
    joined: Iterable[str]
    named: Iterable[str]
    joined_prefix: str = ""
    named_prefix: str = ""


def kafka_rules(settings: Settings) -> dict[Role, list[AccessRule]]:
    """The rules of each role, sorted.

    Args:
        settings: The deployment. Its layout decides about the topics of sync timelines, and its
            operators about the page of the pipeline at the gateway.
    """
    needs: Mapping[Role, _Needs] = {
        "workers": _WORKERS, "sinks": _SINKS, "push": _PUSH, "webhooks": _WEBHOOKS,
        "gateway": _gateway(settings), "services": _SERVICES,
    }  # fmt: skip
    rules: dict[Role, list[AccessRule]] = {
        role: sorted(_rules(settings, of_role)) for role, of_role in needs.items()
    }
    rules["workers"] = sorted([*rules["workers"], *_transactions(settings), *_creation(settings)])
    prefix = f"{settings.namespace}."
    kinds: tuple[ResourceKind, ...] = ("group", "topic", "transactional-id")
    rules["administrators"] = [
        AccessRule(kind, prefix, EVERYTHING, is_prefix=True) for kind in kinds
    ]
    return rules


_WORKERS: Final = _Needs(
    reads=(Topic.MESSAGES, Topic.STATE, Topic.EPOCHS, Topic.DEPLOYMENT),
    writes=(Topic.TIMELINE, Topic.STATE, Topic.EPOCHS, Topic.DEAD_LETTER),
    sync="Write",
    joined=(SEQUENCER,),
    named=("deployment", "epochs", "restore"),
)
_SINKS: Final = _Needs(
    reads=(Topic.TIMELINE, Topic.EPOCHS, Topic.CONTACTS, Topic.DEPLOYMENT),
    writes=(Topic.DEAD_LETTER,),
    sync="Read",
    joined=SINKS,
    named=("contacts", "deployment"),
)
_PUSH: Final = _Needs(
    reads=(
        Topic.EPOCHS,
        Topic.PUSH_DEVICES,
        Topic.LIVE,
        Topic.PUSH_STATE,
        Topic.REPLAYS,
        Topic.DEPLOYMENT,
    ),
    writes=(Topic.PUSH_DEVICES, Topic.PUSH_STATE, Topic.REPLAYS, Topic.DEAD_LETTER),
    sync="Read",
    joined=(PUSH_STAGE,),
    named=("deployment", "push-devices", "live", "push-state", "replays"),
)
_WEBHOOKS: Final = _Needs(
    reads=(Topic.TIMELINE, Topic.WEBHOOKS, Topic.REPLAYS, Topic.DEPLOYMENT),
    writes=(Topic.REPLAYS, Topic.DEAD_LETTER),
    sync=None,
    joined=(),
    named=("deployment", "webhook-reader", "replays"),
    joined_prefix=subscription_stage(""),  # each subscription is a group
)
_SERVICES: Final = _Needs(
    reads=(Topic.EPOCHS, Topic.DEPLOYMENT),
    writes=(Topic.MESSAGES,),
    sync="Read",
    joined=(),
    named=("deployment", "reader"),
)


def _gateway(settings: Settings) -> _Needs:
    """The page of the pipeline also reads commits, tails of the stages' sources, dead letters."""
    sources = [topic for topic in SOURCES.values() if topic is not Topic.SYNC]
    shown = [*sources, Topic.DEAD_LETTER] if settings.operator_ids else []
    asked = [*SOURCES, "dead-letters", "status"] if settings.operator_ids else ["sink-message"]
    return _Needs(
        reads=(Topic.TIMELINE, Topic.DEPLOYMENT, *shown),
        writes=(Topic.MESSAGES, Topic.CONTACTS, Topic.PUSH_DEVICES, Topic.LIVE),
        sync="Read",
        joined=(),
        named=("deployment", "gateway", *asked),
        named_prefix=subscription_stage("") if settings.operator_ids else "",
    )


def _rules(settings: Settings, needs: _Needs) -> Iterator[AccessRule]:
    operations: dict[str, set[Operation]] = {settings.topic(topic): set() for topic in Topic}
    for topic in needs.reads:
        operations[settings.topic(topic)].add("Read")
    for topic in needs.writes:
        operations[settings.topic(topic)].add("Write")
    if needs.sync is not None:
        operations[settings.topic(Topic.SYNC)].add(needs.sync)
        yield AccessRule("topic", _later_topics(settings), (needs.sync,), is_prefix=True)
    for name, permitted in operations.items():
        yield AccessRule("topic", name, tuple(sorted(permitted)) or ("Describe",))
    if needs.joined_prefix:
        yield AccessRule("group", settings.group(needs.joined_prefix), ("Read",), is_prefix=True)
    if needs.named_prefix:
        name = settings.group(needs.named_prefix)
        yield AccessRule("group", name, ("Describe",), is_prefix=True)
    for group in needs.joined:
        yield AccessRule("group", settings.group(group), ("Read",))
    for group in set(needs.named) - set(needs.joined):
        yield AccessRule("group", settings.group(group), ("Describe",))


def _later_topics(settings: Settings) -> str:
    """The beginning of the names of the topics of later epochs, or of recipients."""
    return by_layout(
        settings,
        sharded=lambda layout: f"{layout.base}-",
        topic_per_recipient=lambda layout: f"{layout.base}.",
    )


def _transactions(settings: Settings) -> Iterator[AccessRule]:
    # `claimant_id` and `new_writer_id` in `stream_processors.commit.producer_settings`.
    yield AccessRule(
        "transactional-id", f"{settings.group(SEQUENCER)}-", ("Write",), is_prefix=True
    )


def _creation(settings: Settings) -> Iterable[AccessRule]:
    """In the layout with topics of recipients, a worker creates the topic of a new one."""
    creates: tuple[Operation, ...] = ("Create", "DescribeConfigs")
    rule = AccessRule("topic", _later_topics(settings), creates, is_prefix=True)
    return by_layout(settings, sharded=lambda _: (), topic_per_recipient=lambda _: (rule,))
