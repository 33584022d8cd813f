"""One simulated conversation: loop, links and server under the scenario's control, and its story.

The scenario has three moves, which an explorer can order as it likes: ``generate`` (the model makes
its next event), ``deliver`` (the client gets the next server event) and ``hand_in`` (the server
reads the next client event). After each, the loop runs until nothing is ready; time stands still.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from .loop import Deadlock, VirtualLoop
from .script import Response
from .server import Dialect, Server
from .story import Story
from .transport import Connection, Event, MemoryHTTP

T = TypeVar("T")
MOVES = 10_000
_LOGGER = logging.getLogger("livekit")  # on early releases the plugin logs for itself


class World:
    """One conversation.

    Args:
    dialect: the server's event names, "ga" or "beta".
    audio: whether the server speaks (audio modality) or writes.
    ordered: whether the client under test keeps the server's order in its mirror.
    story: where to tell what happens.
    """

    def __init__(
        self,
        *,
        dialect: Dialect = "ga",
        audio: bool = False,
        ordered: bool = True,
        story: Story | None = None,
    ) -> None:
        self.ordered = ordered
        self.loop = VirtualLoop()
        # one for all operations, as in a worker's job: tracing attaches at the start of a session
        # and detaches at its end
        self.context = contextvars.copy_context()
        asyncio.set_event_loop(self.loop)
        self.dialect: Dialect = dialect
        self.audio = audio
        self.server = Server(dialect=dialect, audio=audio)
        self.connection: Connection | None = None
        self.http = MemoryHTTP(self._accept)
        self.sent: list[Event] = []
        self.delivered: list[Event] = []
        # what the client was told and did, in one order: (kind, event, call or name)
        self.chronicle: list[tuple[str, Any]] = []
        self.story = story or Story()
        self.story.columns["server"] = lambda: self.server.ids()
        self.story.now = self.loop.time
        self.connections = 0
        self.closers: list[Callable[[], Awaitable[Any]]] = []
        self.log = _Log(self)
        _LOGGER.addHandler(self.log)

    # -- connections ------------------------------------------------------------------------

    def _accept(self) -> Connection:
        if self.connections:
            scripts = self.server.scripts
            self.server = Server(dialect=self.dialect, audio=self.audio)
            self.server.scripts = scripts
        self.connections += 1
        connection = Connection(self._client_sent)
        connection.downstream = self.server.outbox
        self.connection = connection
        self.story.tell("wire", f"connection {self.connections} opens")
        return connection

    def _client_sent(self, event: Event) -> None:
        self.sent.append(event)
        self.chronicle.append(("sent", event))
        self.story.event("client", event)

    def disconnect(self) -> None:
        """The server hangs up; its conversation is gone."""
        assert self.connection is not None
        self.story.tell("wire", "the server hangs up")
        self.connection.hang_up()
        self.settle()

    # -- the three moves --------------------------------------------------------------------

    def generate(self) -> Event | None:
        event = self.server.step()
        self.settle()
        return event

    def deliver(self, *, settle: bool = True) -> Event | None:
        """Give the client the next server event, or None if none is under way.

        Without ``settle`` the client has not run yet when this returns.
        """
        if self.connection is None or not self.connection.downstream:
            return None
        event = self.connection.deliver()
        self.delivered.append(event)
        self.chronicle.append(("heard", event))
        self.story.event("server", event)
        if settle:
            self.settle()
        return event

    def hand_in(self) -> Event | None:
        """Give the server the next client event, or None if none is under way."""
        if self.connection is None or not self.connection.upstream:
            return None
        event = self.connection.upstream.popleft()
        if event["type"].startswith("conversation.item."):
            self.story.event("read", event)
        self.server.receive(event)
        self.settle()
        return event

    def settle(self) -> None:
        """Run what is ready, and note who knows what afterwards."""
        self.loop.settle()
        self.story.look()

    # -- longer walks -----------------------------------------------------------------------

    def flush(self) -> None:
        """Move everything until both links are empty and the model has finished."""
        self.loop.settle()
        for _ in range(MOVES):
            if not (self.hand_in() or self.deliver() or self.generate()):
                return
        raise AssertionError(f"no quiet after {MOVES} moves\n{self.story.render()}")

    def exchange(self) -> None:
        """Empty both links; the model makes no new event."""
        self.loop.settle()
        for _ in range(MOVES):
            if not (self.hand_in() or self.deliver()):
                return
        raise AssertionError(f"no quiet after {MOVES} moves\n{self.story.render()}")

    def until(self, event_type: str, item_id: str | None = None) -> Event:
        """Go on until the client has received such an event (GA name; about ``item_id``)."""
        wanted = self.server.rename(event_type)
        for _ in range(MOVES):
            self.loop.settle()
            event = self.deliver()
            if event is None and not (self.hand_in() or self.generate()):
                break
            if event and event["type"] == wanted and item_id in (None, _item_id(event)):
                return event
        raise AssertionError(f"{wanted} of {item_id} never came\n{self.story.render()}")

    def rest(self, seconds: float = 15.0) -> None:
        """Flush, and let time pass (at most ``seconds``) as long as timers bring new moves."""
        end = self.loop.time() + seconds
        while True:
            self.flush()
            wait = self.loop.next_timer()
            if wait is None or self.loop.time() + wait > end:
                return
            self.loop.advance(wait)

    def finish(self, awaitable: asyncio.Future[T], seconds: float = 30.0) -> T:
        """Move until ``awaitable`` is done; return or raise its outcome.

        The links come first, then the model's next event, and time only when neither helps.
        """
        end = self.loop.time() + seconds
        while True:
            self.exchange()
            if awaitable.done():
                return awaitable.result()
            if self.generate():
                continue
            wait = self.loop.next_timer()
            if wait is None or self.loop.time() + wait > end:
                raise Deadlock(f"{self.loop.describe_pending()}\n{self.story.render()}")
            self.loop.advance(wait)

    # -- doing something as the client -------------------------------------------------------

    def start(self, coroutine: Coroutine[Any, Any, T], what: str) -> asyncio.Task[T]:
        """Start a client operation as a task, and let it run until it waits."""
        self.story.tell("agent", what)
        task = self.loop.create_task(coroutine, name=what, context=self.context)
        self.settle()
        return task

    def run(self, coroutine: Coroutine[Any, Any, T], what: str) -> T:
        """Start a client operation and see it through."""
        return self.finish(self.start(coroutine, what))

    def respond(self, response: Response) -> None:
        """The server starts a response on its own (its turn detection saw a turn end)."""
        self.server.begin(response)

    def caller_says(self, text: str) -> None:
        """The server hears a whole turn of the caller, and has a transcript of it."""
        self.server.hear_caller(text)
        self.exchange()

    # -- the end ----------------------------------------------------------------------------

    def close(self) -> None:
        """Close what the drivers opened, cancel what is left, close the loop."""
        for closer in reversed(self.closers):
            task = self.loop.create_task(_wrap(closer), context=self.context)
            try:
                self.finish(task)
            except Exception:
                logging.getLogger("race").debug("closing failed", exc_info=True)
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.loop.settle()
        self._forget()

    def drop(self) -> None:
        """End at once: cancel everything, close nothing politely."""
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.loop.settle()
        self._forget()

    def _forget(self) -> None:
        asyncio.set_event_loop(None)
        self.loop.close()
        _LOGGER.removeHandler(self.log)


class _Log(logging.Handler):
    """What livekit warns of, kept and told in the story."""

    def __init__(self, world: World) -> None:
        super().__init__(logging.WARNING)
        self._world = world
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        extra = [
            str(getattr(record, name)) for name in ("error", "errors") if hasattr(record, name)
        ]
        self.lines.append(": ".join([record.getMessage(), *extra]))
        self._world.chronicle.append(("logged", self.lines[-1]))
        self._world.story.tell("log", self.lines[-1].splitlines()[0])


async def _wrap(closer: Callable[[], Awaitable[Any]]) -> None:
    await closer()


def _item_id(event: Event) -> str | None:
    return event["item"]["id"] if "item" in event else event.get("item_id")
