"""The ledger: what its lines hold, and which lines it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from indexes import publish_wheels
from publishing import MOMENT, lines_of, make_pair, proof_of
from test_index_pages import ENTRY
from wheels import AGENTS, make_wheel

from toolkit.index.ledger import Ledger, StatusChange, retirement_reason
from toolkit.index.yank import unyank, yank
from toolkit.util.errors import IndexConflict
from toolkit.util.files import sha256, sha256_of
from toolkit.util.strict_json import encode

LINE = encode(ENTRY)
YANK = {"action": "yank", "filename": ENTRY.filename, "reason": "a", "time": "b"}
MARK = {"action": "status", "project": "a", "status": "active", "reason": "", "time": ""}


def test_every_change_is_a_line_at_the_end(tmp_path: Path) -> None:
    index = tmp_path / "index"
    wheel, partner = make_pair(tmp_path, "+dispatched.1")
    proof = proof_of([wheel, partner])
    publish_wheels([wheel, partner], proof, index, now=MOMENT)
    yank(index, "1.8.9+dispatched.1", " a reason ", now=MOMENT)
    unyank(index, "1.8.9", now=MOMENT)
    first, second, *changes = lines_of(index / "index.jsonl")
    moment = "2026-11-22T15:00:00Z"
    assert first == {
        "filename": wheel.name,
        "project": AGENTS,
        "version": "1.8.9+dispatched.1",
        "sha256": sha256_of(wheel),
        "size": wheel.stat().st_size,
        "upload_time": moment,
        "requires_python": "<3.15,>=3.10",
        "metadata_sha256": sha256_of(index / "files" / f"{wheel.name}.metadata"),
        "verdict_sha256": sha256(proof.to_json().encode()),
    }
    assert second["filename"] == partner.name
    assert changes == [
        {"action": "yank", "filename": wheel.name, "reason": "a reason", "time": moment},
        {"action": "unyank", "filename": wheel.name, "reason": "", "time": moment},
    ]


def test_a_wheel_without_requires_python(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, AGENTS, "1.0+dispatched.1", requires_python="")
    publish_wheels([wheel], proof_of([wheel], "1.0"), tmp_path / "index")
    assert Ledger.read(tmp_path / "index").files[wheel.name].requires_python == ""


def test_a_ledger_comes_back(tmp_path: Path) -> None:
    assert Ledger.read(tmp_path) == Ledger()
    (tmp_path / "index.jsonl").write_text(json.dumps(LINE) + "\n")
    assert Ledger.read(tmp_path).files == {ENTRY.filename: ENTRY}
    (tmp_path / "index.jsonl").write_text(json.dumps(LINE))
    with pytest.raises(IndexConflict, match=r"ours: its last line is cut off"):
        Ledger.read(tmp_path)


@pytest.mark.parametrize(
    "line",
    [
        "junk",
        {},
        [],
        "[" * 99_999,
        {"action": [], "a": 1},
        {"action": "delete", "filename": ENTRY.filename},
        *({**LINE, **change} for change in (
            {"more": 1},
            {"size": "7"},
            {"filename": "../../etc/passwd"},
            {"project": "../x"},
            {"version": "new"},
            {"sha256": "A" * 64},
            {"metadata_sha256": "b"},
            {"verdict_sha256": ""},
            {"upload_time": "2026-11-22"},
            {"upload_time": "2026-13-22T15:00:00Z"},
        )),
        YANK,
        {**YANK, "filename": 7},
        {**MARK, "status": "b"},
        {**MARK, "project": "a/"},
    ],
    ids=str,
)  # fmt: skip
def test_a_line_that_is_not_ours_is_refused(line: object, tmp_path: Path) -> None:
    text = line if isinstance(line, str) else json.dumps(line)
    (tmp_path / "index.jsonl").write_text(f"{json.dumps(MARK)}\n{text}\n")
    with pytest.raises(IndexConflict, match=r"index\.jsonl is not a list of ours: line 2: "):
        Ledger.read(tmp_path)


def test_a_file_is_listed_once(tmp_path: Path) -> None:
    (tmp_path / "index.jsonl").write_text(f"{json.dumps(LINE)}\n" * 2)
    with pytest.raises(IndexConflict, match=r"line 2: .*listed twice"):
        Ledger.read(tmp_path)


@pytest.mark.parametrize(
    ("reason", "release"),
    [
        (retirement_reason("1.8.10"), "1.8.10"),
        ("fixed upstream in livekit-agents 1.8.10", None),
        (retirement_reason("x"), None),
        ("1.8.10", None),
        ("", None),
    ],
)
def test_a_mark_names_the_release_that_ended_a_series(reason: str, release: str | None) -> None:
    fixed = StatusChange("status", AGENTS, "deprecated", reason, "").retired_to
    assert (fixed and str(fixed)) == release
