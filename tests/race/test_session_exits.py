"""A session alone: once a call is dispatched, or its generation is over by any exit, a context that
leaves it out deletes it. What the client put on the server was never in flight."""

from __future__ import annotations

import copy

import pytest
from kit import invariants
from kit.contexts import answered_call, history, ids, message
from kit.features import contexts_can_be_loaded
from kit.script import Answer, Call, Say
from kit.session import MOMENTS, SessionDriver
from livekit.agents import llm

pytestmark = pytest.mark.race(check="leaks")

CALL, OTHER = Call(), Call(name="book", id="fnc_2", call_id="call_2")


def _leave_out(driver: SessionDriver, *calls: Call) -> None:
    """A context without these calls deletes them, and nothing disagrees afterwards."""
    driver.world.exchange()
    gone = {item for call in calls for item in (call.id, f"out_{call.id}")}
    items = [item for item in driver.items() if item.id not in gone]
    driver.world.finish(driver.update(items, "a context that leaves the call out"))
    invariants.deleted(driver.world, *calls)
    invariants.agree(driver.world, ids(driver.session.chat_ctx))


def test_dispatched_and_answered(driver: SessionDriver) -> None:
    driver.hear(CALL)
    driver.dispatch(*driver.calls)
    driver.send_output(CALL)
    _leave_out(driver, CALL)


@pytest.mark.parametrize("moment", ["item done", "end"])
def test_dispatched_while_the_tool_runs(driver: SessionDriver, moment: str) -> None:
    """From the start of the tool on, callers may delete the call."""
    driver.hear(CALL, moment=moment)
    driver.dispatch(*driver.calls)
    _leave_out(driver, CALL)


def test_refused_in_flight_then_deleted(driver: SessionDriver) -> None:
    """An update that came too early does not shield the call from the next one."""
    driver.set_history(history())
    before = driver.items()
    driver.hear(CALL)
    driver.world.finish(driver.update(before, "too early"))
    driver.dispatch(*driver.calls)
    _leave_out(driver, CALL)


@pytest.mark.parametrize("item_done", [True, False], ids=["item-done", "no-item-done"])
@pytest.mark.parametrize("status", ["cancelled", "failed", "incomplete"])
def test_a_response_cut_short(driver: SessionDriver, status: str, item_done: bool) -> None:
    driver.hear(CALL, status=status, cut=True, item_done=item_done)
    driver.dispatch(*driver.calls)
    _leave_out(driver, CALL)


@pytest.mark.parametrize("status", ["cancelled", "failed", "incomplete"])
def test_two_calls_the_second_cut_short(driver: SessionDriver, status: str) -> None:
    driver.hear(CALL, OTHER, status=status, cut=True, item_done=False)
    driver.dispatch(*driver.calls)
    _leave_out(driver, CALL, OTHER)


@pytest.mark.parametrize("item_done", [True, False], ids=["item-done", "no-item-done"])
@pytest.mark.parametrize("moment", ["begun", *MOMENTS])
def test_interrupted(driver: SessionDriver, moment: str, item_done: bool) -> None:
    driver.world.server.cancel_sends_item_done = item_done
    driver.hear(CALL, moment=moment)
    driver.world.loop.call(driver.session.interrupt)
    driver.world.flush()
    assert driver.open_generations == 0
    driver.dispatch(*driver.calls)
    _leave_out(driver, CALL)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_discarded_generation(driver: SessionDriver, moment: str) -> None:
    """The reply was cancelled before the server created it; its call is announced all the same."""
    driver.ask(CALL, moment="asked").cancel()
    driver.world.loop.settle()
    driver.world.server.deaf_to_cancel = True
    driver.reach(CALL, moment)
    driver.world.flush()
    driver.dispatch(*driver.calls)
    _leave_out(driver, CALL)


@pytest.mark.parametrize("moment", MOMENTS)
def test_reconnected(driver: SessionDriver, moment: str) -> None:
    """The connection breaks under a call; what is replayed to the new one is the client's own."""
    if not driver.flavour.reconnects:
        pytest.skip("no session of this release opens a second connection")
    driver.set_history(history())
    driver.hear(Say(), CALL, moment=moment)
    driver.world.disconnect()
    driver.world.rest(seconds=5.0)
    invariants.reconnected(driver.world)
    _leave_out(driver, CALL)


@pytest.mark.parametrize("moment", MOMENTS)
def test_reconnected_and_put_back(driver: SessionDriver, moment: str) -> None:
    """On the new connection the client puts the call there itself, under its old id."""
    if not driver.flavour.reconnects:
        pytest.skip("no session of this release opens a second connection")
    driver.set_history(history())
    driver.hear(CALL, moment=moment)
    known = driver.items()
    driver.world.disconnect()
    driver.world.rest(seconds=5.0)
    driver.set_history(known)
    invariants.agree(driver.world, [item.id for item in known])
    _leave_out(driver, CALL)


