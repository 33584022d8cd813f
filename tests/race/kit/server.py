"""A simulated OpenAI Realtime server: one conversation, events in the documented order.

Rules from OpenAI's Realtime reference and from the order that livekit's module documents: a call
is announced *in progress and without arguments*; they come with ``response.output_item.done``.
The server only appends to its outbox; the transport decides when the client sees it.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Literal

from .generation import Conversation, Generation, spoken
from .script import Response, Say, names_of
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


class Server(Conversation):
    """State of one connection: the ordered items, the response being generated, the outbox."""

    def __init__(self, *, dialect: Dialect = "ga", audio: bool = False) -> None:
        super().__init__()
        self.dialect = dialect
        self.audio = audio
        self.outbox: deque[Event] = deque()
        self.scripts: deque[Response] = deque()
        self.session: dict[str, Any] = {}
        self.errors: list[Event] = []
        self.cancel_sends_item_done = True
        self.deaf_to_cancel = False
        self.caller_speaks_behind = False
        self.responses = 0
        self._sent = 0
        self._active: Generation | None = None
        self._emit({"type": "session.created", "session": {"id": "sess_1"}})

    # -- the conversation -------------------------------------------------------------------

    def _insert(self, item: dict[str, Any], previous: str | None) -> None:
        """Insert after ``previous`` (an id, "root" for the head, None for the end); announce it."""
        ids = self.ids()
        if previous is None:
            index = len(ids)
        else:
            index = 0 if previous == "root" else ids.index(previous) + 1
        self.items.insert(index, item)
        self._emit(self.placed("conversation.item.added", item))

    # -- generation -------------------------------------------------------------------------

    @property
    def generating(self) -> bool:
        return self._active is not None

    def begin(self, response: Response, *, metadata: dict[str, Any] | None = None) -> None:
        """Start a response; each ``step`` then makes its next event."""
        assert self._active is None, "a conversation generates one response at a time"
        self.responses += 1
        self._active = Generation(
            self.responses,
            response,
            self,
            audio=self.audio,
            metadata=metadata,
            behind=self.caller_speaks_behind,
        )

    def step(self) -> Event | None:
        """Make the next event of the active response; None if there is none."""
        if self._active is None:
            return None
        event = next(self._active)
        if event["type"] == "response.done":
            self._active = None
        self._emit(event)
        return event

    def give_up(self) -> None:
        """Drop the active response without any further event."""
        self._active = None

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
        if "type" not in item:
            message = "Missing required parameter: 'item.type'."
            return self._refuse(event, "missing_required_parameter", message)
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
        return self._emit(self.placed("conversation.item.done", item))

    def _has_call(self, call_id: str) -> bool:
        # clients shorten ids over 32 characters on their way out; no recording shows a server's
        # answer to that, so this one knows its call by either
        calls = [item["call_id"] for item in self.items if item["type"] == "function_call"]
        return any(call_id in names_of(call) for call in calls)

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
        if self._active is None or event.get("response_id", self._active.id) != self._active.id:
            message = "Cancellation failed: no active response found"
            return self._refuse(event, "response_cancel_not_active", message)
        return self._active.cancel(item_done=self.cancel_sends_item_done)

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

    def hear_caller(self, text: str) -> None:
        """Put the caller's turn into the conversation, as input audio with a transcript."""
        for event in spoken(self, text):
            self._emit(event)

    def speech_started(self, item_id: str = "user_speech") -> None:
        fields = {"item_id": item_id, "audio_start_ms": 0}
        self._emit({"type": "input_audio_buffer.speech_started", **fields})

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
