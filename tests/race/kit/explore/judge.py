"""What a run proves, from the chronicle of the client's end: (kind, what) in one order.

The life of a call, as far as the client can know it: *pending* from its announcement, *complete*
when it is handed over, *started* with its tool; or *over*, by any exit. In flight is what is
pending or complete; without a connection a call is in *limbo*, and not judged. An output that the
server makes is pending as long as its response. Where no agent ever holds its calls in its context,
no context of an application can keep them, so there a call is in flight while its tool is *running*
too, until its output goes out (*answered*) or an exit comes first.

Kinds: ``heard`` and ``sent`` an event; the client ``asks`` for a response; a ``generation`` was
handed out and ``ended``, a call ``handed`` over, ``dispatched`` to its tool, which ``started`` and
was ``given`` its arguments; ``update`` and ``updated``; a line ``logged``; ``exit`` of every
response so far; a call that is ``another-object`` than the mirror's; ``away`` and ``back`` while
nobody takes responses.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ..features import agent_knows_calls
from ..script import names_of
from ..transport import Event
from .requests import Requests
from .scenario import Scenario

IN_FLIGHT = ("pending", "complete", "running")


@dataclass
class Judgement:
    """Names of broken invariants and of recorded facts, so far."""

    scenario: Scenario
    violations: set[str] = field(default_factory=set)
    recorded: set[str] = field(default_factory=set)
    state: dict[str, str] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    lost: set[str] = field(default_factory=set)
    excused: set[str] = field(default_factory=set)
    completed: set[str] = field(default_factory=set)
    starts: list[str] = field(default_factory=list)
    _response: int = 0
    _response_open: bool = False
    _stalled: int = 0
    _written: set[str] = field(default_factory=set)
    _ended: set[int] = field(default_factory=set)
    _claimed: set[int] = field(default_factory=set)
    _generations: dict[int | None, int] = field(default_factory=dict)
    _response_of: dict[str, int] = field(default_factory=dict)
    _away: bool = False
    _requests: Requests = field(default_factory=Requests)
    _owed: dict[int, set[str]] = field(default_factory=dict)
    _under_way: dict[int, frozenset[str]] = field(default_factory=dict)
    _outputs: dict[str, str] = field(default_factory=dict)
    _cut_off: set[str] = field(default_factory=set)
    _let_go: set[str] = field(default_factory=set)
    _left_out: set[str] = field(default_factory=set)

    def read(self, chronicle: Iterable[tuple[str, Any]]) -> None:
        by_call_id = {call.call_id: item for item, call in self.scenario.generated().items()}
        for kind, what in chronicle:
            if kind == "heard":
                self._heard(what)
            elif kind == "sent":
                self._sent(what)
            elif kind == "generation":
                self._claimed.add(self._response)
                self._generations[what] = self._response
            elif kind == "ended":
                self._end_generation(self._generations[what])
            elif kind == "handed":
                self._handed(by_call_id.get(what[0]), what[1])
            elif kind == "another-object" and what in by_call_id:
                self.violations.add(kind)
            elif kind == "started" and what in by_call_id:
                self._started(by_call_id[what])
            elif kind == "dispatched" and what in by_call_id:
                self.state[by_call_id[what]] = self._begun
            elif kind == "given" and what[0] in by_call_id:
                self._given(by_call_id[what[0]], what[1])
            elif kind == "update":
                self._update(*what)
            elif kind == "updated":
                self._updated(*what)
            elif kind in ("exit", "away", "back"):
                self._away = {"away": True, "back": False}.get(kind, self._away)
                self._requests.give_up()
                self._exit()
            elif kind == "logged" and what.startswith("skipping new realtime generation"):
                self._end_generation(self._response)
            elif kind == "asks":
                self._requests.ask()
            elif kind == "connect":
                self._reconnected()

    # -- what the client hears ---------------------------------------------------------------

    def _heard(self, event: Event) -> None:
        kind = event["type"]
        if kind == "response.created":
            self._stalled = self._stalled or self._response * (self._response not in self._ended)
            self._end_response()
            self._response += 1
            asked = (event["response"]["metadata"] or {}).get("client_event_id")
            self._response_open = self._requests.wanted(asked)
        elif kind == "response.output_item.added":
            if event["item"]["type"] in ("function_call", "function_call_output"):
                alive = self._response_open and not self._away
                self.state[event["item"]["id"]] = "pending" if alive else "over"
                self._response_of[event["item"]["id"]] = self._response
        elif kind == "response.output_item.done":
            if event["item"]["type"] == "function_call":
                self._item_done(event["item"])
        elif kind == "response.done":
            self._end_response()
        elif kind == "input_audio_buffer.speech_started":
            self._exit()
        elif kind == "hang-up":
            self._exit("limbo")

    def _item_done(self, item: Event) -> None:
        item_id = item["id"]
        self._written.add(item_id)
        if item["status"] == "completed":
            self.completed.add(item_id)
        if self.state.get(item_id) != "pending":
            return
        if item["status"] == "completed" and item_id not in self.scenario.never_start:
            self.state[item_id] = "complete"
        elif self.scenario.level == "agent":
            self.state[item_id] = "over"

    def _end_response(self) -> None:
        """What was never handed over is over."""
        for item_id, state in self.state.items():
            if state == "pending":
                self.state[item_id] = "over"
        self._ended.add(self._response)
        self._response_open = False

    def _end_generation(self, response: int) -> None:
        """Nobody takes its calls any more, perhaps before the response ends."""
        for item_id, state in self.state.items():
            if state == "pending" and self._response_of[item_id] == response:
                self.state[item_id] = "over"
        if response == self._response:
            self._response_open = False

    def _exit(self, state_after: str = "over") -> None:
        for item_id, state in self.state.items():
            if state == "running":
                self.state[item_id] = "answered"
            elif state in IN_FLIGHT:
                self.state[item_id] = state_after
                if state_after == "limbo":
                    self._cut_off.add(item_id)
                elif self.scenario.level == "agent":
                    self._let_go.add(item_id)
        self._response_open = False

    def _reconnected(self) -> None:
        """What is replayed to the new connection is the client's own."""
        self._owed.clear()
        self._ended.add(self._response)
        for item_id, state in self.state.items():
            if state == "limbo":
                self.state[item_id] = "over"

    # -- what the client does ----------------------------------------------------------------

    def _sent(self, event: Event) -> None:
        kind = event["type"]
        if kind == "conversation.item.delete":
            item_id = event["item_id"]
            state = self.state.get(item_id)
            self.deleted.add(item_id)
            if any(item_id not in kept for kept in self._under_way.values()):
                self.excused |= {self._outputs[item_id]} if item_id in self._outputs else set()
            if self._in_flight(item_id):
                self.violations.add("deleted-in-flight")
                self.lost.add(item_id)
            elif state in ("started", "answered"):
                self.recorded.add("deleted-while-running")
                self.excused.add(item_id)
            elif state is not None:
                self.recorded.add("deleted-after-exit")
                self.excused.add(item_id)
        elif kind == "response.create":
            self._requests.goes_out(event["event_id"])
        elif kind == "conversation.item.create":
            item_id = event["item"].get("id", "")
            if event["item"].get("type") == "function_call_output":
                self._answered(event["item"])
            if self._in_flight(item_id):
                self.violations.add("recreated-in-flight")
            elif self.state.get(item_id) == "started":
                self.recorded.add("created-while-running")

    def _answered(self, output: Event) -> None:
        """A call's output goes out: from now on a running call may be deleted."""
        for item_id, call in self.scenario.generated().items():
            if output["call_id"] in names_of(call.call_id):
                self._outputs[output["id"]] = item_id
                if self.state.get(item_id) == "running":
                    self.state[item_id] = "answered"

    def _in_flight(self, item_id: str) -> bool:
        """A response that was not handed out, because nobody wants it any more, has no calls."""
        claimed = self._response_of.get(item_id) in self._claimed
        return claimed and self.state.get(item_id) in IN_FLIGHT

    def _handed(self, item_id: str | None, arguments: str) -> None:
        if item_id is None:
            return
        complete = self.scenario.generated()[item_id].arguments
        if item_id not in self._written or (item_id in self.completed and arguments != complete):
            self.violations.add("arguments")
        self.starts.append(item_id)
        if self.state.get(item_id) == "pending":
            self.state[item_id] = "complete"

    def _started(self, item_id: str) -> None:
        if item_id in self.deleted:  # before its tool started, so nothing excuses the loss
            self.lost.add(item_id)
        self.state[item_id] = self._begun
        if self.scenario.level == "agent":
            self.starts.append(item_id)

    @property
    def _begun(self) -> str:
        """The state of a call whose tool has started."""
        held = self.scenario.level == "session" or agent_knows_calls()
        return "started" if held else "running"

    def _given(self, item_id: str, arguments: dict[str, Any]) -> None:
        expected = json.loads(self.scenario.generated()[item_id].arguments)
        if item_id in self.completed and arguments != expected:
            self.violations.add("arguments")

    def _update(self, number: int, kept: frozenset[str], known: frozenset[str]) -> None:
        """An update begins: it must delete what it leaves out and is not in flight."""
        safe = (*IN_FLIGHT, "limbo")
        self._left_out |= {i for i, state in self.state.items() if state in safe} - kept
        self._under_way[number] = kept
        begun = ("started", "answered", "over")
        self.excused |= {i for i, state in self.state.items() if state in begun} & known - kept
        gone = ("started", "over") if self.scenario.level == "session" else ("started",)
        self._owed[number] = {
            item_id
            for item_id, state in self.state.items()
            if state in gone and item_id in known and item_id not in kept | self.deleted
        }

    def _updated(self, number: int, error: str | None) -> None:
        self._under_way.pop(number, None)
        owed = self._owed.pop(number, set())
        if error is None and owed - self.deleted:
            self.violations.add("undeletable")

    @property
    def adrift(self) -> set[str]:
        """The calls that a context left out while they were safe, and that lost their connection.

        Releases that replay no calls drop them then; had they been deleted when that context came,
        the next one might have put them back, by chance.
        """
        return self._left_out & self._cut_off

    def come_to_rest(self) -> None:
        """A response that never ended leaves its last call where no invariant speaks of it, unless
        the agent was done with it; where another took its place, an agent waits for ever, and is
        done with no call handed over since.
        """
        for item_id, state in self.state.items():
            unended = self._response_of[item_id] not in self._ended
            if state in ("running", "answered"):
                self.state[item_id] = "answered"
            elif item_id in self.starts or item_id in self._let_go:
                continue
            elif item_id in self.completed:
                unended = False
            if unended or self._waits(item_id):
                self.state[item_id] = "limbo"

    def _waits(self, item_id: str) -> bool:
        if not self._stalled:
            return False
        handed = self.scenario.level == "agent" and item_id in self._written
        since = handed and self._response_of[item_id] >= self._stalled
        return since or self.state[item_id] in ("pending", "complete")

    # -- at the end --------------------------------------------------------------------------

    def wire(self, texts: Iterable[str]) -> None:
        """The texts of all client events: none carries the flag, or the field that it is in."""
        for text in texts:
            if "dispatched" in text or '"extra"' in text:
                self.violations.add("flag-on-the-wire")

    def counts(self) -> None:
        """Each call that was completed starts once, unless an exit came first."""
        for item_id in self.scenario.generated():
            if self.starts.count(item_id) > 1:
                self.violations.add("twice")
            if self._in_flight(item_id) and item_id in self.completed - set(self.starts):
                self.violations.add("not-started")
