"""The race suite's sequence diagrams: what is drawn, how wide, how safely, and the same twice."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

import pytest
from kit.picture import LANES, Arrow, Note, Picture, Row, draw
from kit.story import Story
from kit.svg import svg
from kit.terminal import WIDTH, text

SVG = "{http://www.w3.org/2000/svg}"
BROKEN = ("deleted-in-flight", "output-lost", "refused")


class Told(Story):
    """A story that a test tells line by line, with what each side knows."""

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

    def call(
        self, kind: str, status: str = "in_progress", arguments: str = "", **more: str
    ) -> None:
        item = {"id": "fnc_1", "type": "function_call", "call_id": "call_1", "name": "lookup"}
        item |= {"arguments": arguments, "status": status, **more}
        self.event("server", {"type": kind, "item": item})

    def announce(self) -> None:
        self.knows(server=["user_1", "fnc_1"])
        self.call("response.output_item.added")
        self.call("conversation.item.added")
        self.knows(mirror=["user_1", "fnc_1"])

    def update(self) -> None:
        self.tell("agent", "Agent.update_chat_ctx: a fresh copy")

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


@pytest.fixture
def story() -> Told:
    """A session that is set up: none of this is drawn."""
    story = Told()
    story.tell("wire", "connection 1 opens")
    story.begin()
    return story


@pytest.fixture
def loss(story: Told) -> Told:
    """A call in flight is deleted, and what its tool returns is refused."""
    story.announce()
    story.update()
    story.delete()
    story.run_tool()
    story.refuse()
    story.tell("agent", "something that matters no more")
    return story


def arrows(picture: Picture) -> list[Arrow]:
    return [row.arrow for row in picture.rows if row.arrow]


def notes(picture: Picture) -> list[Note]:
    return [note for row in picture.rows for note in row.notes]


def test_a_loss_row_by_row(loss: Told) -> None:
    picture = draw(loss, "a title", BROKEN)
    assert picture.lanes == ("server", "mirror", "agent", "tool")
    assert [(a.source, a.target, a.label, a.tone) for a in arrows(picture)] == [
        ("server", "mirror", "item.added fnc_1: lookup, to come", ""),
        ("agent", "mirror", "update_chat_ctx: a fresh copy", ""),
        ("mirror", "server", "item.delete fnc_1", "loss"),
        ("server", "mirror", "item.deleted fnc_1", "loss"),
        ("server", "mirror", 'output_item.done fnc_1: lookup({"city": "Delft"})', ""),
        ("agent", "tool", "lookup({'city': 'Delft'})", ""),
        ("tool", "agent", "lookup ends", ""),
        ("mirror", "server", "item.create output of call_1", ""),
        ("server", "mirror", "error: No such call: tool call id 'call_1' not found.", "loss"),
    ]
    assert Note("mirror", "◀ fnc_1 is in flight", "loss") in notes(picture)
    assert picture.rows[0].notes == (
        Note("server", "knows 1 item"),
        Note("mirror", "knows 1 item"),
        Note("agent", "knows 2 items"),
    )
    assert picture.caption == (
        "fnc_1 was deleted while call_1 was in flight, and the server refused the output of its"
        " tool.",
        "violates: deleted-in-flight, output-lost, refused",
    )


def test_a_lifeline_is_heavy_while_that_side_knows_the_call(loss: Told) -> None:
    rows = draw(loss, "a title", BROKEN).rows
    spans = {
        lane: "".join("x" if lane in row.heavy else "." for row in rows).strip(".")
        for lane in LANES
    }
    assert {lane: set(span) for lane, span in spans.items()} == {lane: {"x"} for lane in LANES}
    [deleting] = [n for n, row in enumerate(rows) if row.arrow and "delete f" in row.arrow.label]
    assert rows[deleting].heavy == {"server", "mirror"}
    assert rows[-1].heavy == {"agent"}


def test_a_lifeline_follows_the_call_that_is_lost(loss: Told) -> None:
    other = {"id": "fnc_2", "type": "function_call", "call_id": "call_2", "name": "book"}
    added = {"type": "conversation.item.added", "item": {**other, "arguments": "", "status": ""}}
    loss.knows(server=["fnc_2"])
    loss.event("server", added)
    loss.refuse()
    assert draw(loss, "a title", BROKEN).rows[-1].heavy == {"agent"}
    assert draw(loss, "a title").rows[-1].heavy == {"agent", "server"}


def test_nothing_is_marked_that_broke_nothing(loss: Told) -> None:
    picture = draw(loss, "a title")
    assert [row for row in picture.rows if row.loss] == []
    assert arrows(picture)[-1].label == "something that matters no more"
    assert picture.caption == ("violates nothing",)


@pytest.mark.parametrize("how", ["tool starts", "response fails", "session dispatches"])
def test_a_call_that_is_over_may_be_deleted(how: str, story: Told) -> None:
    story.announce()
    if how == "tool starts":
        story.tell("tool", "lookup({}) starts")
    elif how == "session dispatches":
        story.tell("agent", "starts the tool of call_1")
    else:
        response = {"id": "resp_1", "status": "cancelled"}
        story.event("server", {"type": "response.done", "response": response})
    story.delete()
    assert [a for a in arrows(draw(story, "a title", BROKEN)) if a.tone == "loss"] == []


def test_a_call_of_another_name_is_not_the_one_that_starts(story: Told) -> None:
    story.announce()
    story.tell("tool", "look({}) starts")
    story.delete()
    assert "loss" in [a.tone for a in arrows(draw(story, "a title", BROKEN))]


def test_what_the_client_put_there_is_no_call_of_the_servers(story: Told) -> None:
    item = {"id": "fnc_1", "type": "function_call", "call_id": "call_1"}
    created = {"type": "conversation.item.create", "item": {**item, "name": "n", "arguments": ""}}
    story.event("client", {**created, "item": {**created["item"], "status": "x"}})  # type: ignore[dict-item]
    story.announce()
    story.delete()
    picture = draw(story, "a title", BROKEN)
    assert [row for row in picture.rows if row.loss or row.heavy] == []


def test_the_end_stays_if_something_breaks_only_there(loss: Told) -> None:
    full = draw(loss, "a title", (*BROKEN, "undeletable"))
    assert arrows(full)[-1].label == "something that matters no more"


def test_a_harmless_refusal_and_time(story: Told) -> None:
    story.refuse("Cancellation failed: no active response found")
    story.seconds = 5.0
    story.tell("log", "update_chat_ctx timed out. " + "word " * 100)
    picture = draw(story, "a title", ("timeout",))
    assert [a.tone for a in arrows(picture)] == [""]
    assert [row.divider for row in picture.rows if row.divider] == ["5 seconds pass"]
    (log,) = [note for note in notes(picture) if note.tone == "loss"]
    assert log.text.startswith("log: update_chat_ctx timed out.")
    assert len(log.text) <= 105


def test_an_output_that_arrives_is_good(story: Told) -> None:
    story.announce()
    story.run_tool()
    story.knows(server=["user_1", "fnc_1", "item_00000000000b"])
    story.knows(server=["fnc_1", "user_1", "item_00000000000b"])
    said = [(n.lane, n.text, n.tone) for n in notes(draw(story, "a title"))]
    assert ("server", "+ output of call_1", "kept") in said
    assert ("server", "in another order", "quiet") in said


def test_what_the_server_writes_later_is_not_in_the_story(story: Told) -> None:
    item = {"id": "fnc_1", "type": "function_call", "call_id": "call_1", "name": "lookup"}
    item |= {"arguments": "", "status": "in_progress"}
    story.event("server", {"type": "conversation.item.added", "item": item})
    item |= {"arguments": "{}", "status": "completed"}
    entry = story.entries[-1]
    assert entry.event is not None
    assert (entry.event["item"]["arguments"], entry.event["item"]["status"]) == ("", "in_progress")


LONG = "a label that is much too long for its arrow " * 3
WORD = "x" * 150


def odd(label: str) -> Picture:
    """Every kind of row, all with the same text."""
    pairs = [("server", "mirror"), ("mirror", "server"), ("agent", "mirror"), ("agent", "tool")]
    rows = [
        Row(frozenset(), Arrow(a, b, label, "loss"), (Note("mirror", label),)) for a, b in pairs
    ]
    rows += [Row(frozenset({lane}), notes=(Note(lane, label, "kept"),)) for lane in LANES]
    return Picture(label, tuple(LANES), (*rows, Row(frozenset(), divider=label)), (label,))


@pytest.mark.parametrize("label", ["", "short", LONG, WORD, "two\nlines\x00\x1b[31m"])
def test_the_text_fits_the_terminal_and_does_not_steer_it(label: str) -> None:
    said = text(odd(label))
    assert max(map(len, said.splitlines())) <= WIDTH == 100
    assert all(character.isprintable() for character in said.replace("\n", ""))
    assert "lines" not in label or "two lines·" in said


def test_the_text_of_a_loss(loss: Told) -> None:
    said = text(draw(loss, "a title", BROKEN))
    assert all(len(line) <= WIDTH for line in said.splitlines())
    (deleting,) = [line for line in said.splitlines() if "item.delete fnc_1" in line]
    assert re.search(r"┃◀─+ item\.delete fnc_1 ─┃ ◀ fnc_1 is in flight +│ +│$", deleting)
    assert "\x1b" not in said


def test_colours_change_no_character(loss: Told) -> None:
    picture = draw(loss, "a title", BROKEN)
    coloured = text(picture, colour=True)
    assert "\x1b[1;31m" in coloured
    plain = [line.rstrip() for line in re.sub(r"\x1b\[[\d;]*m", "", coloured).splitlines()]
    assert plain == text(picture).splitlines()


def test_the_drawing_of_a_loss(loss: Told) -> None:
    root = ElementTree.fromstring(svg(draw(loss, "a title", BROKEN)))  # noqa: S314
    assert root.tag == f"{SVG}svg"
    said = ["".join(node.itertext()) for node in root.iter(f"{SVG}text")]
    assert set(LANES) <= set(said)
    red = [n.text for n in root.iter(f"{SVG}text") if n.get("class") == "loss"]
    assert red[:2] == ["item.delete fnc_1", "◀ fnc_1 is in flight"]
    bars = [node for node in root.iter(f"{SVG}line") if node.get("class") == "call"]
    assert len(bars) == len(LANES)
    assert all(float(bar.get("y2", 0)) > float(bar.get("y1", 0)) for bar in bars)
    height = float(root.get("height", 0))
    assert all(float(node.get("y", 0)) < height for node in root.iter(f"{SVG}text"))


def test_the_drawing_stands_alone(loss: Told) -> None:
    drawn = svg(draw(loss, "a title", BROKEN))
    root = ElementTree.fromstring(drawn)  # noqa: S314
    allowed = {"svg", "title", "desc", "style", "rect", "text", "line", "path"}
    assert {node.tag.removeprefix(SVG) for node in root.iter()} == allowed
    assert not re.search(
        r"url\(|href|@import|@font-face|https?:(?!//www\.w3\.org/2000/svg\")", drawn
    )
    assert "prefers-color-scheme:dark" in drawn


@pytest.mark.parametrize(
    "label", ['<script>alert("1")</script>', "a & b < c", "]]>", "\x00\x1b\ud800\uffff", WORD]
)
def test_text_is_escaped(label: str) -> None:
    drawn = svg(odd(label)).encode("utf-8")
    root = ElementTree.fromstring(drawn)  # noqa: S314
    assert {node.tag for node in root.iter() if "script" in node.tag} == set()
    title = root.findtext(f"{SVG}title")
    assert title == re.sub("[\x00\x1b\ud800\uffff]", "\N{REPLACEMENT CHARACTER}", label)


def test_lanes_without_a_part_are_left_out(story: Told) -> None:
    story.columns.clear()
    alone = Told()
    alone.columns = {name: alone.columns[name] for name in ("server", "mirror")}
    alone.begin()
    alone.announce()
    picture = draw(alone, "a title")
    assert picture.lanes == ("server", "mirror")
    assert "agent" not in text(picture)
    assert "agent" not in svg(picture)


def test_equal_stories_are_drawn_equally() -> None:
    def tell() -> Any:
        story = Told()
        story.begin()
        story.announce()
        story.update()
        story.delete()
        story.run_tool()
        picture = draw(story, "a title", BROKEN)
        return picture, text(picture), svg(picture)

    assert tell() == tell()


def test_the_plain_story_is_as_it_was(loss: Told) -> None:
    assert loss.render(3).splitlines() == [
        f"… {len(loss.entries) - 3} lines earlier …",
        "   0.000  client ─▶ server  conversation.item.create item_00000000000b (output of call_1)",
        "   0.000  server ─▶ client  error: No such call: tool call id 'call_1' not found.",
        "   0.000  agent             something that matters no more",
    ]
    assert "                             mirror = user_1, fnc_1" in loss.render().splitlines()
