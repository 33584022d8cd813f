"""The two distributions that the series patches."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass

MAIN, PARTNER = "livekit-agents", "livekit-plugins-openai"
