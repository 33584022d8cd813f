"""Reading JSON strictly: the keys that are expected, of the types that are expected."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

Value = TypeVar("Value")


class Malformed(ValueError):
    """A document does not have the shape that its format demands; says where and how."""


def members(
    document: object, where: str, required: Mapping[str, type], optional: Mapping[str, type]
) -> dict[str, Any]:
    """``document`` as a dict that has all ``required`` keys and else only ``optional`` ones.

    Raises Malformed for anything else. A bool is no int here; an int passes for a float.
    """
    found = value_of(document, dict, where)
    allowed = {**required, **optional}
    if unknown := sorted(map(str, found.keys() - allowed.keys())):
        raise Malformed(f"{where} has unknown keys: {', '.join(unknown)}")
    if missing := sorted(required.keys() - found.keys()):
        raise Malformed(f"{where} lacks {', '.join(missing)}")
    for key, value in found.items():
        value_of(value, allowed[key], f"{where}.{key}")
    return found


def mapping_of(document: object, kind: type[Value], where: str) -> dict[str, Value]:
    """``document`` as a dict from text to values of one ``kind``; raises Malformed."""
    found: dict[str, Any] = value_of(document, dict, where)
    return {str(key): value_of(value, kind, f"{where}.{key}") for key, value in found.items()}


def value_of(value: object, kind: type[Value], where: str) -> Value:
    """``value`` if it is of ``kind``; raises Malformed."""
    fits = isinstance(value, (int, float) if kind is float else kind)
    if not fits or (isinstance(value, bool) and kind is not bool):
        raise Malformed(f"{where} is {type(value).__name__}, not {kind.__name__}")
    return value  # type: ignore[return-value]
