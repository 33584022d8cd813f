"""Lives a life (see ``life.py``) on a real client, up to the moment at which a schedule begins."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from livekit.agents import llm

from .contexts import message
from .features import Flavour
from .life import Life, call_id, item_id, renamed
from .script import Call, Say
from .session import SessionDriver
from .world import World

if TYPE_CHECKING:
    from .agent import AgentDriver

PAST = 100
# One pixel, and a tenth of a second of silence: what an item holds, not how much.
_IMAGE = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGBgAAAABQABh6FO1AAAAABJRU5ErkJggg=="  # noqa: E501


def past(life: Life) -> list[Any]:
    """The items that a conversation starts with, with the ids of the life."""
    if life.past == "none":
        return []
    items: list[Any] = []
    for number in range(PAST // 4):
        call = f"call_past_{number}"
        items += [
            message(f"user_past_{number}"),
            llm.FunctionCall(
                id=f"fnc_past_{number}", call_id=call, name="lookup", arguments='{"city": "Delft"}'
            ),
            llm.FunctionCallOutput(
                id=f"out_past_{number}", call_id=call, output="22 degrees", is_error=False
            ),
            message(f"assistant_past_{number}", role="assistant"),
        ]
        if life.past == "media" and number % 5 == 0:
            items[-4].content.append(llm.ImageContent(image=_IMAGE))
    for item in items:
        item.id = item_id(item.id, life.ids)
        if item.type in ("function_call", "function_call_output"):
            item.call_id = call_id(item.call_id, life.ids)
    return items


def turns(life: Life) -> Iterator[tuple[Say, Call]]:
    """What the model says and calls in each finished turn."""
    for number in range(life.turns):
        yield (
            Say("I look it up.", id=item_id(f"msg_old_{number}", life.ids)),
            Call(
                id=item_id(f"fnc_old_{number}", life.ids),
                call_id=call_id(f"call_old_{number}", life.ids),
            ),
        )


def neighbours(flavour: Flavour, life: Life) -> list[World]:
    """Other sessions, each with a call of the same ids in flight; they stay as they are."""
    worlds = []
    for _ in range(life.neighbours):
        driver = SessionDriver(flavour)
        driver.hear(renamed(Call(), life.ids), moment="item done")
        worlds.append(driver.world)
    return worlds


def lose_connections(driver: SessionDriver | AgentDriver, life: Life) -> None:
    """As often as the life says, where this release comes back at all."""
    for _ in range(life.reconnects if driver.flavour.reconnects else 0):
        driver.world.disconnect()
        driver.world.rest(60.0)


def live_in_session(driver: SessionDriver, life: Life) -> None:
    """What an agent did with the session so far."""
    if items := past(life):
        driver.set_history(items)
    for say, call in turns(life):
        driver.world.caller_says(f"question for {call.id}")
        driver.hear(say, call)
        driver.dispatch(*driver.calls[-1:])
        driver.send_output(call)
        driver.world.finish(driver.ask(Say("Done.", id=f"{say.id}_done")))
    if life.handed_over:
        driver.change_hands()
    lose_connections(driver, life)
    driver.forget()


def live_as_agent(driver: AgentDriver, life: Life, history: list[Any]) -> None:
    """What the callers of an agent said so far; ``history`` is what another one starts with."""
    if life.handed_over:
        following = driver.make_agent(history=[*past(life), *history])
        driver.world.loop.call(lambda: driver.session.update_agent(following))
        driver.world.rest()
    for say, call in turns(life):
        driver.world.caller_says(f"question for {call.id}")
        driver.hear(say, call)
        driver.tools.open()
        driver.world.rest()
    lose_connections(driver, life)


def pass_time(world: World, seconds: float) -> None:
    """Let time pass, at most up to just before the client's next timer."""
    wait = world.loop.next_timer()
    world.loop.jump(seconds if wait is None else min(seconds, max(0.0, wait - 1e-3)))
