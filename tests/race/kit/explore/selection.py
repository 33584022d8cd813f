"""Which scenarios belong to which tier, by patterns of their ids."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

# what a release is proved with: nearly all of it is exhausted in a few runs
QUICK = (
    "session/openai/call/stale-snapshot",
    "session/openai/call/two-phase-*",
    "session/openai/call/trimmed",
    "session/openai/call/fresh-copy",
    "session/openai/call/no-calls",
    "session/openai/call/start*",
    "session/openai/call/own-call*",
    "session/openai/call/cut-*",
    "session/openai/call/asked*",
    "session/openai/call/given-up*",
    "session/openai/call/close",
    "session/openai/call/reconnect",
    "session/openai/call/server-output",
    "session/openai/message-call/fresh-copy",
    "session/openai/two-calls/stale-snapshot",
    "session/beta/call/stale-snapshot",
    "session/beta/call/own-call",
    "session/beta/call/reconnect",
    "session/*xai/call/stale-snapshot",
    "agent/openai/call/fresh-copy*",
    "agent/openai/call/no-calls",
    "agent/openai/call/stale-snapshot",
    "agent/openai/call/trimmed",
    "agent/openai/call/interrupt-early",
    "agent/openai/call/switch",
    "agent/openai/call/tool-removed",
    "agent/openai/call/*-arguments",
    "agent/openai/call/cut-*",
    "agent/openai/call/asked*",
    "agent/openai/call/reconnect",
    "agent/openai/two-calls/fresh-copy-history",
    "agent/openai/two-calls/hand-over",
    "agent/openai/two-calls/waits-interrupt",
    "agent/openai/ticks/call/*",
    "agent/beta/call/fresh-copy-history",
    "agent/*xai/call/fresh-copy-history",
)

# small enough to run every single schedule, on official wheels too
SMALL = (
    "session/openai/call/stale-snapshot",
    "session/openai/call/fresh-copy",
    "session/openai/call/no-calls",
    "session/openai/call/start*",
    "session/openai/call/cut-*",
    "session/openai/call/close",
    "agent/openai/call/cut-*",
    "agent/openai/call/stale-snapshot",
)


def among(scenario_id: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(scenario_id, pattern) for pattern in patterns)
