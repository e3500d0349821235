"""Debian's Chromium, driven by Playwright."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from playwright.sync_api import Browser, sync_playwright

PATIENCE_MS: Final = 60_000


@contextmanager
def chromium() -> Iterator[Browser]:
    """A running browser without a screen."""
    program = shutil.which("chromium")
    assert program is not None, "install Chromium: `apt-get install chromium`"
    # The sandbox of Chromium does not work as root, for example in a container.
    options = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=options)
        try:
            yield browser
        finally:
            browser.close()
