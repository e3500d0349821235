"""The pages: a web client under ``/``, and the pipeline for operators under ``/pipeline``.

Their files need no token, and contain nothing of any person. The files are read when the gateway
starts. A request for any other name gets 404, so no request reads the disk. The folder ``client``
is the JavaScript client.
"""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

PAGE_ROUTES: Final = (
    "/",
    "/pipeline",
    "/service-worker.js",  # its place in the tree permits it to serve "/"
    "/page/{file}",
    "/page/client/{file}",
)

_CLIENT: Final = "client"
_TYPES: Final = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
_HEADERS: Final = {
    # Scripts and styles come from the files of the page only, never from inside a document. The
    # one trusted type is the address of the service worker.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types service-worker",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def add_page_routes(app: web.Application) -> None:
    """Adds the routes of the pages."""
    folder = files("gateway") / "page"
    page = _read(folder)
    handlers = (
        _serve({"": page["index.html"]}),
        _serve({"": page["pipeline.html"]}),
        _serve({"": page["service-worker.js"]}),
        _serve(page),
        _serve(_read(folder / _CLIENT)),
    )
    for path, handler in zip(PAGE_ROUTES, handlers, strict=True):
        app.router.add_get(path, handler)


def _read(folder: Traversable) -> dict[str, tuple[str, bytes]]:
    """The types and the contents of the files that a browser may request."""
    contents: dict[str, tuple[str, bytes]] = {}
    for file in folder.iterdir():
        suffix = file.name[file.name.rfind(".") :]
        if suffix in _TYPES:
            contents[file.name] = _TYPES[suffix], file.read_bytes()
    return contents


def _serve(contents: dict[str, tuple[str, bytes]]) -> Handler:
    async def serve(request: web.Request) -> web.Response:
        content = contents.get(request.match_info.get("file", ""))
        if content is None:
            raise web.HTTPNotFound
        content_type, body = content
        return web.Response(
            body=body, content_type=content_type, charset="utf-8", headers=_HEADERS
        )

    return serve
