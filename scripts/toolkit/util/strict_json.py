"""Strict JSON: documents of exactly the expected keys and types, to dataclasses and back."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from datetime import datetime
from functools import cache
from types import MappingProxyType, NoneType, UnionType
from typing import Any, Literal, NamedTuple, NoReturn, TypeVar, Union, get_args, get_origin
from typing import get_type_hints as type_hints

from packaging.version import Version

Value = TypeVar("Value")

# Metadata of a dataclass field whose key may be missing; it is left out again by its default.
OPTIONAL = MappingProxyType({"json_optional": True})
_FROM_TEXT = {datetime: datetime.fromisoformat, Version: Version}
# A lone UTF-16 surrogate: JSON can spell it, and no encoding can write it.
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


class Malformed(ValueError):
    """A document does not have the shape that its format demands; says where and how."""


def load(text: str | bytes, name: str) -> Any:
    """Parse JSON, if every parser reads the same in it (RFC 8259, RFC 7493).

    Raises Malformed, calling the text ``name``, for what is no JSON or no UTF-8, and for a key
    that stands twice, NaN and infinity, numbers too long and nesting too deep for Python, and
    lone surrogates.
    """
    try:
        plain = text if isinstance(text, str) else text.decode()
        document = json.loads(
            plain, object_pairs_hook=_unique, parse_constant=_no_number, parse_float=_finite
        )
        if _SURROGATE.search(plain):
            json.dumps(document, ensure_ascii=False).encode()
    except RecursionError:
        raise Malformed(f"{name} is nested too deeply") from None
    except ValueError as error:
        raise Malformed(f"{name} is no sound JSON: {error}") from error
    return document


def decode(kind: type[Value], document: object, name: str, *, version: int | None = None) -> Value:
    """Make a ``kind`` of a parsed document. Raises Malformed, calling the document ``name``.

    ``kind`` and the types of its fields are dataclasses, str, int, float, bool, datetime and
    Version (from text), ``Literal``, ``tuple[X, ...]``, ``Sequence[X]``, ``Mapping[str, X]``,
    ``X | None``, and object for anything. A bool is no int; an int passes for a float. Every
    field's key has to be there, unless its metadata is OPTIONAL, and no other; metadata
    ``json_name`` gives the key where it is not the field's name. ``version`` is the number that
    a key ``format`` has to have besides. What ``__post_init__`` raises as ValueError is Malformed.
    """
    if version is not None:
        rest = dict(value_of(document, dict, name))
        number = rest.pop("format", None)
        if number != version or isinstance(number, bool):
            raise Malformed(f"{name} is of format {number!r}, not {version}")
        document = rest
    result: Value = _decode(kind, document, name)
    return result


def encode(value: object) -> Any:
    """Return what :func:`decode` would read ``value`` from, for ``json.dumps``."""
    # most of a long document
    if value is None or isinstance(value, (str, int, float)):
        return value
    if is_dataclass(value) and not isinstance(value, type):
        kind: Any = type(value)
        pairs = ((member, getattr(value, member.field)) for member in _members(kind))
        return {
            member.key: encode(content)
            for member, content in pairs
            if member.required or content != member.default
        }
    if isinstance(value, Mapping):
        return {str(key): encode(content) for key, content in value.items()}
    if isinstance(value, Sequence):
        return [encode(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, Version) else value


class _Member(NamedTuple):
    """A field of a dataclass and its key in a document."""

    field: str
    key: str
    kind: Any
    required: bool
    default: object


@cache
def _members(kind: Any) -> tuple[_Member, ...]:
    hints = type_hints(kind)
    return tuple(
        _Member(
            field=field.name,
            key=field.metadata.get("json_name", field.name),
            kind=hints[field.name],
            required="json_optional" not in field.metadata,
            default=field.default if field.default_factory is MISSING else field.default_factory(),
        )
        for field in fields(kind)
        if field.init
    )


def _decode(kind: Any, value: object, name: str) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if kind in (object, Any):
        return value
    if is_dataclass(kind):
        return _dataclass_from(kind, value, name)
    if origin in (Union, UnionType) and NoneType in arguments and len(arguments) == 2:
        return None if value is None else _decode(arguments[arguments[0] is NoneType], value, name)
    if origin is Literal:
        if not any(value == choice and type(value) is type(choice) for choice in arguments):
            raise Malformed(f"{name} is {value!r:.99}, which is none of {arguments}")
        return value
    if origin in (tuple, Sequence):
        items = value_of(value, list, name)
        return tuple(_decode(arguments[0], item, f"{name}[{n}]") for n, item in enumerate(items))
    if origin in (dict, Mapping):
        pairs = value_of(value, dict, name).items()
        return {key: _decode(arguments[1], item, f"{name}.{key}") for key, item in pairs}
    if kind in _FROM_TEXT:
        return value if isinstance(value, kind) else _from_text(kind, value, name)
    if kind in (str, int, float, bool):
        return value_of(value, kind, name)
    raise TypeError(f"{name}: no rule to decode {kind}")


def _dataclass_from(kind: Any, value: object, name: str) -> Any:
    members = {member.key: member for member in _members(kind)}
    document = value_of(value, dict, name)
    if unknown := sorted(map(str, document.keys() - members.keys())):
        raise Malformed(f"{name} has unknown keys: {', '.join(unknown)}")
    required = {key for key, member in members.items() if member.required}
    if missing := sorted(required - document.keys()):
        raise Malformed(f"{name} lacks {', '.join(missing)}")
    contents = {
        members[key].field: _decode(members[key].kind, content, f"{name}.{key}")
        for key, content in document.items()
    }
    try:
        return kind(**contents)
    except ValueError as error:
        raise Malformed(f"{name}: {error}") from error


def _from_text(kind: Any, value: object, name: str) -> Any:
    text = value_of(value, str, name)
    try:
        return _FROM_TEXT[kind](text)
    except ValueError as error:
        raise Malformed(f"{name} is no {kind.__name__.lower()}: {error}") from error


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{max(names, key=names.count)!r} stands twice")
    return result


def _finite(number: str) -> float:
    value = float(number)
    return value if abs(value) != float("inf") else _no_number(number)


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


def value_of(value: object, kind: type[Value], name: str) -> Value:
    """Return ``value`` if it is of ``kind``; raises Malformed, calling it ``name``."""
    fits = isinstance(value, (int, float) if kind is float else kind)
    if not fits or (isinstance(value, bool) and kind is not bool):
        raise Malformed(f"{name} is {type(value).__name__}, not {kind.__name__}")
    return value  # type: ignore[return-value]
