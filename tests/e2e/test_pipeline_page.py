"""The page about the pipeline in Chromium, on the real stack."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import Any, Final

import pytest
from playwright.sync_api import Page, expect

from schemas.ids import uuid7
from schemas.records import CreateConversation, SendMessage, TextContent
from schemas.settings import Settings
from tests.e2e.conftest import OPERATOR
from tests.support.processes import wait_until
from tests.support.talk import Talk
from tests.support.topics import publish, publish_raw

pytestmark = pytest.mark.servers

STAGES: Final = ("sequencer", "sink-message", "sink-sync", "sink-search")
MESSAGES: Final = 2_000
ROUNDS: Final = 30
"""Messages that are sent at once, until the page shows that all stages move and the index lags."""

PATIENCE: Final = 180.0
END_MS: Final = 300_000
"""Until a busy machine has finished all rounds."""

TEXT: Final = "a text that no operator may see"
NARROW: Final = {"width": 390, "height": 844}


def opened(talk: Talk, user: str, **options: Any) -> Page:
    """The page, signed in by a link."""
    return talk.page(talk.profile(**options), f"/pipeline#token={talk.token(user)}")


def figure(page: Page, stage: str, number: int) -> Any:
    """A figure of a stage: 0 is the rate, 1 the lag, 2 the delay."""
    return page.locator(f'article[data-stage="{stage}"] dd').nth(number)


def shown(page: Page, stage: str, number: int) -> str:
    """The present text of a figure."""
    return figure(page, stage, number).text_content() or ""


def send_many(settings: Settings, rounds: int) -> Iterator[None]:
    """In each round, many messages at once, as a trusted service may send them."""
    sent: dict[str, Any] = {"conv_id": "a burst", "sender": "ann", "device_id": "d"}
    ids = (uuid7(1, number) for number in itertools.count(1))
    publish(
        settings, [CreateConversation(**sent, client_msg_id=next(ids), members=["bob", "cid"])]
    )
    content = TextContent(text=TEXT)
    for _ in range(rounds):
        said = [
            SendMessage(**sent, client_msg_id=next(ids), content=content) for _ in range(MESSAGES)
        ]
        publish(settings, said)
        yield


def test_the_pipeline_at_work(talk: Talk, deployment: tuple[Settings, Settings]) -> None:
    """Values move while messages flow, and the lag returns to 0. A dead letter has no text."""
    settings, _ = deployment
    page = opened(talk, OPERATOR)
    expect(page.locator("#verdict")).to_have_text("All stages are healthy")
    for stage in STAGES:
        expect(figure(page, stage, 0)).to_have_text("0/s")
        expect(figure(page, stage, 1)).to_have_text("0")
    sending = send_many(settings, ROUNDS)
    moving: set[str] = set()
    lags: set[str] = set()

    def have_moved() -> bool:
        """Whether the page has shown a rate of each stage, and a lag of the index.

        Both pass within seconds, so that all are looked at together, in each round of messages.
        """
        lag = shown(page, "sink-search", 1)
        if lag == "0":
            next(sending, None)
        else:
            lags.add(lag)
        moving.update(s for s in STAGES if re.match(r"[1-9].*/s", shown(page, s, 0)))
        page.wait_for_timeout(100)
        return moving == set(STAGES) and lags != set()

    wait_until(have_moved, "all values move", PATIENCE)
    for stage in STAGES:
        expect(figure(page, stage, 2)).to_have_text(re.compile(r"\d"))
        expect(page.locator(f'#charts path[data-stage="{stage}"]').first).to_have_attribute(
            "d", re.compile("L")
        )
    for stage in STAGES:
        expect(figure(page, stage, 1)).to_have_text("0", timeout=END_MS)
        expect(figure(page, stage, 0)).to_have_text("0/s", timeout=END_MS)
    expect(page.locator("#letters-rows tr")).to_have_count(0)
    publish_raw(settings, [(b"key", TEXT.encode())])
    letter = page.locator("#letters-rows tr")
    expect(letter).to_contain_text("the value is not JSON")
    expect(letter).to_contain_text(re.compile(rf"{settings.namespace}\.messages:\d:\d+"))
    expect(page.locator("#letters-count")).to_have_text("the newest 1 of 1")
    assert TEXT not in page.content()


def test_only_operators_see_the_pipeline(talk: Talk) -> None:
    """Another person reads why the page is empty, and an operator signs in by the keyboard."""
    page = opened(talk, "alice")
    expect(page.locator("#welcome-reason")).to_contain_text("IM_OPERATORS")
    expect(page.locator("#app")).to_be_hidden()
    assert page.evaluate("sessionStorage.length") == 0
    talk.complaints.clear()  # the browser reports the refused request
    expect(page.locator("#token")).to_be_focused()
    page.keyboard.insert_text(talk.token(OPERATOR))
    page.keyboard.press("Enter")
    expect(page.locator("#verdict")).to_have_text("All stages are healthy")
    page.get_by_role("button", name="Sign out").press("Enter")
    expect(page.locator("#token")).to_be_focused()


def test_keyboard_languages_and_a_narrow_screen(talk: Talk) -> None:
    """Charts are read with keys; the page changes its language, and fits on a phone's screen."""
    page = opened(talk, OPERATOR, viewport=NARROW)
    expect(page.locator("#verdict")).to_have_text("All stages are healthy")
    chart = page.locator('[data-chart="lag"]')
    chart.focus()
    for key in ("Home", "ArrowRight", "End"):
        page.keyboard.press(key)
        expect(chart.locator("time")).to_have_text(re.compile(r"\d\d:\d\d:\d\d"))
        expect(chart.locator(".cursor")).to_have_count(1)
    expect(chart).to_have_attribute("aria-label", re.compile("Lag, records: Sequencer 0"))
    page.keyboard.press("Escape")
    expect(chart.locator("time")).to_have_text("")
    page.locator("#app button.language").press("Enter")
    expect(page.locator("#verdict")).to_have_text("所有阶段运行正常")
    expect(page).to_have_title("im-timeline · 流水线")
    assert page.evaluate("document.documentElement.scrollWidth") == NARROW["width"]


def test_a_gateway_without_an_answer_is_told(talk: Talk) -> None:
    """Without answers, the page says so and retains the last values; it continues by itself."""
    page = opened(talk, OPERATOR)
    expect(page.locator("#verdict")).to_have_text("All stages are healthy")
    page.route("**/v1/pipeline?*", lambda route: route.abort())
    expect(page.locator("#trouble")).to_have_text("The gateway does not answer. Trying again.")
    expect(figure(page, "sequencer", 1)).to_have_text("0")
    page.unroute("**/v1/pipeline?*")
    expect(page.locator("#trouble")).to_be_hidden()
    expect(page.locator("#verdict")).to_have_text("All stages are healthy")
