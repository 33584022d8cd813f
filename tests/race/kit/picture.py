"""A story as a sequence diagram: four lifelines, what travels between them, and who knows what.

``draw`` turns a story into a picture, which ``terminal`` and ``svg`` set. A lifeline is heavy as
long as that side knows a call that the server made: a loss is a gap.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from .story import Entry, Event, Story

LANES = {
    "server": "the conversation",
    "mirror": "RealtimeSession",
    "agent": "Agent.chat_ctx",
    "tool": "your code",
}
MINUS = "\N{MINUS SIGN}"
LOGGED = 100  # characters of a line of the log
MOMENT = 0.1  # seconds; less is no pause
Tone = Literal["", "loss", "kept", "quiet"]
_NOBODY_CHOSE = re.compile(r"item_\w{8,}")
_MARKED = {"deleted-in-flight", "recreated-in-flight"}
# seen only when all is at rest, so that the end belongs to the picture
_AT_THE_END = {"undeletable", "client-call-in-flight"}
_SHOWN = {"conversation.item.deleted", "conversation.item.truncated", "response.done", "error"}
_HARMLESS = "Cancellation failed"
_ANNOUNCED = ("conversation.item.added", "conversation.item.created")


@dataclass(frozen=True)
class Arrow:
    """Something travels from one lane to another."""

    source: str
    target: str
    label: str
    tone: Tone = ""


@dataclass(frozen=True)
class Note:
    """A remark on the right of a lane."""

    lane: str
    text: str
    tone: Tone = "quiet"


@dataclass(frozen=True)
class Row:
    """One moment: an arrow, remarks, or a ``divider`` across all lanes.

    ``heavy`` are the lanes that know a call of the server, or run its tool, from then on.
    """

    heavy: frozenset[str]
    arrow: Arrow | None = None
    notes: tuple[Note, ...] = ()
    divider: str = ""

    @property
    def lanes(self) -> set[str]:
        ends = {self.arrow.source, self.arrow.target} if self.arrow else set()
        return ends | {note.lane for note in self.notes}

    @property
    def loss(self) -> bool:
        return "loss" in [note.tone for note in self.notes] + [
            self.arrow.tone if self.arrow else ""
        ]


@dataclass(frozen=True)
class Picture:
    """A titled diagram of ``lanes``; ``caption`` are the sentences below it."""

    title: str
    lanes: tuple[str, ...]
    rows: tuple[Row, ...]
    caption: tuple[str, ...]


def draw(story: Story, title: str, violations: Collection[str] = ()) -> Picture:
    """The picture of what happened since ``story.begin()``.

    ``violations`` are the names of what the run broke; they decide what is marked as a loss.
    After the last mark the picture ends, unless something broke that shows at the very end.
    """
    broken = frozenset(violations)
    drawing = _Drawing(story, broken)
    if drawing.lost:
        drawing = _Drawing(story, broken, drawing.lost)
    rows = drawing.rows
    marked = [number for number, row in enumerate(rows) if row.loss]
    if marked and not _AT_THE_END & broken:
        rows = rows[: marked[-1] + 1]
    used = {"server", "mirror"}.union(*(row.lanes for row in rows))
    return Picture(
        title,
        tuple(lane for lane in LANES if lane in used),
        tuple(rows),
        (
            *drawing.sentences(),
            f"violates: {', '.join(sorted(broken))}" if broken else "violates nothing",
        ),
    )


class _Drawing:
    """Goes through a story once, and keeps what a reader has to keep in mind.

    ``follow`` are the calls that make a lifeline heavy: those lost, if any is, or else all.
    """

    def __init__(
        self, story: Story, violations: frozenset[str], follow: Collection[str] | None = None
    ) -> None:
        self.rows: list[Row] = []
        self._marks = bool(violations & _MARKED)
        self._trouble: Tone = "loss" if violations else ""
        self._items = _items(story.entries)
        self._calls = _calls(story.entries)
        self._followed = set(self._calls if follow is None else follow)
        self._in_flight: list[str] = []
        self.lost: dict[str, str] = {}  # id of a call -> what became of its output
        self._known = {lane: story.before[lane] for lane in LANES if lane in story.before}
        self._running = 0
        self._add(notes=[Note(lane, _count(known)) for lane, known in self._known.items()])
        time = story.entries[story.start].seconds if story.entries[story.start :] else 0.0
        for entry in story.entries[story.start :]:
            if entry.seconds - time > MOMENT:
                self._add(across=f"{entry.seconds - time:g} seconds pass")
            time = entry.seconds
            if entry.holds is not None:
                self._knows(entry.who, entry.holds)
            elif entry.event is None:
                self._tell(entry.who, entry.what)
            elif entry.who == "server":
                self._server_says(entry.event)
            elif entry.who == "client":
                self._client_says(entry.event)

    def sentences(self) -> Iterator[str]:
        for item_id, fate in self.lost.items():
            call_id = self._calls[item_id]["call_id"]
            yield f"{item_id} was deleted while {call_id} was in flight{fate}."

    def _add(
        self, arrow: Arrow | None = None, notes: Iterable[Note] = (), across: str = ""
    ) -> None:
        heavy = {lane for lane, known in self._known.items() if self._followed & set(known)}
        heavy |= {"tool"} if self._running else set()
        self.rows.append(Row(frozenset(heavy), arrow, tuple(notes), across))

    # -- what travels -----------------------------------------------------------------------

    def _server_says(self, event: Event) -> None:
        kind = event["type"]
        item_id = _item_id(event)
        tone: Tone = ""
        if item_id in self._calls and kind in _ANNOUNCED:
            self._in_flight.append(item_id)
        elif kind == "response.done" and event["response"]["status"] != "completed":
            self._in_flight.clear()
        elif kind == "error":
            harmless = event["error"]["message"].startswith(_HARMLESS)
            tone = "" if harmless else self._trouble
            for lost in self.lost:
                if f"'{self._calls[lost]['call_id']}'" in event["error"]["message"]:
                    self.lost[lost] = ", and the server refused the output of its tool"
        elif kind == "conversation.item.deleted" and item_id in self.lost:
            tone = "loss"
        complete = kind == "response.output_item.done" and item_id in self._calls
        if complete or kind in _SHOWN or kind in _ANNOUNCED:
            self._add(Arrow("server", "mirror", self._label(event), tone))

    def _client_says(self, event: Event) -> None:
        item_id = _item_id(event)
        if self._marks and item_id in self._in_flight:
            self.lost.setdefault(item_id, "")
            flag = Note("mirror", f"◀ {item_id} is in flight", "loss")
            self._add(Arrow("mirror", "server", self._label(event), "loss"), [flag])
        else:
            self._add(Arrow("mirror", "server", self._label(event)))

    def _label(self, event: Event) -> str:
        kind = event["type"].removeprefix("conversation.")
        if kind == "error":
            return f"error: {event['error']['message']}"
        if kind == "response.done":
            return f"{kind} {event['response']['status']}"
        if call := self._calls.get(_item_id(event)):
            if kind.endswith(("added", "created")):
                return f"{kind} {call['id']}: {call['name']}, to come"
            if kind == "response.output_item.done":
                said = event["item"]
                end = "" if said["status"] == "completed" else f" {said['status']}"
                return f"output_item.done {said['id']}: {said['name']}({said['arguments']}){end}"
        return f"{kind} {self._items.get(_item_id(event), _item_id(event))}".strip()

    # -- what happens at one end ------------------------------------------------------------

    def _tell(self, who: str, what: str) -> None:
        if who == "tool" and what.endswith(" ends"):
            self._running -= 1
            self._add(Arrow("tool", "agent", what))
        elif who == "tool" or what.startswith("starts the tool of "):
            self._running += who == "tool"
            label = what.removesuffix(" starts").removeprefix("starts the tool of ")
            self._starts(label)
            self._add(Arrow("agent", "tool", label))
        elif who == "agent":
            self._add(Arrow("agent", "mirror", what.removeprefix("Agent.")))
        elif who == "log":
            said = textwrap.shorten(what, LOGGED, placeholder=" …")
            self._add(notes=[Note("mirror", f"log: {said}", self._trouble)])
        else:
            self._add(across=what)

    def _starts(self, label: str) -> None:
        for item_id in self._in_flight:
            call = self._calls[item_id]
            if label == call["call_id"] or label.startswith(f"{call['name']}("):
                self._in_flight.remove(item_id)
                return

    def _knows(self, lane: str, ids: tuple[str, ...]) -> None:
        last, self._known[lane] = self._known.get(lane, ()), ids
        new = [self._name(item_id) for item_id in ids if item_id not in last]
        gone = [self._name(item_id) for item_id in last if item_id not in ids]
        changes = {"+": new, MINUS: gone}
        parts = [f"{sign} {', '.join(names)}" for sign, names in changes.items() if names]
        saved = lane == "server" and any(name.startswith("output") for name in new)
        note = Note(lane, " ".join(parts) or "in another order", "kept" if saved else "quiet")
        beside = self.rows.pop() if self._joins(lane) else None
        self._add(notes=[*(beside.notes if beside else ()), note])

    def _joins(self, lane: str) -> bool:
        last = self.rows[-1]
        quiet = all(note.tone != "loss" for note in last.notes)
        return last.arrow is None and not last.divider and quiet and lane not in last.lanes

    def _name(self, item_id: str) -> str:
        name = self._items.get(item_id, item_id)
        return "a note of the agent's own" if _NOBODY_CHOSE.fullmatch(name) else name


def _calls(entries: Iterable[Entry]) -> dict[str, Event]:
    """The function calls that the server made, by item id."""
    made: dict[str, Event] = {}
    own = set()
    for entry in entries:
        item = (entry.event or {}).get("item") or {}
        if item.get("type") == "function_call":
            if entry.who == "client":
                own.add(item["id"])
            elif entry.who == "server" and item["id"] not in own:
                made[item["id"]] = item
    return made


def _items(entries: Iterable[Entry]) -> dict[str, str]:
    """What to call an item whose id tells nothing."""
    items = [(entry.event or {}).get("item") or {} for entry in entries]
    return {
        item["id"]: f"output of {item['call_id']}"
        for item in items
        if item.get("type") == "function_call_output"
    }


def _item_id(event: Event) -> str:
    item_id = (event.get("item") or {}).get("id") or event.get("item_id")
    return str(item_id or "")


def _count(known: tuple[str, ...]) -> str:
    return {0: "knows nothing yet", 1: "knows 1 item"}.get(len(known), f"knows {len(known)} items")
