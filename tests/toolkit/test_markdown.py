"""Texts of others in GitHub's Markdown: each stays where it was put."""

from __future__ import annotations

from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from toolkit.util.errors import NotWritable
from toolkit.util.markdown import append, cell, cut, fence, table

NASTY = [
    "a | b",
    "a \\| b",
    "`code` ``` and ~~~",
    "</code></td><img src=x onerror=y> <!--",
    "[link](http://127.0.0.1/) ![image](x) <http://127.0.0.1/> https://example.org",
    "*bold* _it_ __b__ ~s~ # h",
    "one\ntwo\r\nthree\u2028four",
    "::error::x\n::add-mask::y",
    "name=value\nother<<EOF\nEOF",
    "\x1b[31mred\x07",
    "@somebody fixes #12 &amp; &lt;b&gt;",
    "- item\n\n## heading\n\n```\n::set-output name=a::b\n```\n",
]
MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


def visible(text: str) -> str:
    """What a cell is to show of a text."""
    return "\\x1b[31mred\\x07" if "\x1b" in text else " ".join(text.split())


@pytest.mark.parametrize("text", NASTY)
def test_a_cell_holds_its_text_and_nothing_else(text: str) -> None:
    tokens = MARKDOWN.parse(table(("a", "b"), [[text, "after"], ["next", text]]))
    assert [token.type for token in tokens].count("tr_open") == 3
    assert [token.type for token in tokens].count("td_open") == 4
    assert tokens[-1].type == "table_close"
    cells = [t.children or [] for t in tokens if t.type == "inline"][2:]
    shown = ["".join(c.content for c in one if c.type != "html_inline") for one in cells]
    assert shown == [visible(text), "after", "next", visible(text)]
    for one in cells:
        assert {c.type for c in one} <= {"text", "text_special", "html_inline"}
        assert [c.content for c in one if c.type == "html_inline"] == ["<code>", "</code>"]


@pytest.mark.parametrize("text", NASTY)
def test_a_fence_holds_its_text_and_nothing_else(text: str) -> None:
    (token,) = MARKDOWN.parse(fence(text))
    assert token.type == "fence"
    assert "\x1b" not in token.content
    assert (
        token.content.split()
        == text.replace("\x1b", "\\x1b")
        .replace("\x07", "\\x07")
        .replace("\r", "\\r")
        .replace("\u2028", "\\u2028")
        .split()
    )


@pytest.mark.parametrize("most", range(115, 170, 3))
def test_what_is_cut_leaves_no_fence_open(most: int) -> None:
    text = "\n".join(["one", fence("a\n```\nb" * 8, "diff"), "two", fence("c\n" * 20), "three" * 9])
    short = cut(text, most)
    assert len(short) <= most < len(text)
    assert MARKDOWN.parse(short)[-2].content == "…"
    assert cut(text, len(text)) == text


def test_a_cell_without_a_text_is_empty_and_a_long_one_is_cut() -> None:
    assert cell("") == cell(" \n") == ""
    assert len(cell("x" * 10_000)) < 1000


def test_parts_are_added_to_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "summary.md"
    for part in ("one", "two"):
        append(path, part)
    assert path.read_text() == "\none\n\ntwo\n"
    with pytest.raises(NotWritable):
        append(tmp_path / "no" / "folder", "x")
