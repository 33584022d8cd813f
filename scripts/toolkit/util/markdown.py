"""Markdown for GitHub, made of foreign text that stays in its cell or block of code.

A summary, an issue and a pull request quote PyPI, upstream's tests and servers. None of these may
end a table's cell or a fence, open a tag, a link or an image, or mention a user.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from toolkit.util.errors import printable
from toolkit.util.files import not_writable_errors

# Characters of a cell; the whole text is in the log.
_LONGEST = 600


def cell(text: str) -> str:
    """Return ``text`` as one line of code, for a table, a list or a sentence; may be empty."""
    line = printable(" ".join(text.split()))
    if len(line) > _LONGEST:
        line = f"{line[:_LONGEST]}…"
    # a character reference is text wherever it stands
    marks = re.sub(r"[^\w\s.,;()=+-]|_", lambda match: f"&#{ord(match[0])};", line)
    return f"<code>{marks}</code>" if marks else ""


def fence(text: str, language: str = "") -> str:
    """Return ``text`` as a block of code, with a fence that is longer than any in it."""
    marks = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{marks}{language}\n{printable(text)}\n{marks}"


def cut(text: str, most: int) -> str:
    """Return at most ``most`` characters of Markdown; a fence that was cut is closed."""
    if len(text) <= most:
        return text
    fence_open = ""
    lines = text[: most - 100].split("\n")
    for line in lines:
        match = re.match(r" {0,3}(`{3,})(.*)", line)
        if match and not fence_open:
            fence_open = match[1]
        elif match and len(match[1]) >= len(fence_open) and not match[2].strip("` "):
            fence_open = ""
    return "\n".join([*lines, *([fence_open] if fence_open else []), "", "…"])


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; ``head`` is Markdown, each of the ``rows`` has a text for each column."""
    lines = [head, ["---"] * len(head), *([cell(text) for text in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def append(path: Path, text: str) -> None:
    """Add a part to a file of Markdown. Raises NotWritable."""
    with not_writable_errors(path), path.open("a", encoding="utf-8") as file:
        file.write(f"\n{text}\n")
