"""Fixtures of the race tests, and their report.

Nothing here knows a version: a test that a release cannot run says why it is skipped.
"""

from __future__ import annotations

from kit import clock

clock.install()

import gc  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import platform  # noqa: E402
from collections.abc import Callable, Generator, Iterator  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import pytest  # noqa: E402
from kit.agent import AgentDriver  # noqa: E402
from kit.explore.selection import left_out  # noqa: E402
from kit.faults import records_refused  # noqa: E402
from kit.features import FLAVOURS, Flavour, distributions, has_placeholders  # noqa: E402
from kit.plant import plant  # noqa: E402
from kit.session import SessionDriver  # noqa: E402

CHECKS = {"loses-calls", "leaks", "arguments", "wire", "agreement", "contract"}


@pytest.fixture(autouse=True)
def _same_time_and_ids() -> None:
    """Every test starts at the same time with the same next id."""
    clock.clock.restart()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each test runs on every realtime client that this release has, or on those it names."""
    if "flavour" in metafunc.fixturenames:
        only = metafunc.definition.get_closest_marker("clients")
        names = only.args if only else tuple(FLAVOURS)
        present = [FLAVOURS[name] for name in names if FLAVOURS[name].missing() is None]
        metafunc.parametrize("flavour", present, ids=lambda flavour: flavour.name)


@pytest.fixture
def driver(flavour: Flavour) -> Iterator[SessionDriver]:
    """A session that is connected and empty, text modality."""
    made = SessionDriver(flavour)
    yield made
    made.world.close()


@pytest.fixture
def start_agent(flavour: Flavour) -> Iterator[Callable[..., AgentDriver]]:
    """Starts an ``AgentDriver``; takes its keyword arguments."""
    made: list[AgentDriver] = []
    records = records_refused(flavour.name) is None
    clock.clock.restart()

    def start(**options: Any) -> AgentDriver:
        made.append(AgentDriver(flavour, records=records, **options))
        return made[-1]

    yield start
    for driver in made:
        driver.world.close()


def pytest_collection_finish() -> None:
    """What the imports left is here to stay: no collection need look at it again.

    Each test leaves a conversation's worth of cycles behind; to look more often is a third of the
    suite's time.
    """
    gc.freeze()
    gc.set_threshold(50_000)


# -- the report ----------------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--race-report", metavar="FILE", help="write what each test proved as JSON")
    parser.addoption("--plant", action="store_true", help="plant a fault that must be noticed")
    parser.addoption(
        "--tier", choices=("quick", "full"), default="full", help="how many tests (default: all)"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_RESULTS] = {}
    if config.option.race_report:
        # whatever a test writes into its working folder, it writes there
        report = Path(config.option.race_report).absolute()
        config.option.race_report = str(report)
        os.chdir(report.parent)
    if config.option.plant:
        plant()


_RESULTS = pytest.StashKey[dict[str, dict[str, Any]]]()


def _claim(item: pytest.Item) -> dict[str, Any]:
    """What a test claims, from its marker; a test without one is an error in this suite."""
    marker = item.get_closest_marker("race")
    check = marker.kwargs.get("check") if marker else None
    if marker is None or check not in CHECKS:
        raise pytest.UsageError(f"{item.nodeid}: mark it race(check=one of {sorted(CHECKS)})")
    documented = marker.kwargs.get("documented", False)
    if documented == "without-placeholders":
        documented = not has_placeholders()
    return {"check": check, "documented": bool(documented)}


def _flavour(item: pytest.Item) -> str:
    """The client that a test runs on, or nothing."""
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    return parameters["flavour"].name if "flavour" in parameters else ""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    results = config.stash[_RESULTS]
    for item in items:
        results[item.nodeid] = _claim(item) | {"message": "", "seconds": 0.0}
        if reason := left_out(item.name, _flavour(item)) if config.option.tier == "quick" else "":
            results[item.nodeid] |= {"outcome": "deselected", "message": f"tier quick: {reason}"}
    dropped = [item for item in items if "outcome" in results[item.nodeid]]
    items[:] = [item for item in items if "outcome" not in results[item.nodeid]]
    config.hook.pytest_deselected(items=dropped)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, None, None]:
    # pytest's own durations are virtual where the clock was installed before it
    began = clock.stopwatch()
    yield
    item.config.stash[_RESULTS][item.nodeid]["seconds"] = round(clock.stopwatch() - began, 4)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, Any, None]:
    report: pytest.TestReport = (yield).get_result()
    result = item.config.stash[_RESULTS][item.nodeid]
    if report.when == "call" or report.outcome != "passed":
        outcome: str = report.outcome
        if outcome == "failed" and report.when != "call":
            outcome = "error"
        result["outcome"] = outcome
        if call.excinfo is not None:
            result["message"] = (str(call.excinfo.value).splitlines() or [call.excinfo.typename])[0]


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    path = session.config.getoption("--race-report")
    if not path:
        return
    results = session.config.stash[_RESULTS]
    report = {
        "format": 1,
        "python": platform.python_version(),
        "distributions": distributions(),
        "tests": {name: {"outcome": "error", **result} for name, result in results.items()},
        "exitstatus": int(exitstatus),
        # pytest counts what it left out no more
        "collected": session.testscollected
        + sum(result.get("outcome") == "deselected" for result in results.values()),
    }
    Path(path).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
