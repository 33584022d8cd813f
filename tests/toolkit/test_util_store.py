"""What is kept by its inputs is found by these inputs alone, and only if it is whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from toolkit.util.errors import NotWritable
from toolkit.util.store import Store
from toolkit.util.strict_json import decode, load

INPUTS = {"format": 1, "wheels": [["a", "b"]], "python": "3.11"}


def numbers(data: bytes) -> dict[str, int]:
    return decode(dict[str, int], load(data, "it"), "it")


def test_an_entry_is_found_by_its_inputs_in_whatever_order(tmp_path: Path) -> None:
    store = Store(tmp_path / "new")
    assert store.get(INPUTS, numbers) is None
    path = store.put(INPUTS, b'{"a": 1}')
    assert store.get(dict(reversed(INPUTS.items())), numbers) == {"a": 1}
    assert [*store.root.iterdir()] == [path] == [store.path(INPUTS)]
    assert store.get(INPUTS, bytes, ".svg") is None
    store.put(INPUTS, b"<svg>", ".svg")
    assert store.get(INPUTS, bytes, ".svg") == b"<svg>"
    assert store.get(INPUTS, numbers) == {"a": 1}


@pytest.mark.parametrize(
    "change", [{"format": 2}, {"wheels": [["a", "c"]]}, {"python": "3.12"}, {"more": None}]
)
def test_other_inputs_are_another_entry(tmp_path: Path, change: dict[str, Any]) -> None:
    store = Store(tmp_path)
    store.put(INPUTS, b"{}")
    assert store.get(INPUTS | change, numbers) is None


@pytest.mark.parametrize("damage", [b"", b"{", b"\xff", b'{"a": "1"}', b"[]", None])
def test_a_damaged_entry_is_none_until_it_is_put_again(
    tmp_path: Path, damage: bytes | None
) -> None:
    store = Store(tmp_path)
    if damage is None:
        store.path(INPUTS).mkdir()
        assert store.get(INPUTS, numbers) is None
        return
    store.path(INPUTS).write_bytes(damage)
    assert store.get(INPUTS, numbers) is None
    store.put(INPUTS, json.dumps({"a": 1}).encode())
    assert store.get(INPUTS, numbers) == {"a": 1}


def test_a_store_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NotWritable, match=r"cannot write to .*file"):
        Store(tmp_path / "file").put(INPUTS, b"{}")
