"""The stages of the two levels: what an agent does with a session, and a whole agent."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from livekit.agents import llm

from ..agent import AgentDriver
from ..contexts import ids
from ..faults import records_refused
from ..features import FLAVOURS, agent_knows_calls
from ..living import live_as_agent, live_in_session, past
from ..script import names_of
from ..session import SessionDriver
from .scenario import Scenario
from .stage import Stage


class SessionStage(Stage):
    """The session alone; the driver does what an agent would do."""

    driver: SessionDriver

    def live(self) -> None:
        self.driver = SessionDriver(
            FLAVOURS[self.scenario.flavour],
            audio=self.scenario.audio,
            vendor=self.scenario.life.vendor,
            world=self.world,
        )
        live_in_session(self.driver, self.scenario.life)

    def set_up(self) -> None:
        if history := self.scenario.history():
            self.driver.set_history([*self.driver.items(), *history])

    def items(self) -> list[Any]:
        return list(self.driver.session.chat_ctx.copy().items)

    def mirror(self) -> list[str]:
        return ids(self.driver.session.chat_ctx)

    def begin_update(self, items: Sequence[Any], what: str) -> asyncio.Future[None]:
        return self.driver.update(items, what)

    def waiting(self) -> list[Any]:
        """The calls that were handed over and whose tools have not been started."""
        known = [what for kind, what in self.world.chronicle if kind == "started"]
        return [call for call in self.driver.calls if call.call_id not in known + self.started]

    @property
    def started(self) -> list[str]:
        return [
            call.call_id
            for item, call in self.scenario.generated().items()
            if self.judgement.state.get(item) == "started"
        ]

    def answer(self, calls: Sequence[Any]) -> None:
        """Give the outputs of these calls back, as an agent does."""
        outputs = [
            llm.FunctionCallOutput(
                id=f"out_{call.id}", call_id=call.call_id, output="22 degrees", is_error=False
            )
            for call in calls
        ]
        self.update([*self.driver.items(), *outputs], "the outputs")

    def rest(self) -> None:
        self.quietly(self.world.rest)
        self.read()
        if self.ended:
            return
        self.compare()
        waiting = self.waiting()
        self.driver.dispatch(*waiting)
        if waiting:
            self.answer(waiting)
            self.quietly(self.world.rest)
        self.read()
        self.judgement.come_to_rest()
        self.outputs_arrived()
        self.leave_out_calls()
        self.quietly(self.world.rest)
        self.compare()
        self.read()


class AgentStage(Stage):
    """A whole ``AgentSession``."""

    driver: AgentDriver

    def live(self) -> None:
        life = self.scenario.life
        self.driver = AgentDriver(
            FLAVOURS[self.scenario.flavour],
            history=[*past(life), *self.scenario.history()],
            audio=self.scenario.audio,
            vendor=life.vendor,
            records=records_refused(self.scenario.flavour) is None,
            world=self.world,
        )
        live_as_agent(self.driver, life, self.scenario.history())

    def set_up(self) -> None:
        self.next_agent: Any = None
        self._away = False
        self._listens_to: Any = None
        self._dispatched: set[str] = set()
        self.poll()
        if self.scenario.ticks:
            self.world.before_sending = self.look_for_dispatched
        if self.driver.speaker is not None and "p" in self.scenario.client_moves:
            self.driver.speaker.automatic = False

    def items(self) -> list[Any]:
        return self.driver.items()

    def mirror(self) -> list[str]:
        return self.driver.mirror()

    def begin_update(self, items: Sequence[Any], what: str) -> asyncio.Future[None]:
        return self.driver.update(items, what)

    def let_tool_return(self) -> None:
        """The tool that has run longest returns: its result, or the next agent."""
        if self.next_agent is not None and not self._away:
            self.leave()
        self.driver.tools.open_oldest(self.next_agent or "22 degrees")
        self.world.settle()

    def leave(self) -> None:
        """From here on, until the next agent is there, nobody may take what the model makes."""
        self.note("away")
        self._away = True

    def switch(self) -> None:
        """Another agent takes over, started with the same history."""
        past_items = [*past(self.scenario.life), *self.scenario.history()]
        self.next_agent = self.driver.make_agent(history=past_items)
        self.tell("another agent takes over")
        self.leave()
        self.world.loop.call(lambda: self.driver.session.update_agent(self.next_agent))
        self.world.settle()

    def look_for_dispatched(self) -> None:
        """The history has a call as soon as its tool is started, some ticks before it runs."""
        for item in self.driver.session.history.items:
            if item.type == "function_call" and item.call_id not in self._dispatched:
                self._dispatched.add(item.call_id)
                self.world.chronicle.append(("dispatched", item.call_id))

    def poll(self) -> None:
        session = self._session()
        if session is not None and session is not self._listens_to:
            self._listens_to = session
            session.on("generation_created", lambda generation: self.note("generation"))
        there = session is not None and self.driver.session.current_agent is self.next_agent
        if self._away and there:
            self._away = False
            self.note("back")

    def _session(self) -> Any:
        try:
            return self.driver.realtime
        except RuntimeError:  # between two agents
            return None

    def rest(self) -> None:
        self.quietly(self.world.rest)
        if self.ended:
            self.read()
            return
        speaker = self.driver.speaker
        if speaker is not None:
            speaker.automatic = True
            speaker.play()
            self.quietly(self.world.rest)
        for _ in range(3):  # a reply may make further calls
            self.poll()
            while any(not gate.done() for gate in self.driver.tools.gates):
                self.let_tool_return()
            self.quietly(self.world.rest)
        self.poll()
        self.read()
        self.compare()
        self.judgement.come_to_rest()
        self.outputs_arrived()
        if not self.agrees():
            self.violate("agent-unlike-server")
        self.leave_out_calls()
        self.quietly(self.world.rest)
        self.compare()
        self.read()

    def agrees(self) -> bool:
        """Whether the agent knows the server's items and no others, in whatever order.

        The server may still have a call that was over before its tool started; and where no agent
        ever holds the calls that the server made, none of them is looked for, nor its output.
        """
        talk = ("message", "function_call", "function_call_output")
        known = {item.id for item in self.items() if item.type in talk}
        over = {item for item, state in self.judgement.state.items() if state == "over"}
        never = over - known
        if not agent_knows_calls():
            calls = self.scenario.generated().values()
            made = {name for call in calls for name in names_of(call.call_id)}
            items = self.world.server.items
            never |= {item["id"] for item in items if item.get("call_id") in made}
        return not (known ^ set(self.world.server.ids())) - never


def grown(scenario: Scenario, *, told: bool = False) -> Stage:
    """A stage that has lived the scenario's life; the scenario has not begun."""
    if scenario.level == "session":
        return SessionStage(scenario, told=told)
    records_refused(scenario.flavour)  # while there is no other world
    return AgentStage(scenario, told=told)


def shared(scenario: Scenario) -> tuple[Any, ...]:
    """What scenarios that can begin on the same stage have in common."""
    started_with: tuple[str, ...] = ()
    if scenario.level == "agent":
        started_with = tuple(item.id for item in scenario.history())
    return scenario.level, scenario.flavour, scenario.audio, scenario.life, started_with
