# ruff: noqa: RUF001 - Chinese text has Chinese punctuation
"""The page in Chromium, on the real stack."""

from __future__ import annotations

import os
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import Browser, Page, Request, WebSocketRoute, expect

from schemas.settings import Settings
from tests.e2e.conftest import WINDOW
from tests.support.processes import wait_until
from tests.support.talk import Talk

pytestmark = pytest.mark.servers

ALICE: Final = "alice"
MING: Final = "小明"
NOTES: Final = (
    "all tests are green",
    "the index has every message up to noon",
    "please look at the figures before the release",
    "咖啡 in the kitchen at ten, 大家都来",
)
ATTEMPTS: Final = 5
"""Attempts of the client for one request."""

KEEP_FOUND: Final = """() => {
  const set = setTimeout;
  window.setTimeout = (call, ms, ...given) => (ms === 2500 ? 0 : set(call, ms, ...given));
}"""
"""The message of a hit stays marked: a busy test may look at it after the usual 2.5 s."""

NARROW: Final = {"width": 390, "height": 780}
_SCREENSHOTS: Final = os.environ.get("TEST_SCREENSHOTS")
"""The folder for the pictures of the README, if they are to be taken."""


class HeldLink:
    """The live connection of a window, whose frames from the gateway a test can hold."""

    def __init__(self) -> None:
        self._held: list[tuple[WebSocketRoute, str | bytes]] | None = None

    def route(self, socket: WebSocketRoute) -> None:
        """Connects a window with the gateway."""
        socket.connect_to_server().on_message(lambda frame: self._pass(socket, frame))

    def hold(self) -> None:
        """Frames wait from now on."""
        self._held = []

    def release(self) -> None:
        """All frames that wait arrive, and later frames do not wait."""
        held, self._held = self._held or [], None
        for socket, frame in held:
            socket.send(frame)

    def _pass(self, socket: WebSocketRoute, frame: str | bytes) -> None:
        if self._held is None:
            socket.send(frame)
        else:
            self._held.append((socket, frame))


def row(page: Page, conv_id: str) -> Any:
    """A conversation in the list."""
    return page.locator(f'#conversations button[data-conversation="{conv_id}"]')


def message(page: Page, text: str) -> Any:
    """A message of the open conversation."""
    return page.locator("#messages .message").filter(has_text=text)


def take(page: Page, name: str) -> None:
    """Takes a picture for the README, if they are to be taken."""
    if _SCREENSHOTS is not None:
        page.screenshot(path=Path(_SCREENSHOTS) / f"{name}.png")


def test_people_talk(talk: Talk) -> None:
    """Messages arrive live; unread counts, edits, recalls and read marks reach all windows.

    Alice has two windows of one browser. 小明 has a narrow window in Chinese.
    """
    chat = talk.conversation("Coffee", ALICE, MING)
    talk.say(chat, ALICE, "Hi! Shall we have a coffee after work?")
    talk.say(chat, MING, "好啊，六点在楼下的咖啡馆见。")
    team = talk.conversation("Release", ALICE, MING, "bob", "emma", "丽华")
    for user, text in (
        ("bob", "The release candidate is up, please have a look."),
        ("丽华", "我来测试中文搜索。"),
        ("emma", "And I check the sync timelines."),
    ):
        talk.say(team, user, text)
    profile = talk.profile()
    first, second = talk.window(ALICE, profile), talk.window(ALICE, profile)
    ming = talk.window(MING, talk.profile(viewport=NARROW, locale="zh-CN", color_scheme="dark"))
    for page in (first, second):
        expect(row(page, team).locator(".badge")).to_have_text("3")
        expect(row(page, chat).locator(".badge")).to_have_text("1")

    first.bring_to_front()
    row(first, chat).click()
    for page in (first, second):
        expect(row(page, chat).locator(".badge")).to_be_hidden()
    ming.bring_to_front()
    row(ming, chat).click()
    expect(message(ming, "Shall we have a coffee")).to_be_visible()
    first.locator("#text").fill("Perfect, 六点 it is!")
    first.locator("#text").press("Enter")
    for page in (first, ming):
        expect(message(page, "六点 it is!")).to_be_visible()
    ming.locator("#text").fill("我先订位。")
    ming.locator("#send").click()
    expect(message(first, "我先订位。")).to_be_visible()
    expect(ming.locator(".pending")).to_have_count(0)
    take(ming, "page-narrow")

    own = message(first, "it is!")
    own.hover()
    own.get_by_role("button", name="Edit").click()
    first.locator("#text").fill("Perfect, 七点 it is!")
    first.locator("#text").press("Enter")
    for page in (first, ming):
        expect(message(page, "七点 it is!")).to_contain_text(
            "edited" if page == first else "已编辑"
        )
    message(ming, "我先订位。").get_by_role("button", name="撤回").click()
    for page in (first, ming):
        expect(message(page, "我先订位。")).to_have_count(0)
    expect(first.locator("#messages")).to_contain_text("A message was recalled")
    take(first, "page-talk")
    row(first, team).click()
    expect(message(first, "And I check")).to_be_visible()
    expect(first.locator("#title")).to_have_text("Release")
    expect(first.locator("#members")).to_have_text("5 people")


