"""The verb mutate: what becomes of each mutant, and what a survivor means."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from publishing import make_runner, make_suite
from series import engine_patch, write_series
from upstream_index import Upstream
from verbs import Ran
from wheels import ENGINE_PATH

from toolkit.environments import pair
from toolkit.proof import mutation_testing

SUITE = """
import json, platform, sys, threading
from importlib.metadata import version
from pathlib import Path

print(flush=True)
try:
    from livekit.agents import engine
except Exception as error:
    print(f"ERROR test_flight.py - {error!r}")
    sys.exit(2)

has = vars(engine).keys()
if "hangs" in has:
    threading.Event().wait()
tests = {"a": "guard" in has or "broken" not in has, "b": "guard" in has}
if "more" in has:
    tests["c"] = True
report = {}
for name, good in tests.items():
    report[f"test_flight.py::test_{name}"] = {
        "outcome": "passed" if good else "failed", "check": "loses-calls", "documented": True,
        "message": "" if good else "the call was deleted", "seconds": 0.25,
    }
    if not good:
        break
Path(sys.argv[1]).write_text(json.dumps({
    "format": 1, "python": platform.python_version(), "exitstatus": int(not good),
    "collected": len(tests), "tests": report,
    "distributions": {n: version(n) for n in ("livekit-agents", "livekit-plugins-openai")},
}))
sys.exit(int(not good))
"""
Mutate = Callable[..., Ran]


@pytest.fixture
def mutate(upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mutate:
    """Run the verb on a release and a series of one patch, which changes lines."""
    upstream.upload("1.8.9")
    monkeypatch.setenv("UV_OFFLINE", "1")
    suite, extra = make_suite(tmp_path / "suite", SUITE), (make_runner(tmp_path / "runner"),)

    def prepare(*wheels: Any, **inputs: Any) -> Any:
        return pair.prepare(*wheels, **{**inputs, "extra": extra, "optional": ()})

    monkeypatch.setattr(mutation_testing, "prepare", prepare)

    def run(code: int = 0, *, words: tuple[str, ...] = ("--json",), **lines: str) -> Ran:
        write_series(upstream.workspace.patches, {"step-1": {"1.0": engine_patch(**lines)}})
        options = ("--jobs", 2, "--suite", suite, *words)
        return upstream.run("mutate", "1.8.9", *options, code=code)

    return run


def outcomes(ran: Ran) -> list[tuple[str, str]]:
    (release,) = ran.json
    assert release["release"] == "1.8.9"
    return [(row["outcome"], row["by"]) for row in release["mutants"]]


def test_every_outcome(mutate: Mutate, monkeypatch: pytest.MonkeyPatch, upstream: Upstream) -> None:
    lines = {
        "line1": "value_1 = 1  # said",
        "line9": "guard = 9",
        "line17": "more = 17",
        "line25": "import os as needed",
        "line33": "nobody = needed.sep",
    }
    first = mutate(23, **lines)
    assert outcomes(first) == [
        ("skipped", ""),
        ("caught", "test_flight.py::test_b"),
        ("caught", "only 2 of 3 tests ran"),
        ("does not import", ""),
        ("survived", ""),
    ]
    row = first.json[0]["mutants"][1]
    assert {**row, "hunk": row["hunk"][:2]} == {
        "patch": "step-1",
        "file": ENGINE_PATH,
        "hunk": "@@",
        "along": [],
        "outcome": "caught",
        "by": "test_flight.py::test_b",
        "message": "the call was deleted",
    }
    assert "1.8.9: step-1, " in first.err
    assert f"{ENGINE_PATH} @@ -30,7 +30,7 @@" in first.err
    assert not list(upstream.workspace.root.glob("scratch/*"))
    # and nothing of it runs again
    monkeypatch.setattr(mutation_testing, "run_together", None)
    assert mutate(23, **lines) == first


def test_all_caught(mutate: Mutate) -> None:
    ran = mutate(line5="guard = 5", words=())
    assert "caught: test_flight.py::test_b" in ran.out
    assert "1.8.9, 2 tests" in ran.out
    assert ran.err == ""


def test_a_mutant_that_hangs(
    mutate: Mutate, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = partial(mutation_testing.MutationRunner, timeout=3)
    monkeypatch.setattr(mutation_testing, "MutationRunner", runner)
    ran = mutate(line5="guard = hangs = 5", line20="del hangs")
    assert outcomes(ran)[1] == ("does not end", "")
    # which may be the machine's fault, and runs again
    files = upstream.workspace.mutants.glob("*.json")
    kept = {json.loads(path.read_text())["outcome"] for path in files}
    assert kept == {"survived", "does not import"}


def test_a_suite_that_is_not_green_proves_nothing(mutate: Mutate) -> None:
    ran = mutate(21, line5="broken = 5")
    assert ran.out == ""
    assert "without a mutant the suite is not green: caught test_flight.py::test_a" in ran.err


def test_the_environment_of_the_proof_stays_as_it_is(mutate: Mutate, upstream: Upstream) -> None:
    snapshots = []
    for _ in range(2):
        mutate(line5="guard = 5")
        files = upstream.workspace.environments.rglob("livekit/agents/*")
        snapshots.append({path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files})
        for kept in upstream.workspace.mutants.iterdir():
            kept.unlink()
    assert snapshots[0]
    assert snapshots[0] == snapshots[1]
