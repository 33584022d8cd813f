"""JSON documents are read as exactly what their dataclasses say, and written back alike."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.version import Version

from toolkit.util.strict_json import OPTIONAL, Malformed, decode, encode, load


@dataclass(frozen=True)
class Part:
    name: str
    count: int = 0

    def __post_init__(self) -> None:
        if self.count < 0:
            raise ValueError(f"count is {self.count}")


@dataclass(frozen=True)
class Everything:
    text: str
    number: int
    seconds: float
    flag: bool
    maybe: str | None
    word: Literal["quick", "full", 3]
    names: tuple[str, ...]
    rows: Sequence[Part]
    sums: Mapping[str, int]
    parts: Mapping[str, Part]
    part: Part | None
    at: datetime
    release: Version
    anything: object
    kind: str = field(metadata={"json_name": "_type"})
    note: str = field(default="", metadata=OPTIONAL)
    extras: Mapping[str, str] = field(default_factory=dict, metadata=OPTIONAL)


PART = {"name": "a", "count": 1}
DOCUMENT: dict[str, Any] = {
    "text": "t",
    "number": 1,
    "seconds": 2,
    "flag": True,
    "maybe": None,
    "word": "full",
    "names": ["a", "b"],
    "rows": [PART],
    "sums": {"x": 1},
    "parts": {"x": PART},
    "part": None,
    "at": "2026-11-22T15:00:00+00:00",
    "release": "1.8.9",
    "anything": [{"deep": 1.5}],
    "_type": "k",
}
EVERYTHING = Everything(
    text="t",
    number=1,
    seconds=2,
    flag=True,
    maybe=None,
    word="full",
    names=("a", "b"),
    rows=(Part("a", 1),),
    sums={"x": 1},
    parts={"x": Part("a", 1)},
    part=None,
    at=datetime(2026, 11, 22, 15, tzinfo=UTC),
    release=Version("1.8.9"),
    anything=[{"deep": 1.5}],
    kind="k",
)


def test_a_document_becomes_a_dataclass_and_comes_back() -> None:
    assert decode(Everything, DOCUMENT, "it") == EVERYTHING
    assert encode(EVERYTHING) == DOCUMENT
    more = {**DOCUMENT, "note": "n", "extras": {"a": "b"}, "part": PART, "maybe": "m"}
    assert encode(decode(Everything, more, "it")) == more


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"text": 1}, "it.text is int, not str"),
        ({"number": True}, "it.number is bool, not int"),
        ({"number": 1.0}, "it.number is float, not int"),
        ({"seconds": False}, "it.seconds is bool, not float"),
        ({"flag": 1}, "it.flag is int, not bool"),
        ({"maybe": 1}, "it.maybe is int, not str"),
        ({"text": None}, "it.text is NoneType, not str"),
        ({"word": "other"}, "it.word is 'other', which is none of ('quick', 'full', 3)"),
        ({"word": 3.0}, "it.word is 3.0, which is none of"),
        ({"word": ["full"]}, "it.word is ['full'], which is none of"),
        ({"names": "ab"}, "it.names is str, not list"),
        ({"names": ["a", 1]}, "it.names[1] is int, not str"),
        ({"rows": [PART, {**PART, "x": 1}]}, "it.rows[1] has unknown keys: x"),
        ({"sums": []}, "it.sums is list, not dict"),
        ({"sums": {"x": "1"}}, "it.sums.x is str, not int"),
        ({"parts": {"x": {"name": "a"}}}, "it.parts.x lacks count"),
        ({"parts": {"x": {"name": "a", "count": -1}}}, "it.parts.x: count is -1"),
        ({"part": []}, "it.part is list, not dict"),
        ({"at": "yesterday"}, "it.at is no datetime: "),
        ({"at": 3}, "it.at is int, not str"),
        ({"release": "one"}, "it.release is no version: "),
        ({"kind": "k"}, "it has unknown keys: kind"),
        ({"note": 1}, "it.note is int, not str"),
    ],
)
def test_the_first_problem_is_named_with_its_place(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(Malformed) as raised:
        decode(Everything, DOCUMENT | change, "it")
    assert str(raised.value).startswith(problem)


@pytest.mark.parametrize("key", sorted(DOCUMENT))
def test_a_key_is_missing_only_where_its_field_is_optional(key: str) -> None:
    with pytest.raises(Malformed, match=f"^it lacks {key}$"):
        decode(Everything, {k: v for k, v in DOCUMENT.items() if k != key}, "it")


@pytest.mark.parametrize("number", [None, "4", 3, 4.5, True])
def test_another_format_is_refused_before_its_keys(number: object) -> None:
    assert decode(Part, {"format": 4, **PART}, "it", version=4) == Part("a", 1)
    assert decode(Part, {"format": 1, **PART}, "it", version=1) == Part("a", 1)
    with pytest.raises(Malformed, match=r"^it is of format .*, not 1$"):
        decode(Part, {"format": number, "new": 1}, "it", version=1)
    with pytest.raises(Malformed, match=r"^it is list, not dict$"):
        decode(Part, [], "it", version=1)


def test_plain_kinds_are_decoded_too() -> None:
    assert decode(dict[str, tuple[int, ...]], {"a": [1]}, "it") == {"a": (1,)}
    assert decode(str, "a", "it") == "a"
    # as in TOML
    assert decode(datetime, EVERYTHING.at, "it") == EVERYTHING.at
    with pytest.raises(TypeError, match="no rule to decode"):
        decode(set[str], ["a"], "it")


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", b"\xff", '{"a": 1, "a": 1}', '{"a": {"b": 1, "b": 2}}', "[NaN]", "[-Infinity]"),
        *("1e999", '"\\ud800"', '{"\\udfff": 1}', "[" * 100_000, "1" * 5000),
    ],
)
def test_what_parsers_read_differently_is_no_json(text: str | bytes) -> None:
    with pytest.raises(Malformed, match=r"^it is (no sound JSON|nested too deeply)"):
        load(text, "it")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=5,
)


@given(st.sampled_from(sorted(DOCUMENT)), VALUES)
@settings(derandomize=True, deadline=None)
def test_whatever_is_read_is_written_alike(key: str, value: object) -> None:
    document = DOCUMENT | {key: value}
    try:
        result = decode(Everything, document, "it")
    except Malformed:
        return
    again = encode(result)
    assert decode(Everything, json.loads(json.dumps(again)), "it") == result
    assert key in ("at", "release") or again == document
