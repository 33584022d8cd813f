"""The race suite inside an environment: its child's variables, its report, and what that says."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from packaging.utils import canonicalize_name
from packaging.version import Version

from toolkit.environments.environment import Environment
from toolkit.util.errors import how_ended, reports_shortage
from toolkit.util.process import Exited
from toolkit.util.strict_json import Malformed, decode

FORMAT = 1
OUTCOMES = ("passed", "failed", "error", "skipped", "deselected")
# outcomes of a test that did not run
NOT_RUN = ("skipped", "deselected")
# what a test proves that fails where a call is lost
LOSES_CALLS = "loses-calls"
# how pytest counts: [412/686]
_COUNTED = re.compile(r"\[ *(\d+)/(\d+)\]$", re.M)


@dataclass(frozen=True)
class Outcome:
    """How one test ended: ``outcome`` is one of OUTCOMES, ``check`` is what the test proves.

    ``documented``: the official wheels of this kind of release are known to fail it.
    ``message``: the first line of the failure, or the reason of a skip.
    """

    outcome: str
    check: str
    documented: bool
    message: str
    seconds: float

    def __post_init__(self) -> None:
        if self.outcome not in OUTCOMES:
            raise ValueError(f"it ended as {self.outcome!r}, which is none of {OUTCOMES}")


@dataclass(frozen=True)
class SuiteReport:
    """One run of the suite; ``tests`` maps pytest's ids to outcomes.

    ``collected`` counts the tests that pytest collected, ``exitstatus`` is pytest's.
    """

    python: str
    distributions: Mapping[str, str]
    tests: Mapping[str, Outcome]
    exitstatus: int
    collected: int

    @classmethod
    def parse(cls, text: str) -> SuiteReport:
        """Read a report; its tests come in the order of their ids.

        Raises Malformed unless it is exactly of the format FORMAT.
        """
        try:
            # not strict_json.load, which refuses characters that a failure's message may hold
            document = json.loads(text)
        except json.JSONDecodeError as error:
            raise Malformed(f"the report is not JSON: {error}") from error
        report = decode(cls, document, "the report", version=FORMAT)
        return replace(report, tests=dict(sorted(report.tests.items())))


@dataclass(frozen=True)
class SuiteRun:
    """One run of the suite: its report, or None and the reason why there is none."""

    report: SuiteReport | None
    trouble: str
    output: str


def suite_variables(environment: Environment) -> dict[str, str]:
    """Return the variables of the suite, beside those of every child.

    Its home is a folder that does not exist.
    """
    home = str(environment.path / "home")
    return {
        **dict.fromkeys(("HOME", "USERPROFILE"), home),
        "PYTHONHASHSEED": "0",
        "PYTHONPYCACHEPREFIX": str(environment.path / "pycache"),
        "PYTHONUTF8": "1",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }


def read_run(path: Path, exited: Exited, timeout: float) -> SuiteRun:
    """Read the report at ``path`` that a run wrote, or say why there is none.

    ``timeout`` is how many idle seconds ended a run that was killed. The exit code does not count
    if there is a report: after the suite the run does other things.
    """
    report, trouble = None, ""
    if path.is_file():
        try:
            report = SuiteReport.parse(path.read_text(encoding="utf-8"))
        except (Malformed, UnicodeDecodeError) as error:
            trouble = str(error)
    elif exited.exit_code is None:
        progress = progress_of(exited.output)
        trouble = f"the suite was ended after {timeout:g} s without progress: {progress}"
    else:
        trouble = f"the suite {how_ended(exited.exit_code)} and no report"
    return SuiteRun(report, trouble, exited.output)


def checked_run(run: SuiteRun, expected: Mapping[str, Version]) -> SuiteRun:
    """Return ``run``, without its report if that says nothing of the expected wheels.

    That is so if it tested other distributions, or if the machine was short of something.
    """
    if run.report is None:
        return run
    for test, outcome in run.report.tests.items():
        if outcome.outcome in ("failed", "error") and reports_shortage(outcome.message):
            trouble = f"the machine is short of something: {test}: {outcome.message}"
            return replace(run, report=None, trouble=trouble)
    tested = {canonicalize_name(n): Version(v) for n, v in run.report.distributions.items()}
    for name, version in expected.items():
        if tested.get(canonicalize_name(name)) != version:
            trouble = f"{name} {tested.get(canonicalize_name(name))} was tested, not {version}"
            return replace(run, report=None, trouble=trouble)
    return run


def progress_of(output: str) -> str:
    """Return how far a run came that printed this and was ended: its tests, and its last line."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    if not lines:
        return "it said nothing"
    counts = _COUNTED.findall(output)
    tests = "{} of {} tests had finished; ".format(*counts[-1]) if counts else ""
    return f"{tests}last: {' '.join(lines[-1].split())[:200]}"
