"""The verb upstream: two real environments, upstream's tests in each, and what is made of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from series import engine_patch, write_series
from simple_index import Index, serving
from upstream_repository import PYPROJECT, lend_pytest, make_repository
from verbs import RunVerb
from wheels import AGENTS, ENGINE_PATH, PLUGIN, make_official, source

import upstream as verb
from toolkit.proof import upstream_tests
from toolkit.upstream_tests import checkout
from toolkit.upstream_tests.result import Source, UpstreamOutcome, UpstreamRun
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

def test_passes(): pass
def test_fails(): assert OFFICIAL is None, "on both sides"
def test_regresses(): assert OFFICIAL, "the fix broke it"
def test_fixed(): assert not OFFICIAL, "a bug"
def test_flaky():
    if not OFFICIAL and not FIRST.exists():
        FIRST.touch()
        pytest.fail("once")
def test_hangs(): threading.Event().wait()
def test_captured(capsys): print("sys.stderr is no file here")
def test_outlives():
    while True:
        try: threading.Event().wait()
        except BaseException: pass
def test_crashes(): os.abort()
@pytest.mark.skip(reason="needs a server")
def test_skipped(): pass
@pytest.mark.xfail(reason="known to upstream")
def test_expected(): assert False
def test_deselected(): pass
def test_name(): socket.create_connection(("api.example.org", 443))
def test_address(): socket.create_connection(("192.0.2.1", 80))
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
def test_stays(stays): threading.Event().wait()
@pytest.fixture
def leaves():
    yield
    assert False, "left a task behind"
def test_teardown(leaves): pass
"""
RELEASE, TAG = "1.7.1", "livekit-agents@1.7.0"
TIMEOUT = "Timeout (>1.5s) from pytest-timeout."
PROCESS = "its process ended: it crashed, or the test outlived its limit"
# each test, and what is said of it
EXPECTED: dict[str, dict[str, str]] = {
    "passed": dict.fromkeys(("passes", "captured", "loopback", "child", "surroundings"), ""),
    "regressed": {
        "regresses": "official passed; patched failed (AssertionError: the fix broke it)"
    },
    "fixed": {"fixed": "official failed (AssertionError: a bug); patched passed"},
    "flaky": {
        "flaky": "official passed; patched failed (once); run again: passed and passed",
    },
    "failed": {
        "fails": "AssertionError: on both sides",
        "name": "no network here: it asked for api.example.org",
        "address": "no network here: it asked for 192.0.2.1",
        "hangs": TIMEOUT,
        # and again in its teardown, which the alarm does not reach
        "stays": TIMEOUT,
        "outlives": PROCESS,
        "crashes": PROCESS,
        "teardown": "in teardown: AssertionError: left a task behind",
    },
    "left_out": {
        "skipped": "needs a server",
        "expected": "upstream expects it to fail: known to upstream",
        "deselected": "deselected by upstream's own configuration",
        "tests/test_tool_gone.py": "cannot be collected: ModuleNotFoundError: No module named "
        "'no_such_plugin'",
        "tests/test_vad.py": "not of the plugin's tests (--all takes them)",
    },
}