@pytest.mark.parametrize("moment", ["announced", "writing", "written"])
def test_another_response_takes_over(driver: SessionDriver, moment: str) -> None:
    """The server gives a response up without a word, and starts the next."""
    driver.hear(CALL, moment=moment)
    driver.world.server.give_up()
    driver.hear(Say())
    _leave_out(driver, CALL)


def test_the_client_put_it_there(driver: SessionDriver) -> None:
    """History at the start: the server announces it like its own, and it is removable at once."""
    driver.set_history([*history(), *answered_call()])
    invariants.agree(driver.world, ["user_1", "assistant_1", "user_2", "fnc_0", "out_0"])
    _leave_out(driver, Call(id="fnc_0", call_id="call_0"))


def test_the_client_put_it_there_while_another_is_in_flight(driver: SessionDriver) -> None:
    driver.set_history(history())
    driver.hear(CALL, moment="announced")
    driver.set_history([*driver.items(), *answered_call()])
    _leave_out(driver, Call(id="fnc_0", call_id="call_0"))
    invariants.kept(driver.world, CALL)


def test_the_client_put_it_there_before_a_reconnect(driver: SessionDriver) -> None:
    if not driver.flavour.reconnects:
        pytest.skip("no session of this release opens a second connection")
    driver.set_history([*history(), *answered_call()])
    driver.world.disconnect()
    driver.world.rest(seconds=5.0)
    _leave_out(driver, Call(id="fnc_0", call_id="call_0"))


def _saved_dict(context: llm.ChatContext) -> llm.ChatContext:
    return llm.ChatContext.from_dict(context.to_dict())


def _dumped(context: llm.ChatContext) -> llm.ChatContext:
    return llm.ChatContext([type(item)(**item.model_dump()) for item in context.items])


LOADS = pytest.mark.skipif(
    not contexts_can_be_loaded(), reason="no context of this release can be loaded"
)
SAVED = {
    "to_dict": _saved_dict,
    "model_dump": _dumped,
    "copy": lambda context: context.copy(),
    "model_copy": lambda context: llm.ChatContext([i.model_copy() for i in context.items]),
    "deepcopy": lambda context: llm.ChatContext(copy.deepcopy(list(context.items))),
}


@pytest.mark.parametrize("how", [pytest.param("to_dict", marks=LOADS), *list(SAVED)[1:]])
def test_a_context_saved_in_flight(driver: SessionDriver, how: str) -> None:
    """Saved while the call was in flight, loaded into a new session: as if it never had been."""
    driver.set_history(history())
    driver.hear(CALL)
    saved = SAVED[how](driver.session.chat_ctx)
    answer = llm.FunctionCallOutput(id="out_1", call_id="call_1", output="22", is_error=False)

    later = SessionDriver(driver.flavour)
    try:
        later.set_history([*saved.items, answer, message("user_3")])
        invariants.no_errors(later.world)
        invariants.agree(later.world, [*ids(saved), "out_1", "user_3"])
        later.set_history(history())
        invariants.deleted(later.world, CALL)
        invariants.flag_off_the_wire(later.world)
    finally:
        later.world.close()


@LOADS
def test_a_context_saved_in_flight_comes_back(driver: SessionDriver) -> None:
    """The same session may delete the call when it is over, and take it back from a save."""
    driver.set_history(history())
    driver.hear(CALL)
    saved = _saved_dict(driver.session.chat_ctx)
    driver.dispatch(*driver.calls)
    _leave_out(driver, CALL)
    driver.set_history(saved.items)
    invariants.agree(driver.world, ids(saved))
    _leave_out(driver, CALL)


def test_closed_under_a_call(driver: SessionDriver) -> None:
    """What a closed session leaves behind can be given to the next one, and removed there."""
    driver.set_history(history())
    driver.hear(CALL, moment="announced")
    left = driver.session.chat_ctx
    driver.world.run(driver.session.aclose(), "close the session")

    later = SessionDriver(driver.flavour)
    try:
        later.set_history(left.items)
        invariants.agree(later.world, ids(left))
        later.set_history(history())
        invariants.deleted(later.world, CALL)
    finally:
        later.world.close()


def test_an_output_that_the_server_made(driver: SessionDriver) -> None:
    driver.model._capabilities.auto_tool_reply_generation = True
    driver.hear(CALL, Answer())
    driver.dispatch(*driver.calls)
    items = [item for item in driver.items() if item.id not in (CALL.id, Answer().id)]
    driver.world.finish(driver.update(items, "a context that leaves call and answer out"))
    invariants.agree(driver.world, ids(llm.ChatContext(items)))
