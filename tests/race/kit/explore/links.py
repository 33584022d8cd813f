"""A world whose two ends meet only in two FIFO links: a hang-up and a new connection travel on
them like any event, so that no move of one end touches the state of the other."""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

import aiohttp

from ..features import Flavour
from ..script import Response
from ..server import Server
from ..story import Story
from ..transport import Connection, Event
from ..world import World

# what most scenarios can do without: it only makes more schedules
ARGUMENTS_IN_PIECES = frozenset({"response.function_call_arguments.delta"})
HANG_UP: Event = {"type": "hang-up"}
CONNECT: Event = {"type": "connect"}
CLOSE: Event = {"type": "close"}


class Silence(Story):
    """Tells nothing: a story takes longer than what it tells of."""

    def tell(self, who: str, what: str) -> None:
        pass

    def event(self, who: str, event: Event) -> None:
        pass

    def look(self) -> None:
        pass


class _Line(Connection):
    """The client's end of connection ``number``."""

    def __init__(self, links: Links, number: int) -> None:
        super().__init__(lambda event: None)
        self._links = links
        self.number = number

    async def send_str(self, data: str, **_: Any) -> None:
        if self.closed:
            raise ConnectionResetError("the simulated socket is closed")
        self._links.client_sends(self.number, json.loads(data), data)

    def hang_up(self) -> None:
        self.closed = True
        self._push(aiohttp.WSMessage(aiohttp.WSMsgType.CLOSED, None, None))
        self._links.client_sends(self.number, CLOSE, "close")

    def hear(self, text: str) -> None:
        self._push(aiohttp.WSMessage(aiohttp.WSMsgType.TEXT, text, None))


