"""upstream: two real environments, upstream's tests in each, and what is made of them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from making import (
    AGENTS,
    ENGINE,
    PLUGIN,
    TREES,
    Index,
    engine_patch,
    make_wheel,
    serving,
    source,
    write_series,
)
from upstreaming import PYPROJECT, lend_pytest, make_repository

import upstream as verb
from toolkit.environments.environment import Environment
from toolkit.upstream_tests import checkout, compare, runner
from toolkit.upstream_tests.report import read_report
from toolkit.upstream_tests.result import (
    Source,
    UpstreamOutcome,
    UpstreamResult,
    UpstreamRun,
    compare_runs,
)
from toolkit.upstream_tests.runner import Limits, requirements, run_tests, select_test_files
from toolkit.util import process
from toolkit.util.errors import CommandFailed
from toolkit.util.strict_json import Malformed
from toolkit.util.workspace import CACHE_VARIABLE

CONFTEST = """
import pytest

def pytest_collection_modifyitems(config, items):
    gone = [item for item in items if "deselected" in item.name]
    config.hook.pytest_deselected(items=gone)
    items[:] = [item for item in items if item not in gone]
"""
TESTS = """
import os, socket, subprocess, sys, threading
from pathlib import Path
import pytest
from livekit.agents.engine import value_9

OFFICIAL = value_9 == 9
FIRST = Path({first!r})

def test_passes():
    pass

def test_fails():
    assert OFFICIAL is None, "on both sides"

def test_regresses():
    assert OFFICIAL, "the fix broke it"

def test_fixed():
    assert not OFFICIAL, "a bug"

def test_flaky():
    if not OFFICIAL and not FIRST.exists():
        FIRST.touch()
        pytest.fail("once")

def test_hangs():
    threading.Event().wait()

def test_captured(capsys):
    print("sys.stderr is no file here")

def test_outlives():
    while True:
        try:
            threading.Event().wait()
        except BaseException:
            pass

def test_crashes():
    os.abort()

@pytest.mark.skip(reason="needs a server")
def test_skipped():
    pass

@pytest.mark.xfail(reason="known to upstream")
def test_expected():
    assert False

def test_deselected():
    pass

def test_name():
    socket.create_connection(("api.example.org", 443))

def test_address():
    socket.create_connection(("192.0.2.1", 80))

def test_loopback():
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(("localhost", server.getsockname()[1])).close()

def test_child():
    program = "import socket; socket.create_connection(('192.0.2.1', 80))"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stderr
    assert "no network in this run: 192.0.2.1 was refused" in said

def test_surroundings():
    seen = [name for name in os.environ if "KEY" in name or name.startswith("LIVEKIT_")]
    assert not seen and not list(Path.home().iterdir())

@pytest.fixture
def stays():
    yield
    threading.Event().wait()

def test_stays(stays):
    threading.Event().wait()

@pytest.fixture
def leaves():
    yield
    assert False, "left a task behind"

def test_teardown(leaves):
    pass
"""
RELEASE, TAG = "1.7.1", "livekit-agents@1.7.0"
SUITE = "tests/test_session.py::test_{}"


class Place:
    """A release on an index on loopback, a series that fits it, and a repository of upstream's."""

    def __init__(self, folder: Path, index: Index) -> None:
        self.folder, self.index = folder, index
        for name in (AGENTS, PLUGIN):
            index.add(make_wheel(folder / "wheels", name, RELEASE, requires=[]))
        changed = engine_patch(line9="value_9 = 'patched'")
        self.patches = write_series(folder / "patches", {"guard": {"1.0": changed}})
        self.files = {
            "pyproject.toml": PYPROJECT,
            "tests/conftest.py": CONFTEST,
            "tests/test_session.py": TESTS.format(first=str(folder / "first")),
            "tests/test_tool_gone.py": "import no_such_plugin\n",
            "tests/test_vad.py": "def test_other(): pass\n",
            f"{TREES[AGENTS]}/{ENGINE}": source(),
        }
        for wheel in lend_pytest(folder / "runners").iterdir():
            index.add(wheel)

    def repository(self, name: str = "repo", tag: str = TAG, **files: str) -> Path:
        changed = {f"tests/{path}.py": text for path, text in files.items()}
        return make_repository(self.folder / name, {tag: {**self.files, **changed}})

    def run(self, *words: object) -> int:
        checkout._list_tags.cache_clear()
        usual = {"--patches": self.patches, "--pypi": self.index.url, "--limit": 1.5}
        usual |= {"--timeout": 300, "--jobs": 1}
        fixed = [str(word) for option in usual.items() for word in option]
        return verb.main([RELEASE, "--json", *fixed, *map(str, words)])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("upstream")
    with serving(Index()) as index, pytest.MonkeyPatch.context() as patch:
        made = Place(folder, index)
        for name in ("OPENAI_API_KEY", "LIVEKIT_URL", "LIVEKIT_API_KEY", "SOME_KEY"):
            patch.setenv(name, "secret")
        patch.setenv(CACHE_VARIABLE, str(folder / "cache"))
        patch.setenv("UV_DEFAULT_INDEX", index.url)
        yield made


