"""Texts of others in GitHub's Markdown: each stays where it was put."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from toolkit.util.errors import NotWritable, printable
from toolkit.util.markdown import append, cell, cut, fence, table

HOSTILE = [
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
MARKS = "`~|<>&\\*_[]()#:\n\r@!- a"
TEXTS = st.text(st.sampled_from(MARKS) | st.characters(), min_size=1, max_size=60)
MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
Test = TypeVar("Test", bound=Callable[..., None])
deterministic = settings(derandomize=True, deadline=None)


def hostile(test: Test) -> Test:
    """Try each of HOSTILE too."""
    for text in HOSTILE:
        test = example(text)(test)
    return test


@hostile
@deterministic
@given(TEXTS.filter(str.strip))
def test_a_cell_holds_its_text_and_nothing_else(text: str) -> None:
    tokens = MARKDOWN.parse(table(("a", "b"), [[text, "after"], ["next", text]]))
    assert [token.type for token in tokens].count("tr_open") == 3
    assert [token.type for token in tokens].count("td_open") == 4
    assert tokens[-1].type == "table_close"
    cells = [t.children or [] for t in tokens if t.type == "inline"][2:]
    shown = ["".join(c.content for c in parts if c.type != "html_inline") for parts in cells]
    line = printable(" ".join(text.split()))
    assert shown == [line, "after", "next", line]
    for parts in cells:
        assert {c.type for c in parts} <= {"text", "text_special", "html_inline"}
        assert [c.content for c in parts if c.type == "html_inline"] == ["<code>", "</code>"]


@hostile
@deterministic
@given(TEXTS)
def test_a_fence_holds_its_text_and_nothing_else(text: str) -> None:
    (token,) = MARKDOWN.parse(fence(text))
    assert token.type == "fence"
    assert token.content == f"{printable(text)}\n"


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
