"""What happened, for a reader who has never seen the bug: one line a move, and who knows what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Event = dict[str, Any]
_ARROW = {"server": "server ─▶ client", "client": "client ─▶ server", "read": "server reads    "}
_BORING = ("session.", "input_audio_buffer.", "rate_limits.")


@dataclass(frozen=True)
class Entry:
    """One line: at ``seconds`` of virtual time, ``who`` did ``what``.

    ``event`` is the event that travelled, as it was at that moment, if one did. ``holds`` are the
    ids that ``who`` knows from then on, if that is what the line says.
    """

    seconds: float
    who: str
    what: str = ""
    event: Event | None = None
    holds: tuple[str, ...] | None = None

    def __str__(self) -> str:
        if self.holds is not None:
            return f"{'':28}{self.who:>7} = {', '.join(self.holds) or '(empty)'}"
        return f"{self.seconds:8.3f}  {_ARROW.get(self.who, f'{self.who:<16}')}  {self.what}"


class Story:
    """Entries in their order, with the ids in each of ``columns`` where they changed.

    ``start`` is the number of the first entry after the set-up (see ``begin``), ``before`` what
    each column knew then.
    """

    def __init__(self) -> None:
        self.columns: dict[str, Callable[[], list[str]]] = {}
        self.now: Callable[[], float] = lambda: 0.0
        self.entries: list[Entry] = []
        self.start = 0
        self.before: dict[str, tuple[str, ...]] = {}
        self._last: dict[str, list[str]] = {}

    def begin(self) -> None:
        """What comes now is the matter; what came before was the set-up."""
        self.look()
        self.start = len(self.entries)
        self.before = {name: tuple(ids) for name, ids in self._last.items()}

    def tell(self, who: str, what: str) -> None:
        """Add one line: the cause, before its effects."""
        self.entries.append(Entry(self.now(), who, what))

    def event(self, who: str, event: Event) -> None:
        if not event["type"].startswith(_BORING):
            # the server goes on writing into the items that it has sent
            as_it_is = {k: {**v} if isinstance(v, dict) else v for k, v in event.items()}
            self.entries.append(Entry(self.now(), who, describe(event), as_it_is))

    def look(self) -> None:
        """Add each column that is not what it was."""
        for name, ids in self.columns.items():
            if self._last.get(name) != (known := ids()):
                self._last[name] = known
                self.entries.append(Entry(self.now(), name, holds=tuple(known)))

    def render(self, last: int = 60) -> str:
        cut = len(self.entries) - last
        head = [f"… {cut} lines earlier …"] if cut > 0 else []
        return "\n".join(head + [str(entry) for entry in self.entries[-last:]])


def describe(event: Event) -> str:
    """One event in one line, such as ``conversation.item.added fnc_1 (call_1 lookup …)``."""
    kind = event["type"]
    if kind == "error":
        return f"error: {event['error']['message']}"
    if item := event.get("item"):
        text = f"{kind} {item.get('id')}"
        if (made := item.get("type")) == "function_call":
            text += f" ({item['call_id']} {item['name']}({item['arguments']}) {item.get('status')})"
        elif made == "function_call_output":
            text += f" (output of {item['call_id']})"
        if "previous_item_id" in event:
            text += f" after {event['previous_item_id']}"
        return text
    if "response" in event and kind != "response.create":
        return f"{kind} {event['response']['id']} {event['response']['status']}"
    if "item_id" in event:
        return f"{kind} {event['item_id']}"
    return str(kind)
