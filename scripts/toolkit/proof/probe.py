"""Can the race suite fail in an environment? It is run with a fault that it must notice.

Only asked for where the official wheels seem to lose no call: elsewhere their losses show it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from toolkit.util.strict_json import Malformed, mapping_of, members, value_of

LEVELS = ("session", "agent")


@dataclass(frozen=True)
class Probe:
    """What noticed that every update deletes all calls, on the official wheels.

    ``caught`` counts the tests of a documented loss that failed, ``missed`` names those that did
    not; ``schedules`` counts by level those on which a call was seen to be deleted in flight.
    ``trouble`` is why there is nothing to say.
    """

    caught: int = 0
    missed: tuple[str, ...] = ()
    schedules: Mapping[str, int] = field(default_factory=dict)
    trouble: str = ""

    @property
    def toothless(self) -> str:
        """Why it proves nothing that the suite passes; or nothing."""
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

    @classmethod
    def parse(cls, document: object, where: str) -> Probe:
        """Read it as it stands in a verdict. Raises Malformed."""
        keys = {"caught": int, "missed": list, "schedules": dict, "trouble": str}
        found = members(document, where, keys, {})
        if found["caught"] < 0:
            raise Malformed(f"{where}.caught is {found['caught']}")
        found["missed"] = tuple(value_of(test, str, f"{where}.missed") for test in found["missed"])
        found["schedules"] = mapping_of(found["schedules"], int, f"{where}.schedules")
        return cls(**found)
