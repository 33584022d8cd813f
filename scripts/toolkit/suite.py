"""What the race suite reports from inside an environment, and what it runs under there."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .environment import Environment
from .errors import how_ended
from .files import sha256, text_of
from .run import Ended
from .strict import Malformed, mapping_of, members

# how pytest counts: [412/686]
_COUNTED = re.compile(r"\[ *(\d+)/(\d+)\]$", re.M)
OUTCOMES = ("passed", "failed", "error", "skipped", "deselected")


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


@dataclass(frozen=True)
class Report:
    """What one run of the suite says of itself; ``tests`` maps pytest's ids to outcomes."""

    python: str
    distributions: Mapping[str, str]
    tests: Mapping[str, Outcome]
    exitstatus: int
    collected: int

    @classmethod
    def parse(cls, text: str) -> Report:
        """Read the JSON that the suite's conftest writes at the end of a session.

        Raises Malformed unless it is exactly of format 1.
        """
        try:
            document = json.loads(text)
        except json.JSONDecodeError as error:
            raise Malformed(f"the report is not JSON: {error}") from error
        keys = {
            "format": int,
            "python": str,
            "distributions": dict,
            "tests": dict,
            "exitstatus": int,
            "collected": int,
        }
        found = members(document, "the report", keys, {})
        if found["format"] != 1:
            raise Malformed(f"the report is of format {found['format']}, not 1")
        return cls(
            found["python"],
            mapping_of(found["distributions"], str, "distributions"),
            {test: _outcome(raw, test) for test, raw in sorted(found["tests"].items())},
            found["exitstatus"],
            found["collected"],
        )


@dataclass(frozen=True)
class Run:
    """One run of the suite: its report, or None and the reason why there is none."""

    report: Report | None
    trouble: str
    output: str


def digest(suite: Path) -> str:
    """The sha256 of the suite's files, names included, caches and hidden files left out.

    The ends of their lines do not count: git or an archive may have changed them.
    """
    files = sorted(
        path
        for path in suite.rglob("*")
        if path.is_file() and not any(_left_out(part) for part in path.relative_to(suite).parts)
    )
    listing = [(path.relative_to(suite).as_posix(), sha256(text_of(path))) for path in files]
    return sha256(json.dumps(listing).encode())


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


def run_of(path: Path, ended: Ended, timeout: float) -> Run:
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


def _outcome(raw: object, test: str) -> Outcome:
    keys = {"outcome": str, "check": str, "documented": bool, "message": str, "seconds": float}
    found = members(raw, test, keys, {})
    if found["outcome"] not in OUTCOMES:
        raise Malformed(f"{test} ended as {found['outcome']!r}, which is none of {OUTCOMES}")
    return Outcome(**found)


def _left_out(part: str) -> bool:
    return part.startswith(".") or part == "__pycache__"
