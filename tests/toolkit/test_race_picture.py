"""The race suite's sequence diagrams: what is drawn, how wide, how safely, and the same twice."""

from __future__ import annotations

import re
from collections.abc import Callable
from xml.etree import ElementTree

import pytest
from kit.picture import LANES, Arrow, Note, Picture, Row, draw
from kit.story import Story
from kit.svg import svg
from kit.terminal import WIDTH, text

SVG = "{http://www.w3.org/2000/svg}"
BROKEN = ("deleted-in-flight", "output-lost", "refused")


class Script(Story):
    """A story that a test writes line by line, with what each side knows."""

    def __init__(self) -> None:
        super().__init__()
        self.known: dict[str, list[str]] = {
            "server": ["user_1"],
            "mirror": ["user_1"],
            "agent": ["user_1", "item_000000000008"],
        }
        for lane in self.known:
            self.columns[lane] = lambda lane=lane: list(self.known[lane])  # type: ignore[misc]
        self.seconds = 0.0
        self.now = lambda: self.seconds

    def knows(self, **known: list[str]) -> None:
        self.known |= known
        self.look()

    def call(self, kind: str, status: str = "in_progress", arguments: str = "") -> None:
        item = {"id": "fnc_1", "type": "function_call", "call_id": "call_1", "name": "lookup"}
        item |= {"arguments": arguments, "status": status}
        self.event("server", {"type": kind, "item": item})

    def announce(self) -> None:
        self.knows(server=["user_1", "fnc_1"])
        self.call("response.output_item.added")
        self.call("conversation.item.added")
        self.knows(mirror=["user_1", "fnc_1"])

    def delete(self) -> None:
        self.event("client", {"type": "conversation.item.delete", "item_id": "fnc_1"})
        self.knows(server=["user_1"])
        self.event("server", {"type": "conversation.item.deleted", "item_id": "fnc_1"})
        self.knows(mirror=["user_1"])

    def run_tool(self) -> None:
        self.call("response.output_item.done", "completed", '{"city": "Delft"}')
        self.tell("tool", "lookup({'city': 'Delft'}) starts")
        self.knows(agent=["user_1", "fnc_1"])
        self.tell("tool", "lookup ends")
        output = {"id": "item_00000000000b", "type": "function_call_output", "call_id": "call_1"}
        self.event("client", {"type": "conversation.item.create", "item": output})

    def refuse(self, message: str = "No such call: tool call id 'call_1' not found.") -> None:
        self.event("server", {"type": "error", "error": {"message": message}})

    def lose(self) -> None:
        """A call in flight is deleted, and what its tool returns is refused."""
        self.announce()
        self.tell("agent", "Agent.update_chat_ctx: a fresh copy")
        self.delete()
        self.run_tool()
        self.refuse()
        self.tell("agent", "something that matters no more")


@pytest.fixture
def story() -> Script:
    """A session that is set up: none of this is drawn."""
    story = Script()
    story.tell("wire", "connection 1 opens")
    story.begin()
    return story


@pytest.fixture
def loss(story: Script) -> Script:
    story.lose()
    return story


def arrows(picture: Picture) -> list[Arrow]:
    return [row.arrow for row in picture.rows if row.arrow]


def notes(picture: Picture) -> list[Note]:
    return [note for row in picture.rows for note in row.notes]


LOSS = """\
a title

server                                   mirror                             agent              tool
the conversation                     RealtimeSession                   Agent.chat_ctx      your code
   │ knows 1 item                           │ knows 1 item                    │ knows 2 items    │
   ┃ + fnc_1                                │                                 │                  │
   ┃─ item.added fnc_1: lookup, to come ───▶│                                 │                  │
   ┃                                        ┃ + fnc_1                         │                  │
   ┃                                        ┃◀ update_chat_ctx: a fresh copy ─│                  │
   ┃◀─────────────────── item.delete fnc_1 ─┃ ◀ fnc_1 is in flight            │                  │
   │ − fnc_1                                ┃                                 │                  │
   │─ item.deleted fnc_1 ──────────────────▶┃                                 │                  │
   │                                        │ − fnc_1                         │                  │
   │ output_item.done fnc_1:                │                                 │                  │
   │ lookup({"city": "Delft"})              │                                 │                  │
   │───────────────────────────────────────▶│                                 │                  │
   │                                        │                                 │ lookup({'city':  ┃
   │                                        │                                 │ 'Delft'})        ┃
   │                                        │                                 │─────────────────▶┃
   │                                        │                                 ┃ + fnc_1 − a note ┃
   │                                        │                                 ┃ of the agent's   ┃
   │                                        │                                 ┃ own              ┃
   │                                        │                                 ┃◀─── lookup ends ─│
   │◀──────── item.create output of call_1 ─│                                 ┃                  │
   │ error: No such call: tool call id      │                                 ┃                  │
   │ 'call_1' not found.                    │                                 ┃                  │
   │───────────────────────────────────────▶│                                 ┃                  │
fnc_1 was deleted while call_1 was in flight, and the server refused the output of its tool.
violates: deleted-in-flight, output-lost, refused
┃ this side knows the call, or runs its tool
"""  # noqa: RUF001
NOTE = "◀ fnc_1 is in flight"
IRRELEVANT = "something that matters no more"