@pytest.fixture(scope="module")
def repository(place: Place) -> Path:
    return place.repository()


@pytest.fixture(scope="module")
def told(place: Place, repository: Path) -> dict[str, Any]:
    """What one run says, and its exit code."""
    import contextlib
    import io

    with contextlib.redirect_stdout(io.StringIO()) as said:
        code = place.run("--repo", repository, "--jobs", 2)
    return {"code": code, **json.loads(said.getvalue())}


def test_a_regression_fails(told: dict[str, Any]) -> None:
    assert (told["status"], told["code"]) == ("regressed", 18)
    assert told["regressed"] == {
        SUITE.format("regresses"): "official passed; patched failed (AssertionError: "
        "the fix broke it)"
    }


def test_fixed_and_flaky_are_told_apart(told: dict[str, Any]) -> None:
    assert told["fixed"].keys() == {SUITE.format("fixed")}
    assert told["flaky"] == {
        SUITE.format("flaky"): "official passed; patched failed (once); run again: passed "
        "and passed"
    }


def test_what_passes_on_both_is_counted(told: dict[str, Any]) -> None:
    # passes, captured, loopback, child, surroundings
    assert told["passed"] == 5, told["failed"]
    assert "5 tests pass on both sides, 8 fail on both, 1 regressed" in told["why"]


@pytest.mark.parametrize(
    ("test", "reason"),
    [
        ("fails", "AssertionError: on both sides"),
        ("name", "no network here: it asked for api.example.org"),
        ("address", "no network here: it asked for 192.0.2.1"),
        ("hangs", "Timeout (>1.5s) from pytest-timeout."),
        ("outlives", "its process ended: it crashed, or the test outlived its limit"),
        # and again in its teardown, which the alarm does not reach
        ("stays", "Timeout (>1.5s) from pytest-timeout."),
        ("crashes", "its process ended: it crashed, or the test outlived its limit"),
        ("teardown", "in teardown: AssertionError: left a task behind"),
    ],
)
def test_failed_on_both_by_reason(told: dict[str, Any], test: str, reason: str) -> None:
    reasons = [why for why, tests in told["failed"].items() if SUITE.format(test) in tests]
    assert [why.partition("\n")[0] for why in reasons] == [reason]


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (SUITE.format("skipped"), "needs a server"),
        (SUITE.format("expected"), "upstream expects it to fail: known to upstream"),
        (SUITE.format("deselected"), "deselected by upstream's own configuration"),
        (
            "tests/test_tool_gone.py",
            "cannot be collected: ModuleNotFoundError: No module named 'no_such_plugin'",
        ),
        ("tests/test_vad.py", "not of the plugin's tests (--all takes them)"),
    ],
)
def test_left_out_with_a_reason(told: dict[str, Any], item: str, reason: str) -> None:
    assert [why for why, items in told["left_out"].items() if item in items] == [reason]


def test_every_test_is_told_of_once(told: dict[str, Any]) -> None:
    listed = [*told["regressed"], *told["fixed"], *told["flaky"]]
    listed += [test for kind in ("failed", "left_out") for t in told[kind].values() for test in t]
    assert len(listed) == len({*listed})
    ours = [test for test in listed if test.startswith("tests/test_session.py")]
    assert len(ours) + told["passed"] == len(re.findall(r"^def test_", TESTS, re.M))


def test_the_nearest_tag_and_the_difference_are_said(told: dict[str, Any]) -> None:
    found = told["source"]
    assert (found["tag"], found["release"], found["between"]) == (TAG, "1.7.0", 0)
    assert found["differing"] == {AGENTS: 2, PLUGIN: 3}
    assert found["modules"] == {AGENTS: 3, PLUGIN: 3}
    text = str(Source(**found))
    assert text.startswith(f"{TAG}, 0 releases lie between, 2 of 3 modules of {AGENTS} differ")


def test_nothing_of_the_machine_is_told(told: dict[str, Any], place: Place) -> None:
    assert str(place.folder) not in json.dumps(told)


