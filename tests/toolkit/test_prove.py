"""prove.py: releases and wheels named by hand, tiers, replays, and what it prints."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import making
import pytest
from making import AGENTS, PLUGIN, Index, engine_patch, write_series
from publishing import (
    EXPLORER,
    LOST,
    UPLOADED,
    Prove,
    explored,
    findings,
    make_runner,
    make_suite,
    proof_of,
)
from standing_in import replace_proof

import prove
import release
import status
import update
from toolkit.environments.pair import WheelPair, prepare
from toolkit.proof import one_release
from toolkit.proof.prove import ProofSettings
from toolkit.proof.verdict import Verdict
from toolkit.util.workspace import CACHE_VARIABLE, Workspace


def test_the_command_line_says_why_it_stops(
    tmp_path: Path, official: list[Path], patched: list[Path]
) -> None:
    out = tmp_path / "verdict.json"
    command = [sys.executable, prove.__file__, "--official", *map(str, official)]
    command += ["--patched", *map(str, patched), "--out", str(out)]
    command += ["--release", "1.8.9", "--uploaded", "2026-10-24T02:32:37Z"]
    env = {**os.environ, "LIVEKIT_DISPATCHED_CACHE": str(tmp_path / "cache")}
    unset = subprocess.run(
        [*command, "--uploaded", "yesterday"], env=env, capture_output=True, text=True, check=False
    )
    assert unset.returncode == 2
    offline = subprocess.run(
        command,
        env={**env, "UV_OFFLINE": "1", "UV_CACHE_DIR": str(tmp_path / "uv")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert offline.returncode == 17, offline.stderr
    assert "pytest" in offline.stderr
    assert not out.exists()


@pytest.fixture
def released(
    index: Index, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """A release on an index on loopback, with a series that fits, and what reaches the proof."""
    for name in (AGENTS, PLUGIN):
        index.add(making.make_wheel(tmp_path / "w", name, "1.8.9"))
    write_series(workspace.patches, {"guard": {"1.0": engine_patch(line9="first = 1")}})
    monkeypatch.setenv("LIVEKIT_DISPATCHED_PYPI", index.url)
    monkeypatch.setenv(CACHE_VARIABLE, str(workspace.root))
    asked: dict[str, Any] = {"words": ["1.8.9", "--patches", str(workspace.patches)]}

    def stand_in(
        pair: WheelPair, settings: ProofSettings, *, picture: Path | None = None, **_: object
    ) -> Verdict:
        asked.update(release=pair.release, tier=settings.tier)
        asked.update(names=[wheel.name for wheel in pair.patched])
        sides = [findings(v, unreduced=7) for v in ({LOST: 4, "refused": 5}, {"refused": 2})]
        found = explored(tier=settings.tier, official=sides[0], patched=sides[1])
        if picture:
            picture.parent.mkdir(parents=True, exist_ok=True)
            picture.write_text(f"<svg>{settings.tier}</svg>")
        return proof_of(list(pair.patched), "1.8.9", found)

    replace_proof(monkeypatch, stand_in)
    return asked


def test_a_release_is_fetched_and_patched_first(
    released: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out" / "verdict.json"
    assert prove.main([*released["words"], "--tier", "full", "--out", str(out)]) == 0
    assert capsys.readouterr().out.startswith("1.8.9: publish: the official wheels lose calls")
    assert json.loads(out.read_text())["exploration"]["tier"] == "full"
    assert (released["release"], released["tier"]) == ("1.8.9", "full")
    assert out.with_suffix(".svg").read_text() == "<svg>full</svg>"
    assert "livekit_agents-1.8.9+dispatched.1-py3-none-any.whl" in released["names"]


def test_a_quick_verdict_does_not_take_the_place_of_a_full_one(
    released: dict[str, Any], tmp_path: Path
) -> None:
    out = tmp_path / "verdict.json"
    words = [*released["words"], "--out", str(out)]
    assert prove.main(words) == 0
    quick = out.read_text()
    assert prove.main([*words, "--tier", "full"]) == 0
    full = out.read_text()
    assert full != quick
    assert prove.main(words) == 0
    assert out.read_text() == full
    assert out.with_suffix(".svg").read_text() == "<svg>full</svg>"
    document = json.loads(full)
    other = dict.fromkeys(document["wheels"], "0" * 64)
    sides = {"patched": {**document["patched"], "wheels": other}, "wheels": other}
    for change in ({"suite": "0" * 64}, {"series": "0" * 64}, sides):
        out.write_text(json.dumps({**document, **change}))
        assert prove.main(words) == 0
        assert out.read_text() == quick


def test_what_was_proved_is_remembered(
    released: dict[str, Any],
    workspace: Workspace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    patches = ["--patches", str(workspace.patches)]

    def verdict() -> str:
        capsys.readouterr()
        assert status.main([*patches, "--offline", "--json"]) == 0
        found = json.loads(capsys.readouterr().out)["releases"][0]
        return f"{found['verdict']} {found['current']}"

    assert update.main(patches) == 0
    assert prove.main([*released["words"], "--suite", str(tmp_path)]) == 0
    assert verdict() == "unknown False"
    assert prove.main(released["words"]) == 0
    assert verdict() == "publish True"
    replace_proof(monkeypatch, None)
    assert release.main([*released["words"], "--index", str(tmp_path / "index")]) == 0
    published = {path.suffix for path in (tmp_path / "index" / "verdicts").iterdir()}
    assert published == {".json", ".svg"}


def test_a_series_that_does_not_fit_is_remembered(
    released: dict[str, Any], workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    text = engine_patch(line9="first = 1").replace(" value_8 =", " another =")
    write_series(workspace.patches, {"guard": {"1.0": text}})
    patches = ["--patches", str(workspace.patches)]
    assert update.main(patches) == 0
    assert prove.main(released["words"]) == 16
    capsys.readouterr()
    assert status.main([*patches, "--offline", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["releases"][0]["verdict"] == "conflict"


# the patched wheels break what the official ones do not, or what nobody may break
WORSE_EXPLORERS = [
    ('"call:B": ["refused"]} if', '"call:B": []} if'),
    ('"refused": "differential"', '"refused": "flag"'),
]


def test_a_replay_shows_both_sides(
    released: dict[str, Any],
    proved: Prove,
    tmp_path: Path,
    official: list[Path],
    patched: list[Path],
    shop: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pair = prepare(
        WheelPair(tuple(official), tuple(patched), "1.8.9", UPLOADED),
        shop / "envs",
        extra=(make_runner(shop / "runner"),),
        optional=(),
    )
    monkeypatch.setattr(one_release, "prepare", lambda *_, **__: pair)
    words = [*released["words"], "--suite", str(tmp_path / "suite"), "--replay"]
    assert prove.main([*words, "call:A"]) == 0
    said = capsys.readouterr().out
    assert said.split("\n\n")[:2] == ["official wheels of 1.8.9", "the picture of call:A"]
    assert "patched wheels of 1.8.9\n\nthe picture of call:A" in said
    out = tmp_path / "replay.json"
    assert prove.main([*words, "call:A", "--json", "--out", str(out)]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "schedule": "call:A",
        "official": {"violations": [LOST, "refused"], "recorded": []},
        "patched": {"violations": [], "recorded": []},
    }
    drawn = {path.name: path.read_text() for path in tmp_path.glob("replay.*.svg")}
    assert drawn == {
        "replay.official.svg": "<svg>call:A 1.8.9</svg>",
        "replay.patched.svg": "<svg>call:A 1.8.9+dispatched.3</svg>",
    }
    for was, now in WORSE_EXPLORERS:
        assert was in EXPLORER
        make_suite(tmp_path / "suite", explorer=EXPLORER.replace(was, now))
        assert prove.main([*words, "call:B"]) == 18
        shown = capsys.readouterr()
        assert "the picture of call:B" in shown.out
        assert "call:B breaks refused on the patched wheels" in shown.err
    make_suite(tmp_path / "suite", explorer="import sys; sys.exit('no scenario of that name')")
    assert prove.main([*words, "call:?"]) == 18
    assert "no scenario of that name" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["--official", "a.whl", "--patched", "b.whl"],
        ["1.8.9", "--uploaded", "2026-10-24T02:32:37Z"],
        ["1.8.9", "1.4.6", "--out", "verdict.json"],
        ["1.8.9", "--tier", "slow"],
    ],
)
def test_command_lines_that_mean_nothing(words: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        prove.main(words)
    assert caught.value.code == 2


CONFTEST = """
import json, platform
from importlib.metadata import version
from pathlib import Path

