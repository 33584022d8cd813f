"""A whole ``AgentSession``: what tools get, what goes on the wire, what agrees at rest."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from kit import invariants
from kit.agent import AgentDriver
from kit.contexts import history, ids
from kit.features import agent_knows_calls, contexts_can_be_loaded
from kit.script import Call, Say
from livekit.agents import llm

CALL, OTHER = Call(), Call("book", '{"seat": 4}', id="fnc_2", call_id="call_2")
ITEMS = [(CALL,), (Say(), CALL), (CALL, OTHER), (Say(), CALL, OTHER)]
NAMES = ["call", "message-call", "two-calls", "message-two-calls"]
Start = Callable[..., AgentDriver]


def _calls(items: tuple) -> list[Call]:
    return [item for item in items if isinstance(item, Call)]


@pytest.mark.race(check="arguments")
@pytest.mark.parametrize("audio", [False, True], ids=["text", "audio"])
@pytest.mark.parametrize("items", ITEMS, ids=NAMES)
def test_each_tool_starts_once_with_complete_arguments(
    start_agent: Start, items: tuple, audio: bool
) -> None:
    driver = start_agent(audio=audio)
    driver.hear(*items)
    invariants.ran(driver.world, driver.tools.started, *_calls(items))
    driver.tools.open()
    driver.world.rest()
    invariants.ran(driver.world, driver.tools.started, *_calls(items))


@pytest.mark.race(check="arguments")
def test_a_tool_does_not_start_without_arguments(start_agent: Start) -> None:
    driver = start_agent()
    driver.hear(CALL, moment="written")
    assert driver.tools.started == []


@pytest.mark.race(check="arguments")
@pytest.mark.parametrize("arguments", ["no JSON", '{"seat": 4}'], ids=["json", "names"])
def test_rejected_arguments_start_no_tool(start_agent: Start, arguments: str) -> None:
    driver = start_agent()
    driver.hear(Call(arguments=arguments))
    driver.world.rest()
    assert driver.tools.started == []


@pytest.mark.race(check="wire")
@pytest.mark.parametrize("items", ITEMS, ids=NAMES)
def test_the_flag_stays_off_the_wire(start_agent: Start, items: tuple) -> None:
    """Not with the outputs, not with what is put back, not after a reconnect."""
    driver = start_agent(history=history())
    driver.hear(*items)
    driver.tools.open()
    driver.world.rest()
    known = driver.items()
    driver.world.finish(driver.leave_out_calls())
    driver.world.finish(driver.update(known, "all calls put back"))
    if driver.flavour.reconnects:
        driver.world.disconnect()
        driver.world.rest(seconds=5.0)
        invariants.reconnected(driver.world)
    invariants.flag_off_the_wire(driver.world)


@pytest.mark.race(check="contract")
@pytest.mark.skipif(not contexts_can_be_loaded(), reason="no context of this release can be loaded")
@pytest.mark.parametrize("moment", ["announced", "written", "end"])
def test_a_saved_context_starts_another_session(start_agent: Start, moment: str) -> None:
    """The agent's context, saved at any moment, is an ordinary history for the next session."""
    driver = start_agent(history=history())
    driver.hear(CALL, moment=moment)
    saved = llm.ChatContext.from_dict(driver.knowledge.chat_ctx.to_dict())
    talk = [item for item in saved.items if item.type not in ("agent_config_update",)]

    later = start_agent(history=talk)
    invariants.agree(later.world, [item.id for item in talk])
    later.world.finish(later.leave_out_calls())
    invariants.deleted(later.world, CALL)
    invariants.flag_off_the_wire(later.world)


@pytest.mark.race(check="agreement")
@pytest.mark.parametrize("with_history", [False, True], ids=["empty", "history"])
@pytest.mark.parametrize("audio", [False, True], ids=["text", "audio"])
@pytest.mark.parametrize("items", ITEMS, ids=NAMES)
def test_at_rest_all_agree(
    start_agent: Start, items: tuple, audio: bool, with_history: bool
) -> None:
    """The plain case, without any race: answered, nothing refused, nothing warned, no timeout."""
    driver = start_agent(audio=audio, history=history() if with_history else ())
    driver.hear(*items)
    driver.tools.open()
    driver.world.rest()
    mirror = ids(driver.realtime.chat_ctx)
    invariants.answered(driver.world, *_calls(items))
    invariants.no_errors(driver.world)
    invariants.agree(driver.world, mirror)
    invariants.quiet_log(driver.world)
    if agent_knows_calls():
        invariants.knows(driver.world, mirror, driver.knowledge.chat_ctx)


@pytest.mark.race(check="agreement")
@pytest.mark.parametrize("items", ITEMS, ids=NAMES)
def test_a_fresh_copy_while_tools_run(start_agent: Start, items: tuple) -> None:
    """From the start of its tool on the agent knows the call, and a fresh copy holds it."""
    driver = start_agent(history=history())
    driver.hear(*items)
    driver.world.finish(driver.update(driver.items(), "a fresh copy"))
    driver.tools.open()
    driver.world.rest()
    invariants.kept(driver.world, *_calls(items))
    invariants.answered(driver.world, *_calls(items))
    invariants.no_errors(driver.world)
    invariants.agree(driver.world, ids(driver.realtime.chat_ctx))


@pytest.mark.race(check="arguments")
@pytest.mark.parametrize("by_tool", [False, True], ids=["switched", "handed-off"])
def test_the_next_agent_gets_its_calls(start_agent: Start, by_tool: bool) -> None:
    """After a handoff, on the same realtime session where it can be kept, tools run as before."""
    driver = start_agent(history=history())
    other = driver.make_agent(history=history())
    if by_tool:
        driver.hear(CALL)
        driver.tools.open(other)
    else:
        driver.world.loop.call(lambda: driver.session.update_agent(other))
    driver.world.rest()
    assert driver.session.current_agent is other
    driver.hear(OTHER)
    invariants.ran(driver.world, driver.tools.started, *([CALL] if by_tool else []), OTHER)
    driver.tools.open()
    driver.world.rest()
    invariants.answered(driver.world, OTHER)
    invariants.no_errors(driver.world)


@pytest.mark.race(check="loses-calls", documented=True)
@pytest.mark.parametrize("moment", ["announced", "writing", "written"])
def test_the_next_agents_call_in_flight(start_agent: Start, moment: str) -> None:
    """The next agent starts with history of its own, as any agent does."""
    driver = start_agent(history=history())
    other = driver.make_agent(history=history())
    driver.world.loop.call(lambda: driver.session.update_agent(other))
    driver.world.rest()
    driver.hear(OTHER, moment=moment)
    driver.world.finish(driver.update(driver.items(), "a fresh copy"))
    invariants.kept(driver.world, OTHER)


@pytest.mark.race(check="loses-calls", documented=True)
def test_the_next_agents_call_waits_for_its_turn(start_agent: Start) -> None:
    """The same with a complete response, while earlier speech of the next agent is playing."""
    driver = start_agent(history=history(), audio=True)
    other = driver.make_agent(history=history())
    driver.world.loop.call(lambda: driver.session.update_agent(other))
    driver.world.rest()
    before = driver.items()
    driver.speaker.automatic = False
    driver.hear(Say("A long story.", id="msg_long"))
    driver.hear(OTHER)
    invariants.ran(driver.world, driver.tools.started)
    driver.world.finish(driver.update(before, "a stale snapshot"))
    invariants.kept(driver.world, OTHER)