class Place:
    """A release on an index on loopback, a series that fits it, and repositories of upstream's."""

    def __init__(self, folder: Path, index: Index) -> None:
        self.folder, self.index = folder, index
        for name in (AGENTS, PLUGIN):
            index.add(make_official(folder / "wheels", name, RELEASE, requires=[]))
        changed = engine_patch(line9="value_9 = 'patched'")
        self.patches = write_series(folder / "patches", {"guard": {"1.0": changed}})
        self.files = {
            "pyproject.toml": PYPROJECT,
            "tests/conftest.py": CONFTEST,
            "tests/test_session.py": TESTS.format(first=str(folder / "first")),
            "tests/test_tool_gone.py": "import no_such_plugin\n",
            "tests/test_vad.py": "def test_other(): pass\n",
            ENGINE_PATH: source(),
        }
        for wheel in lend_pytest(folder / "runners").iterdir():
            index.add(wheel)

    def repository(self, name: str, **files: str) -> Path:
        """A repository with other files below ``tests``; ``pyproject`` is in the top folder."""
        changed = {f"tests/{path}.py": text for path, text in files.items() if path != "pyproject"}
        changed |= {"pyproject.toml": files["pyproject"]} if "pyproject" in files else {}
        return make_repository(self.folder / name, {TAG: {**self.files, **changed}})

    def words(self, *words: object) -> list[object]:
        """The arguments of the verb."""
        checkout._list_tags.cache_clear()
        usual = {"--patches": self.patches, "--pypi": self.index.url, "--limit": 1.5}
        usual |= {"--timeout": 300, "--jobs": 1}
        return [RELEASE, "--json", *(word for option in usual.items() for word in option), *words]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("upstream")
    with serving(Index()) as index, pytest.MonkeyPatch.context() as patch:
        place = Place(folder, index)
        for name in ("OPENAI_API_KEY", "LIVEKIT_URL", "LIVEKIT_API_KEY", "SOME_KEY"):
            patch.setenv(name, "secret")
        patch.setenv(CACHE_VARIABLE, str(folder / "cache"))
        patch.setenv("UV_DEFAULT_INDEX", index.url)
        yield place


@pytest.fixture(scope="module")
def repository(place: Place) -> Path:
    return place.repository("repo")


@pytest.fixture(scope="module")
def result(place: Place, repository: Path) -> dict[str, Any]:
    """What one run prints, and its exit code."""
    with redirect_stdout(StringIO()) as output:
        code = verb.main([str(w) for w in place.words("--repo", repository, "--jobs", 2)])
    return {"code": code, **json.loads(output.getvalue())}


def test_every_test_is_told_of_once_with_its_reason(result: dict[str, Any], place: Place) -> None:
    assert (result["status"], result["code"]) == ("regressed", 18)
    # the names as in EXPECTED, and each reason with its first line
    told = {name: result[name] for name in ("regressed", "fixed", "flaky")}
    for name in ("failed", "left_out"):
        told[name] = {t: why.split("\n")[0] for why, tests in result[name].items() for t in tests}
    assert {
        name: {test.removeprefix("tests/test_session.py::test_"): what for test, what in t.items()}
        for name, t in told.items()
    } == {name: tests for name, tests in EXPECTED.items() if name != "passed"}
    assert result["passed"] == len(EXPECTED["passed"])
    assert "5 tests pass on both sides, 8 fail on both, 1 regressed" in result["why"]
    listed = [test for tests in EXPECTED.values() for test in tests if "/" not in test]
    assert sorted(listed) == sorted(re.findall(r"^def test_(\w+)", TESTS, re.M))
    assert str(place.folder) not in json.dumps(result)


def test_the_nearest_tag_and_the_difference_are_told(result: dict[str, Any]) -> None:
    source = result["source"]
    assert (source["tag"], source["release"], source["between"]) == (TAG, "1.7.0", 0)
    assert source["differing"] == {AGENTS: 2, PLUGIN: 3}
    assert source["modules"] == {AGENTS: 3, PLUGIN: 3}
    text = str(Source(**source))
    assert text.startswith(f"{TAG}, 0 releases lie between, 2 of 3 modules of {AGENTS} differ")


def test_a_cached_result_runs_nothing(
    place: Place, run_verb: RunVerb, monkeypatch: pytest.MonkeyPatch
) -> None:
    calm = place.repository("calm", test_session="def test_one(): pass\n")
    first = run_verb("upstream", *place.words("--repo", calm))
    assert (first.code, first.json["status"]) == (0, "passed")
    monkeypatch.setattr(upstream_tests, "prepare", None)
    assert run_verb("upstream", *place.words("--repo", calm)) == first
    with pytest.raises(TypeError, match="not callable"):
        run_verb("upstream", *place.words("--repo", calm, "--all"))