def test_a_kept_result_runs_nothing(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    calm = place.repository("calm", test_session="def test_one(): pass\n")
    assert place.run("--repo", calm) == 0
    first = capsys.readouterr().out
    assert json.loads(first)["status"] == "passed"
    monkeypatch.setattr(compare, "prepare", None)
    assert place.run("--repo", calm) == 0
    assert capsys.readouterr().out == first
    with pytest.raises(TypeError, match="not callable"):
        place.run("--repo", calm, "--all")


def test_a_fix_that_breaks_the_whole_suite_has_regressed(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    conftest = "from livekit.agents.engine import value_9\nassert value_9 == 9, 'patched'\n"
    assert place.run("--repo", place.repository("whole", conftest=conftest)) == 18
    told = json.loads(capsys.readouterr().out)
    assert [*told["regressed"]] == ["(all tests)"]
    assert "AssertionError: patched" in told["regressed"]["(all tests)"]


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({"conftest": "raise ValueError('upstream is broken')"}, "upstream is broken"),
        ({"pyproject": ""}, ""),
    ],
)
def test_what_upstream_breaks_itself_did_not_run(
    place: Place, capsys: pytest.CaptureFixture[str], files: dict[str, str], why: str
) -> None:
    repository = place.repository("broken" + "-".join(files), **files)
    if not why:
        (repository / "pyproject.toml").write_text("[", "utf-8")
        repository = make_repository(
            place.folder / "unsound", {TAG: {**place.files, "pyproject.toml": "["}}
        )
        why = "upstream's pyproject.toml"
    assert place.run("--repo", repository) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["status"] == "not run"
    assert why in told["why"]


def test_a_tag_without_such_tests_did_not_run(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = make_repository(place.folder / "bare", {TAG: {"tests/test_vad.py": ""}})
    assert place.run("--repo", bare) == 0
    assert json.loads(capsys.readouterr().out)["why"] == f"{TAG} has no tests of the plugin"


def test_out_of_reach_is_said_and_required(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = place.folder / "missing"
    assert place.run("--repo", missing) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["status"] == "not run"
    assert told["why"].startswith("the clone cannot be reached: fatal: ")
    assert str(missing) not in told["why"]
    assert place.run("--repo", missing, "--require-upstream") == 24
    assert "name a clone of upstream's repository" in capsys.readouterr().err


# -- the parts ------------------------------------------------------------------------------------


def test_which_files_are_the_plugins(tmp_path: Path) -> None:
    ours = (
        "test_plugin_openai_x test_realtime/test_model test_chat_ctx test_agent_session test_tools"
    )
    theirs = "test_aio_itertools test_vad test_stt utils/test_pool"
    for name in (*ours.split(), *theirs.split()):
        path = tmp_path / "tests" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    chosen, left = select_test_files(tmp_path)
    assert {*chosen} == {f"tests/{name}.py" for name in ours.split()}
    assert {*left} == {f"tests/{name}.py" for name in theirs.split()}
    assert select_test_files(tmp_path, everything=True)[1] == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (PYPROJECT, ["pytest", "pytest-timeout", "pytest-xdist>=1"]),
        (
            "[tool.uv]\ndev-dependencies = ['jiwer>=3', 'ruff']",
            ["jiwer>=3", "pytest", "pytest-timeout", "pytest-xdist"],
        ),
        (None, ["pytest", "pytest-timeout", "pytest-xdist"]),
    ],
)
def test_what_the_tests_need(tmp_path: Path, text: str | None, expected: list[str]) -> None:
    if text is not None:
        (tmp_path / "pyproject.toml").write_text(text, "utf-8")
    assert requirements(tmp_path) == expected


@pytest.mark.parametrize("text", ["[", "[dependency-groups]\ndev = ['no good']", "tool = 1"])
def test_an_unsound_pyproject(tmp_path: Path, text: str) -> None:
    (tmp_path / "pyproject.toml").write_text(text, "utf-8")
    with pytest.raises(Malformed, match=r"pyproject\.toml"):
        requirements(tmp_path)


def test_a_run_that_was_ended_tells_what_it_had_done() -> None:
    said: list[dict[str, Any]] = [
        {"collected": ["a", "b"]},
        {"test": "a", "when": "call", "outcome": "passed", "why": "", "tried": []},
    ]
    lines = [*map(json.dumps, said), '{"test": "b", "wh']
    side = read_report(lines, hide="/x")
    assert side.tests == {
        "a": UpstreamOutcome("passed"),
        "b": UpstreamOutcome("absent", "it did not end"),
    }
    assert side.trouble


SOURCE = Source(TAG, "c0" * 20, "1.7.0", 0, {}, {})


