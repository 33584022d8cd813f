"""Upstream's tests in one environment: which of them, what they need, and how each ended."""

from __future__ import annotations

import re
import shutil
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from packaging.dependency_groups import resolve_dependency_groups
from packaging.requirements import Requirement

from toolkit.environments.environment import Environment
from toolkit.upstream_tests.limits import Limits
from toolkit.upstream_tests.report import one_line, read_sandbox_report
from toolkit.upstream_tests.result import UpstreamRun
from toolkit.util.errors import CommandFailed, how_ended
from toolkit.util.process import Job, run, run_together
from toolkit.util.strict_json import Malformed

SANDBOX = Path(__file__).resolve().parents[2] / "sandbox"

# in the paths of tests of the plugin, and of what it touches in the agents
_OF_THE_PLUGIN = re.compile(
    r"(?:^|[/_])(openai|realtime|chat_(ctx|context)|sessions?|tools?)(?=[/_.])"
)
_GROUPS = ("dev", "test", "tests")
# upstream's tools that no test imports: type checkers, linters, stubs
_NOT_IMPORTED = re.compile(r"mypy|ruff|playwright|types-.*|.*-stubs")
_RUNNERS = ("pytest", "pytest-timeout", "pytest-xdist")
# where pytest looks for its configuration, in its order, and what marks a file as one
_CONFIGURATIONS = {
    "pytest.ini": "",
    ".pytest.ini": "",
    "pyproject.toml": "[tool.pytest",
    "tox.ini": "[pytest]",
    "setup.cfg": "[tool:pytest]",
}


def select_test_files(files: Path, *, everything: bool = False) -> tuple[list[str], list[str]]:
    """Return the test files to run, and those to leave out, as paths below ``files``."""
    paths = sorted(p.relative_to(files).as_posix() for p in (files / "tests").rglob("test_*.py"))
    chosen = [
        path for path in paths if everything or _OF_THE_PLUGIN.search(path.removeprefix("tests/"))
    ]
    return chosen, [path for path in paths if path not in chosen]


def requirements(files: Path) -> list[str]:
    """Return what the tests need besides the wheels, in PEP 508 form.

    That is upstream's ``[dependency-groups]`` (PEP 735) or uv's older ``dev-dependencies``,
    without linters and type checkers, and what runs the tests. Raises Malformed for an unsound
    pyproject.toml.
    """
    try:
        document = tomllib.loads((files / "pyproject.toml").read_text("utf-8"))
        groups = document.get("dependency-groups", {})
        texts = list(resolve_dependency_groups(groups, *(g for g in _GROUPS if g in groups)))
        texts += document.get("tool", {}).get("uv", {}).get("dev-dependencies", [])
        listed = [Requirement(text) for text in texts]
    except FileNotFoundError:
        listed = []
    except (ValueError, TypeError, AttributeError, ExceptionGroup) as error:
        raise Malformed(f"upstream's pyproject.toml: {error}") from error
    needed = [r for r in listed if not _NOT_IMPORTED.fullmatch(r.name)]
    runners = {*_RUNNERS} - {r.name for r in needed}
    return sorted({*map(str, needed), *runners})


def run_tests(
    files: Path,
    chosen: Sequence[str],
    environment: Environment,
    scratch: Path,
    limits: Limits,
    only: Sequence[str] | None = None,
) -> UpstreamRun:
    """Run test files in ``environment``, in a copy of ``files`` below the empty ``scratch``.

    Every process starts without a network and with few of the caller's variables. ``only`` limits
    the run to these ids. Raises CommandFailed if pytest was killed, which says nothing of the
    wheels.
    """
    # the command, in a copy of upstream's files
    report, work = scratch / "report.jsonl", scratch / "upstream"
    shutil.copytree(files, work, symlinks=True)
    command = [
        *(str(environment.python), "-m", "pytest", *chosen),
        *("--rootdir=.", "-c", configuration_of(work)),
        *("-p", "upstream_report", f"--upstream-report={report}", "-p", "no:cacheprovider"),
        *("-n", str(limits.jobs), "--dist=load", f"--timeout={limits.test:g}"),
        *("--continue-on-collection-errors", "--tb=native", "--quiet", "--color=no"),
    ]
    if only is not None:
        (scratch / "only").write_text("\n".join(only), "utf-8")
        command.append(f"--upstream-only={scratch / 'only'}")
    env = upstream_variables(environment, scratch)
    (exited,) = run_together([Job([*network_namespace(), *command], work, env)], timeout=limits.run)

    # its report, and what is wrong with the run as a whole
    lines = report.read_text("utf-8").splitlines() if report.is_file() else []
    result = read_sandbox_report(lines, hide=str(scratch))
    if exited.exit_code is None:
        ended = sum(test.outcome != "absent" for test in result.tests.values())
        return replace(
            result,
            trouble=f"the run was ended after {limits.run:g} s without progress, "
            f"with {ended} of {len(result.tests)} tests",
        )
    if exited.exit_code < 0:
        raise CommandFailed(f"pytest {how_ended(exited.exit_code)}", next_step="run again")
    if result.trouble:
        reason = _reason(exited.output, str(scratch))
        return replace(result, trouble=f"pytest ended with exit code {exited.exit_code}: {reason}")
    return result


def configuration_of(work: Path) -> str:
    """Return the file in ``work`` that configures pytest; write an empty one if there is none.

    Left to itself, pytest goes on looking in the folders above.
    """
    for name, mark in _CONFIGURATIONS.items():
        file = work / name
        if file.is_file() and mark in file.read_text("utf-8", "replace"):
            return name
    (work / "pytest.ini").write_text("[pytest]\n", "utf-8")
    return "pytest.ini"


@cache
def network_namespace() -> tuple[str, ...]:
    """Return the words that run a command in a network namespace with a loopback only.

    They stand before the command. Empty where there is no such thing, or no right to it;
    ``sandbox/offline.py`` refuses Python's sockets the network in any case.
    """
    unshare = shutil.which("unshare")
    if sys.platform != "linux" or unshare is None:
        return ()
    options = ("--user", "--map-current-user", "--keep-caps", "--net", "--")
    prefix = (unshare, *options, sys.executable, "-I", str(SANDBOX / "loopback.py"))
    attempt = run([*prefix, sys.executable, "-I", "-c", ""], timeout=10.0, check=False)
    return prefix if attempt.returncode == 0 else ()


def upstream_variables(environment: Environment, scratch: Path) -> dict[str, str]:
    """Return the variables of upstream's tests, beside those of every child.

    Makes folders below ``scratch``: a home without credentials, and one for temporary files.
    """
    home, temporary = scratch / "home", scratch / "tmp"
    home.mkdir()
    temporary.mkdir()
    return {
        **dict.fromkeys(("HOME", "USERPROFILE"), str(home)),
        **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(temporary)),
        "PYTHONPATH": str(SANDBOX),
        "PYTHONHASHSEED": "0",
        "PYTHONPYCACHEPREFIX": str(environment.path / "pycache"),
        "PYTHONUTF8": "1",
    }


def _reason(output: str, hide: str) -> str:
    lines = [line for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"E  |ERROR|.*Error: ", line)]
    return one_line([*errors, *lines[-1:], "it printed nothing"][0], hide)
