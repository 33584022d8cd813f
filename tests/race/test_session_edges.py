"""A session alone, at the edges: repeated, missing and replaced announcements, a connection that
breaks or closes, and what an update costs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
from kit import invariants
from kit.contexts import BLIND, history, ids
from kit.features import call_has_extra, servers_can_answer
from kit.script import Answer, Call, Response, Say
from kit.session import SessionDriver
from kit.transport import Event
from livekit.agents import llm

pytestmark = pytest.mark.clients("openai", "beta")

CALL, OTHER = Call(), Call(name="book", id="fnc_2", call_id="call_2")


def _say(driver: SessionDriver, event: Event) -> None:
    """Let the server send an event of its own accord (GA name)."""
    server = driver.world.server
    kind = server.rename(event["type"])
    assert kind is not None
    server.outbox.append({**event, "type": kind, "event_id": "event_of_its_own"})
    driver.world.exchange()


def _generate_to(driver: SessionDriver, event_type: str) -> None:
    """Let the model make its events up to the next ``event_type``; the client hears nothing."""
    while (event := driver.world.generate()) is not None:
        if event["type"] == event_type:
            return
    raise AssertionError(f"{event_type} never came")


def _leave_out(driver: SessionDriver, *gone: str) -> None:
    driver.world.exchange()
    left = [item for item in driver.items() if item.id not in gone]
    driver.world.finish(driver.update(left, f"without {', '.join(gone)}"))
    for item_id in gone:
        if item_id in driver.world.server.ids():
            invariants.violated(driver.world, f"{item_id} is over and cannot be deleted")
    invariants.agree(driver.world, ids(driver.session.chat_ctx))


# -- announcements ---------------------------------------------------------------------------


@pytest.mark.race(check="leaks")
@pytest.mark.parametrize("moment", ["announced", "written", "item done", "end"])
def test_announced_twice(driver: SessionDriver, moment: str) -> None:
    """The server repeats itself; the call is over when its only response is."""
    driver.hear(CALL, moment=moment)
    server = driver.world.server
    again = server.placed("conversation.item.added", server.get(CALL.id) or {})
    _say(driver, again)
    driver.world.flush()
    driver.dispatch(*driver.calls)
    _leave_out(driver, CALL.id)


@pytest.mark.race(check="leaks")
def test_announced_again_when_it_is_over(driver: SessionDriver) -> None:
    """Deleted and put back by the client, a call is the client's own: never in flight again."""
    driver.hear(CALL)
    driver.dispatch(*driver.calls)
    known = driver.items()
    _leave_out(driver, CALL.id)
    driver.hear(OTHER, moment="announced")
    driver.world.finish(driver.update([*known, *driver.items()], "put back"))
    invariants.agree(driver.world, ids(driver.session.chat_ctx))
    _leave_out(driver, CALL.id)
    invariants.kept(driver.world, OTHER)


@pytest.mark.race(check="loses-calls", documented=True)
@pytest.mark.parametrize("context", BLIND)
def test_a_call_that_only_the_conversation_announced(driver: SessionDriver, context: str) -> None:
    """Without ``response.output_item.added`` a call is in flight once it is handed over."""
    driver.set_history(history())
    before = driver.items()
    driver.world.respond(Response(items=(CALL,)))
    while event := driver.world.generate():
        if event["type"] == "response.output_item.added":
            driver.world.server.outbox.pop()
    driver.world.flush()
    if not driver.generations:
        pytest.skip("this release hands out no response before its first item is named")
    assert [call.call_id for call in driver.calls] == [CALL.call_id]
    for items in BLIND[context](before):
        driver.world.finish(driver.update(items, context))
    invariants.kept(driver.world, CALL)


@pytest.mark.race(check="loses-calls", documented=True)
@pytest.mark.parametrize("moment", ["begun", "writing", "written", "item done", "end"])
def test_announced_in_the_other_order(driver: SessionDriver, moment: str) -> None:
    """The conversation has the call before the response names it."""
    driver.set_history(history())
    before = driver.items()
    driver.world.respond(Response(items=(CALL,)))
    _generate_to(driver, "conversation.item.added")
    outbox = driver.world.server.outbox
    outbox[-1], outbox[-2] = outbox[-2], outbox[-1]
    driver.reach(CALL, moment)
    driver.world.finish(driver.update(before, "stale snapshot"))
    invariants.kept(driver.world, CALL)


@pytest.mark.race(check="arguments")
def test_a_call_that_the_conversation_never_announced(driver: SessionDriver) -> None:
    """It is in no mirror, and the agent gets it all the same, complete and once."""
    driver.world.respond(Response(items=(CALL,)))
    _generate_to(driver, "conversation.item.added")
    driver.world.server.outbox.pop()
    driver.world.flush()
    assert [(call.call_id, call.arguments) for call in driver.calls] == [
        (CALL.call_id, CALL.arguments)
    ]


@pytest.mark.race(check="loses-calls", documented=True)
def test_another_response_takes_over_a_complete_call(driver: SessionDriver) -> None:
    """It was handed over: only the agent can say that it is over."""
    driver.set_history(history())
    before = driver.items()
    driver.hear(CALL, moment="item done")
    driver.world.server.give_up()
    driver.hear(Say())
    driver.world.finish(driver.update(before, "stale snapshot"))
    invariants.kept(driver.world, CALL)


