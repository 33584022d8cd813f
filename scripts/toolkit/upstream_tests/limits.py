"""How long upstream's tests may take; a verb's command line needs no more than this."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Seconds for a test, seconds in which a run may stand still, and tests at a time."""

    test: float = 20.0
    run: float = 1800.0
    jobs: int = 2


LIMITS = Limits()