def test_a_test_that_is_skipped_on_the_patched_wheels_only_has_regressed() -> None:
    passed, skipped = (
        UpstreamRun({"t": UpstreamOutcome(o, w)}) for o, w in (("passed", ""), ("skipped", "no"))
    )
    assert compare_runs("1", SOURCE, "", (passed, skipped), [(passed, skipped)]).regressed
    assert compare_runs("1", SOURCE, "", (passed, skipped), [(passed, passed)]).flaky
    assert compare_runs("1", SOURCE, "", (skipped, passed), [(skipped, passed)]).fixed
    # worse at first and better then is neither
    assert compare_runs("1", SOURCE, "", (passed, skipped), [(skipped, passed)]).flaky


def test_a_file_that_is_lost_on_the_patched_wheels_only_has_regressed() -> None:
    lost = UpstreamRun(left_out={"tests/test_a.py": "cannot be collected: NameError"})
    found = compare_runs("1", SOURCE, "", (UpstreamRun(), lost), [])
    assert found.regressed == {
        "tests/test_a.py": "only on the patched wheels: cannot be collected: NameError"
    }
    assert compare_runs("1", SOURCE, "", (lost, lost), []).regressed == {}


def test_a_result_is_read_as_it_was_written() -> None:
    sides = UpstreamRun(
        {"t": UpstreamOutcome("failed", "no"), "u": UpstreamOutcome("passed")}, {"f": "gone"}
    )
    made = compare_runs("1.7.0", SOURCE, "all", (sides, sides), [], ["tests/test_x.py"])
    assert UpstreamResult.parse(made.to_json()) == made
    without = UpstreamResult.not_run("1.7.0", "no\nnetwork")
    assert UpstreamResult.parse(without.to_json()) == without
    assert without.lines == ["upstream's suite: not run: no network"]


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"status": "fine"},
        {"status": "regressed"},
        {"passed": "1"},
        {"failed": {"why": [1]}},
        {"source": {"tag": TAG}},
        {"more": 1},
    ],
)
def test_a_result_of_another_shape_is_refused(change: dict[str, Any]) -> None:
    side = UpstreamRun({"u": UpstreamOutcome("passed")})
    document = json.loads(compare_runs("1", SOURCE, "", (side, side), []).to_json())
    with pytest.raises(Malformed):
        UpstreamResult.parse(json.dumps({**document, **change}))
    with pytest.raises(Malformed, match="not JSON"):
        UpstreamResult.parse("{")


# -- runs that do not come to their end -----------------------------------------------------------

FINE = {"a": UpstreamOutcome("passed")}
GOOD, BAD = (
    UpstreamRun(FINE | {"t": UpstreamOutcome(outcome, "")}) for outcome in ("passed", "failed")
)
LOST = UpstreamRun(
    {"t": UpstreamOutcome("skipped", "no key"), "u": UpstreamOutcome("failed", "no key")},
    {"f": "gone"},
)
CUT = UpstreamRun(
    {"t": UpstreamOutcome("absent", "it did not end")}, trouble="the run was ended after 9 s"
)


@pytest.mark.parametrize(
    ("sides", "status", "named"),
    [
        ([CUT], "not run", []),
        # where nothing passes, nothing can get worse
        ([LOST], "not run", []),
        ([UpstreamRun(left_out={"f": "gone"})], "not run", []),
        ([GOOD, CUT], "regressed", ["(all tests)"]),
        ([GOOD, BAD, CUT, CUT], "regressed", ["t"]),
        ([GOOD, BAD, GOOD, CUT], "regressed", ["t"]),
        ([GOOD, BAD, GOOD, BAD, GOOD, CUT], "regressed", ["t"]),
        # worse each time, or not
        ([GOOD, BAD, GOOD, BAD, GOOD, BAD], "regressed", ["t"]),
        ([GOOD, BAD, GOOD, BAD, GOOD, GOOD], "passed", []),
        ([GOOD, BAD, GOOD, GOOD], "passed", []),
    ],
)
def test_a_run_that_is_ended_excuses_nothing(
    place: Place,
    repository: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    sides: list[UpstreamRun],
    status: str,
    named: list[str],
) -> None:
    left = [*sides]
    monkeypatch.setattr(compare, "prepare", lambda *_, **__: (None, None))
    monkeypatch.setattr(compare, "run_tests", lambda *_: left.pop(0))
    place.run("--repo", repository, "--timeout", len(sides))
    told = json.loads(capsys.readouterr().out)
    assert (told["status"], [*told["regressed"]]) == (status, named)
    assert left == []


