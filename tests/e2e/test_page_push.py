"""Notifications of the page: the service worker in Chromium, and the switch.

Chromium has no push service here. The browser itself delivers the messages to the service worker,
as it does after the decryption; `tests/unit/sinks/test_push_providers.py` tests the encryption.
"""

from __future__ import annotations

import json
from typing import Any, Final

import pytest
from playwright.sync_api import BrowserContext, CDPSession, Page, expect

from schemas.settings import Settings
from tests.support.live_people import gateways_of_live
from tests.support.processes import wait_until
from tests.support.stored_addresses import BROWSER_POINT, stored_addresses
from tests.support.talk import Talk

pytestmark = pytest.mark.servers

SECONDS: Final = 180.0
SHOWN: Final = """async () => {
  const registration = await navigator.serviceWorker.ready;
  const found = await registration.getNotifications();
  return found.map(({ title, body, tag, data }) => ({ title, body, tag, data }));
}"""
NO_PUSH_SERVICE: Final = """
let current = null;
const keys = { p256dh: "P256DH", auth: "A".repeat(22) };
PushManager.prototype.getSubscription = async () => current;
PushManager.prototype.subscribe = async (options) => {
  if (!options.userVisibleOnly || !options.applicationServerKey) throw new Error("options");
  current = {
    toJSON: () => ({ endpoint: "https://push.example/send/1", keys }),
    unsubscribe: async () => { current = null; return true; },
  };
  return current;
};
"""


class Worker:
    """The service worker of a window, to which the browser delivers messages."""

    def __init__(self, talk: Talk, context: BrowserContext, page: Page) -> None:
        self._origin = talk.base
        self._page = page
        self._registration: str | None = None
        page.evaluate("navigator.serviceWorker.ready.then(() => true)")
        self._cdp: CDPSession = context.new_cdp_session(page)
        self._cdp.on("ServiceWorker.workerRegistrationUpdated", self._note)
        self._cdp.send("ServiceWorker.enable")
        wait_until(self._is_known, "the registration is known", SECONDS)

    def _note(self, event: dict[str, Any]) -> None:
        for each in event["registrations"]:
            if each["scopeURL"] == f"{self._origin}/":
                self._registration = each["registrationId"]

    def _is_known(self) -> bool:
        self._page.wait_for_timeout(20)  # lets events arrive
        return self._registration is not None

    def push(self, message: object) -> None:
        """Deliver a message as text or as JSON."""
        text = message if isinstance(message, str) else json.dumps(message)
        self._cdp.send(
            "ServiceWorker.deliverPushMessage",
            {"origin": self._origin, "registrationId": self._registration, "data": text},
        )

    def shows(self, expected: list[dict[str, Any]]) -> None:
        """Wait until exactly these notifications are shown."""
        wait_until(lambda: self._page.evaluate(SHOWN) == expected, f"{expected}", SECONDS)

    def start(self, message: object, expected: list[dict[str, Any]]) -> None:
        """Deliver a message until exactly these notifications are shown.

        A busy browser drops a message if the worker does not start in time.
        """

        def is_shown() -> bool:
            self.push(message)
            self._page.wait_for_timeout(500)
            return bool(self._page.evaluate(SHOWN) == expected)

        wait_until(is_shown, f"{expected}", SECONDS)


def test_a_message_is_shown_and_opens_its_conversation(talk: Talk) -> None:
    """One notification for each conversation, with the newest message; none after reading.

    A click opens the conversation in the window. A message that nobody understands shows nothing.
    """
    first = talk.conversation("Coffee", "alice", "bob")
    second = talk.conversation("Release", "alice", "bob")
    talk.say(first, "bob", "Hi!")
    profile = talk.profile()
    profile.grant_permissions(["notifications"], origin=talk.base)
    page = talk.window("alice", profile)
    worker = Worker(talk, profile, page)
    pushed = {"conv_id": first, "seq": 2, "unread": 1}

    shown = {
        "title": "bob",
        "body": "Hi! 中午?",
        "tag": first,
        "data": {"convId": first, "seq": 2},
    }
    worker.start(pushed | {"sender": "bob", "text": "Hi! 中午?"}, [shown])
    for nothing in ("garbage", "[]", "null", "{}"):
        worker.push(nothing)
    worker.push(pushed | {"seq": 3, "unread": 2})
    again = {"title": "im-timeline", "body": "2 unread messages", "tag": first}
    worker.shows([again | {"data": {"convId": first, "seq": 3}}])
    worker.push({"conv_id": second, "seq": 2, "unread": 0})
    worker.push(pushed | {"unread": 0})
    worker.shows([])

    (script,) = profile.service_workers
    # The browser focuses a window only after a click of a person.
    script.evaluate("(convId) => openConversation({ convId, seq: 2 }).catch(() => {})", first)
    expect(page.locator("#messages .message").filter(has_text="Hi!")).to_be_visible()


def test_the_switch_registers_the_browser(
    talk: Talk, deployment: tuple[Settings, Settings]
) -> None:
    """The switch stores the subscription as the address of the device, and removes it again.

    A sign-out removes the address as well.
    """
    settings = deployment[0]
    profile = talk.profile()
    profile.grant_permissions(["notifications"], origin=talk.base)
    profile.add_init_script(NO_PUSH_SERVICE.replace("P256DH", BROWSER_POINT))
    page = talk.window("carol", profile)
    switch = page.locator("#notifications")
    expect(switch).to_have_attribute("aria-pressed", "false")

    def registered() -> list[str]:
        found = stored_addresses(settings, "carol").values()
        return [address["provider"] for address in found]

    switch.click()
    expect(switch).to_have_attribute("aria-pressed", "true")
    assert registered() == ["web_push"]
    switch.click()
    expect(switch).to_have_attribute("aria-pressed", "false")
    assert registered() == []
    switch.click()
    expect(switch).to_have_attribute("aria-pressed", "true")
    page.locator("#sign-out").click()
    wait_until(lambda: registered() == [], "the address is removed", SECONDS)


HIDE: Final = """(isHidden) => {
  Object.defineProperty(document, "hidden", { value: isHidden, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""


def test_a_page_in_the_background_keeps_no_notification_back(
    talk: Talk, deployment: tuple[Settings, Settings]
) -> None:
    """A person counts as live only while one of their pages is visible, also after a new begin."""
    settings = deployment[0]
    profile = talk.profile()
    first = talk.window("erin", profile)
    second = talk.window("erin", profile)

    def becomes_live(*, is_live: bool) -> None:
        wait_until(
            lambda: bool(gateways_of_live(settings, "erin")) == is_live,
            f"live: {is_live}", SECONDS,
        )  # fmt: skip

    becomes_live(is_live=True)
    first.evaluate(HIDE, True)  # noqa: FBT003 - the argument of the script
    second.evaluate(HIDE, True)  # noqa: FBT003
    becomes_live(is_live=False)
    second.evaluate(HIDE, False)  # noqa: FBT003
    becomes_live(is_live=True)
    second.close()
    becomes_live(is_live=False)


def test_without_permission_the_switch_stays_off(talk: Talk) -> None:
    """A browser that denies notifications gets an explanation, and no subscription."""
    profile = talk.profile()
    profile.add_init_script(
        NO_PUSH_SERVICE + "Notification.requestPermission = async () => 'denied';"
    )
    page = talk.window("dora", profile)
    switch = page.locator("#notifications")
    switch.click()
    expect(page.get_by_text("does not permit notifications")).to_be_visible()
    expect(switch).to_have_attribute("aria-pressed", "false")
