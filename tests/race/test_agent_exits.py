"""A whole ``AgentSession``: once the tool has started, or the generation is over by any exit, a
context that leaves the call out deletes it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from kit import invariants
from kit.agent import AgentDriver
from kit.contexts import answered_call, history, ids
from kit.features import agent_knows_calls
from kit.script import Call, Response, Say

pytestmark = pytest.mark.race(check="leaks")

CALL, OTHER = Call(), Call("book", '{"seat": 4}', id="fnc_2", call_id="call_2")
ITEMS = [(CALL,), (Say(), CALL), (CALL, OTHER)]
NAMES = ["call", "message-call", "two-calls"]
Start = Callable[..., AgentDriver]


def _deletable(driver: AgentDriver, *calls: Call) -> None:
    driver.world.finish(driver.leave_out_calls())
    invariants.deleted(driver.world, *calls)
    invariants.agree(driver.world, ids(driver.realtime.chat_ctx))


@pytest.mark.skipif(not agent_knows_calls(), reason="no agent here ever holds its calls")
def test_the_tool_runs(start_agent: Start) -> None:
    driver = start_agent()
    driver.hear(CALL)
    invariants.ran(driver.world, driver.tools.started, CALL)
    _deletable(driver, CALL)


@pytest.mark.parametrize("audio", [False, True], ids=["text", "audio"])
@pytest.mark.parametrize("items", ITEMS, ids=NAMES)
def test_the_tool_answered(start_agent: Start, items: tuple, audio: bool) -> None:
    driver = start_agent(history=history(), audio=audio)
    driver.hear(*items)
    driver.tools.open()
    driver.world.rest()
    _deletable(driver, *[item for item in items if isinstance(item, Call)])


@pytest.mark.parametrize(
    "call",
    [
        Call("missing", "{}"),
        Call("lookup", "no JSON"),
        Call("book", '{"seat": "window"}'),
        Call("broken", "{}"),
    ],
    ids=["unknown-tool", "broken-json", "wrong-type", "raises"],
)
def test_the_tool_fails(start_agent: Start, call: Call) -> None:
    driver = start_agent()
    driver.hear(call)
    driver.tools.open()
    driver.world.rest()
    _deletable(driver, call)


@pytest.mark.parametrize("item_done", [True, False], ids=["item-done", "no-item-done"])
@pytest.mark.parametrize("status", ["cancelled", "failed", "incomplete"])
@pytest.mark.parametrize("items", ITEMS, ids=NAMES)
def test_a_response_cut_short(
    start_agent: Start, items: tuple, status: str, item_done: bool
) -> None:
    driver = start_agent()
    driver.hear(*items, status=status, cut=True, item_done=item_done)
    driver.world.rest()
    driver.tools.open()
    driver.world.rest()
    _deletable(driver, *[item for item in items if isinstance(item, Call)])


@pytest.mark.parametrize("item_done", [True, False], ids=["item-done", "no-item-done"])
@pytest.mark.parametrize("moment", ["announced", "writing", "written", "item done", "end"])
def test_interrupted(start_agent: Start, moment: str, item_done: bool) -> None:
    driver = start_agent()
    driver.world.server.cancel_sends_item_done = item_done
    driver.hear(Say(), CALL, moment=moment)
    driver.interrupt()
    driver.world.rest()
    driver.tools.open()
    driver.world.rest()
    _deletable(driver, CALL)


@pytest.mark.parametrize("moment", ["announced", "writing", "written", "item done"])
def test_interrupted_and_the_server_says_no_more(start_agent: Start, moment: str) -> None:
    """Not even that the response is over: the agent is done with it all the same."""
    driver = start_agent()
    driver.hear(Say(), CALL, moment=moment)
    driver.world.server.give_up()
    driver.interrupt()
    driver.world.rest()
    driver.tools.open()
    driver.world.rest()
    _deletable(driver, CALL)


@pytest.mark.parametrize("item_done", [True, False], ids=["item-done", "no-item-done"])
@pytest.mark.parametrize("moment", ["announced", "writing", "written", "item done", "end"])
def test_interrupted_before_its_turn(start_agent: Start, moment: str, item_done: bool) -> None:
    """The speech was never authorised: earlier speech was playing when the caller interrupted."""
    driver = start_agent(audio=True)
    driver.speaker.automatic = False
    driver.world.server.cancel_sends_item_done = item_done
    driver.hear(Say("A long story.", id="msg_long"))
    driver.hear(CALL, moment=moment)
    invariants.ran(driver.world, driver.tools.started)
    driver.interrupt()
    driver.world.rest()
    _deletable(driver, CALL)


@pytest.mark.parametrize("moment", ["announced", "writing", "written", "item done", "end"])
def test_the_caller_speaks_over_it(start_agent: Start, moment: str) -> None:
    """The server's own turn detection cuts the response."""
    driver = start_agent(audio=True)
    driver.speaker.automatic = False
    driver.hear(Say(), CALL, moment=moment)
    driver.world.server.speech_started()
    driver.world.rest()
    driver.speaker.play()
    driver.tools.open()
    driver.world.rest()
    _deletable(driver, CALL)


