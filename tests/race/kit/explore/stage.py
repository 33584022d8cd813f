"""A scenario set up on a real client: its state, its operations, and the rest after all moves."""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

from livekit.agents import llm

from .. import clock
from ..contexts import without_calls
from ..features import FLAVOURS
from ..invariants import SIGNS
from ..living import neighbours
from ..loop import Deadlock, Livelock
from ..script import names_of
from .judge import Judgement
from .links import Links
from .scenario import Scenario

TROUBLE = (Deadlock, Livelock, AssertionError)


class Stage(ABC):
    """One conversation about to be explored: connected, its life lived; ``begin`` does the rest."""

    driver: Any

    def __init__(self, scenario: Scenario, *, told: bool = False) -> None:
        clock.clock.restart()
        life, flavour = scenario.life, FLAVOURS[scenario.flavour]
        self.scenario = scenario
        self.neighbours = neighbours(flavour, life)
        self.world = Links(flavour, audio=scenario.audio or not flavour.writes, told=told)
        self.live()

    def begin(self, scenario: Scenario) -> None:
        """Put what a scenario needs in place; it lives the life that this stage has lived."""
        world = self.world
        self.scenario = scenario
        self.judgement = Judgement(scenario)
        self.tasks: list[tuple[str, asyncio.Future[Any]]] = []
        self.ended = False
        world.unsent, world.configure = scenario.unsent, scenario.configure
        scenario.configure(world.server)
        self.set_up()
        world.server.caller_speaks_behind = scenario.life.behind
        world.first_connection = world.connections
        self.before = self.items()
        self.kept: dict[str, Any] = {}
        scenario.prepare(self)
        world.exchange()
        world.server.scripts.extend(scenario.asked)
        world.spontaneous.extend(scenario.responses)
        world.chronicle.clear()
        world.made_by_client.clear()
        world.made_by_server.clear()
        world.server.errors.clear()
        world.log.lines.clear()

    @abstractmethod
    def live(self) -> None:
        """Make the driver, and live the scenario's life."""

    @abstractmethod
    def set_up(self) -> None:
        """Put the scenario's history in place."""

    @abstractmethod
    def items(self) -> list[Any]:
        """What an application would copy now."""

    @abstractmethod
    def mirror(self) -> list[str]:
        """The ids in the realtime session's picture of the conversation."""

    @abstractmethod
    def begin_update(self, items: Sequence[Any], what: str) -> asyncio.Future[None]: ...

    @abstractmethod
    def rest(self) -> None:
        """After the last move: everything comes to rest, then an update leaves all calls out."""

    def poll(self) -> None:  # noqa: B027 - a level may have nothing to look at
        """Note what can be seen only by looking; called after each move of the client."""

    # -- operations --------------------------------------------------------------------------

    def update(self, items: Sequence[Any], what: str) -> asyncio.Future[None]:
        """Start an update of the context, and note what it owes."""
        number = len(self.tasks)
        note = self.world.chronicle.append
        kept = frozenset(item.id for item in items)
        note(("update", (number, kept, frozenset(self.mirror()))))
        task = self.begin_update(items, what)
        self.watch(task, what)

        def done(task: asyncio.Future[None]) -> None:
            error = None if task.cancelled() else task.exception()
            note(("updated", (number, repr(error) if error else None)))

        if task.done():
            done(task)
        else:
            task.add_done_callback(done)
        return task

    def watch(self, task: asyncio.Future[Any], what: str) -> None:
        """Have the task's failure count against the run."""
        self.tasks.append((what, task))

    def note(self, kind: str) -> None:
        self.world.chronicle.append((kind, None))

    def tell(self, what: str) -> None:
        self.world.story.tell("agent", what)

    @property
    def idle(self) -> bool:
        """Whether the last operation that was started has ended."""
        return not self.tasks or self.tasks[-1][1].done()

    # -- at rest -----------------------------------------------------------------------------

    def violate(self, name: str) -> None:
        self.judgement.violations.add(name)

    def quietly(self, move: Callable[[], Any]) -> None:
        """Let the conversation come to rest; a client that never does is stuck."""
        try:
            move()
        except TROUBLE:
            self.violate("stuck")

    def finish(self, items: Sequence[Any], what: str) -> None:
        """An update of the context, seen through."""
        self.quietly(lambda: self._finish(self.update(items, what)))

    def _finish(self, task: asyncio.Future[None]) -> None:
        with contextlib.suppress(llm.RealtimeError):  # counted with the other tasks
            self.world.finish(task)

    def compare(self) -> None:
        mirror, server = self.mirror(), self.world.server.ids()
        if mirror != server and (self.world.ordered or sorted(mirror) != sorted(server)):
            self.violate("mirror-unlike-server")

    def outputs_arrived(self) -> None:
        """Every call that started has its output, unless a context left it out since."""
        calls = self.scenario.generated()
        outputs = self.world.answered | self.world.outputs()
        judged = self.judgement
        for item_id in set(judged.starts) - (judged.excused - judged.lost):
            if outputs.intersection(names_of(calls[item_id].call_id)):
                continue
            if item_id in judged.adrift:
                judged.recorded.add("output-lost-with-connection")
            else:
                self.violate("output-lost")

    def read(self) -> None:
        """Judge what has happened since the last reading."""
        chronicle = self.world.chronicle
        self.judgement.read(chronicle)
        chronicle.clear()

    def leave_out_calls(self) -> None:
        self.finish(without_calls(self.items()), "all calls left out")
        left = set(self.world.server.ids())
        state = self.judgement.state
        if any(state.get(item) != "limbo" for item in left & self.scenario.guarded()):
            self.violate("undeletable")
        if left & {call.id for call in self.scenario.calls}:
            self.violate("client-call-in-flight")

    def conclude(self) -> None:
        """The checks that need the whole run."""
        for _, task in self.tasks:
            if not task.done():
                self.violate("stuck")
            elif not task.cancelled() and (error := task.exception()):
                self.violate("timeout" if "timed out" in str(error) else "update-failed")
        if any(self._matters(refusal["message"]) for refusal in self.world.server.errors):
            self.violate("refused")
        for line in self.world.log.lines:
            if "timed out." in line:
                self.violate("timeout")
            elif any(sign in line for sign in SIGNS if sign != "timed out"):
                self.violate("anchor-warning")
        if self.world.loop.failures or self.world.loop.unheard():
            self.violate("task-failed")
        self.judgement.wire(self.world.made_by_client)
        self.judgement.counts()

    def _matters(self, refusal: str) -> bool:
        """Three refusals are harmless. A needless cancel goes out before every reply that some
        releases ask for. What a reconnect replays is not in the mirror until the server has
        announced it, so that an update meanwhile puts it there once more, patched or not. And of
        a call that is adrift the server knows nothing.
        """
        if refusal.startswith("Cancellation failed"):
            return False
        if refusal.endswith("already exists."):
            return not any(f"'{item_id}'" in refusal for item_id in self.world.replayed_and_put())
        calls = self.scenario.generated().items()
        adrift = [call for item_id, call in calls if item_id in self.judgement.adrift]
        names = [name for call in adrift for name in names_of(call.call_id)]
        return not any(f"call id '{name}'" in refusal for name in names)
