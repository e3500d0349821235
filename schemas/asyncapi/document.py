"""The AsyncAPI 3.0 document, generated from the records, the topics and the HTTP protocol.

    python -m schemas.asyncapi.document        writes docs/asyncapi.json

For clients in other languages. A test compares the file with the code. The document describes the
deployment: it *receives* commands and live requests, and *sends* entries, sync records, dead
letters and live frames. Internal topics are not in the document.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from schemas.asyncapi.draft_7 import as_draft_7
from schemas.asyncapi.live_channel import LIVE_STRUCTS, live_channel, live_operations, live_schemas
from schemas.asyncapi.topic_channels import TOPIC_RECORDS, topic_channels, topic_operations

ASYNCAPI_FILE: Final = Path(__file__).parents[2] / "docs" / "asyncapi.json"


def asyncapi_document() -> dict[str, Any]:
    """The document."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "im-timeline",
            "version": "1",
            "license": {"name": "Apache License 2.0"},
            "description": "The topics of a deployment, and the frames of /v1/live. "
            "docs/wire.md and docs/gateway.md have the rules that a schema cannot express. "
            "Integers have 64 bits. A reader ignores unknown fields.",
        },
        "defaultContentType": "application/json",
        "servers": {
            "kafka": {
                "host": "127.0.0.1:9092",
                "protocol": "kafka",
                "description": "For trusted services: a client is trusted to name its user. "
                "Readers use isolation.level=read_committed.",
            },
            "gateway": {
                "host": "127.0.0.1:8080",
                "protocol": "ws",
                "description": "For people and apps. openapi.json describes the other routes.",
                "security": [
                    {"$ref": "#/components/securitySchemes/bearer"},
                    {"$ref": "#/components/securitySchemes/subprotocol"},
                ],
            },
        },
        "channels": topic_channels() | live_channel(),
        "operations": topic_operations() | live_operations(),
        "components": {"securitySchemes": _SECURITY, "schemas": _schemas()},
    }


def asyncapi_text() -> str:
    """The content of the file."""
    return json.dumps(asyncapi_document(), indent=2, ensure_ascii=False) + "\n"


_SECURITY: Final = {
    "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
    "subprotocol": {
        "type": "httpApiKey",
        "in": "header",
        "name": "Sec-WebSocket-Protocol",
        "description": "For browsers: `im-timeline.v1, bearer.<token>`.",
    },
}


def _schemas() -> dict[str, Any]:
    return as_draft_7([*TOPIC_RECORDS, *LIVE_STRUCTS], live_schemas)


if __name__ == "__main__":
    ASYNCAPI_FILE.write_text(asyncapi_text(), encoding="utf-8")