def test_a_run_that_was_killed_says_nothing_of_the_wheels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "run_together", lambda *_, **__: (process.Exited(-9, ""),))
    (tmp_path / "files").mkdir()
    (tmp_path / "scratch").mkdir()
    place = Environment(tmp_path, tmp_path / "python", "3.11.7")
    with pytest.raises(CommandFailed, match="pytest was ended by signal 9"):
        run_tests(tmp_path / "files", [], place, tmp_path / "scratch", Limits())


def test_a_run_that_takes_too_long_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "run_together", lambda *_, **__: (process.Exited(None, ""),))
    (tmp_path / "files").mkdir()
    (tmp_path / "scratch").mkdir()
    place = Environment(tmp_path, tmp_path / "python", "3.11.7")
    side = run_tests(tmp_path / "files", [], place, tmp_path / "scratch", Limits(run=9))
    assert side.trouble == "the run was ended after 9 s without progress, with 0 of 0 tests"


@pytest.mark.parametrize(
    ("files", "why"),
    [
        (
            {"test_session": "import no_such_plugin\n"},
            "cannot be collected: ModuleNotFoundError: No module named 'no_such_plugin'",
        ),
        (
            {"test_session": "def test_one(): assert 0, 'no key'\n"},
            "AssertionError: no key",
        ),
    ],
)
def test_a_suite_in_which_nothing_passes_did_not_run(
    place: Place, capsys: pytest.CaptureFixture[str], files: dict[str, str], why: str
) -> None:
    bare = {"test_tool_gone": "", "conftest": "", **files}
    repository = place.repository(f"none{len(why)}", **bare)
    assert place.run("--repo", repository, "--require-upstream") == 24
    told = json.loads(capsys.readouterr().out)
    assert (told["status"], told["passed"]) == ("not run", 0)
    assert told["why"] == f"no test passes on the official wheels: {why}"


@pytest.mark.parametrize(
    ("code", "ends", "trouble"),
    [(2, ["a"], "no whole run"), (2, ["a", "b"], ""), (1, ["a"], ""), (3, ["a", "b"], "no whole")],
)
def test_a_run_that_was_broken_off_is_no_run(code: int, ends: list[str], trouble: str) -> None:
    ended = {"when": "call", "outcome": "passed", "why": "", "tried": []}
    said = [{"collected": ["a", "b"]}, *({"test": test, **ended} for test in ends)]
    side = read_report([json.dumps(line) for line in [*said, {"exitstatus": code}]], hide="/x")
    assert side.tests.keys() == {"a", "b"}
    assert side.trouble.startswith(trouble)
    assert bool(side.trouble) == bool(trouble)


def test_offline_asks_no_repository(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # what the verb needs is in the cache by now
    place.run("--repo", place.folder / "missing")
    capsys.readouterr()
    monkeypatch.setattr(compare, "tags_of", None)
    assert place.run("--repo", "https://example.invalid/agents", "--offline") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["status"], told["why"]) == ("not run", "it is elsewhere, and --offline was given")


# -- no network ------------------------------------------------------------------------------------

NATIVE = """
import json, socket
server = socket.create_server(("127.0.0.1", 0))
socket.create_connection(server.getsockname()).close()
print(json.dumps([name for _, name in socket.if_nameindex()]))
"""


def test_what_no_hook_sees_has_a_loopback_and_no_more() -> None:
    prefix = runner.network_namespace()
    if not prefix:
        pytest.skip("this machine gives no network namespaces")
    # -I: without the hook, as native code would be
    done = subprocess.run(
        [*prefix, sys.executable, "-I", "-c", NATIVE], check=True, capture_output=True, text=True
    )
    assert json.loads(done.stdout) == ["lo"]


@pytest.mark.parametrize("gives", [True, False])
def test_the_tests_run_apart_where_they_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gives: bool
) -> None:
    jobs: list[process.Job] = []

    def together(started: list[process.Job], **_: object) -> tuple[process.Exited]:
        jobs.extend(started)
        return (process.Exited(1, ""),)

    program = tmp_path / "bin" / "unshare"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\nexit {int(not gives)}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    monkeypatch.setattr(runner, "run_together", together)
    monkeypatch.setattr(runner, "network_namespace", runner.network_namespace.__wrapped__)
    for name in ("files", "scratch"):
        (tmp_path / name).mkdir()
    place = Environment(tmp_path, tmp_path / "python", "3.11.7")
    run_tests(tmp_path / "files", [], place, tmp_path / "scratch", Limits())
    words = [str(word) for word in jobs[0].command]
    assert (words[0] == str(program)) == gives
    assert words[words.index("-m") - 1] == str(place.python)
