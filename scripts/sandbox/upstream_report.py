"""A pytest plugin that tells, a JSON line each, what became of every test and of each that was not.

Processes of pytest-xdist append to one file; a line is written at once, so that a run that is
ended still says what it had done. Runs in a release's own environment, whatever pytest that has.
"""

from __future__ import annotations

import faulthandler
import json
import os
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import offline
import pytest

offline.begin()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("upstream-report")
    group.addoption("--upstream-report", metavar="FILE", required=True)
    group.addoption("--upstream-only", metavar="FILE", help="run these ids only, one a line")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Reporter(config), "upstream-reporter")


class Reporter:
    """The hooks, in a process that runs tests, or in the one that hands them out, or in both."""

    def __init__(self, config: pytest.Config) -> None:
        self.file = Path(config.getoption("--upstream-report"))
        only = config.getoption("--upstream-only")
        self.only = set(Path(only).read_text("utf-8").split("\n")) if only else None
        self.is_worker = hasattr(config, "workerinput")
        # sys.stderr is no real file while a test captures it
        self.nowhere = os.open(os.devnull, os.O_WRONLY)
        self.patience = 1.5 * config.getoption("timeout") + 1

    def tell(self, **line: object) -> None:
        # one write in append mode: lines of several processes do not mix
        handle = os.open(self.file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(handle, (json.dumps(line) + "\n").encode())
        finally:
            os.close(handle)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        if self.only is not None:
            items[:] = [item for item in items if item.nodeid in self.only]

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.tell(collected=[item.nodeid for item in session.items])

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        self.tell(deselected=[item.nodeid for item in items])

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.outcome != "passed":
            self.tell(uncollected=report.nodeid, why=_last_error(report.longrepr))

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self) -> Generator[None, Any, None]:
        self.watch()
        yield
        faulthandler.cancel_dump_traceback_later()

    def watch(self) -> None:
        # a test can outlive the alarm of pytest-timeout; then its process ends, and xdist says so
        faulthandler.dump_traceback_later(self.patience, exit=True, file=self.nowhere)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_teardown(self) -> None:
        # pytest itself ends the watch when a test fails
        self.watch()

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, Any, None]:
        answer = yield
        report = answer.get_result()
        said = ""
        if call.excinfo is not None:
            value = call.excinfo.value
            reason = str(getattr(value, "msg", None) or value).strip().partition("\n")[0]
            name = type(value).__name__
            said = reason if name in ("Skipped", "XFailed", "Failed") else f"{name}: {reason}"
        # a report carries these from the process that runs a test to the one that writes
        report.user_properties += [("said", said), ("tried", sorted({*offline.attempts}))]
        if call.when == "teardown":
            offline.attempts.clear()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if self.is_worker:
            return
        carried = dict(report.user_properties[-2:])
        outcome = "xfailed" if hasattr(report, "wasxfail") else report.outcome
        why = carried.get("said") or _last_error(report.longrepr)
        if outcome == "xfailed":
            why = f"upstream expects it to fail: {report.wasxfail or why}"
        if report.when not in ("setup", "call", "teardown"):
            why = "its process ended: it crashed, or the test outlived its limit"
        tried = carried.get("tried", [])
        self.tell(test=report.nodeid, when=report.when, outcome=outcome, why=why, tried=tried)

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        if not self.is_worker:
            self.tell(exitstatus=int(exitstatus))


def _last_error(shown: object) -> str:
    """The line of a failure's text that says most: what was raised."""
    if isinstance(shown, tuple):
        return str(shown[-1]).removeprefix("Skipped: ")
    lines = [line.strip() for line in str(shown or "").splitlines() if line.strip()]
    raised = [line[1:].strip() for line in lines if line.startswith("E  ")]
    return (raised or lines or [""])[-1]
