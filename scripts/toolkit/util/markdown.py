"""Markdown for GitHub, of text that may be anybody's: it stays in its cell and in its code.

A summary, an issue and a pull request show what PyPI, upstream's tests and servers said. None of
it may end a table's cell or a fence, open a tag, a link or an image, or call somebody by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from toolkit.util.errors import printable
from toolkit.util.files import not_writable_errors

# a cell is for the eye; the whole text is in the log
_LONGEST = 600


def cell(text: str) -> str:
    """``text`` as one line of code, for a table, a list or a sentence; empty if there is none."""
    line = printable(" ".join(text.split()))
    if len(line) > _LONGEST:
        line = f"{line[:_LONGEST]}…"
    # a character reference is text wherever it stands
    marks = re.sub(r"[^\w\s.,;()=+-]|_", lambda found: f"&#{ord(found[0])};", line)
    return f"<code>{marks}</code>" if marks else ""


def fence(text: str, language: str = "") -> str:
    """``text`` as a block of code, with a fence that is longer than any in it."""
    marks = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{marks}{language}\n{printable(text)}\n{marks}"


def cut(text: str, most: int) -> str:
    """At most ``most`` characters of Markdown; a fence that was cut is closed."""
    if len(text) <= most:
        return text
    within = ""
    lines = text[: most - 100].split("\n")
    for line in lines:
        found = re.match(r" {0,3}(`{3,})(.*)", line)
        if found and not within:
            within = found[1]
        elif found and len(found[1]) >= len(within) and not found[2].strip("` "):
            within = ""
    return "\n".join([*lines, *([within] if within else []), "", "…"])


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; ``head`` is taken as it is, each of the ``rows`` has a text for each column."""
    lines = [head, ["---"] * len(head), *([cell(text) for text in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def append(path: Path, text: str) -> None:
    """Add a part to a file of Markdown. Raises NotWritable."""
    with not_writable_errors(path), path.open("a", encoding="utf-8") as file:
        file.write(f"\n{text}\n")
