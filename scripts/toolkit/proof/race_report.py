"""What the race suite reports from inside an environment, and what it runs under there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from toolkit.util.strict_json import Malformed, mapping_of, members

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


def _outcome(raw: object, test: str) -> Outcome:
    keys = {"outcome": str, "check": str, "documented": bool, "message": str, "seconds": float}
    found = members(raw, test, keys, {})
    if found["outcome"] not in OUTCOMES:
        raise Malformed(f"{test} ended as {found['outcome']!r}, which is none of {OUTCOMES}")
    return Outcome(**found)
