"""The page's files over HTTP, and in the package that is installed."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final
from zipfile import ZipFile

import pytest
from yarl import URL

from tests.support.gateway import Caller, serving, token_settings
from tests.support.gateway_store import FakeIndex, FakeStore
from tests.support.processes import ROOT

PAGE: Final = ROOT / "gateway" / "page"
PAGES: Final = ("/", "/pipeline")
_IMPORT: Final = re.compile(r"""^(?:import|export) (?:[^;]*?from )?"([^"]+)";""", re.MULTILINE)


@pytest.fixture
async def gateway() -> AsyncIterator[Caller]:
    """A gateway on an empty store."""
    async with serving(token_settings(), FakeStore(), FakeIndex()) as caller:
        yield caller


async def fetch(gateway: Caller, path: str) -> tuple[int, str, str]:
    """Fetch a file: its status, its type and its text."""
    async with gateway.http.get(gateway.base + path) as response:
        policy = response.headers.get("Content-Security-Policy", "")
        if response.ok:
            assert "default-src 'none'" in policy
            assert "frame-ancestors 'none'" in policy
            assert "require-trusted-types-for 'script'" in policy
            assert "unsafe" not in policy
        return response.status, response.content_type, await response.text()


async def loaded(gateway: Caller, page: str) -> set[str]:
    """The files that a page names, and each file that one of them names."""
    status, kind, text = await fetch(gateway, page)
    assert (status, kind) == (200, "text/html")
    waiting = re.findall(r'(?:href|src)="([^"]+)"', text)
    found: set[str] = set()
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found.add(path)
        status, kind, text = await fetch(gateway, path)
        assert status == 200, path
        if kind == "text/javascript":
            waiting += [URL(path).join(URL(name)).path for name in _IMPORT.findall(text)]
    return found


async def test_all_files_that_the_pages_name_are_served(gateway: Caller) -> None:
    """Without a token, the gateway serves the pages, and each file that a served file names."""
    served = await loaded(gateway, "/") | await loaded(gateway, "/pipeline")
    assert "/page/client/im-timeline.js" in served
    documents = {f"/page/{name}" for name in ("index.html", "pipeline.html", "service-worker.js")}
    unused = {f"/page/{file.name}" for file in PAGE.glob("*.*")} - served - documents
    assert not unused


async def test_the_service_worker_has_all_files_of_the_page(gateway: Caller) -> None:
    """Without a network, the worker serves each file that the page loads, and no other."""
    status, kind, text = await fetch(gateway, "/service-worker.js")
    assert (status, kind) == (200, "text/javascript")
    files = re.findall(r'^  "(/[^"]*)",$', text, re.MULTILINE)
    assert files == sorted(files)
    assert set(files) == {"/"} | await loaded(gateway, "/")


@pytest.mark.parametrize(
    "path", ["/page/none.js", "/page/client/none.js", "/page/..%2Froutes.py", "/page/client"]
)
async def test_nothing_else_is_served(gateway: Caller, path: str) -> None:
    """Another name finds nothing, and the answer is a problem."""
    async with gateway.http.get(URL(gateway.base + path, encoded=True)) as response:
        assert response.status in {401, 404}
        assert response.content_type == "application/problem+json"


@pytest.mark.parametrize("page", PAGES)
async def test_a_document_has_no_code_and_no_style_inside(gateway: Caller, page: str) -> None:
    """The policy forbids scripts and styles inside a document, so there are none."""
    _, _, text = await fetch(gateway, page)
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc=)", text)


def test_the_wheel_has_the_page_and_the_client(tmp_path: Path) -> None:
    """An installed gateway has all files of the page, and of the client that the page uses."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    [wheel] = tmp_path.glob("*.whl")
    names = set(ZipFile(wheel).namelist())
    files = [path for path in PAGE.rglob("*") if path.is_file()]
    files += (PAGE / "client").glob("*.js")
    assert {str(path.relative_to(ROOT)) for path in files} <= names
    assert "gateway/page/client/im-timeline.js" in names
