"""The race suite, run inside an environment."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from toolkit.environments.environment import Environment
from toolkit.proof.race_report import Report
from toolkit.util.errors import how_ended
from toolkit.util.process import Exited
from toolkit.util.strict_json import Malformed

# how pytest counts: [412/686]
_COUNTED = re.compile(r"\[ *(\d+)/(\d+)\]$", re.M)


@dataclass(frozen=True)
class Run:
    """One run of the suite: its report, or None and the reason why there is none."""

    report: Report | None
    trouble: str
    output: str


def surroundings(environment: Environment) -> dict[str, str]:
    """The variables beside every child's under which the suite runs in ``environment``.

    Its home is a folder that is not there.
    """
    home = str(environment.path / "home")
    return {
        **dict.fromkeys(("HOME", "USERPROFILE"), home),
        "PYTHONHASHSEED": "0",
        "PYTHONPYCACHEPREFIX": str(environment.path / "pycache"),
        "PYTHONUTF8": "1",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }


def run_of(path: Path, ended: Exited, timeout: float) -> Run:
    """The run that wrote its report at ``path`` and ended so, or was ended after ``timeout``
    seconds in which nothing moved.

    Of its exit code that says nothing: after the suite the run does other things.
    """
    output = ended.output
    if not path.is_file():
        if ended.exit_code is None:
            reason = f"the suite was ended after {timeout:g} s without progress: {how_far(output)}"
            return Run(None, reason, output)
        reason = f"the suite {how_ended(ended.exit_code)} and no report"
        return Run(None, reason, output)
    try:
        report = Report.parse(path.read_text(encoding="utf-8"))
    except (Malformed, UnicodeDecodeError) as error:
        return Run(None, str(error), output)
    return Run(report, "", output)


def how_far(output: str) -> str:
    """How far a run came that printed this and was ended: its tests, and its last line."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    if not lines:
        return "it said nothing"
    found = _COUNTED.findall(output)
    done = "{} of {} tests had finished; ".format(*found[-1]) if found else ""
    return f"{done}last: {' '.join(lines[-1].split())[:200]}"
