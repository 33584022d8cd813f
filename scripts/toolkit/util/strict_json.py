"""Reading JSON strictly: the keys that are expected, of the types that are expected."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, TypeVar

Value = TypeVar("Value")

# Half a character in UTF-16's way: JSON can spell it alone, and no encoding can write it.
_HALF = re.compile(r"\\u[dD][89a-fA-F]")


class Malformed(ValueError):
    """A document does not have the shape that its format demands; says where and how."""


def load(text: str | bytes, where: str) -> Any:
    """What a JSON document says, if every reader reads the same in it (RFC 8259, RFC 7493).

    Raises Malformed for what is no JSON or no UTF-8, and for a key that stands twice, NaN and
    infinity, numbers too long and nesting too deep for Python, and half characters.
    """
    try:
        plain = text if isinstance(text, str) else text.decode()
        document = json.loads(
            plain, object_pairs_hook=_once, parse_constant=_no_number, parse_float=_finite
        )
        if _HALF.search(plain):
            json.dumps(document, ensure_ascii=False).encode()
    except RecursionError:
        raise Malformed(f"{where} is nested too deeply") from None
    except ValueError as error:
        raise Malformed(f"{where} is no sound JSON: {error}") from error
    return document


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{max(names, key=names.count)!r} stands twice")
    return found


def _finite(number: str) -> float:
    value = float(number)
    return value if abs(value) != float("inf") else _no_number(number)


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


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
