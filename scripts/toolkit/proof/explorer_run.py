"""Start the race suite's explorer in an environment, and read what it wrote."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TypeVar

from toolkit.environments.environment import Environment
from toolkit.proof.exploration import FLAG
from toolkit.proof.explorer_report import ExplorerReport, parse
from toolkit.proof.race_suite import child_variables, progress_of
from toolkit.util.errors import how_ended
from toolkit.util.process import Exited, Job
from toolkit.util.strict_json import Malformed

SCRIPT = "explore.py"
# 0: no invariant of the flag is broken, 1: one is, 3: reduced and unreduced schedules disagree
EXPLORED = (0, 1, 3)
Document = TypeVar("Document")


class Unusable(Exception):
    """A run whose report cannot be used: the reason, and what the run printed."""

    def __init__(self, reason: str, output: str) -> None:
        super().__init__(reason)
        self.reason, self.output = reason, output


def explorer_job(
    suite: Path, environment: Environment, arguments: Sequence[str | Path], folder: Path
) -> Job:
    """Return the job that runs a suite's explorer in ``environment``, started in ``folder``."""
    command = [environment.python, suite.resolve() / SCRIPT, *arguments]
    return Job(command, folder, child_variables(environment))


def require_ended(exited: Exited, context: str) -> int:
    """Return the exit code. Raises Unusable if the run was killed, as it hung."""
    if exited.exit_code is None:
        progress = progress_of(exited.output)
        reason = f"{context} the explorer was ended, as nothing moved: {progress}"
        raise Unusable(reason, exited.output)
    return exited.exit_code


def read_document(
    kind: type[Document],
    path: Path,
    exited: Exited,
    context: str,
    exit_codes: Collection[int] = EXPLORED,
) -> Document:
    """Read what a run wrote. Raises Unusable unless it ended with one of ``exit_codes``.

    ``context`` begins the reason, such as "on the official wheels".
    """
    code = require_ended(exited, context)
    if code not in exit_codes or not path.is_file():
        missing = "" if path.is_file() else " and no report"
        reason = f"{context} the explorer {how_ended(code)}{missing}"
        raise Unusable(reason, exited.output)
    try:
        return parse(kind, path.read_bytes())
    except Malformed as error:
        raise Unusable(f"{context} {error}", exited.output) from error


def read_report(path: Path, exited: Exited, context: str) -> ExplorerReport:
    """Read the report on one side. Raises Unusable, also if the exit code contradicts it."""
    report = read_document(ExplorerReport, path, exited, context)
    if (exited.exit_code == 1) != bool(report.findings.of_kind(FLAG)):
        reason = f"{context} exit code {exited.exit_code} contradicts the report"
        raise Unusable(reason, exited.output)
    return report