@pytest.mark.parametrize("moment", ["announced", "writing", "written", "item done", "end"])
def test_reconnected(start_agent: Start, moment: str) -> None:
    driver = start_agent(history=history())
    if not driver.flavour.reconnects:
        pytest.skip("no session here opens a second connection")
    driver.hear(Say(), CALL, moment=moment)
    driver.world.disconnect()
    driver.world.rest(seconds=5.0)
    invariants.reconnected(driver.world)
    _deletable(driver, CALL)


def test_history_is_the_clients_own(start_agent: Start) -> None:
    driver = start_agent(history=[*history(), *answered_call()])
    _deletable(driver, Call(id="fnc_0", call_id="call_0"))


def test_history_while_a_call_is_in_flight(start_agent: Start) -> None:
    driver = start_agent(history=[*history(), *answered_call()])
    driver.hear(CALL, moment="announced")
    driver.world.finish(driver.leave_out_calls())
    invariants.deleted(driver.world, Call(id="fnc_0", call_id="call_0"))


def test_an_update_in_flight_and_one_after(start_agent: Start) -> None:
    driver = start_agent()
    driver.hear(CALL, moment="announced")
    driver.world.finish(driver.leave_out_calls())
    driver.world.flush()
    driver.tools.open()
    driver.world.rest()
    _deletable(driver, CALL)


def test_handed_off(start_agent: Start) -> None:
    """A tool hands over to another agent; on the same session or on a new one, calls are over."""
    driver = start_agent()
    other = driver.make_agent(tools=[driver.tools.book])
    driver.hear(CALL, OTHER)
    driver.tools.gates[0].set_result("22 degrees")
    driver.world.settle()
    driver.tools.open(other)
    driver.world.rest()
    if driver.session.current_agent is not other:
        invariants.violated(driver.world, "the session did not switch agents")
    _deletable(driver, CALL, OTHER)


@pytest.mark.parametrize("moment", ["announced", "writing", "written", "item done", "end"])
def test_switched_under_a_call(start_agent: Start, moment: str) -> None:
    """The application switches agents while the model is making a call."""
    driver = start_agent(history=history())
    other = driver.make_agent(history=history())
    driver.hear(CALL, moment=moment)
    driver.world.loop.call(lambda: driver.session.update_agent(other))
    driver.world.rest()
    driver.tools.open()
    driver.world.rest()
    if driver.session.current_agent is not other:
        invariants.violated(driver.world, "the session did not switch agents")
    _deletable(driver, CALL)


@pytest.mark.parametrize("moment", ["announced", "item done", "end"])
def test_a_response_while_agents_switch(start_agent: Start, moment: str) -> None:
    """The response starts when nobody takes new turns: its generation is skipped."""
    driver = start_agent(history=history())
    other = driver.make_agent(history=history())
    driver.hear(OTHER)
    driver.world.loop.call(lambda: driver.session.update_agent(other))
    driver.hear(CALL, moment=moment)
    driver.tools.open()
    driver.world.rest()
    _deletable(driver, CALL)


@pytest.mark.parametrize("moment", ["announced", "written"])
def test_closed_under_a_call(start_agent: Start, moment: str) -> None:
    """What the closed session's agent knew can start the next one, and be removed there."""
    driver = start_agent(history=history())
    driver.hear(CALL, moment=moment)
    driver.world.start(driver.session.aclose(), "AgentSession.aclose")
    driver.world.rest()
    left = [item for item in driver.knowledge.chat_ctx.items if item.type != "agent_config_update"]

    later = start_agent(history=left)
    invariants.agree(later.world, [item.id for item in left])
    _deletable(later, CALL)


def test_asked_for_and_interrupted(start_agent: Start) -> None:
    """``generate_reply`` is interrupted when the response is on the wire, but not yet heard of."""
    driver = start_agent()
    driver.world.server.scripts.append(Response(items=(CALL,)))
    driver.world.server.deaf_to_cancel = True
    driver.world.loop.call(lambda: driver.session.generate_reply(user_input="How warm is it?"))
    driver.world.settle()
    while CALL.id not in driver.world.server.ids():
        if not driver.world.hand_in() and not driver.world.server.generating:
            driver.world.deliver()
        driver.world.generate()
    driver.interrupt()
    driver.world.rest()
    driver.tools.open()
    driver.world.rest()
    _deletable(driver, CALL)
