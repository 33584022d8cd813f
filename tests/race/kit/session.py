"""Drives a real ``RealtimeSession`` alone. The driver is the agent: it reads what the session hands
out, keeps the calls, and dispatches or drops them when the scenario says so."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from livekit.agents import llm

from .contexts import ids
from .features import Flavour, call_has_extra
from .script import Call, Item, Response
from .world import World

_EVENT = {
    "begun": "response.output_item.added",
    "announced": "conversation.item.added",
    "writing": "response.function_call_arguments.delta",
    "written": "response.function_call_arguments.done",
    "item done": "response.output_item.done",
}
# up to where the client has heard of a call ("begun" is before the conversation has it); at the
# end the response is done as well
MOMENTS = (*list(_EVENT)[1:], "end")


@llm.function_tool
async def lookup(city: str) -> str:
    """The weather in a city."""
    return city


@llm.function_tool
async def book(seat: int) -> str:
    """Book a seat."""
    return str(seat)


class SessionDriver:
    """A model, its session, and what came out of it.

    ``calls`` are the function calls handed to the agent, in order, and ``handed`` their ids, names
    and arguments at that moment; ``texts`` are the messages.
    """

    def __init__(
        self,
        flavour: Flavour,
        *,
        audio: bool = False,
        vendor: str = "openai",
        world: World | None = None,
    ) -> None:
        self.flavour = flavour
        self.world = world or World(
            dialect=flavour.dialect, audio=audio or not flavour.writes, ordered=flavour.ordered
        )
        self.model = flavour.model(self.world.http, audio=audio, vendor=vendor)
        self.calls: list[llm.FunctionCall] = []
        self.handed: list[tuple[str, str, str]] = []
        self.texts: list[str] = []
        self.open_generations = 0
        self._readers: list[asyncio.Future[None]] = []
        self._replies: list[asyncio.Future[Any]] = []
        self.session: Any = self.world.loop.call(self.model.session)
        self.session.on("generation_created", self._on_generation)
        self.world.story.columns["mirror"] = lambda: ids(self.session.chat_ctx)
        self.world.closers.append(self.session.aclose)
        self.world.exchange()
        if flavour.needs_tools:
            self.world.run(self.session.update_tools([lookup, book]), "update_tools")
            self.world.exchange()

    # -- the agent's side -------------------------------------------------------------------

    @property
    def generations(self) -> int:
        """How many generations were handed out, and taken."""
        return len(self._readers)

    def _on_generation(self, generation: llm.GenerationCreatedEvent) -> None:
        # as an agent does: what was asked for is taken by who still waits for it, or by nobody
        if generation.user_initiated and not any(map(_has_come, self._replies)):
            return
        self.open_generations += 1
        number = len(self._readers)
        self.world.chronicle.append(("generation", number))
        self._readers.append(asyncio.ensure_future(self._read(generation, number)))

    async def _read(self, generation: llm.GenerationCreatedEvent, number: int) -> None:
        async def functions() -> None:
            async for call in generation.function_stream:
                self.calls.append(call)
                # as it is now: the session goes on holding the very object
                self.handed.append((call.call_id, call.name, call.arguments))
                self.world.chronicle.append(("handed", (call.call_id, call.arguments)))
                if not is_mirrored(self.session, call):
                    self.world.chronicle.append(("another-object", call.call_id))
            self.world.chronicle.append(("ended", number))

        async def messages() -> None:
            async for message in generation.message_stream:
                self.texts.append("".join([text async for text in message.text_stream]))

        await asyncio.gather(functions(), messages())
        self.open_generations -= 1

    def dispatch(self, *calls: llm.FunctionCall) -> None:
        """Do what the agent does when it starts a tool, or has finalised a generation."""
        for call in calls:
            self.world.story.tell("agent", f"starts the tool of {call.call_id}")
            self.world.chronicle.append(("started", call.call_id))
            if call_has_extra():
                call.extra["dispatched"] = True

    def forget(self) -> None:
        """Begin anew: what came of the session so far is over."""
        self.calls.clear()
        self.handed.clear()
        self.texts.clear()

    def change_hands(self) -> None:
        """What happens to a session that one agent hands to the next."""
        self.session.off("generation_created", self._on_generation)
        self.world.loop.call(self.session.interrupt)
        self.world.loop.call(self.session.clear_audio)
        self.session.on("generation_created", self._on_generation)
        self.world.exchange()

    # -- operations -------------------------------------------------------------------------

    def update(self, items: Sequence[Any], what: str) -> asyncio.Task[None]:
        """Start ``update_chat_ctx`` with these items (not copies); its events go on the wire."""
        context = llm.ChatContext(list(items))
        return self.world.start(self.session.update_chat_ctx(context), f"update_chat_ctx: {what}")

    def set_history(self, items: Sequence[Any]) -> None:
        self.world.finish(self.update(items, "the history"))

    def items(self) -> list[Any]:
        return list(self.session.chat_ctx.items)

    def item(self, item_id: str) -> Any:
        return next(item for item in self.items() if item.id == item_id)

    def send_output(self, call: Call, output: str = "22 degrees") -> None:
        """Answer a call as the agent does: the mirror's own context, plus the output."""
        answer = llm.FunctionCallOutput(
            id=f"out_{call.id}", call_id=call.call_id, output=output, is_error=False
        )
        self.world.finish(self.update([*self.items(), answer], f"the output of {call.call_id}"))

    def hear(self, *items: Item, moment: str = "end", **ends: Any) -> None:
        """The model answers with ``items`` on its own; go on up to ``moment`` of the last one."""
        self.world.respond(Response(items=items, **ends))
        self.reach(items[-1], moment)

    def ask(self, *items: Item, moment: str = "end") -> asyncio.Future[Any]:
        """The client asks for a reply, and the model answers with ``items``."""
        self.world.server.scripts.append(Response(items=items))
        reply = self.ask_for_reply()
        self.world.loop.settle()
        if moment != "asked":
            self.reach(items[-1], moment)
        return reply

    def ask_for_reply(self) -> asyncio.Future[Any]:
        self._replies.append(self.world.loop.call(self.session.generate_reply))
        return self._replies[-1]

    def reach(self, item: Item, moment: str) -> None:
        reach(self.world, item, moment)


def is_mirrored(session: Any, call: llm.FunctionCall) -> bool:
    """Whether a call is the very object in the session's mirror; nothing else carries the flag.

    What the mirror does not hold, as after a reconnect, is no other object.
    """
    mirrored = session._remote_chat_ctx.get(call.id)
    return mirrored is None or mirrored.item is call


def _has_come(reply: asyncio.Future[Any]) -> bool:
    return reply.done() and not reply.cancelled() and reply.exception() is None


def reach(world: World, item: Item, moment: str) -> None:
    """Go on until the client has heard what ``moment`` names about ``item`` (see ``MOMENTS``).

    "made" is earlier: the server has the item, the client has heard nothing of it.
    """
    if moment == "end":
        world.flush()
    elif moment == "made":
        while item.id not in world.server.ids():
            world.generate()
    else:
        world.until(_EVENT[moment], item.id)
