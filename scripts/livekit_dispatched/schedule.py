"""The canonical schedule: does this environment lose a tool call?

A real AgentSession with a real openai.realtime.RealtimeModel, started with a history, talks to the
server below through the public ``http_session=``. The server announces a call, and before its
arguments are complete the application passes a fresh copy of the agent's own context to
``update_chat_ctx()``. Releases without the fix delete the call. There is no network in this.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
from dataclasses import dataclass
from typing import Any

import aiohttp
from livekit.agents import Agent, AgentSession, function_tool, llm
from livekit.plugins.openai import realtime

KEPT, LOST, UNDECIDED = "kept", "lost", "undecided"
CALL = {"type": "function_call", "id": "fnc_1", "call_id": "call_1", "name": "lookup"}
ARGUMENTS = {"city": "Delft"}
ENDPOINT = "http://realtime.invalid/v1"
# the engine's own name, typing error included, for the event that GA calls "added"
_IS_GA = hasattr(realtime.RealtimeSession, "_handle_conversion_item_added")
_ADDED = "conversation.item.added" if _IS_GA else "conversation.item.created"


@dataclass(frozen=True)
class Observation:
    """``outcome`` is KEPT, LOST or UNDECIDED; ``timeline`` says what happened, one line each."""

    outcome: str
    reason: str
    timeline: tuple[str, ...]


def observe(seconds: float = 15.0) -> Observation:
    """Play the schedule, for at most ``seconds``. It must not run in a running event loop."""
    timeline: list[str] = []
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        outcome, reason = asyncio.run(_play(timeline, seconds))
    except Exception as error:  # noqa: BLE001  anything may come out of a broken environment
        outcome, reason = UNDECIDED, repr(error)
    finally:
        logging.disable(disabled)
    return Observation(outcome, reason, tuple(timeline))


async def _play(timeline: list[str], seconds: float) -> tuple[str, str]:
    server = Server(timeline)
    session = AgentSession(llm=_model(server))
    conversation = asyncio.ensure_future(_converse(session, server))
    waiting: set[asyncio.Future[Any]] = {conversation, server.decided}
    await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    if not server.decided.done() and conversation.done():
        conversation.result()
    verdict = (UNDECIDED, f"nothing was decided in {seconds:g} s")
    if server.decided.done():
        verdict = server.decided.result()
    conversation.cancel()
    closing = asyncio.ensure_future(session.aclose())
    await asyncio.wait({conversation, closing}, timeout=0.2)
    return verdict


def _model(server: Server) -> Any:
    wanted = {"base_url": ENDPOINT, "api_key": "none", "modalities": ["text"]}
    accepted = inspect.signature(realtime.RealtimeModel.__init__).parameters
    known = {name: value for name, value in wanted.items() if name in accepted}
    return realtime.RealtimeModel(http_session=server, **known)


async def _converse(session: Any, server: Server) -> None:
    async def lookup(city: str) -> str:
        """The weather in a city."""
        server.tell("tool", f"lookup({city!r}) starts")
        server.given.append({"city": city})
        return "22 degrees"

    history = llm.ChatContext.empty()
    for role, text in (("user", "Hello."), ("assistant", "Yes?"), ("user", "What weather is it?")):
        history.add_message(role=role, content=text)
    start: dict[str, Any] = {}
    own: dict[str, Any] = {}
    # from 2.0 on a history belongs to the session's start, not to the agent
    accepts = inspect.signature(Agent.__init__).parameters
    (own if "chat_ctx" in accepts else start)["chat_ctx"] = history
    if "record" in inspect.signature(session.start).parameters:
        start["record"] = False
    agent = Agent(instructions="Help the caller.", tools=[function_tool(lookup)], **own)
    await session.start(agent, **start)
    await server.heard()
    server.announce()
    await server.heard()
    server.tell("agent", "update_chat_ctx: a fresh copy of its own context")
    # where an agent keeps no context, what runs it does
    knowledge = agent if hasattr(agent, "update_chat_ctx") else session._activity
    await knowledge.update_chat_ctx(knowledge.chat_ctx.copy())
    server.complete()
    await server.decided


class Server:
    """What the model takes for an aiohttp session and its web socket, and the realtime server.

    ``decided`` becomes the outcome and its reason; ``given`` holds what each tool was called with.
    """

    closed = False

    def __init__(self, timeline: list[str]) -> None:
        self.items: list[str] = []
        self.given: list[dict[str, Any]] = []
        self.decided: asyncio.Future[tuple[str, str]] = asyncio.get_running_loop().create_future()
        self._timeline = timeline
        self._to_client: asyncio.Queue[aiohttp.WSMessage] = asyncio.Queue()
        self._reading = False
        self._in_flight = False

    # -- the socket -------------------------------------------------------------------------

    async def ws_connect(self, url: str, **_: Any) -> Server:
        self.send("session.created", session={"id": "sess_1"})
        return self

    async def close(self, **_: Any) -> None:
        self.closed = True
        self._to_client.put_nowait(aiohttp.WSMessage(aiohttp.WSMsgType.CLOSED, None, None))

    async def receive(self, timeout: float | None = None) -> aiohttp.WSMessage:
        if self._reading:  # it comes back for more, so it has dealt with the last event
            self._to_client.task_done()
        self._reading = True
        return await self._to_client.get()

    async def send_str(self, text: str, **_: Any) -> None:
        event = json.loads(text)
        self.tell("client", describe(event))
        kind, item = event["type"], event.get("item", {})
        if kind == "conversation.item.delete":
            self._delete(event["item_id"])
        elif kind == "conversation.item.create" and item["type"] == "function_call_output":
            self._answer(event)
        elif kind == "conversation.item.create":
            self._put(item, event.get("previous_item_id"))
        elif kind == "response.create":
            asked = (event.get("response") or {}).get("metadata")
            for status, name in (("in_progress", "created"), ("completed", "done")):
                self.send(f"response.{name}", response=_response(status, "resp_2", asked))

    async def heard(self) -> None:
        """Wait until the client has dealt with every event."""
        await self._to_client.join()

    def send(self, kind: str, **fields: Any) -> None:
        event = {"type": kind, "event_id": "event_1", **fields}
        self.tell("server", describe(event))
        message = aiohttp.WSMessage(aiohttp.WSMsgType.TEXT, json.dumps(event), None)
        self._to_client.put_nowait(message)

    def tell(self, who: str, what: str) -> None:
        self._timeline.append(f"{who:<6}  {what}")

    # -- the conversation -------------------------------------------------------------------

    def announce(self) -> None:
        """A call begins: in progress and without arguments, as the API documents it."""
        item = {**CALL, "object": "realtime.item", "status": "in_progress", "arguments": ""}
        self.send("response.created", response=_response("in_progress"))
        self.send("response.output_item.added", item=item, response_id="resp_1", output_index=0)
        self._in_flight = True
        self._put(item, None)

    def complete(self) -> None:
        """The call's arguments are there, and the response is over."""
        where = {"response_id": "resp_1", "output_index": 0}
        text = json.dumps(ARGUMENTS)
        item = {**CALL, "object": "realtime.item", "status": "completed", "arguments": text}
        kind = "response.function_call_arguments"
        self.send(f"{kind}.delta", delta=text, item_id=CALL["id"], **where)
        self._in_flight = False
        self.send("response.output_item.done", item=item, **where)
        self.send("response.done", response=_response("completed"))

    def _put(self, item: dict[str, Any], after: str | None) -> None:
        at = len(self.items)
        if after is not None:
            at = 0 if after == "root" else self.items.index(after) + 1
        before = self.items[at - 1] if at else None
        self.items.insert(at, item["id"])
        self.send(_ADDED, previous_item_id=before, item=item)

    def _delete(self, item_id: str) -> None:
        if self._in_flight and item_id == CALL["id"]:
            self._decide(LOST, "the call was deleted while it was in flight")
        self.items.remove(item_id)
        self.send("conversation.item.deleted", item_id=item_id)

    def _answer(self, event: dict[str, Any]) -> None:
        if CALL["id"] not in self.items:
            self._decide(LOST, f"No such call: {CALL['call_id']}")
        elif self.given != [ARGUMENTS]:
            self._decide(LOST, f"its tool was called with {self.given}, not once with {ARGUMENTS}")
        else:
            self._decide(KEPT, "the call was kept, and its output accepted")
        self._put(event["item"], None)

    def _decide(self, outcome: str, reason: str) -> None:
        if not self.decided.done():
            self.decided.set_result((outcome, reason))


def describe(event: dict[str, Any]) -> str:
    """An event in one line."""
    item = event.get("item") or {}
    about = item.get("id") or event.get("item_id") or ""
    status = f"({item['type']}, {item.get('status', 'new')})" if "type" in item else ""
    return " ".join(filter(None, (event["type"], about, status)))


def _response(status: str, name: str = "resp_1", metadata: Any = None) -> dict[str, Any]:
    fixed: dict[str, Any] = {"object": "realtime.response", "output": [], "usage": None}
    return {**fixed, "id": name, "status": status, "metadata": metadata}
