"""A whole ``AgentSession``, at the edges: nobody wants the call, the agent is on its way out, or is
cut off for good while the model still speaks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from kit import invariants
from kit.agent import AgentDriver
from kit.contexts import history, ids, without_calls
from kit.script import Call, Response, Say
from kit.session import reach
from livekit.agents import llm, utils

pytestmark = pytest.mark.clients("openai", "beta")

CALL, OTHER = Call(), Call("book", '{"seat": 4}', id="fnc_2", call_id="call_2")
THIRD = Call(id="fnc_3", call_id="call_3")
MOMENTS = ("announced", "writing", "written", "item done", "end")
Start = Callable[..., AgentDriver]


def _deletable(driver: AgentDriver, *calls: Call) -> None:
    driver.world.finish(driver.leave_out_calls())
    invariants.deleted(driver.world, *calls)
    invariants.agree(driver.world, ids(driver.realtime.chat_ctx))


# -- nobody wants the call -------------------------------------------------------------------


@pytest.mark.race(check="leaks")
@pytest.mark.parametrize("items", [(CALL,), (Say(), CALL), (CALL, OTHER)])
def test_tools_are_not_to_be_used(start_agent: Start, items: tuple) -> None:
    """The model calls a tool although ``tool_choice`` is "none": it is ignored, and over."""
    driver = start_agent()
    driver.world.server.scripts.append(Response(items=items))
    driver.world.loop.call(lambda: driver.session.generate_reply(tool_choice="none"))
    driver.world.rest()
    assert driver.world.server.responses == 1
    invariants.ran(driver.world, driver.tools.started)
    _deletable(driver, *[item for item in items if isinstance(item, Call)])


@pytest.mark.race(check="leaks")
@pytest.mark.parametrize("steps", [0, 2])
def test_too_many_steps(start_agent: Start, steps: int) -> None:
    """The model goes on calling tools; beyond ``max_tool_steps`` its calls may be ignored."""
    driver = start_agent()
    driver.session.options.max_tool_steps = steps
    calls = [CALL, OTHER, THIRD]
    for call in calls[1:]:
        driver.world.server.scripts.append(Response(items=(call,)))
    driver.hear(CALL)
    for _ in calls:
        driver.tools.open()
        driver.world.rest()
    if steps and driver.world.server.responses == 1:
        pytest.skip("no reply follows a tool's output here")
    invariants.ran(driver.world, driver.tools.started[:1], CALL)
    _deletable(driver, *calls)


@pytest.mark.race(check="contract")
def test_calls_of_other_realtime_models(start_agent: Start) -> None:
    """A model that marks no calls gets none marked: nothing is added to its items."""
    driver = start_agent()
    call = llm.FunctionCall(
        id=CALL.id, call_id=CALL.call_id, name="lookup", arguments='{"city": "D"}'
    )

    def generate() -> None:
        functions: utils.aio.Chan[llm.FunctionCall] = utils.aio.Chan()
        messages: utils.aio.Chan[llm.MessageGeneration] = utils.aio.Chan()
        event = llm.GenerationCreatedEvent(
            message_stream=messages, function_stream=functions, user_initiated=False
        )
        driver.realtime.emit("generation_created", event)
        functions.send_nowait(call)
        functions.close()
        messages.close()

    before = call.model_dump(exclude={"created_at"})
    driver.world.loop.call(generate)
    driver.world.settle()
    assert driver.tools.started == [("lookup", {"city": "D"})]
    assert call.model_dump(exclude={"created_at"}) == before


@pytest.mark.race(check="contract")
@pytest.mark.parametrize("ticks", range(8))
def test_refused_and_interrupted_at_once(start_agent: Start, ticks: int) -> None:
    """The server refuses a reply, and the caller interrupts it so many loop ticks later."""
    if _refused(start_agent()):
        pytest.skip("a refused reply is an error of this release, interrupted or not")
    driver = start_agent()
    assert not _refused(driver, lambda: _interrupt(driver, ticks))


def _interrupt(driver: AgentDriver, ticks: int) -> None:
    driver.world.loop.tick(ticks)
    driver.world.loop.call(driver.session.interrupt)


def _refused(driver: AgentDriver, then: Callable[[], None] = lambda: None) -> list[str]:
    """Ask for a reply that the server refuses; the errors that are logged in the end.

    ``then`` is called when the refusal has arrived and nobody has looked at it.
    """
    world = driver.world
    world.loop.call(driver.session.generate_reply)
    world.settle()
    world.respond(Response(items=(Say(),)))
    while world.hand_in():
        pass
    assert [error["code"] for error in world.server.errors if "active" in error["code"]]
    while world.connection.downstream:
        world.settle()
        world.deliver(settle=False)
    then()
    world.rest()
    return [line for line in world.log.lines if line.startswith("Error in ")]


# -- the agent is on its way out -------------------------------------------------------------


def _draining(start: Start) -> tuple[AgentDriver, Any]:
    """An agent that is to be replaced, but not before its tool has ended; and what it knows."""
    driver = start(history=history())
    known = driver.knowledge
    driver.hear(OTHER)
    invariants.ran(driver.world, driver.tools.started, OTHER)
    other = driver.make_agent(history=history())
    driver.world.loop.call(lambda: driver.session.update_agent(other))
    driver.world.settle()
    return driver, known


@pytest.mark.race(check="leaks")
@pytest.mark.parametrize("items", [(CALL,), (Say(), CALL), (CALL, THIRD)])
def test_a_response_while_an_agent_drains(start_agent: Start, items: tuple) -> None:
    """Nobody takes the generation, and the tool that still runs may update the context."""
    driver, known = _draining(start_agent)
    driver.hear(*items)
    invariants.ran(driver.world, driver.tools.started, OTHER)
    left = without_calls(known.chat_ctx.items)
    driver.world.finish(driver.update(left, "without function calls", known))
    invariants.deleted(driver.world, *[item for item in items if isinstance(item, Call)])


@pytest.mark.race(check="leaks")
def test_a_response_cut_short_while_an_agent_drains(start_agent: Start) -> None:
    driver, known = _draining(start_agent)
    driver.hear(CALL, status="incomplete", cut=True, item_done=False)
    left = without_calls(known.chat_ctx.items)
    driver.world.finish(driver.update(left, "without function calls", known))
    invariants.deleted(driver.world, CALL)


@pytest.mark.race(check="arguments")
@pytest.mark.parametrize("moment", MOMENTS)
def test_handed_off_before_the_second_call(start_agent: Start, moment: str) -> None:
    """The first call's tool returns another agent while the second call is still being made."""
    driver = start_agent(history=history())
    other = driver.make_agent(history=history())
    driver.hear(CALL, OTHER, moment=moment)
    driver.tools.open_oldest(other)
    driver.world.settle()
    driver.world.flush()
    invariants.ran(driver.world, driver.tools.started, CALL, OTHER)
    driver.tools.open()
    driver.world.rest()
    invariants.ran(driver.world, driver.tools.started, CALL, OTHER)
    _deletable(driver, CALL, OTHER)


