"""The generated documents in `docs` are those of the present code."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.http.openapi import OPENAPI_FILE, document_text
from schemas.asyncapi.document import ASYNCAPI_FILE, asyncapi_text


@pytest.mark.parametrize(
    ("file", "text"), [(OPENAPI_FILE, document_text()), (ASYNCAPI_FILE, asyncapi_text())]
)
def test_a_file_is_that_of_the_code(file: Path, text: str) -> None:
    """A file in `docs` has the document that the code generates."""
    assert file.read_text(encoding="utf-8") == text, "run: make schemas"
