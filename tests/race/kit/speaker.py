"""An audio output in memory: it plays a segment only when the scenario says so."""

from __future__ import annotations

import inspect
from typing import Any

from livekit import rtc
from livekit.agents.voice import io


class Speaker(io.AudioOutput):
    """Holds what it was given. ``play`` finishes the current segment; interruption cuts it.

    ``automatic``: play each segment as soon as it is complete. ``stalled``: never start to play.
    """

    def __init__(self) -> None:
        wanted: dict[str, Any] = {"label": "race", "sample_rate": None}
        accepted = inspect.signature(io.AudioOutput.__init__).parameters
        if "capabilities" in accepted:
            wanted["capabilities"] = io.AudioOutputCapabilities(pause=False)
        super().__init__(**{key: value for key, value in wanted.items() if key in accepted})
        self._seconds = 0.0
        self._flushed = False
        self.automatic = True
        self.stalled = False

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        await super().capture_frame(frame)
        if not self._seconds and not self.stalled and hasattr(self, "on_playback_started"):
            self.on_playback_started(created_at=0.0)
        self._seconds += frame.duration

    def flush(self) -> None:
        super().flush()
        self._flushed = True
        if self.automatic:
            self.play()

    @property
    def playable(self) -> bool:
        return self._flushed and bool(self._seconds)

    def play(self) -> None:
        if self.playable:
            self._finish(interrupted=False)

    def clear_buffer(self) -> None:
        if self._seconds:
            self._finish(interrupted=True)

    def _finish(self, *, interrupted: bool) -> None:
        position, self._seconds, self._flushed = self._seconds, 0.0, False
        if self.stalled:
            position = 0.0
        self.on_playback_finished(playback_position=position, interrupted=interrupted)
