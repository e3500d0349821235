"""JSON Schemas of structs for AsyncAPI 3.0, whose schema format is a superset of draft 7.

msgspec generates draft 2020-12. Three keywords differ: ``prefixItems`` is an array in ``items``,
``discriminator`` is the name of the property, and the schemas are in the components.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

_REFERENCE: Final = "#/components/schemas/{name}"
_BY_NAME: Final = frozenset({"properties"})
"""Keywords whose value has schemas by names: the names are no keywords."""


def schema_reference(name: str) -> dict[str, str]:
    """A reference to the schema ``name``."""
    return {"$ref": _REFERENCE.format(name=name)}


def as_draft_7(kinds: Sequence[Any], complete: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """The schemas of types and of all structs in them, by name.

    Args:
        kinds: Structs.
        complete: Replaces the schemas of fields that are raw JSON.
    """
    _, found = msgspec.json.schema_components(kinds, ref_template=_REFERENCE)
    complete(found)
    return {name: _converted(schema) for name, schema in sorted(found.items())}


def struct_schema(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """The schema of a struct without other structs in it, not a reference.

    The official schema of bindings accepts a reference as a schema as well, so it accepts none.
    """
    _, found = msgspec.json.schema_components([kind], ref_template=_REFERENCE)
    converted: dict[str, Any] = _converted(found[kind.__name__])
    return converted


def _converted(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_converted(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return dict(_keyword(name, value, schema) for name, value in schema.items())


def _keyword(name: str, value: Any, schema: dict[str, Any]) -> tuple[str, Any]:
    if name in _BY_NAME:
        return name, {each: _converted(inner) for each, inner in value.items()}
    match name:
        case "prefixItems":
            return "items", _converted(value)
        case "items" if "prefixItems" in schema:
            return "additionalItems", value
        case "discriminator":
            return name, value["propertyName"]
        case "description":
            # Python 3.13 strips the indentation of docstrings, earlier versions do not.
            return name, " ".join(value.split())
    return name, _converted(value)