class Links(World):
    """The world of an explored conversation.

    ``up`` and ``down`` are the links: (number of the connection, event, its text). An end ignores
    what belongs to a connection that it has left.

    Args:
    flavour: the client.
    audio: whether the server speaks.
    told: whether to keep a story.

    ``unsent`` are the types of events that the server leaves out; ``configure`` is called with the
    server of each connection before it is used.

    With ``settling`` off, nothing of the client runs but by the loop's own ticks.
    """

    def __init__(
        self,
        flavour: Flavour,
        *,
        audio: bool = False,
        told: bool = False,
    ) -> None:
        super().__init__(
            dialect=flavour.dialect,
            audio=audio,
            ordered=flavour.ordered,
            story=Story() if told else Silence(),
        )
        self.up: deque[tuple[int, Event, str]] = deque()
        self.down: deque[tuple[int, Event, str]] = deque()
        self.spontaneous: deque[Response] = deque()
        self.settling = True
        # calls whose outputs were in a conversation when the client itself closed it
        self.answered: set[str] = set()
        self.before_sending: Callable[[], None] = lambda: None
        self.made_by_server: list[str] = []
        self.made_by_client: list[str] = []
        self.unsent: frozenset[str] = ARGUMENTS_IN_PIECES
        self.configure: Callable[[Server], None] = lambda server: None
        self._served = 0
        self.first_connection = 1
        self._hung_up = False
        self._line: _Line | None = None

    # -- the client's end -------------------------------------------------------------------

    def _accept(self) -> Connection:
        self.connections += 1
        self.connection = self._line = _Line(self, self.connections)
        self.client_sends(self.connections, CONNECT, "connect")
        return self._line

    def client_sends(self, number: int, event: Event, text: str) -> None:
        self.before_sending()
        self.up.append((number, event, text))
        self.made_by_client.append(f"{number} {text}")
        if event is CONNECT or event is CLOSE:
            self.chronicle.append((text, number))
            self.story.tell("wire", f"the client {text}s ({number})")
        else:
            self._client_sent(event)

    def deliver(self, *, settle: bool = True) -> Event | None:
        if not self.down:
            return None
        number, event, text = self.down.popleft()
        line = self._line
        if line is not None and line.number == number and not line.closed:
            self.chronicle.append(("heard", event))
            if event is HANG_UP:
                self.story.tell("wire", "the client finds the connection closed")
                line.closed = True
                line._push(aiohttp.WSMessage(aiohttp.WSMsgType.CLOSED, None, None))
            else:
                self.delivered.append(event)
                self.story.event("server", event)
                line.hear(text)
        if settle:
            self.settle()
        return event

    def settle(self) -> None:
        if self.settling:
            super().settle()

    @property
    def closed(self) -> bool:
        """Whether the client has no open connection."""
        return self._line is None or self._line.closed

    def replayed_and_put(self) -> set[str]:
        """The ids that the client itself put on one later connection more than once."""
        puts: Counter[tuple[str, str]] = Counter()
        for made in self.made_by_client:
            number, _, text = made.partition(" ")
            if number != str(self.first_connection) and '"conversation.item.create"' in text:
                puts[number, json.loads(text)["item"]["id"]] += 1
        return {item_id for (_, item_id), times in puts.items() if times > 1}

    # -- the server's end -------------------------------------------------------------------

    @property
    def can_generate(self) -> bool:
        return not self._hung_up and (self.server.generating or bool(self.spontaneous))

    @property
    def connected(self) -> bool:
        return self._served > 0 and not self._hung_up

    def generate(self) -> Event | None:
        """Begin the next response that comes on its own, or make the next event; None if idle."""
        event = None
        while self.can_generate and not self.server.outbox:
            if not self.server.generating:
                self.server.begin(self.spontaneous.popleft())
            event = self.server.step()
            if event is not None and event["type"] in self.unsent:
                self.server.outbox.clear()
        self._server_sends()
        self._after()
        return event

    def hand_in(self) -> Event | None:
        if not self.up:
            return None
        number, event, _ = self.up.popleft()
        if event is CONNECT:
            self._serve(number)
        elif event is CLOSE and number == self._served:
            self.answered |= self.outputs()
        elif event is not CLOSE and number == self._served and not self._hung_up:
            if event["type"].startswith("conversation.item."):
                self.story.event("read", event)
            self.server.receive(event)
        self._server_sends()
        self._after()
        return event

    def outputs(self) -> set[str]:
        """The call ids of the outputs in the conversation."""
        items = self.server.items
        return {item["call_id"] for item in items if item["type"] == "function_call_output"}

    def disconnect(self) -> None:
        """The server hangs up; its conversation is gone."""
        self.story.tell("wire", "the server hangs up")
        self._hung_up = True
        self._send(HANG_UP, "hang-up")
        self._after()

    def give_up(self) -> None:
        """The server drops the response that it is making without any further event."""
        self.story.tell("server", "gives the response up")
        self.server.give_up()

    def announce_again(self) -> None:
        """The server announces its last item a second time."""
        if self.server.items:
            self._send_now(self.server.placed("conversation.item.added", self.server.items[-1]))

    def caller_says(self, text: str) -> None:
        self.server.hear_caller(text)
        self._server_sends()
        self.exchange()

    def caller_speaks(self) -> None:
        """The server hears the caller speak; its own turn detection ends the response."""
        self.server.speech_started()
        self._server_sends()
        self._after()

    def _send_now(self, event: Event) -> None:
        if name := self.server.rename(event["type"]):
            event = {**event, "type": name, "event_id": "event_again"}
            self._send(event, json.dumps(event))

    def _serve(self, number: int) -> None:
        last = self.server
        self.server = Server(dialect=self.dialect, audio=self.audio)
        self.server.scripts, self.server.errors = last.scripts, last.errors
        self.server.responses = last.responses
        self.configure(self.server)
        self.server.caller_speaks_behind = last.caller_speaks_behind
        self._served, self._hung_up = number, False

    def _server_sends(self) -> None:
        outbox = self.server.outbox
        while outbox:
            event = outbox.popleft()
            self._send(event, json.dumps(event))

    def _send(self, event: Event, text: str) -> None:
        self.down.append((self._served, event, text))
        self.made_by_server.append(f"{self._served} {text}")

    def _after(self) -> None:
        """Nothing of the client runs for what the server does; only the story looks."""
        self.story.look()
