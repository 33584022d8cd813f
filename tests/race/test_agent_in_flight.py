"""A whole ``AgentSession``: a call in flight stays on the server until its tool starts, and the
tool runs once with the complete arguments, whatever becomes of the context meanwhile."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from kit import invariants
from kit.agent import AgentDriver
from kit.contexts import BLIND, history, ids, message, without_calls
from kit.script import Call, Say

pytestmark = pytest.mark.race(check="loses-calls", documented=True)

# with a free agent a tool starts as soon as its arguments are complete
MOMENTS = ("announced", "writing", "written")
CALL, OTHER = Call(), Call("book", '{"seat": 4}', id="fnc_2", call_id="call_2")
ITEMS = [(CALL,), (Say(), CALL), (CALL, OTHER)]
NAMES = ["call", "message-call", "two-calls"]
Start = Callable[..., AgentDriver]


def _all_answered(driver: AgentDriver, *calls: Call) -> None:
    """The calls survived so far; each tool runs, answers, and everybody agrees at rest."""
    world = driver.world
    invariants.kept(world, *calls)
    world.flush()
    invariants.ran(world, driver.tools.started, *calls)
    driver.tools.open()
    world.rest()
    invariants.kept(world, *calls)
    invariants.answered(world, *calls)
    invariants.no_errors(world)
    invariants.quiet_log(world)
    invariants.agree(world, ids(driver.realtime.chat_ctx))


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("context", BLIND)
def test_a_context_that_has_not_heard_of_it(start_agent: Start, context: str, moment: str) -> None:
    driver = start_agent(history=history())
    before = driver.items()
    driver.hear(CALL, moment=moment)
    for phase, items in enumerate(BLIND[context](before)):
        driver.world.finish(driver.update(items, f"{context}, phase {phase + 1}"))
        invariants.kept(driver.world, CALL)
    _all_answered(driver, CALL)


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("items", [(CALL,), (Say(), CALL)], ids=["call", "message-call"])
def test_a_fresh_copy_after_a_start_with_history(
    start_agent: Start, items: tuple, moment: str
) -> None:
    driver = start_agent(history=history())
    driver.hear(*items, moment=moment)
    driver.world.finish(driver.update(driver.items(), "a fresh copy"))
    _all_answered(driver, CALL)


@pytest.mark.race(check="loses-calls", documented="without-placeholders")
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("start", [[], history()], ids=["empty", "history"])
def test_a_fresh_copy_while_the_first_tool_runs(
    start_agent: Start, start: list, moment: str
) -> None:
    """The agent has heard of the first call; the second is in flight."""
    driver = start_agent(history=start)
    driver.hear(CALL, OTHER, moment=moment)
    driver.world.finish(driver.update(driver.items(), "a fresh copy"))
    _all_answered(driver, CALL, OTHER)


@pytest.mark.race(check="loses-calls", documented="without-placeholders")
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("items", [(CALL,), (Say(), CALL)], ids=["call", "message-call"])
def test_a_fresh_copy_after_an_empty_start(start_agent: Start, items: tuple, moment: str) -> None:
    driver = start_agent()
    driver.hear(*items, moment=moment)
    driver.world.finish(driver.update(driver.items(), "a fresh copy"))
    _all_answered(driver, CALL)


@pytest.mark.parametrize("place", ["head", "tail"])
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_two_phase_summary_of_fresh_copies(start_agent: Start, moment: str, place: str) -> None:
    """The commonest trigger: insert the summary, then delete the old items."""
    driver = start_agent(history=history())
    driver.hear(CALL, moment=moment)
    old = {item.id for item in history()}
    summary = message("summary", role="assistant")
    fresh = driver.items()
    first = [summary, *fresh] if place == "head" else [*fresh, summary]
    driver.world.finish(driver.update(first, "insert the summary"))
    second = [item for item in driver.items() if item.id not in old]
    driver.world.finish(driver.update(second, "delete what it sums up"))
    _all_answered(driver, CALL)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_copy_without_function_calls(start_agent: Start, moment: str) -> None:
    driver = start_agent()
    driver.hear(CALL, moment=moment)
    driver.world.finish(driver.update(without_calls(driver.items()), "exclude_function_call"))
    _all_answered(driver, CALL)


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("change", ["instructions", "tools"])
def test_a_fresh_copy_after_a_change(start_agent: Start, change: str, moment: str) -> None:
    driver = start_agent()
    driver.hear(Say("Hello.", id="msg_0"))
    if change == "instructions":
        driver.change("instructions", "Be brief.")
    else:
        kept = [driver.tools.lookup, driver.tools.book]
        driver.change("tools", kept)
    driver.hear(CALL, moment=moment)
    driver.world.finish(driver.update(driver.items(), "a fresh copy"))
    _all_answered(driver, CALL)


@pytest.mark.parametrize("moment", MOMENTS)
def test_its_tool_is_removed(start_agent: Start, moment: str) -> None:
    """A tool that is gone makes a fresh copy leave its call out."""
    driver = start_agent()
    driver.hear(CALL, moment=moment)
    driver.change("tools", [driver.tools.book])
    driver.world.finish(driver.update(driver.items(), "a fresh copy"))
    invariants.kept(driver.world, CALL)


def test_a_tail_appended_while_the_call_is_on_the_wire(start_agent: Start) -> None:
    """The agent appends an item when the server has made the call, but before it hears of it."""
    driver = start_agent()
    driver.hear(Say("Hello.", id="msg_0"))
    driver.hear(CALL, moment="made")
    driver.world.finish(driver.update([*driver.items(), message("note")], "a note at the tail"))
    driver.world.finish(driver.update(driver.items(), "a fresh copy"))
    _all_answered(driver, CALL)


@pytest.mark.parametrize("context", BLIND)
@pytest.mark.parametrize("items", ITEMS, ids=NAMES)
def test_while_earlier_speech_is_playing(start_agent: Start, items: tuple, context: str) -> None:
    """The response is complete, but its tools wait for their turn to speak."""
    driver = start_agent(history=history(), audio=True)
    before = driver.items()
    driver.speaker.automatic = False
    driver.hear(Say("A long story.", id="msg_long"))
    driver.hear(*items)
    invariants.ran(driver.world, driver.tools.started)
    for step in BLIND[context](before):
        driver.world.finish(driver.update(step, context))
    calls = [item for item in items if isinstance(item, Call)]
    invariants.kept(driver.world, *calls)
    driver.speaker.play()
    driver.speaker.automatic = True
    _all_answered(driver, *calls)


@pytest.mark.race(check="loses-calls", documented="without-placeholders")
@pytest.mark.parametrize("items", ITEMS, ids=NAMES)
def test_a_fresh_copy_while_earlier_speech_is_playing(start_agent: Start, items: tuple) -> None:
    driver = start_agent(audio=True)
    driver.speaker.automatic = False
    driver.hear(Say("A long story.", id="msg_long"))
    driver.hear(*items)
    invariants.ran(driver.world, driver.tools.started)
    driver.world.finish(driver.update(driver.items(), "a fresh copy"))
    calls = [item for item in items if isinstance(item, Call)]
    invariants.kept(driver.world, *calls)
    driver.speaker.automatic = True
    driver.speaker.play()
    _all_answered(driver, *calls)