def test_a_fix_that_breaks_the_whole_suite_has_regressed(place: Place, run_verb: RunVerb) -> None:
    conftest = "from livekit.agents.engine import value_9\nassert value_9 == 9, 'patched'\n"
    whole = place.repository("whole", conftest=conftest)
    ran = run_verb("upstream", *place.words("--repo", whole))
    assert ran.code == 18
    assert [*ran.json["regressed"]] == ["(all tests)"]
    assert "AssertionError: patched" in ran.json["regressed"]["(all tests)"]


ALONE = {"test_tool_gone": "", "conftest": ""}
NOT_RUN: dict[str, tuple[dict[str, str], str]] = {
    "conftest": ({"conftest": "raise ValueError('upstream is broken')"}, "upstream is broken"),
    "pyproject": ({"pyproject": "["}, "upstream's pyproject.toml"),
    "nothing is collected": (
        {**ALONE, "test_session": "import no_such_plugin\n"},
        "no test passes on the official wheels: cannot be collected: ModuleNotFoundError: No "
        "module named 'no_such_plugin'",
    ),
    "nothing passes": (
        {**ALONE, "test_session": "def test_one(): assert 0, 'no key'\n"},
        "no test passes on the official wheels: AssertionError: no key",
    ),
}


@pytest.mark.parametrize("case", NOT_RUN)
def test_what_upstream_breaks_itself_did_not_run(
    case: str, place: Place, run_verb: RunVerb
) -> None:
    files, why = NOT_RUN[case]
    repository = place.repository(case, **files)
    ran = run_verb("upstream", *place.words("--repo", repository))
    assert (ran.code, ran.json["status"], ran.json["passed"]) == (0, "not run", 0)
    assert why in ran.json["why"]


def test_a_repository_without_such_tests_or_out_of_reach(
    place: Place, run_verb: RunVerb, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = make_repository(place.folder / "bare", {TAG: {"tests/test_vad.py": ""}})
    missing, elsewhere = place.folder / "missing", "https://example.invalid/agents"
    none = f"{TAG} has no tests of the plugin"
    unreachable = "the clone cannot be reached: fatal: "
    for words, why in (
        ((bare,), none),
        ((bare, "--offline"), none),
        ((missing,), unreachable),
        ((missing.as_uri(),), unreachable),
        ((elsewhere, "--offline"), "it is elsewhere, and --offline was given"),
    ):
        if words[0] == elsewhere:
            monkeypatch.setattr(upstream_tests, "tags_of", None)
        ran = run_verb("upstream", *place.words("--repo", *words))
        assert (ran.code, ran.json["status"]) == (0, "not run")
        assert ran.json["why"].startswith(why)
        assert str(place.folder) not in ran.json["why"]
    ran = run_verb("upstream", *place.words("--repo", *words, "--require-upstream"))
    assert ran.code == 24
    assert "name a clone of upstream's repository" in ran.err


FINE = {"a": UpstreamOutcome("passed")}
GOOD, BAD = (
    UpstreamRun(FINE | {"t": UpstreamOutcome(outcome)}) for outcome in ("passed", "failed")
)
LOST = UpstreamRun({"t": UpstreamOutcome("skipped", "no key")}, {"f": "gone"})
CUT = UpstreamRun({"t": UpstreamOutcome("absent")}, trouble="the run was ended after 9 s")


@pytest.mark.parametrize(
    ("runs", "status", "regressed"),
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
    run_verb: RunVerb,
    monkeypatch: pytest.MonkeyPatch,
    runs: list[UpstreamRun],
    status: str,
    regressed: list[str],
) -> None:
    left = [*runs]
    monkeypatch.setattr(upstream_tests, "prepare", lambda *_, **__: (None, None))
    monkeypatch.setattr(upstream_tests, "run_tests", lambda *_: left.pop(0))
    # another limit is another key
    ran = run_verb("upstream", *place.words("--repo", repository, "--timeout", 9 + len(runs)))
    assert (ran.json["status"], [*ran.json["regressed"]]) == (status, regressed)
    assert left == []
