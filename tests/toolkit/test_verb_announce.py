"""``announce.py``: what the daily watch posts to the maintainers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt
from verbs import RunVerb

LOSS = {"tests": 3, "of_tests": 10, "schedules": 4, "of_schedules": 20}
NO_LOSS = {**LOSS, "tests": 0, "schedules": 0}
GOOD = {"release": "1.9.0", "verdict": "publish", "official": LOSS, "patched": NO_LOSS}
BAD = {"release": "1.9.1", "error": "the reason", "exit_code": 17}
LEFT_OUT = {"release": "1.9.1", "verdict": "left out", "reason": "yanked:\n# @all"}
VARIANT = "diff --git a/patches/guard/1.9.0.patch b/patches/guard/1.9.0.patch\nnew file\n"
ROW = "diff --git a/patches/releases.toml b/patches/releases.toml\n+yanked\n"
REPORT = "# Which one?\n\n`nox -s release -- 1.9.1` puts these files on your machine."
Announce = Callable[..., dict[str, list[str]]]


@pytest.fixture
def announce(tmp_path: Path, run_verb: RunVerb) -> Announce:
    """Run the verb; return title and body by kind. The folder holds nothing besides these."""

    def announce(rows: object, change: str = "", code: int = 0, error: str = "") -> Any:
        paths = tmp_path / "outcome.json", tmp_path / "change.patch"
        paths[0].write_text(json.dumps(rows))
        paths[1].write_text(change)
        folders = ("--refresh", tmp_path / "refresh", "--out", tmp_path / "out")
        result = run_verb("announce", paths[0], "--change", paths[1], *folders)
        assert (result.code, error in result.err) == (code, True)
        files = {path.name: path.read_text() for path in tmp_path.glob("out/*")}
        kinds = files.pop("kind", "")
        assert result.out.strip() == kinds
        posts = kinds.replace("nothing", "").split()
        written = {kind: [files.pop(f"{kind}.{end}") for end in ("title", "md")] for kind in posts}
        assert files == {}
        return written if kinds else None

    return announce


@pytest.mark.parametrize("rows", [[], [GOOD], [LEFT_OUT]])
def test_nothing_to_post(announce: Announce, rows: list[Any]) -> None:
    assert announce(rows) == {}


@pytest.mark.parametrize(
    ("rows", "change", "title", "body"),
    [
        (
            [{**GOOD, "carried_from": "1.8.9"}],
            VARIANT,
            "Carry the series to livekit-agents 1.9.0",
            "The proof of what changes here:\n\n"
            "- 1.9.0: publish; carried from 1.8.9; official wheels lose 3 of 10 tests and 4 of 20 "
            "schedules; patched wheels lose 0 of 10 tests and 0 of 20 schedules\n\n"
            "Files:\n\n- `patches/guard/1.9.0.patch`",
        ),
        (
            [{**GOOD, "patched": None}, LEFT_OUT, {"release": "2.0.0b2", "verdict": "publish"}],
            ROW,
            "Carry the series to livekit-agents 1.9.0, 2.0.0b2",
            "The proof of what changes here:\n\n"
            "- 1.9.0: publish; official wheels lose 3 of 10 tests and 4 of 20 schedules\n"
            "- 1.9.1: left out; <code>yanked&#58; &#35; &#64;all</code>\n"
            "- 2.0.0b2: publish; see the issue\n\n"
            "Files:\n\n- `patches/releases.toml`",
        ),
        ([], ROW, "Bring releases.toml up to date", "Files:\n\n- `patches/releases.toml`"),
    ],
)
def test_pull_request(
    announce: Announce, rows: list[Any], change: str, title: str, body: str
) -> None:
    assert announce(rows, change) == {"pull-request": [title, body]}


@pytest.mark.parametrize("others", [[], [GOOD]])
@pytest.mark.parametrize("verdict", ["conflict", "regressed", "inconclusive", "fixed", "error"])
def test_issue(announce: Announce, tmp_path: Path, verdict: str, others: list[Any]) -> None:
    """Alone, a release keeps the change waiting, so that it is new tomorrow; not a fixed one."""
    (tmp_path / "refresh" / "1.9.1").mkdir(parents=True)
    (tmp_path / "refresh" / "1.9.1" / "report.md").write_text("# Which one?\n")
    written = announce([*others, {**BAD, "verdict": verdict}], VARIANT)
    assert ("pull-request" in written) == (verdict == "fixed" or bool(others))
    text = f"## 1.9.1: {verdict}\n\n```\nthe reason\n```\n\n{REPORT}"
    assert written["issue"] == [f"livekit-agents 1.9.1: {verdict}", text]
    if others:
        assert f"- 1.9.1: {verdict}; see the issue\n" in written["pull-request"][1]


def test_foreign_text_stays_in_its_block(announce: Announce) -> None:
    error = "no\n```\n## @somebody, look: <img src=x>\n```"
    written = announce([{**BAD, "verdict": "error", "error": error}])
    heading, _, _, block = MarkdownIt().parse(written["issue"][1])
    assert heading.type == "heading_open"
    assert (block.type, block.content) == ("fence", f"{error}\n")


@pytest.mark.parametrize("code", [None, 12, 13, 20, 21])
def test_a_failure_of_the_machine_is_no_issue(announce: Announce, code: int | None) -> None:
    row = {"release": "newest", "verdict": "error", "error": "no answer", "exit_code": code}
    assert announce([GOOD, row], VARIANT, 22, "newest: no answer") is None


@pytest.mark.parametrize("rows", [{}, [1], [{}], [{"release": "1.9.0", "verdict": 1}], "x"])
def test_malformed_rows(announce: Announce, rows: object) -> None:
    assert announce(rows, "", 21, "is not what `release --json` prints") is None


def test_github_limits(announce: Announce) -> None:
    row = {**BAD, "verdict": "error", "error": "x" * 100_000}
    rows = [{**row, "release": f"1.9.{number}"} for number in range(40)]
    title, body = announce(rows)["issue"]
    assert len(title) == 201
    assert 59_000 < len(body) <= 60_000
    assert body.endswith("\n```\n\n…")