def test_a_loss(loss: Script) -> None:
    # a lifeline is heavy while that side knows the call
    picture = draw(loss, "a title", BROKEN)
    assert text(picture) == LOSS
    assert max(map(len, LOSS.splitlines())) <= WIDTH == 100
    assert [arrow.label for arrow in arrows(picture) if arrow.tone == "loss"] == [
        "item.delete fnc_1",
        "item.deleted fnc_1",
        "error: No such call: tool call id 'call_1' not found.",
    ]
    assert Note("mirror", NOTE, "loss") in notes(picture)
    # colours change no character
    coloured = text(picture, colour=True)
    assert "\x1b[1;31m" in coloured
    plain = [line.rstrip() for line in re.sub(r"\x1b\[[\d;]*m", "", coloured).splitlines()]
    assert plain == LOSS.splitlines()


def test_nothing_is_marked_that_broke_nothing(loss: Script) -> None:
    picture = draw(loss, "a title")
    assert [row for row in picture.rows if row.loss] == []
    assert arrows(picture)[-1].label == IRRELEVANT
    assert picture.caption == ("violates nothing",)
    # the end stays, too, if something breaks only there
    assert arrows(draw(loss, "a title", (*BROKEN, "undeletable")))[-1].label == IRRELEVANT


def test_a_lifeline_follows_the_call_that_is_lost(loss: Script) -> None:
    other = {"id": "fnc_2", "type": "function_call", "call_id": "call_2", "name": "book"}
    added = {"type": "conversation.item.added", "item": {**other, "arguments": "", "status": ""}}
    loss.knows(server=["fnc_2"])
    loss.event("server", added)
    loss.refuse()
    assert draw(loss, "a title", BROKEN).rows[-1].heavy == {"agent"}
    assert draw(loss, "a title").rows[-1].heavy == {"agent", "server"}


CANCELLED = {"type": "response.done", "response": {"id": "resp_1", "status": "cancelled"}}


@pytest.mark.parametrize(
    ("end", "lost"),
    [
        (lambda story: story.tell("tool", "lookup({}) starts"), False),
        (lambda story: story.tell("agent", "starts the tool of call_1"), False),
        (lambda story: story.event("server", CANCELLED), False),
        # a call of another name
        (lambda story: story.tell("tool", "look({}) starts"), True),
    ],
)
def test_a_call_that_is_over_may_be_deleted(
    end: Callable[[Script], object], lost: bool, story: Script
) -> None:
    story.announce()
    end(story)
    story.delete()
    tones = [arrow.tone for arrow in arrows(draw(story, "a title", BROKEN))]
    assert ("loss" in tones) is lost


def test_what_the_client_put_there_is_no_call_of_the_servers(story: Script) -> None:
    item = {"id": "fnc_1", "type": "function_call", "call_id": "call_1", "name": "n"}
    item |= {"arguments": "", "status": "x"}
    story.event("client", {"type": "conversation.item.create", "item": item})
    story.announce()
    story.delete()
    picture = draw(story, "a title", BROKEN)
    assert [row for row in picture.rows if row.loss or row.heavy] == []


def test_a_harmless_refusal_and_time(story: Script) -> None:
    story.refuse("Cancellation failed: no active response found")
    story.seconds = 5.0
    story.tell("log", "update_chat_ctx timed out. " + "word " * 100)
    picture = draw(story, "a title", ("timeout",))
    assert [a.tone for a in arrows(picture)] == [""]
    assert [row.divider for row in picture.rows if row.divider] == ["5 seconds pass"]
    (log,) = [note for note in notes(picture) if note.tone == "loss"]
    assert log.text.startswith("log: update_chat_ctx timed out.")
    assert len(log.text) <= 105


def test_an_output_that_arrives_is_good(story: Script) -> None:
    story.announce()
    story.run_tool()
    story.knows(server=["user_1", "fnc_1", "item_00000000000b"])
    story.knows(server=["fnc_1", "user_1", "item_00000000000b"])
    drawn = notes(draw(story, "a title"))
    assert Note("server", "+ output of call_1", "kept") in drawn
    assert Note("server", "in another order", "quiet") in drawn


