"""The time until a recipient is inactive, and the position of a skip note."""

from __future__ import annotations

from datetime import timedelta

import pytest

from schemas.lifetime import (
    SKIPPED_SINCE,
    SKIPPED_UNTIL,
    contact_interval,
    inactive_after,
    retention_times,
)
from schemas.number_types import Milliseconds
from schemas.topics import Topic


@pytest.mark.parametrize(
    ("lifetime", "interval", "inactive"),
    [
        (timedelta(seconds=1), timedelta(seconds=0.125), timedelta(seconds=1.25)),
        (timedelta(days=4), timedelta(hours=12), timedelta(days=5)),
        (timedelta(days=8), timedelta(days=1), timedelta(days=10)),
        (timedelta(days=80), timedelta(days=1), timedelta(days=82)),
    ],
)
def test_contacts_are_noted_daily_or_eight_times_in_a_lifetime(
    lifetime: timedelta, interval: timedelta, inactive: timedelta
) -> None:
    """The contact interval is an eighth of the lifetime, at most a day.

    A person is inactive after a lifetime and two intervals without a contact.
    """
    assert contact_interval(lifetime) == interval
    assert inactive_after(lifetime) == inactive


@pytest.mark.parametrize("lifetime", [timedelta(seconds=1), timedelta(days=7)])
def test_contacts_are_retained_until_their_person_is_inactive(lifetime: timedelta) -> None:
    """The retention of contacts is the time after which a person is inactive."""
    config = Topic.CONTACTS.config(
        replication=1, lifetime_ms=Milliseconds(int(lifetime.total_seconds() * 1000))
    )
    assert int(config["retention.ms"]) == inactive_after(lifetime) / timedelta(milliseconds=1)


def test_the_skip_note_is_first_of_the_latest_and_over() -> None:
    """The skip note is above every interval of a real time, and its interval has always ended."""
    times = retention_times(timedelta(days=3_650))
    assert times.since(2.0**62) < SKIPPED_SINCE
    assert SKIPPED_UNTIL <= 0