TESTS = {}

def pytest_addoption(parser):
    parser.addoption("--race-report")

def pytest_runtest_logreport(report):
    if report.when == "call":
        TESTS[report.nodeid] = {
            "outcome": report.outcome, "check": "loses-calls", "documented": True,
            "message": "", "seconds": report.duration,
        }

def pytest_sessionfinish(session, exitstatus):
    Path(session.config.getoption("--race-report")).write_text(json.dumps({
        "format": 1, "python": platform.python_version(), "exitstatus": int(exitstatus),
        "collected": session.testscollected, "tests": TESTS,
        "distributions": {
            name: version(name) for name in ("livekit-agents", "livekit-plugins-openai")
        },
    }))
"""


@pytest.mark.pypi
def test_the_command_line_with_the_real_pytest(
    tmp_path: Path,
    official: list[Path],
    patched: list[Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    race = tmp_path / "race"
    race.mkdir()
    (race / "conftest.py").write_text(CONFTEST)
    (race / "pytest.ini").write_text("[pytest]\n")
    (race / "explore.py").write_text(EXPLORER)
    (race / "test_a.py").write_text(
        "import os\nfrom livekit.agents import LOSES\n\n\n"
        "def test_kept():\n    assert os.environ['PYTHONHASHSEED'] == '0'\n    assert not LOSES\n"
    )
    monkeypatch.setenv("LIVEKIT_DISPATCHED_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTEST_ADDOPTS", "--deselect=everything -x")
    words = ["--suite", str(race), "--release", "1.8.9", "--uploaded", "2026-10-24T02:32:37Z"]
    words += ["--official", *map(str, official), "--out", str(tmp_path / "verdict.json")]
    assert prove.main([*words, "--patched", *map(str, patched), "--json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()  # a document a line, as with several releases
    printed = json.loads(line)
    assert printed == json.loads((tmp_path / "verdict.json").read_text())
    assert printed["official"]["lost"] == ["test_a.py::test_kept"]
    assert (tmp_path / "verdict.svg").read_text() == "<svg>call:A 1.8.9</svg>"
    replay = ["--replay", "call:A", "--patched", *map(str, patched), "--json"]
    assert prove.main([*words, *replay]) == 0
    replayed = json.loads(capsys.readouterr().out)
    assert replayed == json.loads((tmp_path / "verdict.json").read_text())
    assert replayed["official"]["violations"] == [LOST, "refused"]
    assert replayed["patched"]["violations"] == []
    assert prove.main([*words, "--patched", *map(str, official)]) == 18
    shown = capsys.readouterr()
    assert shown.out.startswith("1.8.9: regressed: ")
    assert "test_a.py::test_kept" in shown.err
    assert [p for p in race.rglob("*") if p.name == "__pycache__"] == []
