"""What must hold, apart from any scenario. Each check reads the wire, the server, the mirror or the
agent, and fails with one sentence and the story so far."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NoReturn

from livekit.agents import llm

from .script import Call
from .transport import Event
from .world import World

# what a loss looks like in a worker's log
SIGNS = ("previous_item_id", "unknown item", "timed out", "failed to handle event")


class Violation(AssertionError):
    """An invariant is broken."""


def violated(world: World, sentence: str) -> NoReturn:
    __tracebackhide__ = True
    raise Violation(f"{sentence}\n\n{world.story.render()}")


def touching(world: World, item_id: str, since: int = 0) -> list[Event]:
    """The client's events, from number ``since`` on, that create or delete this item."""
    return [
        event
        for event in world.sent[since:]
        if event["type"] in ("conversation.item.create", "conversation.item.delete")
        and item_id in (event.get("item_id"), event.get("item", {}).get("id"))
    ]


def kept_item(world: World, item_id: str) -> None:
    """An item in flight is neither deleted nor re-created, and the server still has it."""
    __tracebackhide__ = True
    for event in touching(world, item_id):
        verb = "deleted" if event["type"].endswith("delete") else "created again"
        violated(world, f"{item_id} was {verb} while in flight")
    if item_id not in world.server.ids():
        violated(world, f"the server no longer has {item_id}")


def kept(world: World, *calls: Call) -> None:
    """No call is deleted or re-created, and the server still has each."""
    __tracebackhide__ = True
    for call in calls:
        kept_item(world, call.id)


def deleted(world: World, *calls: Call) -> None:
    """A call that is over, and that the context left out, is gone from the server."""
    __tracebackhide__ = True
    for call in calls:
        if call.id in world.server.ids():
            violated(world, f"the call {call.call_id} ({call.id}) is over and cannot be deleted")


def agree(world: World, mirror: Iterable[str]) -> None:
    """The mirror has the server's items, in the server's order if this client keeps it."""
    __tracebackhide__ = True
    mirrored, known = list(mirror), world.server.ids()
    if mirrored != known and (world.ordered or sorted(mirrored) != sorted(known)):
        violated(world, f"mirror {mirrored} and server {known} disagree")


def no_errors(world: World) -> None:
    """The server refused nothing of what the client sent (a needless cancel is harmless)."""
    __tracebackhide__ = True
    for error in world.server.errors:
        if not error["message"].startswith("Cancellation failed"):
            violated(world, f"the server refused an event: {error['message']}")


def answered(world: World, *calls: Call) -> None:
    """The server has an output for each call, after the call if this client keeps the order."""
    __tracebackhide__ = True
    for call in calls:
        places = [
            index
            for index, item in enumerate(world.server.items)
            if item["type"] == "function_call_output" and item["call_id"] == call.call_id
        ]
        if not places:
            violated(world, f"the output of {call.call_id} never reached the conversation")
        known = world.server.ids()
        if world.ordered and call.id in known and places[0] < known.index(call.id):
            violated(world, f"the output of {call.call_id} stands before its call")


def ran(world: World, started: Iterable[tuple[str, Any]], *calls: Call) -> None:
    """Each call's tool was started exactly once, with the arguments that the model wrote."""
    __tracebackhide__ = True
    expected = [(call.name, json.loads(call.arguments)) for call in calls]
    if (started := list(started)) != expected:
        violated(world, f"tools started as {started}, not as {expected}")


def reconnected(world: World) -> None:
    __tracebackhide__ = True
    if world.connections != 2:
        violated(world, f"{world.connections} connections were made, not 2")


def flag_off_the_wire(world: World) -> None:
    __tracebackhide__ = True
    for event in world.sent:
        if _mentions(event, "dispatched") or (event.get("item") or {}).get("extra"):
            violated(world, f"the flag went out on the wire: {event}")


def quiet_log(world: World) -> None:
    """livekit logged no anchor that is missing, no update that timed out, no event that failed."""
    __tracebackhide__ = True
    for line in world.log.lines:
        if any(sign in line for sign in SIGNS):
            violated(world, f"the log says: {line}")


def knows(world: World, mirror: Iterable[str], context: llm.ChatContext) -> None:
    """The agent knows the mirror's items, in whatever order, and no others."""
    __tracebackhide__ = True
    talk = {item.id for item in context.items if item.type in _TALK}
    if talk != (mirrored := set(mirror)):
        violated(world, f"agent and mirror differ by {sorted(talk ^ mirrored)}")


_TALK = ("message", "function_call", "function_call_output")


def _mentions(value: Any, key: str) -> bool:
    if isinstance(value, dict):
        return key in value or any(_mentions(part, key) for part in value.values())
    if isinstance(value, list):
        return any(_mentions(part, key) for part in value)
    return False