def test_history_and_search(talk: Talk) -> None:
    """Scrolling back reads earlier messages; a hit opens its place with marked words.

    A text with markup is text.
    """
    markup = "<img src=x onerror=alert(1)> & <b>bold</b>"
    chat = talk.conversation("Notes", ALICE, "bob")
    talk.say(chat, "bob", f"{markup} 第一条记录")
    for number in range(260):
        talk.say(chat, "bob", f"Note {number}: {NOTES[number % len(NOTES)]}")
    page = talk.window(ALICE, talk.profile())
    expect(row(page, chat)).to_contain_text("Note 259:")
    row(page, chat).click()
    expect(message(page, "Note 259:")).to_be_visible()
    expect(message(page, "Note 100:")).to_have_count(0)
    messages = page.locator("#messages")

    def is_at_begin() -> bool:
        messages.evaluate("element => { element.scrollTop = 0; }")
        page.wait_for_timeout(200)
        return bool(message(page, "第一条记录").count())

    wait_until(is_at_begin, "the first message is shown")
    expect(messages.locator(".message")).to_have_count(261)
    expect(message(page, "第一条记录")).to_contain_text(markup)
    expect(page.locator("#messages img")).to_have_count(0)

    other = talk.window(ALICE, talk.profile())
    query = other.locator("#query")

    def is_found(text: str) -> bool:
        query.fill(text)
        query.press("Enter")  # empties the list of hits
        other.locator("#hits > *").first.wait_for(timeout=180_000)  # an answer fills it
        return other.locator(".hit").count() == 1

    for text in ('"Note 259" 咖啡', '"Note 7" 咖啡'):  # the newest of these notes: all are indexed
        wait_until(partial(is_found, text), f"{text} is indexed")
    hit = other.locator(".hit")
    assert hit.locator("mark").all_text_contents() == ["Note 7", "咖啡"]
    query.press("ArrowDown")
    other.evaluate(KEEP_FOUND)
    other.keyboard.press("Enter")
    found = other.locator("#messages .found")
    expect(found).to_contain_text("Note 7:")
    expect(found).to_be_in_viewport()
    assert found.locator("mark").all_text_contents() == ["Note 7", "咖啡"]
    query.fill("咖啡")
    expect(other.locator(".hit")).to_have_count(20)
    take(other, "page-search")


def test_scrolling_back_continues_after_failures(
    deployment: tuple[Settings, Settings], browser: Browser
) -> None:
    """At the top, a person sees earlier messages as soon as the gateway answers again."""
    with closing(Talk(deployment[1], browser)) as talk:  # devices have the newest messages only
        chat = talk.conversation("Archive", ALICE, "bob")
        for number in range(3 * WINDOW):
            talk.say(chat, "bob", f"Note {number}: {NOTES[number % len(NOTES)]}")
        page = talk.window(ALICE, talk.profile())
        row(page, chat).click()
        expect(message(page, f"Note {3 * WINDOW - 1}:")).to_be_visible()
        failed: list[Request] = []

        def note(request: Request) -> None:
            failed.append(request)

        page.on("requestfailed", note)
        pages_of_history = "**/v1/conversations/*/messages?*"
        page.route(pages_of_history, lambda route: route.abort())
        page.locator("#messages").evaluate("element => { element.scrollTop = 0; }")

        def has_failed() -> bool:
            page.wait_for_timeout(50)  # lets events arrive
            return len(failed) > ATTEMPTS

        wait_until(has_failed, "the page repeats the request")
        page.unroute(pages_of_history)
        expect(message(page, "Note 0:")).to_be_attached()
        assert talk.complaints == []