@pytest.mark.race(check="leaks")
def test_many_responses_leave_nothing(driver: SessionDriver) -> None:
    """Calls of earlier responses, complete or cut, stay removable while another is in flight."""
    for number in range(4):
        call = Call(id=f"fnc_{number}", call_id=f"call_{number}")
        driver.hear(Say(id=f"msg_{number}"), call, cut=number % 2 == 0, item_done=False)
        driver.dispatch(*driver.calls)
    last = Call(id="fnc_last", call_id="call_last")
    driver.hear(last, moment="announced")
    _leave_out(driver, *(f"fnc_{number}" for number in range(4)))
    invariants.kept(driver.world, last)


# -- outputs that the server makes -----------------------------------------------------------


@pytest.mark.skipif(not servers_can_answer(), reason="no model of this release answers itself")
@pytest.mark.race(check="loses-calls")
@pytest.mark.parametrize("context", BLIND)
def test_an_output_that_the_server_makes_survives(driver: SessionDriver, context: str) -> None:
    driver.model._capabilities.auto_tool_reply_generation = True
    driver.set_history(history())
    before = driver.items()
    driver.hear(CALL, Answer(), Say("22 degrees."), moment="announced")
    for items in BLIND[context](before):
        driver.world.finish(driver.update(items, context))
    invariants.kept_item(driver.world, Answer().id)


@pytest.mark.race(check="leaks")
def test_an_output_is_the_clients_own_without_that_capability(driver: SessionDriver) -> None:
    driver.hear(CALL, Answer(), Say("22 degrees."), moment="announced")
    driver.dispatch(*driver.calls)
    _leave_out(driver, Answer().id)


@pytest.mark.skipif(not servers_can_answer(), reason="no model of this release answers itself")
@pytest.mark.race(check="leaks")
def test_an_output_that_the_server_made_before_a_reconnect(driver: SessionDriver) -> None:
    """Its generation is over with the connection; what the client puts back is its own."""
    if not driver.flavour.reconnects:
        pytest.skip("no session of this release opens a second connection")
    driver.model._capabilities.auto_tool_reply_generation = True
    driver.set_history(history())
    driver.hear(CALL, Answer(), Say("22 degrees."), moment="announced")
    driver.dispatch(*driver.calls)
    known = [item for item in driver.items() if item.id != Say.id]
    driver.world.disconnect()
    driver.world.rest(seconds=5.0)
    invariants.reconnected(driver.world)
    driver.set_history(known)
    invariants.agree(driver.world, [item.id for item in known])
    _leave_out(driver, CALL.id, Answer().id)


# -- the end of a session --------------------------------------------------------------------


@pytest.mark.race(check="leaks")
@pytest.mark.parametrize("moment", ["announced", "writing", "written"])
def test_a_closed_session_has_no_call_in_flight(driver: SessionDriver, moment: str) -> None:
    """What it leaves behind says of no call that one may not delete it."""
    driver.set_history(history())
    driver.hear(CALL, moment=moment)
    driver.world.run(driver.session.aclose(), "close the session")
    left = driver.session.chat_ctx
    assert CALL.id in ids(left)
    if call_has_extra():
        assert [
            i.id for i in left.items if getattr(i, "extra", {}).get("dispatched") is False
        ] == []
    if hasattr(driver.session, "_create_update_chat_ctx_events"):
        events = driver.session._create_update_chat_ctx_events(llm.ChatContext(history()))
        assert [getattr(event, "item_id", None) for event in events] == [CALL.id]


# -- the cost of an update -------------------------------------------------------------------


def _remove_all(session: Any, items: list[Any]) -> list[Any]:
    """The events of an update that leaves out all of a mirror that holds ``items``."""
    mirror = llm.remote_chat_context.RemoteChatContext()
    for before, item in zip([None, *items], items, strict=False):
        mirror.insert(before.id if before else None, item)
    session._remote_chat_ctx = mirror
    events: list[Any] = session._create_update_chat_ctx_events(llm.ChatContext([]))
    return events


def _lines(work: Callable[[], Any]) -> int:
    """How many lines of Python run, in all functions."""
    count = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


@pytest.mark.race(check="contract")
def test_an_update_scans_nothing_for_each_removed_item(
    driver: SessionDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What runs for each of many removed items does not depend on how many there are.

    A release that spares messages without content looks each item up by a scan of its own: that
    one is allowed, once an item, and made short here.
    """
    if not hasattr(driver.session, "_create_update_chat_ctx_events"):
        pytest.skip("no session of this release makes the events of an update apart")
    empty = llm.ChatMessage(id="empty", role="user", content=[])
    own_scans = 0 if _remove_all(driver.session, [empty]) else 1
    scans: list[str] = []

    def get_by_id(context: llm.ChatContext, item_id: str) -> None:
        scans.append(item_id)

    def cost(many: int) -> int:
        calls = [llm.FunctionCall(id=f"f{n}", call_id="c", name="n", arguments="{}")
                 for n in range(many)]  # fmt: skip
        scans.clear()
        lines = _lines(lambda: _remove_all(driver.session, calls))
        assert len(scans) <= own_scans * many
        return lines

    monkeypatch.setattr(llm.ChatContext, "get_by_id", get_by_id)
    assert cost(2_000) < 2.2 * cost(1_000)
