"""A session alone: what the agent is handed, what goes on the wire, what must go on working."""

from __future__ import annotations

import json

import pytest
from kit import invariants
from kit.contexts import answered_call, history, ids, message
from kit.features import FLAVOURS, call_has_age, call_has_extra, messages_can_be_edited
from kit.script import Call, Say
from kit.session import SessionDriver
from livekit.agents import llm

CALL, OTHER = Call(), Call("book", '{"seat": 4}', id="fnc_2", call_id="call_2")

ITEMS = [(CALL,), (Say(), CALL), (CALL, OTHER)]
NAMES = ["call", "message-call", "two-calls"]


@pytest.mark.race(check="arguments")
@pytest.mark.parametrize("items", ITEMS, ids=NAMES)
def test_the_agent_gets_complete_arguments_once(driver: SessionDriver, items: tuple) -> None:
    """The server announces a call with empty arguments; the agent must not see those."""
    driver.hear(*items)
    expected = [(i.call_id, i.name, i.arguments) for i in items if isinstance(i, Call)]
    if driver.handed != expected:
        invariants.violated(driver.world, f"the agent was handed {driver.handed}, not {expected}")


@pytest.mark.race(check="arguments")
def test_an_update_in_flight_changes_no_arguments(driver: SessionDriver) -> None:
    driver.set_history(history())
    before = driver.items()
    driver.hear(CALL, moment="announced")
    driver.update(before, "stale snapshot")
    driver.world.flush()
    assert [call.arguments for call in driver.calls] == [CALL.arguments]


@pytest.mark.race(check="arguments")
@pytest.mark.skipif(not call_has_age(), reason="no call of this release has an age")
def test_a_call_is_as_old_as_its_arguments(driver: SessionDriver) -> None:
    """It is handed over when it is complete, and takes its place in a context by that time."""
    driver.hear(CALL, moment="written")
    before = message("now").created_at
    driver.world.flush()
    assert driver.calls[0].created_at > before


@pytest.mark.race(check="arguments")
def test_a_generation_is_handed_out_and_closed(driver: SessionDriver) -> None:
    driver.hear(Say("Let me look."), CALL)
    assert driver.texts == ["Let me look."]
    assert driver.open_generations == 0


@pytest.mark.race(check="wire")
@pytest.mark.parametrize("flag", [True, False])
def test_the_flag_stays_off_the_wire(driver: SessionDriver, flag: bool) -> None:
    call, output = answered_call()
    if call_has_extra():
        call.extra["dispatched"] = flag
    driver.set_history([*history(), call, output])
    driver.hear(CALL)
    driver.dispatch(*driver.calls)
    driver.send_output(CALL)
    driver.world.disconnect()
    driver.world.rest(seconds=5.0)
    invariants.flag_off_the_wire(driver.world)


@pytest.mark.race(check="agreement")
@pytest.mark.parametrize("items", ITEMS, ids=NAMES)
def test_at_rest_all_agree(driver: SessionDriver, items: tuple) -> None:
    """The plain case, without any race: nothing refused, nothing warned, nothing timed out."""
    driver.set_history(history())
    driver.hear(*items)
    driver.dispatch(*driver.calls)
    for call in items:
        if isinstance(call, Call):
            driver.send_output(call)
            invariants.answered(driver.world, call)
    invariants.no_errors(driver.world)
    invariants.agree(driver.world, ids(driver.session.chat_ctx))
    invariants.quiet_log(driver.world)


@pytest.mark.race(check="agreement")
@pytest.mark.skipif(not messages_can_be_edited(), reason="no update here edits a message")
def test_messages_are_still_edited(driver: SessionDriver) -> None:
    """Summaries, edits and deletions of messages work as they always did."""
    driver.set_history(history())
    first, *_, last = driver.items()
    edited = llm.ChatMessage(id=last.id, role="user", content=["something else"])
    driver.world.finish(driver.update([message("summary"), first, edited], "edited"))
    invariants.agree(driver.world, ["summary", "user_1", "user_2"])
    invariants.agree(driver.world, ids(driver.session.chat_ctx))
    assert driver.world.server.get("user_2")["content"][0]["text"] == "something else"


@pytest.mark.race(check="contract")
@pytest.mark.parametrize("name", FLAVOURS)
def test_the_clients_of_this_release(name: str) -> None:
    """Says which realtime clients the other tests ran on, and why not on the rest."""
    if (reason := FLAVOURS[name].missing()) is not None:
        pytest.skip(reason)


@pytest.mark.race(check="contract")
def test_a_session_built_without_init(driver: SessionDriver) -> None:
    """Tests of other projects build a bare session and ask it for the events of an update."""
    cls = type(driver.session)
    if not hasattr(cls, "_create_update_chat_ctx_events"):
        pytest.skip("no session of this release makes the events of an update apart")
    bare = cls.__new__(cls)
    bare._realtime_model = driver.model
    bare._remote_chat_ctx = llm.remote_chat_context.RemoteChatContext()
    call, output = answered_call()
    bare._remote_chat_ctx.insert(None, message("user_1"))
    bare._remote_chat_ctx.insert("user_1", call)
    bare._remote_chat_ctx.insert(call.id, output)

    events = bare._create_update_chat_ctx_events(llm.ChatContext([message("user_2")]))
    found = [json.loads(event.model_dump_json(exclude_unset=True)) for event in events]
    assert [event["type"].rsplit(".")[-1] for event in found] == ["delete"] * 3 + ["create"]
    assert [event["item_id"] for event in found[:3]] == ["user_1", "fnc_0", "out_0"]
