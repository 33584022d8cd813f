"""A pytest plugin that writes a JSON line for every test, whether it ran or not.

Processes of pytest-xdist append to one file; each line is written at once, so that a run that is
ended leaves what it had done. Runs in a release's own environment, with any version of pytest.
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
    """The hooks, in a process that runs tests, in the one that distributes them, or in both."""

    def __init__(self, config: pytest.Config) -> None:
        self.file = Path(config.getoption("--upstream-report"))
        only = config.getoption("--upstream-only")
        self.only = set(Path(only).read_text("utf-8").split("\n")) if only else None
        self.is_worker = hasattr(config, "workerinput")
        # sys.stderr is no real file while a test captures it
        self.devnull = os.open(os.devnull, os.O_WRONLY)
        self.limit = 1.5 * config.getoption("timeout") + 1

    def write(self, **line: object) -> None:
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
        self.write(collected=[item.nodeid for item in session.items])

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        self.write(deselected=[item.nodeid for item in items])

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.outcome != "passed":
            self.write(uncollected=report.nodeid, why=_last_error(report.longrepr))

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self) -> Generator[None, Any, None]:
        self.start_watchdog()
        yield
        faulthandler.cancel_dump_traceback_later()

    def start_watchdog(self) -> None:
        # a test can outlive the alarm of pytest-timeout; then its process ends, and xdist says so
        faulthandler.dump_traceback_later(self.limit, exit=True, file=self.devnull)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_teardown(self) -> None:
        # pytest itself ends the watch when a test fails
        self.start_watchdog()

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, Any, None]:
        result = yield
        report = result.get_result()
        reason = ""
        if call.excinfo is not None:
            value = call.excinfo.value
            name = type(value).__name__
            reason = str(getattr(value, "msg", None) or value).strip().partition("\n")[0]
            reason = reason if name in ("Skipped", "XFailed", "Failed") else f"{name}: {reason}"
        # a report carries these from the process that runs a test to the one that writes
        report.user_properties += [("reason", reason), ("tried", sorted({*offline.attempts}))]
        if call.when == "teardown":
            offline.attempts.clear()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if self.is_worker:
            return
        properties = dict(report.user_properties[-2:])
        outcome = "xfailed" if hasattr(report, "wasxfail") else report.outcome
        reason = properties.get("reason") or _last_error(report.longrepr)
        if outcome == "xfailed":
            reason = f"upstream expects it to fail: {report.wasxfail or reason}"
        if report.when not in ("setup", "call", "teardown"):
            reason = "its process ended: it crashed, or the test outlived its limit"
        tried = properties.get("tried", [])
        self.write(test=report.nodeid, when=report.when, outcome=outcome, why=reason, tried=tried)

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        if not self.is_worker:
            self.write(exitstatus=int(exitstatus))


def _last_error(failure: object) -> str:
    """Return the line of a failure's text that says what was raised."""
    if isinstance(failure, tuple):
        return str(failure[-1]).removeprefix("Skipped: ")
    lines = [line.strip() for line in str(failure or "").splitlines() if line.strip()]
    raised = [line[1:].strip() for line in lines if line.startswith("E  ")]
    return (raised or lines or [""])[-1]
