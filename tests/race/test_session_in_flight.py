"""A session alone: a call in flight stays on the server, whatever context is passed."""

from __future__ import annotations

import pytest
from kit import invariants
from kit.contexts import BLIND, history, ids, message, without_calls
from kit.features import servers_can_answer
from kit.script import Answer, Call, Say
from kit.session import MOMENTS, SessionDriver

pytestmark = pytest.mark.race(check="loses-calls", documented=True)

FIRST, SECOND = Call(), Call(name="book", id="fnc_2", call_id="call_2")


def _answer_all_and_agree(driver: SessionDriver, *calls: Call) -> None:
    """The agent starts each tool and answers; then server and mirror are at rest and agree."""
    world = driver.world
    world.flush()
    assert {call.call_id for call in driver.calls} == {call.call_id for call in calls}
    driver.dispatch(*driver.calls)
    for call in calls:
        driver.send_output(call)
    invariants.kept(world, *calls)
    invariants.answered(world, *calls)
    invariants.no_errors(world)
    invariants.quiet_log(world)
    invariants.agree(world, ids(driver.session.chat_ctx))


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("context", BLIND)
def test_a_context_that_has_not_heard_of_it(
    driver: SessionDriver, context: str, moment: str
) -> None:
    driver.set_history(history())
    before = driver.items()
    driver.hear(FIRST, moment=moment)
    for phase, items in enumerate(BLIND[context](before)):
        driver.world.finish(driver.update(items, f"{context}, phase {phase + 1}"))
        invariants.kept(driver.world, FIRST)
    _answer_all_and_agree(driver, FIRST)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_copy_without_function_calls(driver: SessionDriver, moment: str) -> None:
    driver.set_history(history())
    driver.hear(FIRST, moment=moment)
    update = driver.update(without_calls(driver.items()), "copy(exclude_function_call=True)")
    driver.world.finish(update)
    _answer_all_and_agree(driver, FIRST)


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("context", ["stale-snapshot", "one-shot-summary"])
def test_with_a_spoken_message(driver: SessionDriver, context: str, moment: str) -> None:
    driver.set_history(history())
    before = driver.items()
    driver.hear(Say(), FIRST, moment=moment)
    for items in BLIND[context](before):
        driver.world.finish(driver.update(items, context))
    _answer_all_and_agree(driver, FIRST)


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("context", ["stale-snapshot", "two-phase-tail"])
def test_two_calls_in_a_response(driver: SessionDriver, context: str, moment: str) -> None:
    driver.set_history(history())
    before = driver.items()
    driver.hear(FIRST, SECOND, moment=moment)
    for items in BLIND[context](before):
        driver.world.finish(driver.update(items, context))
    _answer_all_and_agree(driver, FIRST, SECOND)


def test_the_first_of_two_calls_started(driver: SessionDriver) -> None:
    """The call whose tool runs may be deleted; its sibling may not."""
    driver.set_history(history())
    before = driver.items()
    driver.hear(FIRST, SECOND)
    driver.dispatch(driver.calls[0])
    driver.world.finish(driver.update([*before, driver.calls[0]], "without the second call"))
    _answer_all_and_agree(driver, FIRST, SECOND)


def test_a_sibling_that_was_cut(driver: SessionDriver) -> None:
    """A response that ends early does not end the call that it had completed."""
    driver.set_history(history())
    before = driver.items()
    driver.hear(FIRST, SECOND, status="incomplete", cut=True, item_done=False)
    driver.world.finish(driver.update(before, "stale snapshot"))
    invariants.kept(driver.world, FIRST)


def test_updates_back_to_back(driver: SessionDriver) -> None:
    """Two updates are under way at once, and the call is announced between them."""
    driver.set_history(history())
    before = driver.items()
    first = driver.update([*before, message("note_1")], "a note")
    second = driver.update([*before, message("note_1"), message("note_2")], "another note")
    driver.hear(FIRST, moment="made")
    driver.world.finish(first)
    driver.world.finish(second)
    _answer_all_and_agree(driver, FIRST)


def test_an_update_sent_before_the_announcement_arrives(driver: SessionDriver) -> None:
    """The server has made the call, the client has not heard of it, and empties the context."""
    driver.set_history(history())
    before = driver.items()
    driver.hear(FIRST, moment="made")
    sent = driver.update(before[-1:], "trimmed")
    driver.world.finish(sent)
    driver.world.finish(driver.update(before[-1:], "trimmed, again"))
    _answer_all_and_agree(driver, FIRST)


@pytest.mark.parametrize("context", BLIND)
def test_an_update_is_under_way_as_its_tool_starts(driver: SessionDriver, context: str) -> None:
    """It began before, so nothing that it still does may delete the call."""
    driver.set_history(history())
    phase, *_ = BLIND[context](driver.items())
    driver.hear(FIRST, moment="announced")
    while driver.world.generate():
        pass
    sent = driver.update(phase, context)
    while driver.world.deliver():
        pass
    driver.dispatch(*driver.calls)
    driver.world.finish(sent)
    driver.world.settle()
    _answer_all_and_agree(driver, FIRST)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_context_that_moves_it(driver: SessionDriver, moment: str) -> None:
    """A context that holds the call elsewhere must not delete and create it again."""
    driver.set_history(history())
    driver.hear(FIRST, moment=moment)
    items = driver.items()
    driver.world.finish(driver.update([items[-1], *items[:-1]], "the call moved to the head"))
    _answer_all_and_agree(driver, FIRST)


@pytest.mark.parametrize("context", BLIND)
def test_after_generate_reply(driver: SessionDriver, context: str) -> None:
    """The same for a response that the client asked for."""
    driver.set_history(history())
    before = driver.items()
    driver.ask(FIRST)
    for items in BLIND[context](before):
        driver.world.finish(driver.update(items, context))
    _answer_all_and_agree(driver, FIRST)


@pytest.mark.parametrize("moment", MOMENTS)
def test_the_caller_speaks_and_nobody_interrupts(driver: SessionDriver, moment: str) -> None:
    """Speech alone is no exit: with turns that interrupt nothing, the response goes on."""
    driver.set_history(history())
    before = driver.items()
    driver.hear(FIRST, moment=moment)
    driver.world.server.speech_started()
    driver.world.exchange()
    driver.world.finish(driver.update(before, "stale snapshot"))
    _answer_all_and_agree(driver, FIRST)


@pytest.mark.race(check="loses-calls", documented=False)
@pytest.mark.skipif(not servers_can_answer(), reason="no model of this release answers itself")
def test_an_output_that_the_server_makes(driver: SessionDriver) -> None:
    """With ``auto_tool_reply_generation`` the output of a call is in flight with its generation."""
    driver.model._capabilities.auto_tool_reply_generation = True
    driver.set_history(history())
    before = driver.items()
    driver.hear(FIRST, Answer(), moment="announced")
    driver.world.finish(driver.update(before, "stale snapshot"))
    invariants.kept(driver.world, FIRST)
    invariants.kept_item(driver.world, Answer().id)
