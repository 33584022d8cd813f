"""The two distributions that the series patches."""

MAIN, PARTNER = "livekit-agents", "livekit-plugins-openai"
