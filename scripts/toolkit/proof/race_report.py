"""The report that the race suite's ``conftest.py`` writes at the end of a session."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

from toolkit.util.strict_json import Malformed, decode

FORMAT = 1
OUTCOMES = ("passed", "failed", "error", "skipped", "deselected")
# outcomes of a test that did not run
NOT_RUN = ("skipped", "deselected")
# what a test proves that fails where a call is lost
LOSES_CALLS = "loses-calls"


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