def test_what_the_server_writes_later_is_not_in_the_story(story: Script) -> None:
    item = {"id": "fnc_1", "arguments": "", "status": "in_progress"}
    story.event("server", {"type": "conversation.item.added", "item": item})
    item |= {"arguments": "{}", "status": "completed"}
    entry = story.entries[-1]
    assert entry.event is not None
    assert (entry.event["item"]["arguments"], entry.event["item"]["status"]) == ("", "in_progress")


WORD = "x" * 150
LABELS = [
    *("", "short", "a label that is much too long for its arrow " * 3, WORD),
    *("two\nlines\x00\x1b[31m", "\x00\x1b\ud800\uffff"),
    *('<script>alert("1")</script>', "a & b < c", "]]>"),
]


@pytest.mark.parametrize("label", LABELS)
def test_any_text_fits_and_steers_nothing(label: str) -> None:
    """Every kind of row, all with the same text, on a terminal and as SVG."""
    pairs = [("server", "mirror"), ("mirror", "server"), ("agent", "mirror"), ("agent", "tool")]
    rows = [
        Row(frozenset(), Arrow(a, b, label, "loss"), (Note("mirror", label),)) for a, b in pairs
    ]
    rows += [Row(frozenset({lane}), notes=(Note(lane, label, "kept"),)) for lane in LANES]
    rows.append(Row(frozenset(), divider=label))
    picture = Picture(label, tuple(LANES), tuple(rows), (label,))
    shown = text(picture)
    assert max(map(len, shown.splitlines())) <= WIDTH
    assert all(character.isprintable() for character in shown.replace("\n", ""))
    assert "lines" not in label or "two lines·" in shown
    root = ElementTree.fromstring(svg(picture).encode("utf-8"))  # noqa: S314
    assert {node.tag for node in root.iter() if "script" in node.tag} == set()
    title = re.sub("[\x00\x1b\ud800\uffff]", "\N{REPLACEMENT CHARACTER}", label)
    assert root.findtext(f"{SVG}title") == title


def test_the_drawing_of_a_loss(loss: Script) -> None:
    drawn = svg(draw(loss, "a title", BROKEN))
    root = ElementTree.fromstring(drawn)  # noqa: S314
    assert root.tag == f"{SVG}svg"
    assert set(LANES) <= {"".join(node.itertext()) for node in root.iter(f"{SVG}text")}
    red = [n.text for n in root.iter(f"{SVG}text") if n.get("class") == "loss"]
    assert red[:2] == ["item.delete fnc_1", NOTE]
    bars = [node for node in root.iter(f"{SVG}line") if node.get("class") == "call"]
    assert len(bars) == len(LANES)
    assert all(float(bar.get("y2", 0)) > float(bar.get("y1", 0)) for bar in bars)
    height = float(root.get("height", 0))
    assert all(float(node.get("y", 0)) < height for node in root.iter(f"{SVG}text"))
    # it stands alone
    allowed = {"svg", "title", "desc", "style", "rect", "text", "line", "path"}
    assert {node.tag.removeprefix(SVG) for node in root.iter()} == allowed
    outside = r"url\(|href|@import|@font-face|https?:(?!//www\.w3\.org/2000/svg\")"
    assert not re.search(outside, drawn)
    assert "prefers-color-scheme:dark" in drawn


def test_lanes_without_a_part_are_left_out() -> None:
    alone = Script()
    alone.columns = {name: alone.columns[name] for name in ("server", "mirror")}
    alone.begin()
    alone.announce()
    picture = draw(alone, "a title")
    assert picture.lanes == ("server", "mirror")
    assert "agent" not in text(picture) + svg(picture)


def test_equal_stories_are_drawn_equally(loss: Script) -> None:
    again = Script()
    again.tell("wire", "connection 1 opens")
    again.begin()
    again.lose()
    first, second = (draw(story, "a title", BROKEN) for story in (loss, again))
    assert (first, text(first), svg(first)) == (second, text(second), svg(second))


def test_the_plain_story_is_as_it_was(loss: Script) -> None:
    assert loss.render(3).splitlines() == [
        f"… {len(loss.entries) - 3} lines earlier …",
        "   0.000  client ─▶ server  conversation.item.create item_00000000000b (output of call_1)",
        "   0.000  server ─▶ client  error: No such call: tool call id 'call_1' not found.",
        f"   0.000  agent             {IRRELEVANT}",
    ]
    assert "                             mirror = user_1, fnc_1" in loss.render().splitlines()
