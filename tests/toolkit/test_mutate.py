"""mutate: which mutants there are, what becomes of them, and what a survivor means."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from making import AGENTS, ENGINE_PATH, PLUGIN, Index, diff, mail, source, write_series
from making import make_wheel as make_official
from packaging.version import Version
from publishing import make_runner, make_suite

import mutate as verb
from toolkit.environments import pair
from toolkit.patches.mutants import Mutant, mutants_of
from toolkit.patches.series import Series
from toolkit.proof import mutation_testing
from toolkit.util.workspace import CACHE_VARIABLE, Workspace

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


def engine(old: str, new: str) -> str:
    return mail(diff(ENGINE_PATH, old, new))


def found(folder: Path, *texts: str) -> list[Mutant]:
    """The mutants of a series whose patches lead from one text to the next."""
    steps = pairwise(texts)
    patches = {f"step-{n}": {"1.0": engine(*step)} for n, step in enumerate(steps, start=1)}
    series = Series.load(write_series(folder, patches))
    return list(mutants_of(series.variants_for(Version("1.8.9")), {ENGINE_PATH: texts[0].encode()}))


# -- which mutants there are -----------------------------------------------------------------


def test_each_hunk_is_dropped_once(tmp_path: Path) -> None:
    both = source(line5="first = 1", line30="second = 2")
    mutants = found(tmp_path, source(), both)
    assert [mutant.hunk for mutant in mutants] == ["@@ -2,7 +2,7 @@", "@@ -27,7 +27,7 @@"]
    assert {(m.patch, m.path, m.along, m.inert) for m in mutants} == {
        ("step-1", ENGINE_PATH, (), False)
    }
    assert [mutant.text.decode() for mutant in mutants] == [
        source(line30="second = 2"),
        source(line5="first = 1"),
    ]


def test_the_rest_of_the_series_stays(tmp_path: Path) -> None:
    middle, last = source(line5="first = 1"), source(line5="first = 1", line30="second = 2")
    first, second = found(tmp_path, source(), middle, last)
    assert (first.text.decode(), second.text.decode()) == (source(line30="second = 2"), middle)


def test_later_hunks_that_do_not_fit_go_too(tmp_path: Path) -> None:
    middle, last = source(line5="first = 1"), source(line5="first = 1", line6="first += 1")
    first, second = found(tmp_path, source(), middle, last)
    assert first.text.decode() == source()
    assert first.along == ("step-2 @@ -3,7 +3,7 @@",)
    assert (second.text.decode(), second.along) == (middle, ())


@pytest.mark.parametrize(
    ("line", "inert"),
    [
        ("value_5 = 5  # why", True),
        ("value_5  =  5", True),
        ('value_5 = 5\n"""What it is."""', True),
        ("value_5 = 5.0", False),
        ("value_5 = 5; value_5", False),
    ],
)
def test_a_hunk_without_code_is_inert(tmp_path: Path, line: str, inert: bool) -> None:
    (mutant,) = found(tmp_path, source(), source(line5=line))
    assert mutant.inert is inert


def test_no_python_is_not_inert(tmp_path: Path) -> None:
    first, second = found(tmp_path, source(), source(line5="if True:", line30="    pass"))
    assert not first.inert
    assert not second.inert


# -- what becomes of them --------------------------------------------------------------------


@pytest.fixture
def run(
    index: Index, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., int]:
    """Runs the verb on a release and a series: the official text, and each patch's result."""
    for name in (AGENTS, PLUGIN):
        index.add(make_official(tmp_path / "w", name, "1.8.9"))
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("LIVEKIT_DISPATCHED_PYPI", index.url)
    monkeypatch.setenv(CACHE_VARIABLE, str(workspace.root))
    extra = (make_runner(tmp_path / "runner"),)

    def prepare(*wheels: Any, **inputs: Any) -> Any:
        return pair.prepare(*wheels, **{**inputs, "extra": extra, "optional": ()})

    monkeypatch.setattr(mutation_testing, "prepare", prepare)
    suite = make_suite(tmp_path / "suite", SUITE)

    def call(*texts: str, words: Sequence[str] = ("--json",)) -> int:
        steps = pairwise([source(), *texts])
        patches = {f"step-{n}": {"1.0": engine(*step)} for n, step in enumerate(steps, start=1)}
        write_series(workspace.patches, patches)
        options = ("--suite", str(suite), "--patches", str(workspace.patches))
        return verb.main(["1.8.9", "--jobs", "2", *options, *words])

    return call


def outcomes(said: str) -> list[tuple[str, str]]:
    (release,) = json.loads(said)
    assert release["release"] == "1.8.9"
    return [(row["outcome"], row["by"]) for row in release["mutants"]]


def test_every_outcome(
    run: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    workspace: Workspace,
) -> None:
    text = source(
        line1="value_1 = 1  # said",
        line9="guard = 9",
        line17="more = 17",
        line25="import os as needed",
        line33="nobody = needed.sep",
    )
    assert run(text) == 23
    first = capsys.readouterr()
    assert outcomes(first.out) == [
        ("skipped", ""),
        ("caught", "test_flight.py::test_b"),
        ("caught", "only 2 of 3 tests ran"),
        ("does not import", ""),
        ("survived", ""),
    ]
    assert "1.8.9: step-1, " in first.err
    assert f"{ENGINE_PATH} @@ -30,7 +30,7 @@" in first.err
    assert not list(workspace.root.glob("scratch/*"))

    # and nothing of it is run again
    monkeypatch.setattr(mutation_testing, "run_together", None)
    assert run(text) == 23
    assert capsys.readouterr().out == first.out


def test_all_caught(run: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(source(line5="guard = 5"), words=()) == 0
    said = capsys.readouterr()
    assert "caught: test_flight.py::test_b" in said.out
    assert "1.8.9, 2 tests" in said.out
    assert said.err == ""


def test_a_mutant_that_hangs(
    run: Callable[..., int],
    workspace: Workspace,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runner = partial(mutation_testing.MutationRunner, timeout=3)
    monkeypatch.setattr(mutation_testing, "MutationRunner", runner)
    assert run(source(line5="guard = hangs = 5", line20="del hangs")) == 0
    assert outcomes(capsys.readouterr().out)[1] == ("does not end", "")
    # which may be the machine's fault, and is asked again
    kept = {json.loads(path.read_text())["outcome"] for path in workspace.mutants.glob("*.json")}
    assert kept
    assert "does not end" not in kept


def test_a_suite_that_is_not_green_proves_nothing(
    run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(source(line5="broken = 5")) == 21
    said = capsys.readouterr()
    assert said.out == ""
    assert "without a mutant the suite is not green: caught test_flight.py::test_a" in said.err


def test_the_environment_of_the_proof_stays_as_it_is(
    run: Callable[..., int], workspace: Workspace
) -> None:
    texts = []
    for _ in range(2):
        assert run(source(line5="guard = 5")) == 0
        texts.append(
            {
                path: (path.read_bytes(), path.stat().st_mtime_ns)
                for path in workspace.environments.rglob("livekit/agents/*")
            }
        )
        for kept in workspace.mutants.iterdir():
            kept.unlink()
    assert texts[0]
    assert texts[0] == texts[1]
