"""Would the race suite notice a loss in an environment? It runs with a fault that it must notice.

Only needed where the official wheels seem to lose no call: elsewhere their losses show it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from toolkit.proof.exploration import LEVELS


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
