"""A simulated OpenAI Realtime server: one conversation, events in the documented order.

Rules from OpenAI's Realtime reference and from the order that livekit's module documents: a call
is announced *in progress and without arguments*; they come with ``response.output_item.done``.
The server only appends to its outbox; the transport decides when the client sees it.
"""

from __future__ import annotations

import base64
from collections import deque
from collections.abc import Iterator
from typing import Any, Literal

from .script import Answer, Call, Item, Response, Say, Status
from .transport import Event

Dialect = Literal["ga", "beta"]

# GA name -> the name in the beta dialect; a None event does not exist there
_BETA: dict[str, str | None] = {
    "conversation.item.added": "conversation.item.created",
    "conversation.item.done": None,
    "response.output_text.delta": "response.text.delta",
    "response.output_text.done": "response.text.done",
    "response.output_audio.delta": "response.audio.delta",
    "response.output_audio.done": "response.audio.done",
    "response.output_audio_transcript.delta": "response.audio_transcript.delta",
    "response.output_audio_transcript.done": "response.audio_transcript.done",
}
_SAMPLE_RATE = 24_000


class Server:
    """State of one connection: the ordered items, the response being generated, the outbox."""

    def __init__(self, *, dialect: Dialect = "ga", audio: bool = False) -> None:
        self.dialect = dialect
        self.audio = audio
        self.outbox: deque[Event] = deque()
        self.items: list[dict[str, Any]] = []
        self.scripts: deque[Response] = deque()
        self.session: dict[str, Any] = {}
        self.errors: list[Event] = []
        self.cancel_sends_item_done = True
        self.deaf_to_cancel = False
        self.responses = 0
        self._sent = 0
        self._active: Iterator[Event] | None = None
        self._active_id = ""
        self._open_item: dict[str, Any] | None = None
        self._emit({"type": "session.created", "session": {"id": "sess_1"}})

    # -- the conversation -------------------------------------------------------------------

    def ids(self) -> list[str]:
        return [item["id"] for item in self.items]

    def get(self, item_id: str) -> dict[str, Any] | None:
        return next((item for item in self.items if item["id"] == item_id), None)

    def _insert(self, item: dict[str, Any], previous: str | None) -> None:
        """Insert after ``previous`` (an id, "root" for the head, None for the end); announce it."""
        ids = self.ids()
        if previous is None:
            index = len(ids)
        else:
            index = 0 if previous == "root" else ids.index(previous) + 1
        self.items.insert(index, item)
        self._emit(self._placed("conversation.item.added", item))

    def _placed(self, event_type: str, item: dict[str, Any]) -> Event:
        ids = self.ids()
        index = ids.index(item["id"]) if item["id"] in ids else 0
        return {
            "type": event_type,
            "previous_item_id": ids[index - 1] if index else None,
            "item": dict(item),
        }

    # -- generation -------------------------------------------------------------------------

    @property
    def generating(self) -> bool:
        return self._active is not None

    def begin(self, response: Response, *, metadata: dict[str, Any] | None = None) -> None:
        """Start a response; each ``step`` then makes its next event."""
        assert self._active is None, "a conversation generates one response at a time"
        self.responses += 1
        self._active_id = f"resp_{self.responses}"
        self._active = self._generate(response, metadata)

    def step(self) -> Event | None:
        """Make the next event of the active response; None if there is none."""
        if self._active is None:
            return None
        event = next(self._active)
        if event["type"] == "response.done":
            self._active = self._open_item = None
        self._emit(event)
        return event

    def _generate(self, response: Response, metadata: dict[str, Any] | None) -> Iterator[Event]:
        yield self._response("response.created", "in_progress", metadata)
        for index, content in enumerate(response.items):
            cut = response.cut and index == len(response.items) - 1
            item = self._item(content)
            self._open_item = item
            yield self._output("response.output_item.added", item, index)
            self.items.append(item)
            yield self._placed("conversation.item.added", item)
            yield from self._contents(content, item, cut)
            if not cut:
                item["status"] = "completed"
                yield self._placed("conversation.item.done", item)
                yield self._output("response.output_item.done", item, index)
                self._open_item = None
            elif response.item_done:
                item["status"] = "incomplete"
                yield self._output("response.output_item.done", item, index)
        yield self._response("response.done", response.status, metadata)

    def _cancelled(self, item: dict[str, Any] | None) -> Iterator[Event]:
        if item is not None and self.cancel_sends_item_done:
            item["status"] = "incomplete"
            yield self._output("response.output_item.done", item, 0)
        yield self._response("response.done", "cancelled", None)

    def _item(self, content: Item) -> dict[str, Any]:
        item: dict[str, Any] = {
            "id": content.id, "object": "realtime.item", "status": "in_progress"
        }  # fmt: skip
        if isinstance(content, Call):
            return item | {
                "type": "function_call",
                "name": content.name,
                "call_id": content.call_id,
                "arguments": "",
            }
        if isinstance(content, Answer):
            answer = {"call_id": content.call_id, "output": content.output}
            return item | {"type": "function_call_output"} | answer
        return item | {"type": "message", "role": "assistant", "content": []}

    def _contents(self, content: Item, item: dict[str, Any], cut: bool) -> Iterator[Event]:
        if isinstance(content, Answer):
            return
        where = {"item_id": item["id"], "output_index": 0, "content_index": 0}
        if isinstance(content, Call):
            text, kind = content.arguments, "response.function_call_arguments"
        elif self.audio:
            text, kind = content.text, "response.output_audio_transcript"
        else:
            text, kind = content.text, "response.output_text"
        half = text[: len(text) // 2]

        if isinstance(content, Say):
            part = {"type": "audio" if self.audio else "text"}
            yield self._event("response.content_part.added", part=part, **where)
        yield self._event(f"{kind}.delta", delta=half, **where)
        if isinstance(content, Say) and self.audio:
            samples = int(content.seconds * _SAMPLE_RATE)
            silence = base64.b64encode(bytes(2 * samples)).decode()
            yield self._event("response.output_audio.delta", delta=silence, **where)
        if cut:
            if isinstance(content, Call):
                item["arguments"] = half
            return
        yield self._event(f"{kind}.delta", delta=text[len(half) :], **where)
        if isinstance(content, Call):
            item["arguments"] = text
            yield self._event(f"{kind}.done", arguments=text, call_id=content.call_id, **where)
            return
        if self.audio:
            item["content"] = [{"type": "output_audio", "transcript": text}]
            yield self._event("response.output_audio.done", **where)
            yield self._event(f"{kind}.done", transcript=text, **where)
        else:
            item["content"] = [{"type": "output_text", "text": text}]
            yield self._event(f"{kind}.done", text=text, **where)
        yield self._event("response.content_part.done", part=item["content"][0], **where)

    def _event(self, event_type: str, **fields: Any) -> Event:
        return {"type": event_type, "response_id": self._active_id, **fields}

    def _output(self, event_type: str, item: dict[str, Any], index: int) -> Event:
        return self._event(event_type, output_index=index, item=dict(item))

    def _response(
        self, event_type: str, status: Status | str, metadata: dict[str, Any] | None
    ) -> Event:
        details: dict[str, Any] | None = None
        if status == "cancelled":
            details = {"type": "cancelled", "reason": "client_cancelled"}
        elif status == "incomplete":
            details = {"type": "incomplete", "reason": "max_output_tokens"}
        elif status == "failed":
            details = {"type": "failed", "error": {"type": "server_error", "code": "simulated"}}
        return {
            "type": event_type,
            "response": {
                "id": self._active_id,
                "object": "realtime.response",
                "status": status,
                "status_details": details,
                "output": [],
                "metadata": metadata,
                "usage": None,
            },
        }

    # -- what the client asks for -----------------------------------------------------------

    def receive(self, event: Event) -> None:
        """Handle one client event; replies go to the outbox."""
        kind = event["type"]
        if kind == "session.update":
            self.session |= event["session"]
            self._emit({"type": "session.updated", "session": dict(self.session)})
        elif kind == "conversation.item.create":
            self._create(event)
        elif kind == "conversation.item.delete":
            self._delete(event)
        elif kind == "conversation.item.truncate":
            self._truncate(event)
        elif kind == "response.create":
            self._create_response(event)
        elif kind == "response.cancel":
            self._cancel(event)
        elif kind == "input_audio_buffer.clear":
            self._emit({"type": "input_audio_buffer.cleared"})
        elif kind not in ("input_audio_buffer.append", "input_audio_buffer.commit"):
            self._refuse(event, "unknown_event", f"the simulated server does not know {kind}")

    def _create(self, event: Event) -> None:
        item = {"object": "realtime.item", "status": "completed", **event["item"]}
        item.setdefault("id", f"item_server_{len(self.items)}")
        previous = event.get("previous_item_id")
        if item["id"] in self.ids():
            message = f"Error adding item: an item with id '{item['id']}' already exists."
            return self._refuse(event, "item_create_duplicate_item_id", message)
        if previous not in (None, "root", *self.ids()):
            message = f"Error adding item: previous_item_id '{previous}' not found."
            return self._refuse(event, "item_create_previous_item_not_found", message)
        if item["type"] == "function_call_output" and not self._has_call(item["call_id"]):
            message = f"No such call: tool call id '{item['call_id']}' not found in conversation."
            return self._refuse(event, "invalid_tool_call_id", message)
        self._insert(item, previous)
        return self._emit(self._placed("conversation.item.done", item))

    def _has_call(self, call_id: str) -> bool:
        return any(
            item["type"] == "function_call" and item["call_id"] == call_id for item in self.items
        )

    def _delete(self, event: Event) -> None:
        if (item := self.get(event["item_id"])) is None:
            message = f"Error deleting item: the item with id '{event['item_id']}' does not exist."
            return self._refuse(event, "item_delete_invalid_item_id", message)
        self.items.remove(item)
        return self._emit({"type": "conversation.item.deleted", "item_id": event["item_id"]})

    def _truncate(self, event: Event) -> None:
        if self.get(event["item_id"]) is None:
            message = f"Error truncating item: no item '{event['item_id']}'."
            return self._refuse(event, "item_truncate_invalid_item_id", message)
        fields = {key: event[key] for key in ("item_id", "content_index", "audio_end_ms")}
        return self._emit({"type": "conversation.item.truncated", **fields})

    def _create_response(self, event: Event) -> None:
        if self._active is not None:
            message = "Conversation already has an active response in progress."
            return self._refuse(event, "conversation_already_has_active_response", message)
        response = self.scripts.popleft() if self.scripts else _reply(self.responses)
        return self.begin(response, metadata=(event.get("response") or {}).get("metadata"))

    def _cancel(self, event: Event) -> None:
        if self.deaf_to_cancel:
            return None
        wanted = event.get("response_id", self._active_id)
        if self._active is None or wanted != self._active_id:
            message = "Cancellation failed: no active response found"
            return self._refuse(event, "response_cancel_not_active", message)
        self._active = self._cancelled(self._open_item)
        return None

    def _refuse(self, event: Event, code: str, message: str) -> None:
        error = {
            "type": "invalid_request_error",
            "code": code,
            "message": message,
            "param": None,
            "event_id": event.get("event_id"),
        }
        self.errors.append(error)
        self._emit({"type": "error", "error": error})

    # -- what the user does -----------------------------------------------------------------

    def speech_started(self, item_id: str = "user_speech") -> None:
        fields = {"item_id": item_id, "audio_start_ms": 0}
        self._emit({"type": "input_audio_buffer.speech_started", **fields})

    def user_said(self, transcript: str, item_id: str = "user_speech") -> None:
        """The server's own turn detection commits what the user said, and transcribes it."""
        stopped = {"item_id": item_id, "audio_end_ms": 0}
        self._emit({"type": "input_audio_buffer.speech_stopped", **stopped})
        content = [{"type": "input_audio", "transcript": None}]
        item = {"id": item_id, "object": "realtime.item", "status": "completed"}
        self._insert(item | {"type": "message", "role": "user", "content": content}, None)
        kind = "conversation.item.input_audio_transcription.completed"
        fields = {"item_id": item_id, "content_index": 0, "transcript": transcript}
        self._emit({"type": kind, "logprobs": None, "usage": None, **fields})

    # -- out --------------------------------------------------------------------------------

    def rename(self, event_type: str) -> str | None:
        """The name of a GA event in this server's dialect; None if it has no such event."""
        return _BETA.get(event_type, event_type) if self.dialect == "beta" else event_type

    def _emit(self, event: Event) -> None:
        if name := self.rename(event["type"]):
            self._sent += 1
            self.outbox.append({**event, "type": name, "event_id": f"event_{self._sent}"})


def _reply(number: int) -> Response:
    return Response(items=(Say("Done.", id=f"msg_reply_{number + 1}"),))
