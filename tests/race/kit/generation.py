"""How a simulated model answers: the events of one response, in the documented order."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

from .script import Answer, Call, Item, Response, Say
from .transport import Event

_SAMPLE_RATE = 24_000


class Conversation:
    """The ordered items that a server keeps."""

    def __init__(self) -> None:
        self.items: list[dict[str, Any]] = []

    def ids(self) -> list[str]:
        return [item["id"] for item in self.items]

    def get(self, item_id: str) -> dict[str, Any] | None:
        return next((item for item in self.items if item["id"] == item_id), None)

    def placed(self, event_type: str, item: dict[str, Any]) -> Event:
        """An event about an item, with the id before it."""
        ids = self.ids()
        index = ids.index(item["id"]) if item["id"] in ids else 0
        return {
            "type": event_type,
            "previous_item_id": ids[index - 1] if index else None,
            "item": dict(item),
        }


def spoken(conversation: Conversation, text: str) -> Iterator[Event]:
    """The events of a turn of the caller, which goes to the end of the conversation."""
    item = {
        "id": f"user {text}".replace(" ", "_"),
        "object": "realtime.item",
        "type": "message",
        "status": "completed",
        "role": "user",
        "content": [{"type": "input_audio", "transcript": None}],
    }
    conversation.items.append(item)
    yield conversation.placed("conversation.item.added", item)
    yield conversation.placed("conversation.item.done", item)
    yield {
        "type": "conversation.item.input_audio_transcription.completed",
        "item_id": item["id"],
        "content_index": 0,
        "transcript": text,
    }


class Generation(Iterator[Event]):
    """The events of one response; producing them also puts its items into the conversation.

    Args:
        number: how many responses the conversation has had, this one included.
        response: what to answer, and how to end.
        conversation: where the items go.
        audio: speak the messages, or write them.
        metadata: what the client sent along with its request.
        behind: the caller speaks while each call or answer is announced.
    """

    def __init__(
        self,
        number: int,
        response: Response,
        conversation: Conversation,
        *,
        audio: bool,
        metadata: dict[str, Any] | None,
        behind: bool = False,
    ) -> None:
        self.id = f"resp_{number}"
        self._conversation = conversation
        self._audio = audio
        self._metadata = metadata
        self._behind = behind
        self._open_item: dict[str, Any] | None = None
        self._is_cancelled = False
        self._events = self._complete(response)

    def __next__(self) -> Event:
        return next(self._events)

    def cancel(self, *, item_done: bool) -> None:
        """Go to the end, once: with or without ``output_item.done`` of an open item."""
        if not self._is_cancelled:
            self._is_cancelled = True
            self._events = self._cancelled(item_done=item_done)

    def _complete(self, response: Response) -> Iterator[Event]:
        yield self._response("response.created", "in_progress")
        for index, content in enumerate(response.items):
            cut = response.cut and index == len(response.items) - 1
            item = self._item(content)
            self._open_item = item
            yield self._output("response.output_item.added", item, index)
            self._conversation.items.append(item)
            yield self._conversation.placed("conversation.item.added", item)
            if self._behind and isinstance(content, Call | Answer):
                yield from spoken(self._conversation, f"behind {content.id}")
            yield from self._contents(content, item, cut)
            if not cut:
                item["status"] = "completed"
                yield self._conversation.placed("conversation.item.done", item)
                self._open_item = None
                yield self._output("response.output_item.done", item, index)
            elif response.item_done:
                item["status"] = "incomplete"
                yield self._output("response.output_item.done", item, index)
        yield self._response("response.done", response.status)

    def _cancelled(self, *, item_done: bool) -> Iterator[Event]:
        if self._open_item is not None and item_done:
            if self._open_item["status"] != "completed":
                self._open_item["status"] = "incomplete"
            yield self._output("response.output_item.done", self._open_item, 0)
        yield self._response("response.done", "cancelled")

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
        elif self._audio:
            text, kind = content.text, "response.output_audio_transcript"
        else:
            text, kind = content.text, "response.output_text"
        half = text[: len(text) // 2]

        if isinstance(content, Say):
            part = {"type": "audio" if self._audio else "text"}
            yield self._event("response.content_part.added", part=part, **where)
        yield self._event(f"{kind}.delta", delta=half, **where)
        if isinstance(content, Say) and self._audio:
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
        if self._audio:
            item["content"] = [{"type": "output_audio", "transcript": text}]
            yield self._event("response.output_audio.done", **where)
            yield self._event(f"{kind}.done", transcript=text, **where)
        else:
            item["content"] = [{"type": "output_text", "text": text}]
            yield self._event(f"{kind}.done", text=text, **where)
        yield self._event("response.content_part.done", part=item["content"][0], **where)

    def _event(self, event_type: str, **fields: Any) -> Event:
        return {"type": event_type, "response_id": self.id, **fields}

    def _output(self, event_type: str, item: dict[str, Any], index: int) -> Event:
        return self._event(event_type, output_index=index, item=dict(item))

    def _response(self, event_type: str, status: str) -> Event:
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
                "id": self.id,
                "object": "realtime.response",
                "status": status,
                "status_details": details,
                "output": [],
                "metadata": self._metadata,
                "usage": None,
            },
        }
