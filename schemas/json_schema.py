"""Generates the JSON Schema of the records on the topics.

    python -m schemas.json_schema        writes schemas/generated/*.schema.json

For clients in other languages. A test compares the files with the code.
"""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any, Final

import msgspec

from schemas.records import AnyCommand, AnyEntry, AnySyncRecord

FOLDER: Final = Path(__file__).parent / "generated"
DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

_UNIONS: Final[dict[str, Any]] = {
    "command": AnyCommand,
    "entry": AnyEntry,
    "sync-record": AnySyncRecord,
}


def json_schemas() -> dict[str, str]:
    """The contents of the files by name, generated from the present code."""
    return {f"{name}.schema.json": _document(name, union) for name, union in _UNIONS.items()}


def _document(title: str, union: Any) -> str:
    schema = {"$schema": DIALECT, "title": title} | msgspec.json.schema(union)
    for definition in schema["$defs"].values():
        if "description" in definition:
            # Python 3.13 strips the indentation of docstrings, earlier versions do not.
            definition["description"] = inspect.cleandoc(definition["description"])
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    """Writes the files."""
    FOLDER.mkdir(exist_ok=True)
    for name, text in json_schemas().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
