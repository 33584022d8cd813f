"""The report that ``sandbox/upstream_report.py`` writes, a JSON line for each event."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from toolkit.upstream_tests.result import UpstreamOutcome, UpstreamRun
from toolkit.util.strict_json import decode

# pytest's exit codes after which its report counts. INTERRUPTED is also that of a run in which
# only files could not be collected, and 5 that of one without tests.
_INTERRUPTED = 2
_RAN = (0, 1, _INTERRUPTED, 5)


@dataclass(frozen=True)
class _Phase:
    """A line of the report: how one phase (``when``) of a test ended.

    ``tried`` lists the hosts that the test tried to reach.
    """

    test: str
    when: str
    outcome: str
    why: str
    tried: tuple[str, ...]


def read_sandbox_report(lines: Sequence[str], *, hide: str) -> UpstreamRun:
    """Read the lines of ``sandbox/upstream_report.py``; ``hide`` is a path to leave out.

    A test that was collected and not reported is absent. ``trouble`` says that the run did not
    come to its end, was broken off, or collected nothing.
    """
    tests: dict[str, UpstreamOutcome] = {}
    collected: dict[str, None] = {}
    left_out: dict[str, str] = {}
    exit_code = None
    for line in lines:
        try:
            document = json.loads(line)
        except json.JSONDecodeError:
            # the process was killed as it wrote
            continue
        if "test" in document:
            _add(tests, decode(_Phase, document, "a line of the report"), hide)
        elif "uncollected" in document:
            reason = f"cannot be collected: {one_line(document['why'], hide)}"
            left_out[document["uncollected"]] = reason
        else:
            collected |= dict.fromkeys(document.get("collected", ()))
            reason = "deselected by upstream's own configuration"
            left_out |= dict.fromkeys(document.get("deselected", ()), reason)
            exit_code = document.get("exitstatus", exit_code)
    absent = [test for test in collected if test not in tests]
    tests |= dict.fromkeys(absent, UpstreamOutcome("absent", "it did not end"))
    complete = exit_code in _RAN and (tests or left_out)
    if exit_code == _INTERRUPTED and absent:
        complete = False
    trouble = "" if complete else "no whole run"
    return UpstreamRun(dict(sorted(tests.items())), dict(sorted(left_out.items())), trouble)


def _add(tests: dict[str, UpstreamOutcome], phase: _Phase, hide: str) -> None:
    """Join a phase of a test with those before it: the first failure counts, else the worst."""
    reason = one_line(phase.why, hide)
    if phase.outcome == "passed":
        # a test that is skipped passes its teardown
        if phase.when == "call":
            tests[phase.test] = UpstreamOutcome("passed")
        return
    if phase.outcome == "failed":
        if phase.tried:
            reason = f"no network here: it asked for {', '.join(phase.tried)}"
        elif phase.when in ("setup", "teardown"):
            reason = f"in {phase.when}: {reason}"
        if tests.get(phase.test, UpstreamOutcome("passed")).outcome == "failed":
            return
    tests[phase.test] = UpstreamOutcome(phase.outcome, reason)


def one_line(text: str, hide: str) -> str:
    """Return ``text`` in one line that is the same on every machine and in every run."""
    line = text.replace(hide, "").partition("\n")[0].strip()
    line = re.sub(r"0x[0-9a-fA-F]{6,}", "0x…", line)
    return line if len(line) <= 200 else f"{line[:199]}…"
