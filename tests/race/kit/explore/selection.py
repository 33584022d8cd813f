"""Which scenarios and which tests belong to which tier, by patterns of their names."""

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
    "agent/openai/call/given-up",
    "agent/openai/call/reconnect",
    "agent/openai/two-calls/fresh-copy-history",
    "agent/openai/two-calls/hand-over",
    "agent/openai/two-calls/waits-interrupt",
    "agent/openai/ticks/call/*",
    "agent/beta/call/fresh-copy-history",
    "agent/beta/ticks/call/interrupt-early",
    "agent/*xai/call/fresh-copy-history",
)

# those that the tier quick plays in every life: one of each guard, at each level
IN_EVERY_LIFE = (
    "session/openai/call/stale-snapshot",
    "session/openai/call/server-output",
    "agent/openai/call/fresh-copy-history",
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

# clients that are not in here share the engine, and a few tests tell that it is still in place
ENGINES = ("", "openai", "beta")
SMOKE = (
    "test_a_context_that_has_not_heard_of_it*stale-snapshot*",
    "test_a_fresh_copy_after_a_start_with_history*",
    "test_its_tool_is_removed*",
    "test_each_tool_starts_once_with_complete_arguments*",
    "test_history_is_the_clients_own*",
    "test_the_client_put_it_there*",
    "test_dispatched_and_answered*",
    "test_reconnected_and_put_back*",
    "test_a_session_built_without_init*",
    "test_the_flag_stays_off_the_wire*",
)
# each of these runs a session for every tick of a response
SLOW = ("test_interrupted*-response.*", "test_interrupted*-conversation.*", "test_switched[[]*")

# each lives a life of many turns before it begins, and looks at the suite, not at the release
LIVED = (
    "test_a_life_*",
    "test_a_child_of_a_life_*",
    "test_a_guard_that_is_lost_*",
)


def left_out(test: str, flavour: str) -> str:
    """Why a test on this client is not in the tier quick, or nothing if it is."""
    if flavour not in ENGINES and not among(test, SMOKE):
        return f"{flavour} shares an engine that other clients test"
    if among(test, SLOW) and (flavour == "beta" or "finishes" in test):
        return "every tick of a response: samples of them are in it, by the explorer"
    if among(test, LIVED):
        return "what lives are is tested in the tier full"
    return ""


def among(scenario_id: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(scenario_id, pattern) for pattern in patterns)
