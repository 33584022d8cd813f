"""Would the race suite notice a loss in an environment? It runs with a fault that it must notice.

Only needed where the official wheels seem to lose no call: elsewhere their losses show it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from toolkit.environments.environment import Environment
from toolkit.proof.exploration import LEVELS, LOSS
from toolkit.proof.explorer_run import Unusable, explorer_job, read_explorer_report
from toolkit.proof.race_suite import LOSES_CALLS, NOT_RUN, read_run
from toolkit.util.process import run_together


@dataclass(frozen=True)
class FaultInjection:
    """What noticed that every update deletes all calls, on the official wheels.

    ``caught`` counts the tests of a documented loss that failed, ``missed`` names those that did
    not; ``schedules`` counts by level those on which a call was seen to be deleted in flight.
    ``trouble`` is why there is no result.
    """

    caught: int = 0
    missed: tuple[str, ...] = ()
    schedules: Mapping[str, int] = field(default_factory=dict)
    trouble: str = ""

    def __post_init__(self) -> None:
        if self.caught < 0:
            raise ValueError(f"{self.caught} tests cannot have caught it")

    @property
    def unnoticed(self) -> str:
        """Why it proves nothing that the suite passes; "" if that does prove something."""
        if self.trouble:
            return self.trouble
        if self.missed:
            count = f"{len(self.missed)} tests (the first: {min(self.missed)})"
            return f"{count} do not notice a planted deletion"
        if not self.caught:
            return "no test of a documented loss ran"
        if blind := [level for level in LEVELS if not self.schedules.get(level)]:
            return f"no schedule of the {' or '.join(blind)} level notices a planted deletion"
        return ""


def inject_fault(
    suite: Path, official: Environment, *, tier: str, timeout: float
) -> FaultInjection:
    """Have every update delete all calls on the official wheels, and see what notices it."""
    with tempfile.TemporaryDirectory(prefix="livekit-dispatched-") as scratch:
        folder, tests, json = (Path(scratch, name) for name in ("in", "tests", "json"))
        folder.mkdir()
        arguments: list[str | Path] = ["--plant", "--tier", tier]
        arguments += ["--tests", tests, "--json", json]
        job = explorer_job(suite, official, arguments, folder)
        (exited,) = run_together([job], timeout=timeout)
        run = read_run(tests, exited, timeout)
        try:
            report = read_explorer_report(json, exited, "with a planted fault")
        except Unusable as error:
            return FaultInjection(trouble=error.reason)
    if run.report is None:
        return FaultInjection(trouble=f"with a planted fault {run.trouble}")
    outcomes = {
        test: outcome.outcome
        for test, outcome in run.report.tests.items()
        if outcome.documented and outcome.check == LOSES_CALLS and outcome.outcome not in NOT_RUN
    }
    missed = tuple(sorted(test for test, outcome in outcomes.items() if outcome != "failed"))
    losing = [schedule for schedule, broken in report.schedules.items() if LOSS in broken]
    levels = {level: sum(s.startswith(f"{level}/") for s in losing) for level in LEVELS}
    return FaultInjection(len(outcomes) - len(missed), missed, levels)