def test_offline_messages_wait(talk: Talk) -> None:
    """Messages that are written offline wait, survive a reload, and are sent once."""
    chat = talk.conversation("Train", ALICE, "bob")
    context = talk.profile()
    page = talk.window(ALICE, context)
    bob = talk.window("bob", talk.profile())
    row(page, chat).click()
    row(bob, chat).click()
    context.set_offline(True)
    expect(page.locator("#state")).to_contain_text("offline")
    for text in ("In the tunnel", "Still in the tunnel"):
        page.locator("#text").fill(text)
        page.locator("#text").press("Enter")
    expect(page.locator(".pending")).to_have_count(2)
    expect(page.locator("#state")).to_contain_text("2")
    talk.say(chat, "bob", "Are you there?")
    # A reload needs the files of the page, but no request of the client succeeds after it.
    page.route("**/v1/**", lambda route: route.abort())
    context.set_offline(False)
    page.reload()
    expect(page.locator("#state")).to_contain_text("offline · 2")
    row(page, chat).click()
    expect(page.locator(".pending")).to_have_count(2)
    page.unroute("**/v1/**")
    for each in (page, bob):
        texts = each.locator("#messages .message p")
        expect(texts).to_have_text(["Are you there?", "In the tunnel", "Still in the tunnel"])
    expect(page.locator(".pending")).to_have_count(0)


def test_a_sent_message_remains_visible_until_its_entry_arrives(talk: Talk) -> None:
    """Between the response to a message and its record, the message is shown as pending."""
    link = HeldLink()
    profile = talk.profile()
    profile.route_web_socket("**/v1/live*", link.route)
    page = talk.window("emma", profile)
    page.get_by_title("New conversation").click()
    page.keyboard.type("dora")
    page.keyboard.press("Enter")
    expect(page.locator("#title")).to_have_text("dora")
    link.hold()
    page.locator("#text").fill("wait for me")
    # A busy gateway may answer with 202, or with a refusal, after which the page repeats.
    with page.expect_response(
        lambda each: (
            each.request.method == "POST" and "/messages" in each.url and each.status in {201, 202}
        )
    ):
        page.locator("#text").press("Enter")
    # The page draws once a frame: the second frame shows what the response has changed.
    page.evaluate("new Promise((end) => requestAnimationFrame(() => requestAnimationFrame(end)))")
    assert message(page, "wait for me").is_visible()
    assert page.locator(".pending").count() == 1
    link.release()
    expect(page.locator(".pending")).to_have_count(0)
    page.locator("#text").press("ArrowUp")
    expect(page.locator("#editing")).to_be_visible()


def test_keyboard_and_a_new_conversation(talk: Talk) -> None:
    """The page works without a mouse, and nothing runs that is not a file of the page."""
    page = talk.window("dora", talk.profile())
    page.get_by_title("New conversation").focus()
    page.keyboard.press("Enter")
    page.keyboard.type("alice, bob")
    page.keyboard.press("Tab")
    page.keyboard.type("Keys")
    page.keyboard.press("Enter")
    expect(page.locator("#title")).to_have_text("Keys")
    expect(page.locator("#text")).to_be_focused()
    page.keyboard.type("typed")
    page.keyboard.press("Enter")
    expect(message(page, "typed")).to_be_visible()
    expect(page.locator(".pending")).to_have_count(0)
    page.keyboard.press("ArrowUp")
    expect(page.locator("#editing")).to_be_visible()
    page.keyboard.type(" again")
    page.keyboard.press("Enter")
    expect(message(page, "typed again")).to_be_visible()
    page.keyboard.press("Escape")
    keys = page.locator("#conversations button", has_text="Keys")
    expect(keys).to_be_focused()
    page.keyboard.press("/")
    expect(page.locator("#query")).to_be_focused()
    page.get_by_title("New conversation").click()
    page.keyboard.type("bob")
    page.keyboard.press("Enter")
    expect(page.locator("#title")).to_have_text("bob")
    refused = page.evaluate(
        """() => new Promise((resolve) => {
            document.addEventListener("securitypolicyviolation", (event) => {
                resolve(event.effectiveDirective);
            });
            const script = document.createElement("script");
            try { script.textContent = "window.hasRun = true"; } catch { resolve("trusted"); }
            document.body.append(script);
        })"""
    )
    assert refused in {"script-src-elem", "require-trusted-types-for", "trusted"}
    assert page.evaluate("window.hasRun") is None
    talk.complaints.clear()  # the browser has reported the refused script


