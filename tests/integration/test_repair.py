"""`im repair` on real servers: what is missing is written again, all else is left alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from audit.real_sources import real_servers
from audit.report import AuditReport, Difference
from backends.cassandra.session import cassandra_session
from backends.elasticsearch.index import elasticsearch_client
from ops.repair.lacks import COPIES
from ops.repair.repair_rounds import RepairResult, repair_rounds
from schemas.settings import Settings
from tests.support.audited import System
from tests.support.auditing import SMALL_LIMITS_AS_SETTINGS, report_on
from tests.support.damage import DAMAGES, Pick
from tests.support.damage.tools import NoPlaceForDamage
from tests.support.deployed import all_stored, deploy, lose_all_rows
from tests.support.pipeline import assert_verified, im, prepare, sinks
from tests.support.processes import running, wait_until
from tests.support.servers import Servers
from tests.support.stories import STORY
from tests.support.topics import publish

pytestmark = pytest.mark.servers

LACKS = (
    "store_loses_a_message",
    "store_loses_a_conversation",
    "membership_loses_a_change",
    "index_loses_a_document",
    "marks_lose_a_mute",
    "marks_lose_a_row",
    "marks_forget_an_own_message",
    "marks_lose_what_somebody_marked",
    "store_does_not_know_of_an_edit",
    "sync_store_loses_a_row",
    "sync_store_loses_a_row_above_a_skip_note",
    "sync_store_loses_a_reference",
    "sync_store_forgets_a_bucket",
    "sync_store_does_not_tell_of_a_row",
)
"""The damages after which a copy lacks something."""

OTHERS = (
    "store_alters_a_column_of_a_message",
    "store_has_a_message_of_its_own",
    "store_has_a_conversation_of_its_own",
    "membership_turns_a_change_round",
    "index_alters_a_document",
    "index_has_another_version",
    "marks_run_ahead",
    "sync_store_alters_a_reference",
    "sync_store_lists_a_bucket_of_its_own",
)
"""Damages that no rule of this project explains."""


def damaged(system: System, names: tuple[str, ...], picks: list[int]) -> set[str]:
    """Makes damages, and returns those that were possible."""
    made = set()
    for name in names:
        try:
            DAMAGES[name](system, Pick(picks))
        except NoPlaceForDamage:
            continue
        made.add(name)
    return made


@contextmanager
def deployment(servers: Servers, names: tuple[str, ...], picks: list[int]) -> Iterator[Settings]:
    """A deployment whose tables and index were damaged."""
    settings = servers.settings(partitions=2, sync_partitions=3, **SMALL_LIMITS_AS_SETTINGS)
    made: set[str] = set()
    with cassandra_session(settings) as session, elasticsearch_client(settings) as search:
        deploy(
            settings, session, search, STORY,
            damage=lambda system: made.update(damaged(system, names, picks)),
        )  # fmt: skip
        assert made == set(names)
        yield settings
        session.execute(f"DROP KEYSPACE {settings.keyspace}", timeout=60)
        search.indices.delete(index=list(search.indices.get_alias(name=settings.index_alias)))


def repaired(settings: Settings, *, apply: bool) -> RepairResult:
    """The result of the command."""
    with real_servers(settings, advance=lambda *_: None, wait_seconds=10.0) as sources:
        return repair_rounds(settings, sources, apply=apply)


def kinds(report: AuditReport) -> set[tuple[str, str]]:
    """The checks and kinds of all differences."""
    return {(each.check, each.kind) for each in report.differences}


def others(found: list[Difference]) -> set[Difference]:
    """The differences other than missing rows and documents."""
    return {each for each in found if each.kind != "missing"}


@pytest.mark.parametrize("picks", [[], [5, 3, 8, 2, 9, 4, 7, 1, 6, 2, 11]])
def test_all_that_is_missing_is_written_again(servers: Servers, picks: list[int]) -> None:
    """After every damage of the kind "lacks", one command leaves no difference."""
    with deployment(servers, LACKS, picks) as settings:
        first = repaired(settings, apply=False)
        assert kinds(first.report) >= {(check, "missing") for check in COPIES}
        assert first.written.counts == {}

        done = repaired(settings, apply=True)

        assert done.rounds > 0  # the first command wrote nothing
        assert done.report.differences == []
        assert done.written.refused == []
        again = repaired(settings, apply=True)
        assert (again.rounds, again.report.differences) == (0, [])


def test_other_differences_are_left_alone(servers: Servers) -> None:
    """A row that differs from the log, or that the log does not have, is not written."""
    with deployment(servers, (*OTHERS, *LACKS[:4]), [4, 1, 7, 3]) as settings:
        before = report_on(settings, 10.0).differences

        done = repaired(settings, apply=True)

        assert {each.kind for each in done.report.differences}.isdisjoint({"missing"})
        assert others(done.report.differences) == others(before)
        assert len(others(before)) >= 5  # some damages are in the same row


def test_a_repair_beside_the_running_pipeline(servers: Servers) -> None:
    """While the sinks write new records, a repair restores the lost tables from the log."""
    settings = servers.settings(partitions=2, sync_partitions=3, **SMALL_LIMITS_AS_SETTINGS)
    prepare(settings)
    half = len(STORY) // 2
    with ExitStack() as stack:
        stack.enter_context(running(settings, "stream_processors"))
        stack.enter_context(sinks(settings))
        publish(settings, STORY[:half])
        wait_until(lambda: all_stored(settings), "the first half is stored")
        session = stack.enter_context(cassandra_session(settings))
        session.set_keyspace(settings.keyspace)
        lose_all_rows(session)
        publish(settings, STORY[half:])
        (*_, summary) = im(settings, "repair", "--apply")
        assert summary["ok"] is True
        assert summary["written"]["rows: message"] > 0
        assert_verified(settings)