@pytest.mark.race(check="leaks")
def test_handed_off_while_the_first_tool_runs(start_agent: Start) -> None:
    """Whether the session then switches is the release's own rule; both calls are over."""
    driver = start_agent(history=history())
    other = driver.make_agent(history=history())
    driver.hear(CALL, OTHER)
    first, second = driver.tools.gates
    second.set_result(other)
    driver.world.rest()
    assert driver.session.current_agent is not other
    first.set_result("22 degrees")
    driver.world.rest()
    invariants.ran(driver.world, driver.tools.started, CALL, OTHER)
    _deletable(driver, CALL, OTHER)


@pytest.mark.race(check="loses-calls", documented=True)
@pytest.mark.parametrize("moment", ["announced", "writing", "written"])
def test_an_update_before_the_second_call(start_agent: Start, moment: str) -> None:
    """The same, and the context is replaced by one from before the response."""
    driver = start_agent(history=history())
    known, before = driver.knowledge, driver.items()
    other = driver.make_agent(history=history())
    driver.hear(CALL, OTHER, moment=moment)
    driver.tools.open_oldest(other)
    driver.world.settle()
    driver.world.finish(driver.update(before, "stale snapshot", known))
    invariants.kept(driver.world, OTHER)
    driver.world.flush()
    invariants.ran(driver.world, driver.tools.started, CALL, OTHER)


# -- cut off for good ------------------------------------------------------------------------


@pytest.mark.race(check="leaks")
@pytest.mark.parametrize("moment", MOMENTS)
def test_cut_off_while_the_model_goes_on(start_agent: Start, moment: str) -> None:
    """Interrupted, but the loudspeaker never stops: after some seconds the speech is cancelled.

    The server had not read the cancel; the rest of its response comes after that.
    """
    driver = start_agent(audio=True)
    driver.speaker.automatic = False
    driver.speaker.clear_buffer = lambda: None
    driver.world.server.deaf_to_cancel = True
    driver.world.respond(Response(items=(Say(), CALL, OTHER)))
    reach(driver.world, CALL, moment)
    driver.world.loop.call(driver.session.interrupt)
    driver.world.exchange()
    driver.world.loop.advance(10.0)
    if not any("not done in time" in line for line in driver.world.log.lines):
        pytest.skip("no speech of this release is cancelled for good")
    driver.world.rest()
    driver.tools.open()
    driver.world.rest()
    _deletable(driver, CALL, OTHER)
