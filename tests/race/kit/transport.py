"""The wire, in memory: what the model takes for an aiohttp session and its web socket.

Two FIFO links join client and server. Nothing moves on them by itself: the scenario says when the
next client event reaches the server and when the next server event reaches the client.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable
from typing import Any

import aiohttp

Event = dict[str, Any]


class Connection:
    """One web socket, as far as livekit uses it: ``send_str``, ``receive``, ``close``, ``closed``.

    ``upstream`` holds what the client sent and the server has not read, ``downstream`` what the
    server sent and the client has not received.
    """

    def __init__(self, on_send: Callable[[Event], None]) -> None:
        self.upstream: deque[Event] = deque()
        self.downstream: deque[Event] = deque()
        self.closed = False
        self._on_send = on_send
        self._inbox: deque[aiohttp.WSMessage] = deque()
        self._arrived = asyncio.Event()

    # -- the client's side -----------------------------------------------------------------

    async def send_str(self, data: str, **_: Any) -> None:
        if self.closed:
            raise ConnectionResetError("the simulated socket is closed")
        event = json.loads(data)
        self.upstream.append(event)
        self._on_send(event)

    async def receive(self, timeout: float | None = None) -> aiohttp.WSMessage:
        while not self._inbox:
            self._arrived.clear()
            await self._arrived.wait()
        return self._inbox.popleft()

    async def close(self, **_: Any) -> bool:
        if self.closed:
            return False
        self.hang_up()
        return True

    # -- the scenario's side ---------------------------------------------------------------

    def deliver(self) -> Event:
        """Hand the oldest server event to the client."""
        event = self.downstream.popleft()
        self._push(aiohttp.WSMessage(aiohttp.WSMsgType.TEXT, json.dumps(event), None))
        return event

    def hang_up(self) -> None:
        """End the connection; what was under way in either direction is lost."""
        self.closed = True
        self.upstream.clear()
        self.downstream.clear()
        self._push(aiohttp.WSMessage(aiohttp.WSMsgType.CLOSED, None, None))

    def _push(self, message: aiohttp.WSMessage) -> None:
        self._inbox.append(message)
        self._arrived.set()


class MemoryHTTP:
    """The ``http_session=`` of a model. Each ``ws_connect`` is a new connection, or a refusal."""

    def __init__(self, accept: Callable[[], Connection]) -> None:
        self._accept = accept
        self.refuse = 0
        self.closed = False

    async def ws_connect(self, url: str, **_: Any) -> Connection:
        if self.refuse:
            self.refuse -= 1
            raise aiohttp.ClientConnectionError("the simulated server refuses connections")
        return self._accept()

    async def close(self) -> None:
        self.closed = True
