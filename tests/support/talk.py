"""People who talk in windows of a browser, and over HTTP."""

from __future__ import annotations

import itertools
import re
import secrets
import time
from datetime import timedelta
from http import HTTPStatus
from typing import Any, Final

from playwright.sync_api import APIRequestContext, Browser, BrowserContext, Page, expect

from gateway.http.tokens import issue_token
from schemas.ids import uuid7
from schemas.settings import Settings
from tests.support.chromium import PATIENCE_MS
from tests.support.processes import WAIT_SECONDS, wait_until

_BUSY: Final = {429, 503, 504}
"""Statuses after which the same command is sent again."""

_REPEATED: Final = re.compile(r"net::ERR|status of (429|503|504)")
_PAUSE_SECONDS: Final = 0.5
WIDE: Final = {"width": 1100, "height": 720}

_numbers = itertools.count(1)


class Talk:
    """People who write over HTTP, and their windows.

    Args:
        settings: The deployment.
        browser: The browser of all windows.
    """

    def __init__(self, settings: Settings, browser: Browser) -> None:
        self.base = f"http://{settings.gateway_host}:{settings.gateway_port}"
        self.complaints: list[str] = []
        self._settings = settings
        self._browser = browser
        self._contexts: list[BrowserContext] = []
        self._http: APIRequestContext = self.profile().request

    def token(self, user: str) -> str:
        """A token of a person."""
        return issue_token(self._settings, user, timedelta(minutes=30))

    def write(self, user: str, method: str, path: str, **body: Any) -> dict[str, Any]:
        """A command of a person, and its outcome, however long gateway and sequencer need."""
        headers = {"Authorization": f"Bearer {self.token(user)}"}
        client_msg_id = uuid7(time.time_ns() // 1_000_000, secrets.randbits(62))
        keyed = headers | {"Idempotency-Key": client_msg_id}
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            answer = self._http.fetch(self.base + path, method=method, data=body, headers=keyed)
            if answer.status not in _BUSY or time.monotonic() > deadline:
                break
            time.sleep(_PAUSE_SECONDS)
        assert answer.ok, answer.text()
        written: dict[str, Any] = answer.json()
        if answer.status != HTTPStatus.ACCEPTED:
            return written
        status = self.base + answer.headers["location"]

        def is_sequenced() -> bool:
            written.update(self._http.get(status, headers=headers).json())
            return written.get("state") == "sequenced"

        wait_until(is_sequenced, f"{path} is sequenced")
        return written

    def conversation(self, name: str, owner: str, *members: str) -> str:
        """A new conversation."""
        conv_id = f"{name}-{next(_numbers)}"
        body = {"conv_id": conv_id, "members": members, "name": name}
        self.write(owner, "POST", "/v1/conversations", **body)
        return conv_id

    def say(self, conv_id: str, user: str, text: str) -> int:
        """A message; returns its SeqId."""
        path = f"/v1/conversations/{conv_id}/messages"
        return int(self.write(user, "POST", path, text=text)["seq"])

    def profile(self, **options: Any) -> BrowserContext:
        """A new profile of the browser."""
        context = self._browser.new_context(**({"viewport": WIDE, "locale": "en-GB"} | options))
        context.set_default_timeout(PATIENCE_MS)
        self._contexts.append(context)
        return context

    def page(self, context: BrowserContext, path: str) -> Page:
        """A window with a page."""
        page = context.new_page()
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", self._note)
        page.goto(self.base + path)
        return page

    def window(self, user: str, context: BrowserContext) -> Page:
        """A window of a person, signed in by a link."""
        page = self.page(context, f"/#token={self.token(user)}")
        expect(page.locator("#state")).to_contain_text("online" if _is_english(page) else "在线")
        return page

    def _note(self, message: Any) -> None:
        # A network that the test switches off is reported as an error, too, and so is an answer
        # of a busy gateway, after which the client repeats its request.
        if message.type == "error" and not _REPEATED.search(message.text):
            self.complaints.append(message.text)

    def close(self) -> None:
        """Closes all windows."""
        for context in self._contexts:
            context.close()


def _is_english(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.lang") == "en")
