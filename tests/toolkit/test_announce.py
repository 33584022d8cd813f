"""``announce.py``: what the daily watch says to the maintainers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

import announce as verb

LOSS = {"tests": 3, "of_tests": 10, "schedules": 4, "of_schedules": 20}
NONE = {**LOSS, "tests": 0, "schedules": 0}
GOOD = {"release": "1.9.0", "verdict": "publish", "new": [], "official": LOSS, "patched": NONE}
CHANGE = "diff --git a/patches/guard/1.9.0.patch b/patches/guard/1.9.0.patch\nnew file\n"
ROW = "diff --git a/patches/releases.toml b/patches/releases.toml\n+yanked\n"
Said = dict[str, tuple[str, str]]


def said(tmp_path: Path, rows: object, change: str = "") -> tuple[int, Said]:
    """Exit code, and title and body by kind."""
    (tmp_path / "outcome.json").write_text(json.dumps(rows))
    (tmp_path / "change.patch").write_text(change)
    out = tmp_path / "out"
    words = ["--change", str(tmp_path / "change.patch"), "--refresh", str(tmp_path / "refresh")]
    code = verb.main([str(tmp_path / "outcome.json"), *words, "--out", str(out)])
    if code:
        assert not out.exists()
        return code, {}
    kinds = (out / "kind").read_text()
    found = {
        kind: ((out / f"{kind}.title").read_text(), (out / f"{kind}.md").read_text())
        for kind in kinds.replace("nothing", "").split()
    }
    assert bool(found) == (kinds != "nothing")
    assert {path.name for path in out.iterdir()} == {
        "kind",
        *(f"{kind}.{end}" for kind in found for end in ("title", "md")),
    }
    return code, found


@pytest.mark.parametrize("rows", [[], [GOOD]])
def test_nothing_new(tmp_path: Path, rows: list[Any]) -> None:
    assert said(tmp_path, rows) == (0, {})


def test_new_variants(tmp_path: Path) -> None:
    _, found = said(tmp_path, [{**GOOD, "carried_from": "1.8.9"}], CHANGE)
    assert [*found] == ["pull-request"]
    title, body = found["pull-request"]
    assert title == "Carry the series to livekit-agents 1.9.0"
    assert "- `patches/guard/1.9.0.patch`" in body
    assert "1.9.0: publish; carried from 1.8.9; official wheels lose 3 of 10 tests" in body
    assert "patched wheels lose 0 of 10 tests and 0 of 20 schedules" in body


def test_several_releases_and_one_that_is_left_out(tmp_path: Path) -> None:
    out = {"release": "1.9.1", "verdict": "left out", "reason": "yanked: broken", "new": []}
    _, found = said(tmp_path, [GOOD, out, {**GOOD, "release": "2.0.0b2"}], CHANGE)
    title, body = found["pull-request"]
    assert title == "Carry the series to livekit-agents 1.9.0, 2.0.0b2"
    assert (
        "- 1.9.1: left out; <code>yanked&#58; broken</code>\n- 2.0.0b2: publish; official" in body
    )


def test_releases_toml_alone(tmp_path: Path) -> None:
    assert said(tmp_path, [], ROW) == (
        0,
        {
            "pull-request": (
                "Bring releases.toml up to date",
                "Files:\n\n- `patches/releases.toml`",
            )
        },
    )


@pytest.mark.parametrize("verdict", ["conflict", "regressed", "inconclusive", "fixed", "error"])
def test_what_a_human_must_decide(tmp_path: Path, verdict: str) -> None:
    (tmp_path / "refresh" / "1.9.1").mkdir(parents=True)
    (tmp_path / "refresh" / "1.9.1" / "report.md").write_text("# Which one?\n")
    rows = [{"release": "1.9.1", "verdict": verdict, "error": "the reason", "exit_code": 17}]
    _, found = said(tmp_path / ".", rows, CHANGE)
    # alone it keeps the change waiting, so that tomorrow it is new again; what is fixed stays fixed
    assert [*found] == (["issue", "pull-request"] if verdict == "fixed" else ["issue"])
    title, body = found["issue"]
    assert title == f"livekit-agents 1.9.1: {verdict}"
    assert "the reason" in body
    assert body.endswith(
        "# Which one?\n\n`nox -s release -- 1.9.1` puts these files on your machine."
    )


def test_what_others_say_stays_in_its_block(tmp_path: Path) -> None:
    error = "no\n```\n## @somebody, look: <img src=x>\n```"
    row = {"release": "1.9.1", "verdict": "error", "error": error, "exit_code": 17}
    _, found = said(tmp_path, [row])
    heading, _, _, block = MarkdownIt().parse(found["issue"][1])
    assert heading.type == "heading_open"
    assert (block.type, block.content) == ("fence", f"{error}\n")
    (tmp_path / "other").mkdir()
    _, found = said(
        tmp_path / "other", [GOOD, {**row, "verdict": "left out", "reason": error}], CHANGE
    )
    assert "## @somebody" not in found["pull-request"][1]


def test_one_that_is_carried_and_one_that_is_not(tmp_path: Path) -> None:
    odd = {"release": "1.9.1", "verdict": "conflict", "error": "the reason", "exit_code": 16}
    _, found = said(tmp_path, [GOOD, odd], CHANGE)
    assert found["issue"][0] == "livekit-agents 1.9.1: conflict"
    assert found["pull-request"][0] == "Carry the series to livekit-agents 1.9.0"
    assert "- 1.9.1: conflict; see the issue" in found["pull-request"][1]


@pytest.mark.parametrize("code", [None, 12, 13, 20, 21])
def test_a_failure_of_the_machine_is_no_issue(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], code: int | None
) -> None:
    row: dict[str, Any] = {"release": "newest", "verdict": "error", "error": "no answer"}
    row |= {"exit_code": code} if code else {}
    assert said(tmp_path, [GOOD, row], CHANGE)[0] == 22
    assert "newest: no answer" in capsys.readouterr().err


@pytest.mark.parametrize("rows", [{}, [1], [{}], [{"release": "1.9.0", "verdict": 1}], "x"])
def test_what_is_no_outcome(tmp_path: Path, rows: object) -> None:
    assert said(tmp_path, rows)[0] == 21


def test_an_issue_is_no_longer_than_github_takes(tmp_path: Path) -> None:
    rows = [
        {"release": f"1.9.{number}", "verdict": "conflict", "error": "x" * 100_000}
        for number in range(40)
    ]
    title, body = said(tmp_path, rows)[1]["issue"]
    assert len(title) == 201
    assert 59_000 < len(body) <= 60_000
    assert body.endswith("\n```\n\n…")
