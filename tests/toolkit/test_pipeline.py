"""``release.py``: how the steps are joined, and what becomes of a release that fails at one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from making import AGENTS, PLUGIN, Index, engine_patch, make_wheel, write_series
from publishing import snapshot

import release as verb
from toolkit.errors import EnvironmentUnresolvable
from toolkit.ledger import read_ledger
from toolkit.verdict import Verdict
from toolkit.workspace import CACHE_VARIABLE, Workspace

RELEASES = ("1.8.9", "1.8.8")


@pytest.fixture
def here(
    index: Index, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Workspace:
    """Two releases on an index on loopback, and a series that fits both."""
    for version in RELEASES:
        for name in (AGENTS, PLUGIN):
            index.add(make_wheel(tmp_path / "w", name, version))
    monkeypatch.setenv("LIVEKIT_DISPATCHED_PYPI", index.url)
    monkeypatch.setenv(CACHE_VARIABLE, str(workspace.root))
    write_series(workspace.patches, {"guard": {"1.0": engine_patch(line9="first = 1")}})
    monkeypatch.setattr(verb, "prove", judged("publish"))
    return workspace


def judged(word: str) -> Any:
    """A stand-in for the proof, which has tests of its own, that comes to one verdict."""

    def prove(official: Any, patched: Any, **inputs: Any) -> Verdict:
        from publishing import proof_of

        proof = proof_of(list(patched), inputs["release"])
        return proof if word == "publish" else Verdict(**{**vars(proof), "verdict": word})

    return prove


def run(here: Workspace, out: Path, *words: str) -> int:
    return verb.main([*words, "--index", str(out), "--patches", str(here.patches), "--json"])


def test_publishes_and_records(
    here: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "index"
    assert run(here, out, *RELEASES) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["verdict"] for row in rows] == ["publish", "publish"]
    assert set(map(str, read_ledger(here.ledger))) == set(RELEASES)
    before = snapshot(out), here.ledger.read_bytes()
    assert run(here, out, *RELEASES) == 0
    assert [row["new"] for row in json.loads(capsys.readouterr().out)] == [[], []]
    assert (snapshot(out), here.ledger.read_bytes()) == before


def test_the_newest_by_default(
    here: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(here, tmp_path / "index") == 0
    assert [row["release"] for row in json.loads(capsys.readouterr().out)] == ["1.8.9"]


def test_what_people_see(
    here: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "index"
    assert verb.main(["1.8.9", "--index", str(out), "--patches", str(here.patches)]) == 0
    said = capsys.readouterr().out
    assert "publish" in said
    assert "livekit_agents-1.8.9+dispatched.1-py3-none-any.whl" in said
    assert "  pip install --extra-index-url file://" in said
    assert "  uv pip install --index file://" in said


@pytest.mark.parametrize("word", ["fixed", "regressed", "inconclusive"])
def test_no_other_verdict_is_published(
    word: str,
    here: Workspace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(verb, "prove", judged(word))
    assert run(here, tmp_path / "index", "1.8.9") == 18
    said = capsys.readouterr()
    assert json.loads(said.out)[0]["verdict"] == word
    assert word in said.err
    assert not (tmp_path / "index").exists()
    assert not here.ledger.exists()


def test_a_release_that_fails_does_not_stop_the_others(
    here: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fits = engine_patch(line9="first = 1")
    fits_not = fits.replace(" value_8 =", " another =")
    assert fits_not != fits
    write_series(here.patches, {"guard": {"1.0": fits, "1.8.9": fits_not}})
    assert run(here, tmp_path / "index", "1.8.9", "1.8.8", "7.7.7") == 22
    said = capsys.readouterr()
    rows = {row["release"]: row for row in json.loads(said.out)}
    assert {name: row["verdict"] for name, row in rows.items()} == {
        "1.8.9": "conflict",
        "1.8.8": "publish",
        "7.7.7": "error",
    }
    assert (rows["1.8.9"]["exit_code"], rows["7.7.7"]["exit_code"]) == (16, 10)
    assert "1.8.9: PatchConflict" in said.err
    assert not list((tmp_path / "index" / "files").glob("*1.8.9*"))


def test_an_environment_that_cannot_be_resolved(
    here: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def prove(*_: Any, **__: Any) -> Verdict:
        raise EnvironmentUnresolvable("no such openai", next_step="look")

    monkeypatch.setattr(verb, "prove", prove)
    assert run(here, tmp_path / "index", "1.8.9") == 17
    assert not (tmp_path / "index").exists()


def test_a_real_ctrl_c_during_the_download(here: Workspace, index: Index, tmp_path: Path) -> None:
    asked, go_on = threading.Event(), threading.Event()
    answer = index.answer

    def slowly(path: str) -> tuple[int, str, bytes, bool]:
        if path.endswith(".whl"):
            asked.set()
            go_on.wait(30)
        return answer(path)

    index.answer = slowly  # type: ignore[method-assign]
    out = tmp_path / "index"
    child = subprocess.Popen(
        [sys.executable, verb.__file__, "1.8.9", "--index", out, "--patches", here.patches],
        env=dict(os.environ),
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert asked.wait(30)
        child.send_signal(signal.SIGINT)
        go_on.set()
        _, said = child.communicate(timeout=30)
    finally:
        go_on.set()
        child.kill()
    assert child.returncode == 130, said
    assert "Traceback" not in said
    assert not out.exists()
    assert not list(here.artefacts.rglob("*.tmp"))
