"""What happened, for a reader who has never seen the bug: one line a move, and who knows what."""

from __future__ import annotations

from collections.abc import Callable

from .transport import Event

_ARROW = {"server": "server ─▶ client", "client": "client ─▶ server", "read": "server reads    "}
_BORING = ("session.", "input_audio_buffer.", "rate_limits.")


class Story:
    """Lines of (seconds, what), with the ids in each of ``columns`` where they changed."""

    def __init__(self) -> None:
        self.columns: dict[str, Callable[[], list[str]]] = {}
        self.now: Callable[[], float] = lambda: 0.0
        self._lines: list[str] = []
        self._last: dict[str, list[str]] = {}

    def tell(self, who: str, what: str) -> None:
        """Add one line: the cause, before its effects."""
        self._lines.append(f"{self.now():8.3f}  {_ARROW.get(who, f'{who:<16}')}  {what}")

    def event(self, who: str, event: Event) -> None:
        if not event["type"].startswith(_BORING):
            self.tell(who, describe(event))

    def look(self) -> None:
        """Add each column that is not what it was."""
        for name, ids in self.columns.items():
            if self._last.get(name) != (known := ids()):
                self._last[name] = known
                self._lines.append(f"{'':28}{name:>7} = {', '.join(known) or '(empty)'}")

    def render(self, last: int = 60) -> str:
        cut = len(self._lines) - last
        head = [f"… {cut} lines earlier …"] if cut > 0 else []
        return "\n".join(head + self._lines[-last:])


def describe(event: Event) -> str:
    """One event in one line, such as ``conversation.item.added fnc_1 (call_1 lookup …)``."""
    kind = event["type"]
    if kind == "error":
        return f"error: {event['error']['message']}"
    if item := event.get("item"):
        text = f"{kind} {item.get('id')}"
        if item["type"] == "function_call":
            text += f" ({item['call_id']} {item['name']}({item['arguments']}) {item.get('status')})"
        elif item["type"] == "function_call_output":
            text += f" (output of {item['call_id']})"
        if "previous_item_id" in event:
            text += f" after {event['previous_item_id']}"
        return text
    if "response" in event and kind != "response.create":
        return f"{kind} {event['response']['id']} {event['response']['status']}"
    if "item_id" in event:
        return f"{kind} {event['item_id']}"
    return str(kind)
