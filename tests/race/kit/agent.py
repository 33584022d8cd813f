"""Drives a real ``AgentSession`` with a real ``Agent`` on a simulated server: text output, no room,
tools that run for as long as the scenario wants."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from livekit.agents import Agent, AgentSession, RunContext, function_tool, llm

from .contexts import ids, is_talk, without_calls
from .features import Flavour, accepts, agent_changes
from .script import Item, Response
from .session import is_mirrored, reach
from .speaker import Speaker
from .world import World


class Tools:
    """The agent's tools. Each waits for its gate; ``started`` lists (name, arguments) in order.

    ``lookup(city)`` and ``book(seat)`` return what the gate is given, ``broken()`` raises.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self.started: list[tuple[str, dict[str, Any]]] = []
        self.finished: list[str] = []
        self.gates: list[asyncio.Future[Any]] = []
        # whether a call is the mirror's own object
        self.same_object: Callable[[llm.FunctionCall], bool] = lambda call: True

        @function_tool
        async def lookup(context: RunContext[None], city: str) -> Any:
            """Look up the weather.

            Args:
                city: where
            """
            return await self._run(context, "lookup", city=city)

        @function_tool
        async def book(context: RunContext[None], seat: int) -> Any:
            """Book a seat.

            Args:
                seat: which
            """
            return await self._run(context, "book", seat=seat)

        @function_tool
        async def broken(context: RunContext[None]) -> Any:
            """Fail."""
            await self._run(context, "broken")
            raise RuntimeError("this tool always fails")

        self.all: list[Any] = [lookup, book, broken]
        self.lookup, self.book, self.broken = lookup, book, broken

    async def _run(self, context: RunContext[None], name: str, **arguments: Any) -> Any:
        call_id = context.function_call.call_id
        self._world.chronicle += [("started", call_id), ("given", (call_id, arguments))]
        if not self.same_object(context.function_call):
            self._world.chronicle.append(("another-object", call_id))
        self._world.story.tell("tool", f"{name}({arguments}) starts")
        self.started.append((name, arguments))
        gate = asyncio.get_running_loop().create_future()
        self.gates.append(gate)
        value = await gate
        self.finished.append(name)
        self._world.story.tell("tool", f"{name} ends")
        return value

    def open_oldest(self, value: Any = "22 degrees") -> None:
        """Let the tool that has run longest return ``value``."""
        next(gate for gate in self.gates if not gate.done()).set_result(value)

    def open(self, value: Any = "22 degrees") -> None:
        """Let every running tool return ``value``."""
        for gate in self.gates:
            if not gate.done():
                gate.set_result(value)
        self._world.loop.settle()


class AgentDriver:
    """A model, an ``AgentSession``, its agent and tools, started and at rest.

    Args:
    flavour: which realtime client.
    history: items that the agent starts with.
    vendor: whose options the model has, see ``Flavour.model``.
    audio: audio modality with an in-memory speaker that plays only when told; else text.
    records: whether contexts that are passed hold the agent's own records (see ``faults.py``).
    world: the conversation to take part in, with the flavour's dialect; else a new one.
    """

    def __init__(
        self,
        flavour: Flavour,
        *,
        history: Sequence[Any] = (),
        audio: bool = False,
        vendor: str = "openai",
        records: bool = True,
        world: World | None = None,
    ) -> None:
        self._records = records
        world = world or World(
            dialect=flavour.dialect, audio=audio or not flavour.writes, ordered=flavour.ordered
        )
        self.world = world
        self.flavour = flavour
        self.model = flavour.model(world.http, audio=audio, vendor=vendor, server_turns=True)
        self.tools = Tools(world)
        self.tools.same_object = self._is_mirrored
        self.agent = self.make_agent(history=history)
        self.speaker = Speaker() if audio else None
        self._activity: Any = None
        world.loop.call(self._build)
        start: dict[str, Any] = {"record": False} if accepts(AgentSession.start, "record") else {}
        if not accepts(Agent.__init__, "chat_ctx"):
            start["chat_ctx"] = llm.ChatContext(list(history))
        world.run(self.session.start(self.agent, **start), "AgentSession.start")
        world.story.columns["mirror"] = self.mirror
        world.story.columns["agent"] = lambda: ids(self.knowledge.chat_ctx)
        world.closers.append(self.session.aclose)
        world.exchange()

    def _build(self) -> None:
        self.session: AgentSession[None] = AgentSession(llm=self.model)
        if self.speaker is not None:
            self.session.output.audio = self.speaker

    def make_agent(self, *, history: Sequence[Any] = (), tools: Any = None) -> Agent:
        own: dict[str, Any] = {}
        if accepts(Agent.__init__, "chat_ctx"):
            own["chat_ctx"] = self._context(history)
        return Agent(
            instructions="Help the caller.",
            tools=self.tools.all if tools is None else tools,
            **own,
        )

    @property
    def knowledge(self) -> Any:
        """What holds the agent's own context, and takes updates of it: the agent, or where an
        agent keeps none, what runs it."""
        agent = self.session.current_agent
        if hasattr(agent, "update_chat_ctx"):
            return agent
        # kept for when the session is closed
        self._activity = self.session._activity or self._activity
        return self._activity

    def change(self, what: str, value: Any) -> None:
        """Change the current agent's "instructions" or "tools"; skips where that is impossible."""
        if not agent_changes(what):
            pytest.skip(f"no agent of this release can change its {what}")
        name = f"update_{what}"
        self.world.run(getattr(self.session.current_agent, name)(value), name)

    @property
    def realtime(self) -> Any:
        """The realtime session that the current agent uses."""
        return self.knowledge.realtime_llm_session

    def mirror(self) -> list[str]:
        """The ids that the current agent's realtime session knows."""
        try:
            return ids(self.realtime.chat_ctx)
        except RuntimeError:  # between two agents
            return ["(no session)"]

    def _is_mirrored(self, call: llm.FunctionCall) -> bool:
        try:
            return is_mirrored(self.realtime, call)
        except RuntimeError:  # between two agents
            return True

    # -- the conversation -------------------------------------------------------------------

    def hear(self, *items: Item, moment: str = "end", **ends: Any) -> None:
        """The model answers with ``items`` on its own; go on up to ``moment`` of the last one."""
        self.world.respond(Response(items=items, **ends))
        reach(self.world, items[-1], moment)

    def update(
        self, items: Sequence[Any], what: str, agent: Agent | None = None
    ) -> asyncio.Task[None]:
        """Start ``Agent.update_chat_ctx`` with these items; its events go on the wire."""
        operation = (agent or self.knowledge).update_chat_ctx(self._context(items))
        return self.world.start(operation, f"Agent.update_chat_ctx: {what}")

    def _context(self, items: Sequence[Any]) -> llm.ChatContext:
        return llm.ChatContext([item for item in items if self._records or is_talk(item)])

    def leave_out_calls(self) -> asyncio.Task[None]:
        """Pass a fresh copy without any function call, which may delete what is over."""
        return self.update(without_calls(self.items()), "without function calls")

    def interrupt(self) -> None:
        self.world.story.tell("agent", "the caller interrupts")
        self.world.loop.call(self.session.interrupt)
        self.world.settle()

    def items(self) -> list[Any]:
        """What the agent knows: a fresh copy of its context."""
        return list(self.knowledge.chat_ctx.copy().items)
