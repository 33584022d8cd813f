"""A whole ``AgentSession``, cut at every tick of its event loop: wherever the agent stands when it
is interrupted or switched, no call stays undeletable."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from kit import invariants
from kit.agent import AgentDriver
from kit.contexts import history, ids
from kit.script import Call, Response, Say
from kit.world import World

pytestmark = [pytest.mark.race(check="leaks"), pytest.mark.clients("openai", "beta")]

CALL = Call()
TICKS = range(16)
Start = Callable[..., AgentDriver]


def _at_tick(world: World, ticks: int, event_type: str) -> bool:
    """Give the client the next ``event_type`` and stop so many ticks later; False if it is done
    with the event by then."""
    while True:
        world.settle()
        event = world.deliver(settle=False)
        if event is not None and event["type"] == world.server.rename(event_type):
            return world.loop.tick(ticks) if ticks else True
        if event is None and not (world.hand_in() or world.generate()):
            raise AssertionError(f"{event_type} never came\n{world.story.render()}")


def _over(driver: AgentDriver) -> None:
    driver.world.rest()
    driver.tools.open()
    driver.world.rest()
    driver.world.finish(driver.leave_out_calls())
    invariants.deleted(driver.world, CALL)
    invariants.agree(driver.world, ids(driver.realtime.chat_ctx))


def _cut_everywhere(
    start: Callable[[], AgentDriver], event_type: str, cut: Callable[..., Any]
) -> None:
    """Cut at tick 0, 1, 2, … after the event, each time in a session of its own."""
    cuts = 0
    for ticks in TICKS:
        driver = start()
        running = _at_tick(driver.world, ticks, event_type)
        driver.world.story.tell("agent", f"is cut {ticks} ticks after {event_type}")
        driver.world.loop.call(lambda: cut(driver))  # noqa: B023 - called at once
        _over(driver)
        cuts += 1
        if not running:
            break
    assert cuts > 1


@pytest.mark.parametrize("deaf", [False, True], ids=["cancels", "finishes"])
@pytest.mark.parametrize(
    "event_type",
    [
        "response.created",
        "conversation.item.added",
        "response.function_call_arguments.done",
        "response.output_item.done",
        "response.done",
    ],
)
@pytest.mark.parametrize("asked", [False, True], ids=["on-its-own", "asked-for"])
def test_interrupted(start_agent: Start, asked: bool, event_type: str, deaf: bool) -> None:
    """``deaf``: the server had finished the response before it read the cancel."""

    def start() -> AgentDriver:
        driver = start_agent()
        driver.world.server.deaf_to_cancel = deaf
        if asked:
            driver.world.server.scripts.append(Response(items=(CALL,)))
            driver.world.loop.call(driver.session.generate_reply)
        else:
            driver.world.respond(Response(items=(CALL,)))
        return driver

    _cut_everywhere(start, event_type, lambda driver: driver.session.interrupt())


@pytest.mark.parametrize("deaf", [False, True], ids=["cancels", "finishes"])
@pytest.mark.parametrize("items", [(CALL,), (Say(), CALL)], ids=["call", "message-call"])
@pytest.mark.parametrize("event_type", ["response.created", "response.output_item.done"])
def test_switched(start_agent: Start, event_type: str, items: tuple, deaf: bool) -> None:
    """The application switches agents at any tick of a response."""

    def start() -> AgentDriver:
        driver = start_agent(history=history())
        driver.world.server.deaf_to_cancel = deaf
        driver.world.respond(Response(items=items))
        return driver

    def switch(driver: AgentDriver) -> None:
        driver.session.update_agent(driver.make_agent(history=history()))

    _cut_everywhere(start, event_type, switch)


@pytest.mark.parametrize("deaf", [False, True], ids=["cancels", "finishes"])
@pytest.mark.parametrize("ticks", TICKS)
def test_a_response_during_a_switch(start_agent: Start, ticks: int, deaf: bool) -> None:
    """A response starts at any tick of a switch, when perhaps nobody listens."""
    driver = start_agent(history=history())
    driver.world.server.deaf_to_cancel = deaf
    other = driver.make_agent(history=history())
    driver.world.respond(Response(items=(CALL,)))
    driver.world.generate()
    driver.world.loop.call(lambda: driver.session.update_agent(other))
    driver.world.loop.tick(ticks)
    driver.world.deliver(settle=False)
    _over(driver)
