"""Upstream's tests in one environment: which of them, what they need, and how each ended."""

from __future__ import annotations

import json
import re
import shutil
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from packaging.dependency_groups import resolve_dependency_groups
from packaging.requirements import Requirement

from toolkit.environments.environment import Environment
from toolkit.upstream_tests.result import Ended, Side
from toolkit.util.errors import CommandFailed, how_ended
from toolkit.util.process import Job, run, run_together
from toolkit.util.strict_json import Malformed, members

GUEST = Path(__file__).resolve().parents[2] / "sandbox"

# what the tests of the plugin, and of what it touches in the agents, have in their paths
_OURS = re.compile(r"(?:^|[/_])(openai|realtime|chat_(ctx|context)|sessions?|tools?)(?=[/_.])")
_GROUPS = ("dev", "test", "tests")
# upstream's other tools, which no test imports: type checkers, linters, stubs
_IDLE = re.compile(r"mypy|ruff|playwright|types-.*|.*-stubs")
# pytest's exit codes: 0 and 1 are whole runs, 5 one of no tests; 2 is one that was broken off, or
# that only had errors of collection
_RAN, _BROKEN_OFF = (0, 1, 2, 5), 2
# where pytest looks for its configuration, in its order, and by what it knows it
_CONFIGURING = {
    "pytest.ini": "",
    ".pytest.ini": "",
    "pyproject.toml": "[tool.pytest",
    "tox.ini": "[pytest]",
    "setup.cfg": "[tool:pytest]",
}
_RUNNERS = ("pytest", "pytest-timeout", "pytest-xdist")


@dataclass(frozen=True)
class Limits:
    """Seconds for a test, seconds in which a run may stand still, and tests at a time."""

    test: float = 20.0
    run: float = 1800.0
    jobs: int = 2


def select(files: Path, *, everything: bool = False) -> tuple[list[str], list[str]]:
    """The test files to run, and those to leave out, as paths below ``files``."""
    found = sorted(p.relative_to(files).as_posix() for p in (files / "tests").rglob("test_*.py"))
    chosen = [path for path in found if everything or _OURS.search(path.removeprefix("tests/"))]
    return chosen, [path for path in found if path not in chosen]


def requirements(files: Path) -> list[str]:
    """What the tests need besides the wheels, in PEP 508 form: upstream's dependency groups.

    ``[dependency-groups]`` (PEP 735), or uv's older ``dev-dependencies``, without linters and
    type checkers, and what runs the tests here. Raises Malformed for an unsound pyproject.toml.
    """
    try:
        document = tomllib.loads((files / "pyproject.toml").read_text("utf-8"))
        groups = document.get("dependency-groups", {})
        named = [name for name in _GROUPS if name in groups]
        listed = list(resolve_dependency_groups(groups, *named))
        listed += document.get("tool", {}).get("uv", {}).get("dev-dependencies", [])
        wanted = [Requirement(text) for text in listed]
    except FileNotFoundError:
        wanted = []
    except (ValueError, TypeError, AttributeError, ExceptionGroup) as error:
        raise Malformed(f"upstream's pyproject.toml: {error}") from error
    wanted = [requirement for requirement in wanted if not _IDLE.fullmatch(requirement.name)]
    stated = {requirement.name for requirement in wanted}
    runners = [name for name in _RUNNERS if name not in stated]
    return sorted({*map(str, wanted), *runners})


def run_side(
    files: Path,
    chosen: Sequence[str],
    environment: Environment,
    scratch: Path,
    limits: Limits,
    only: Sequence[str] | None = None,
) -> Side:
    """Run test files in ``environment``, in a copy of ``files`` below the empty ``scratch``.

    Every process starts without a network and with next to none of the caller's variables.
    ``only`` limits the run to these ids.
    """
    report, work = scratch / "report.jsonl", scratch / "upstream"
    shutil.copytree(files, work, symlinks=True)
    configuration = configured(work)
    command = [
        *(str(environment.python), "-m", "pytest", *chosen, "--rootdir=.", "-c", configuration),
        *("-p", "upstream_report", f"--upstream-report={report}", "-p", "no:cacheprovider"),
        *("-n", str(limits.jobs), "--dist=load", f"--timeout={limits.test:g}"),
        *("--continue-on-collection-errors", "--tb=native", "--quiet", "--color=no"),
    ]
    if only is not None:
        (scratch / "only").write_text("\n".join(only), "utf-8")
        command.append(f"--upstream-only={scratch / 'only'}")
    job = Job([*apart(), *command], cwd=work, env=surroundings(environment, scratch))
    (ended,) = run_together([job], timeout=limits.run)
    lines = report.read_text("utf-8").splitlines() if report.is_file() else []
    side = read(lines, hide=str(scratch))
    if ended.exit_code is None:
        done = sum(ended.outcome != "absent" for ended in side.tests.values())
        counted = f"with {done} of {len(side.tests)} tests"
        said = f"the run was ended after {limits.run:g} s without progress, {counted}"
        return replace(side, trouble=said)
    if ended.exit_code < 0:
        # that says nothing of the wheels
        raise CommandFailed(f"pytest {how_ended(ended.exit_code)}", next_step="run again")
    if side.trouble:
        said = _reason(ended.output, str(scratch))
        return replace(side, trouble=f"pytest ended with exit code {ended.exit_code}: {said}")
    return side


