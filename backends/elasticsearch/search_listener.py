"""Whether Elasticsearch has the transport of its URL, found without credentials."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from backends.access.listener_probe import Greeting, Mismatch, mismatch
from schemas.settings import Settings

_GREETING: Final = Greeting(
    "elasticsearch",
    b"HEAD / HTTP/1.0\r\n\r\n",
    lambda answer: answer.startswith(b"HTTP/1."),
)
_PORT: Final = 9_200

_FAULTS: Final[dict[Mismatch, str]] = {
    "only tls": "speaks TLS: begin IM_ELASTICSEARCH_URL with https://, and set"
    " IM_ELASTICSEARCH_CA_FILE",
    "no tls": "does not speak TLS, but IM_ELASTICSEARCH_URL begins with https://",
    "certificate": "requires a certificate of its clients, which is not supported",
}


def search_fault(settings: Settings) -> str | None:
    """How the server differs from the URL, and what to correct; None if it does not.

    For the time after a failed request. Takes seconds at most.
    """
    url = urlsplit(settings.elasticsearch_url)
    place = (url.hostname or "", url.port or _PORT)
    found = mismatch(settings, [place], _GREETING, wants_tls=url.scheme == "https")
    return None if found is None else f"Elasticsearch at {url.netloc} {_FAULTS[found]}"
