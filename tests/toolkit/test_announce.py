"""``announce.py``: what the daily watch says to the maintainers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import announce as verb

LOSS = {"tests": 3, "of_tests": 10, "schedules": 4, "of_schedules": 20}
NONE = {**LOSS, "tests": 0, "schedules": 0}
GOOD = {"release": "1.9.0", "verdict": "publish", "new": [], "official": LOSS, "patched": NONE}
CHANGE = "diff --git a/patches/guard/1.9.0.patch b/patches/guard/1.9.0.patch\nnew file\n"


def said(tmp_path: Path, rows: object, change: str = "") -> tuple[int, str, str, str]:
    """Exit code, kind, title and body."""
    (tmp_path / "outcome.json").write_text(json.dumps(rows))
    (tmp_path / "change.patch").write_text(change)
    out = tmp_path / "out"
    words = ["--change", str(tmp_path / "change.patch"), "--refresh", str(tmp_path / "refresh")]
    code = verb.main([str(tmp_path / "outcome.json"), *words, "--out", str(out)])
    texts = [(out / n).read_text() if code == 0 else "" for n in ("kind", "title", "body.md")]
    return code, *texts  # type: ignore[return-value]


def test_nothing_new(tmp_path: Path) -> None:
    assert said(tmp_path, [GOOD]) == (0, "nothing", "", "")


def test_new_variants(tmp_path: Path) -> None:
    _, kind, title, body = said(tmp_path, [{**GOOD, "carried_from": "1.8.9"}], CHANGE)
    assert (kind, title) == ("pull-request", "Carry the series to livekit-agents 1.9.0")
    assert "- `patches/guard/1.9.0.patch`" in body
    assert "1.9.0: publish; carried from 1.8.9; official wheels lose 3 of 10 tests" in body
    assert "patched wheels lose 0 of 10 tests and 0 of 20 schedules" in body


@pytest.mark.parametrize("verdict", ["conflict", "regressed", "inconclusive", "fixed"])
def test_what_a_human_must_decide(tmp_path: Path, verdict: str) -> None:
    (tmp_path / "refresh" / "1.9.0").mkdir(parents=True)
    (tmp_path / "refresh" / "1.9.0" / "report.md").write_text("# Which one?\n")
    rows = [{"release": "1.9.0", "verdict": verdict, "error": "the reason", "exit_code": 16}]
    _, kind, title, body = said(tmp_path, [GOOD, *rows], CHANGE)
    assert (kind, title) == ("issue", f"livekit-agents 1.9.0: {verdict}")
    assert "the reason" in body
    assert body.endswith("# Which one?")


def test_a_failure_of_the_machine_is_no_issue(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows: list[Any] = [{"release": "newest", "verdict": "error", "error": "no answer"}]
    assert said(tmp_path, rows)[0] == 22
    assert "newest: no answer" in capsys.readouterr().err


@pytest.mark.parametrize("rows", [{}, [1], [{}], [{"release": "1.9.0", "verdict": 1}], "x"])
def test_what_is_no_outcome(tmp_path: Path, rows: object) -> None:
    assert said(tmp_path, rows)[0] == 21


def test_an_issue_is_no_longer_than_github_takes(tmp_path: Path) -> None:
    rows = [{"release": "1.9.0", "verdict": "conflict", "error": "x" * 100_000}]
    assert len(said(tmp_path, rows)[3]) == 60_000