def configured(work: Path) -> str:
    """The file in ``work`` that configures pytest there; an empty one is made if there is none.

    Left to itself, pytest goes on looking in the folders above.
    """
    for name, sign in _CONFIGURING.items():
        file = work / name
        if file.is_file() and sign in file.read_text("utf-8", "replace"):
            return name
    (work / "pytest.ini").write_text("[pytest]\n", "utf-8")
    return "pytest.ini"


@cache
def apart() -> tuple[str, ...]:
    """What to put before a command so that it runs in a network namespace with a loopback only.

    Empty where there is no such thing, or no right to it; ``sandbox/offline.py`` refuses Python's
    sockets the network in any case.
    """
    unshare = shutil.which("unshare")
    if sys.platform != "linux" or unshare is None:
        return ()
    words = (unshare, "--user", "--map-current-user", "--keep-caps", "--net", "--")
    prefix = (*words, sys.executable, "-I", str(GUEST / "loopback.py"))
    tried = run([*prefix, sys.executable, "-I", "-c", ""], timeout=10.0, check=False)
    return prefix if tried.returncode == 0 else ()


def surroundings(environment: Environment, scratch: Path) -> dict[str, str]:
    """The variables beside every child's under which upstream's tests run.

    With them go new folders below ``scratch``: a home without credentials, and one for files.
    """
    home, temporary = scratch / "home", scratch / "tmp"
    home.mkdir()
    temporary.mkdir()
    return {
        "HOME": str(home),
        "USERPROFILE": str(home),
        **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(temporary)),
        "PYTHONPATH": str(GUEST),
        "PYTHONHASHSEED": "0",
        "PYTHONPYCACHEPREFIX": str(environment.path / "pycache"),
        "PYTHONUTF8": "1",
    }


def read(lines: Sequence[str], *, hide: str) -> Side:
    """What the lines of ``sandbox/upstream_report.py`` say; ``hide`` is a path to leave out.

    A test that was collected and of which nothing was heard is absent. ``trouble`` says that
    no run came to its end, that it was broken off, or that nothing was collected.
    """
    tests: dict[str, Ended] = {}
    collected: dict[str, None] = {}
    left_out: dict[str, str] = {}
    exit_code = None
    for line in lines:
        try:
            said = json.loads(line)
        except json.JSONDecodeError:
            # the process was killed as it wrote
            continue
        if "test" in said:
            _add(tests, said, hide)
        elif "uncollected" in said:
            left_out[said["uncollected"]] = f"cannot be collected: {clean(said['why'], hide)}"
        else:
            collected |= dict.fromkeys(said.get("collected", ()))
            why = "deselected by upstream's own configuration"
            left_out |= dict.fromkeys(said.get("deselected", ()), why)
            exit_code = said.get("exitstatus", exit_code)
    unheard = [test for test in collected if test not in tests]
    tests |= dict.fromkeys(unheard, Ended("absent", "it did not end"))
    is_whole = exit_code in _RAN and (tests or left_out)
    trouble = "" if is_whole and not (exit_code == _BROKEN_OFF and unheard) else "no whole run"
    return Side(dict(sorted(tests.items())), dict(sorted(left_out.items())), trouble)


def _add(tests: dict[str, Ended], said: Mapping[str, Any], hide: str) -> None:
    """Join what a phase of a test says with those before it: the worst counts, if not passed."""
    texts = dict.fromkeys(("test", "when", "outcome", "why"), str)
    line = members(dict(said), "a line of the report", {**texts, "tried": list}, {})
    test, outcome, why = line["test"], line["outcome"], clean(line["why"], hide)
    if outcome == "passed":
        # a test that is skipped passes its teardown
        if line["when"] == "call":
            tests[test] = Ended("passed")
        return
    if outcome == "failed":
        if line["tried"]:
            why = f"no network here: it asked for {', '.join(line['tried'])}"
        elif line["when"] in ("setup", "teardown"):
            why = f"in {line['when']}: {why}"
        if tests.get(test, Ended("passed")).outcome == "failed":
            return
    tests[test] = Ended(outcome, why)


def clean(text: str, hide: str) -> str:
    """``text`` in one line that says the same on every machine and in every run."""
    line = text.replace(hide, "").partition("\n")[0].strip()
    line = re.sub(r"0x[0-9a-fA-F]{6,}", "0x…", line)
    return line if len(line) <= 200 else f"{line[:199]}…"


def _reason(output: str, hide: str) -> str:
    lines = [line for line in output.splitlines() if line.strip()]
    telling = [line for line in lines if re.match(r"E  |ERROR|.*Error: ", line)]
    return clean(telling[0] if telling else lines[-1] if lines else "it said nothing", hide)
