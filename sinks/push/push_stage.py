"""The stage ``sink-push`` of one process: its parts, and the thread of its deliveries."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from functools import partial
from typing import Final

from prometheus_client import CollectorRegistry

from backends.cassandra.session import cassandra_session, session_trouble
from backends.identity.store_claim import claim_store
from schemas.deployment import Deployment
from schemas.live_people import LIVE_TTL
from schemas.number_types import Milliseconds
from schemas.settings import Settings
from sinks.base.replay_book import ReplayBook, ReplayEnds, ReplayThread
from sinks.base.writer_port import CheckedWriter
from sinks.cassandra.requests import failures_by_kind
from sinks.outbound.destination_sender import DestinationSender, SenderBounds
from sinks.outbound.http_delivery import HttpDelivery
from sinks.push.address_reader import AddressBook
from sinks.push.address_removals import AddressRemovals
from sinks.push.delivery_thread import DeliveryThread
from sinks.push.live_reader import LiveBook
from sinks.push.providers import all_providers
from sinks.push.push_delivery import DeliveryTools, PushRules
from sinks.push.push_dispatcher import MAX_RUNNING_OF_ONE, PushDispatcher
from sinks.push.push_memory import PushMemory, StateLog
from sinks.push.push_metrics import PushMetrics
from sinks.push.push_people import PushPeople, followed_people
from sinks.push.push_planner import PushPlanner
from sinks.push.push_replays import PushReplays, push_group
from sinks.push.push_shards import KafkaPushLetters, KafkaRestoredShards
from sinks.push.push_state import PushTimes
from sinks.push.push_writer import PushWriter
from sinks.push.stored_facts import StoredFactsReader

_QUERY_THREADS: Final = 16
"""Queries to the store at once, and other calls that block."""

_BOUNDS: Final = SenderBounds(
    waiting=MAX_RUNNING_OF_ONE, concurrency=MAX_RUNNING_OF_ONE, longest_pause=60.0
)


@contextmanager
def open_push_writer(settings: Settings, deployment: Deployment) -> Iterator[CheckedWriter]:
    """The writer of the stage, with everything that delivers its notifications.

    Raises:
        RetryableError: A server does not answer.
        ConfigurationError: A key of a provider does not have its form.
    """
    with ExitStack() as stack:
        session = stack.enter_context(cassandra_session(settings))
        with failures_by_kind():
            claim_store(session, settings, deployment)
        people = PushPeople(AddressBook(), LiveBook())
        following = stack.enter_context(followed_people(settings, people))
        threads = stack.enter_context(ThreadPoolExecutor(_QUERY_THREADS, "push"))
        states = StateLog(settings)
        registry = CollectorRegistry()
        metrics = PushMetrics(registry)
        memory = PushMemory(PushPlanner(_times(settings), metrics.dropped), states)
        facts = StoredFactsReader(session, settings)

        def dispatcher(http: HttpDelivery) -> PushDispatcher:
            tools = DeliveryTools(
                memory, people, all_providers(settings, http), DestinationSender(_BOUNDS),
                facts, threads, _rules(settings), now_ms, metrics,
            )  # fmt: skip
            removal = AddressRemovals(settings, people)
            return PushDispatcher(tools, KafkaPushLetters(settings), removal)

        thread = DeliveryThread(settings, dispatcher, memory, following, threads)
        book = ReplayBook(push_group, ReplayEnds(settings).write)
        following_replays = ReplayThread(settings, book)
        following_replays.start()
        stack.callback(following_replays.stop)
        writer = PushWriter(
            memory, people, KafkaRestoredShards(settings), thread, now_ms,
            replays=PushReplays(book, memory, people, now_ms),
            store_trouble=partial(session_trouble, session), own_metrics=registry,
        )  # fmt: skip
        thread.start(writer)
        stack.callback(thread.stop)
        yield writer


def now_ms() -> Milliseconds:
    """The present time in milliseconds since 1970."""
    return Milliseconds(time.time_ns() // 1_000_000)


def _times(settings: Settings) -> PushTimes:
    window = settings.push_window // timedelta(milliseconds=1)
    # The record of a connection that ended without a word counts for its TTL.
    grace = LIVE_TTL // timedelta(milliseconds=1)
    return PushTimes(Milliseconds(window), Milliseconds(grace))


def _rules(settings: Settings) -> PushRules:
    max_age = settings.push_max_age // timedelta(milliseconds=1)
    return PushRules(settings.push_content, Milliseconds(max_age))
