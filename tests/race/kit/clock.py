"""A wall clock that moves only when the loop or a caller moves it, and never stands still.

livekit orders a chat context by ``created_at``, so two items need two times. Every reading is
one microsecond later than the last, on top of the loop's virtual time: equal runs read equal times.
Install it before livekit is imported, because pydantic's default factories keep ``time.time``.
"""

from __future__ import annotations

import time
import uuid

EPOCH = 1_700_000_000.0
TICK = 1e-6


# real seconds, for saying how long something took
stopwatch = time.perf_counter


class Clock:
    """Seconds since 1970 (``read``) and reproducible UUIDs (``uuid4``).

    Restart it before a test, never within: what was made later must carry the later time.
    """

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        self._now = EPOCH
        self._ticks = 0
        self._uuids = 0

    def elapse(self, seconds: float) -> None:
        self._now += seconds

    def read(self) -> float:
        self._ticks += 1
        return self._now + self._ticks * TICK

    def monotonic(self) -> float:
        return self.read() - EPOCH

    def uuid4(self) -> uuid.UUID:
        # short ids keep the first 12 hex digits only: count there
        self._uuids += 1
        return uuid.UUID(int=self._uuids << 80)


clock = Clock()


def install() -> None:
    """Replace the clocks of ``time`` and ``uuid.uuid4`` for this process; see ``stopwatch``."""
    time.time = clock.read
    time.monotonic = time.perf_counter = clock.monotonic
    uuid.uuid4 = clock.uuid4
