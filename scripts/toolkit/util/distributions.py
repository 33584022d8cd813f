"""The two distributions that the series patches, and those that it reaches through them."""

MAIN, PARTNER = "livekit-agents", "livekit-plugins-openai"
# Plugins that subclass the patched session: the fix reaches them and must not break them.
SUBCLASSES = ("livekit-plugins-xai",)