def test_a_mute_reaches_the_other_devices_of_the_person(talk: Talk) -> None:
    """A person mutes by keyboard. Their other browser shows the mute, also after a reload.

    The other people see nothing of it. A muted conversation does not count in the title.
    """
    chat = talk.conversation("Loud", ALICE, "zoe")
    first, second = (talk.window("zoe", talk.profile()) for _ in range(2))
    alice = talk.window(ALICE, talk.profile())
    for page in (first, second, alice):
        row(page, chat).click()
        expect(page.get_by_role("switch", name="Mute")).not_to_be_checked()
    first.bring_to_front()
    first.get_by_role("switch", name="Mute").focus()
    first.keyboard.press("Space")
    for page in (first, second):
        expect(page.locator("#mute")).to_have_attribute("aria-checked", "true")
    second.reload()
    row(second, chat).click()
    expect(second.locator("#mute")).to_have_attribute("aria-checked", "true")
    quiet = talk.conversation("Quiet", ALICE, "zoe")
    for page in (first, second):  # a window that shows the muted conversation would read it
        row(page, quiet).click()
        expect(page.locator("#mute")).to_have_attribute("aria-checked", "false")
    talk.say(chat, ALICE, "louder")
    expect(row(second, chat).locator(".badge.muted")).to_have_text("1")
    expect(second).to_have_title("im-timeline")
    expect(alice.locator("#mute")).to_have_attribute("aria-checked", "false")
    for page in (first, second):
        row(page, chat).click()
        expect(page.locator("#mute")).to_have_attribute("aria-checked", "true")
    second.locator("#mute").click()
    expect(first.locator("#mute")).to_have_attribute("aria-checked", "false")


def test_a_reload_without_a_network(talk: Talk) -> None:
    """A reload without a network shows the conversation; a message that waits is sent later."""
    chat = talk.conversation("Mountain", ALICE, "bob")
    talk.say(chat, "bob", "Do you have a network?")
    context = talk.profile()
    page = talk.window(ALICE, context)
    row(page, chat).click()
    expect(message(page, "Do you have")).to_be_visible()
    page.evaluate("navigator.serviceWorker.ready.then(() => true)")
    context.set_offline(True)
    page.reload()
    expect(page.locator("#state")).to_contain_text("offline")
    row(page, chat).click()
    expect(message(page, "Do you have")).to_be_visible()
    page.locator("#text").fill("Not up here")
    page.locator("#text").press("Enter")
    expect(page.locator(".pending")).to_have_count(1)
    context.set_offline(False)
    expect(page.locator(".pending")).to_have_count(0)
    bob = talk.window("bob", talk.profile())
    row(bob, chat).click()
    expect(message(bob, "Not up here")).to_have_count(1)


def test_a_phone_reads_only_what_it_shows(talk: Talk) -> None:
    """On a narrow screen, a message is unread while the list is in place of the conversation.

    On a screen for fingers, an opened conversation does not take the focus, which would open the
    keyboard over the messages.
    """
    chat = talk.conversation("Pocket", ALICE, MING)
    page = talk.window(MING, talk.profile(viewport=NARROW, has_touch=True, is_mobile=True))
    row(page, chat).click()
    expect(page.locator("#title")).to_have_text("Pocket")
    expect(page.locator("#text")).not_to_be_focused()
    page.locator("#back").click()
    talk.say(chat, ALICE, "Are you there?")
    expect(row(page, chat).locator(".badge")).to_have_text("1")
    row(page, chat).click()
    expect(message(page, "Are you there?")).to_be_visible()
    expect(row(page, chat).locator(".badge")).to_have_text("0")
