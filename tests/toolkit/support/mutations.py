"""Hypothesis strategies for damaged files, and what every reader must make of them.

A reader raises one clear ToolkitError, or what it read is provably harmless. `nox -s fuzz` sets
FUZZ_EXAMPLES, for more and other examples than the tests of every day.
"""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from toolkit.util.errors import ToolkitError

# CPU seconds that an example may take, and characters that an error may have
LONGEST = 20.0
WORDIEST = 60_000
MORE = int(os.environ.get("FUZZ_EXAMPLES", "0"))
# how many examples of a test were read, and how many rejected
OUTCOMES = Counter[str]()
Test = Callable[..., None]


def fuzz(examples: int = 300) -> Callable[[Test], Test]:
    """A test of damaged input, of which some must be read and some rejected."""
    new = settings(
        max_examples=MORE or examples,
        derandomize=not MORE,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    return lambda test: pytest.mark.usefixtures("some_read_some_rejected")(new(test))


def was_read() -> None:
    """Count an example that was read and found harmless."""
    OUTCOMES["read"] += 1


# What parsers, terminals, pages and file systems stumble over.
NASTY = (
    *("", " ", "\0", "\n", "\r", "\r\n\r\n", "\t", "\v", "\x1b[31m\x1b]0;x\7", "\x7f", "\x85"),
    *("\u2028", "\u202e", "\ud800", "\ufeff", "é", "e\u0301", "ﬁ", "İ", "🙂", "\U0010ffff"),
    *("..", "../../x.py", "/etc/passwd", "C:\\x.py", "a\\..\\b", "//host/x", ".git/config"),
    *("aux.py", "<script>alert(1)</script>", '"><img src=x onerror=y>', "]]>", "&lt;", "|a|b|"),
    *("[/]", "[red]"),
    *("%s%n", "${jndi:x}", "$(id)", "`id`", "; id", "-rf", "--output=x", "x" * 5000, "9" * 5000),
    *("-1", "0", "1e999", "NaN", "Infinity", "null", "true", "[" * 3000, "{" * 3000, "é" * 300),
    *("From x@y Mon Sep 17 00:00:00 2001", "diff --git a/x b/x", "--- a/x\n+++ b/x\n@@ -1 +1 @@"),
    *("file:///etc/passwd", "ftp://127.0.0.1/x", "http://[::1", "javascript:alert(1)", "\\u0000"),
)

RAW_JSON = ("NaN", "1e999", "9" * 5000, "[" * 9000, '{"a":' * 9000, '"\\ud800"', "'", "//")
VALUES: tuple[object, ...] = (
    *NASTY,
    *(None, True, False, 0, -1, 1.5, 10**19, -(10**400), [], {}, [[]], {"": {}}, ["x"] * 2000),
    *("0" * 64, "F" * 64, "é" * 64, "2026-01-02T00:00:00", "0001-01-01T00:00:00+14:00"),
    *("1.9", "2.0", "livekit_agents-1.8.9-py3-none-any.whl"),
    *("livekit_other-1.8.9-py3-none-any.whl", "livekit_agents-1!1.8.9-py3-none-any.whl"),
    "livekit_agents-1.8.9-py3-none-\x1b[31many.whl",
)


def require_helpful(error: ToolkitError) -> None:
    """Fail unless an error says something, at bearable length, and does not steer the terminal."""
    for text in (error.problem, error.next_step, str(error)):
        assert text.strip(), "an error without words"
        assert len(text) <= WORDIEST, f"an error of {len(text)} characters"
        assert all(c.isprintable() or c in "\n\t" for c in text), f"it steers: {text!r}"


@contextmanager
def rejected(kind: type[ToolkitError] | tuple[type[ToolkitError], ...]) -> Iterator[None]:
    """Let the block end with a helpful error of this kind, and with no other, within LONGEST."""

    def late(_: int, __: FrameType | None) -> None:
        pytest.fail(f"more than {LONGEST:g} s of work")

    before = signal.signal(signal.SIGVTALRM, late)
    signal.setitimer(signal.ITIMER_VIRTUAL, LONGEST)
    try:
        yield
    except kind as error:
        require_helpful(error)
        OUTCOMES["rejected"] += 1
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


@st.composite
def scarred(draw: st.DrawFn, data: bytes, other: bytes = b"") -> bytes:
    """``data`` after a few accidents: bits, bytes, cuts, copies, and pieces of something else."""
    scars = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, max(len(scars) - 1, 0)))
        end = start + draw(st.sampled_from((1, 2, 4, 16, 200)))
        piece = draw(st.integers(0, max(len(other) - 1, 0)))
        match draw(st.integers(0, 6)):
            case 0 if scars:
                scars[start] ^= 1 << draw(st.integers(0, 7))
            case 1 if scars:
                scars[start] = draw(st.sampled_from((0, 1, 0x7F, 0x80, 0xFF, 10, 13)))
            case 2:
                del scars[start:end]
            case 3:
                scars[start:start] = scars[start:end]
            case 4:
                text = draw(st.sampled_from(NASTY))
                scars[start:end] = text.encode("utf-8", "surrogatepass")
            case 5:
                scars[start:end] = other[piece : piece + 200]
            case _:
                del scars[start:]
    return bytes(scars)


@st.composite
def shuffled(draw: st.DrawFn, text: str, hostile: Sequence[str]) -> str:
    """``text`` with lines lost, doubled, moved, split, and hostile ones among them."""
    lines = text.splitlines(keepends=True)
    for _ in range(draw(st.integers(1, 3))):
        line = draw(st.integers(0, len(lines) - 1))
        old, new = lines[line], draw(st.sampled_from(hostile))
        cut = draw(st.integers(0, len(old)))
        match draw(st.integers(0, 6)):
            case 0:
                lines[line] = ""
            case 1:
                lines.insert(draw(st.integers(0, len(lines))), old)
            case 2:
                lines.insert(line, new)
            case 3:
                lines[line] = new
            case 4:
                lines[line] = old[:cut] + draw(st.sampled_from(NASTY)) + old[cut:]
            case 5:
                ending = draw(st.sampled_from(("\r\n", "\r", "", "\n\n", " \n")))
                lines[line] = old.replace("\n", ending)
            case _:
                lines[line] = old.swapcase()
    return "".join(lines)


@st.composite
def damaged_json(draw: st.DrawFn, text: str) -> bytes:
    """A JSON document with other values, keys twice or gone, or what is no JSON."""
    match draw(st.integers(0, 19)):
        case 0:
            pass
        case 1 | 2:
            return draw(scarred(text.encode()))
        case 3 | 4:
            colon = draw(st.sampled_from([n + 1 for n, c in enumerate(text) if c == ":"]))
            text = f"{text[:colon]} {draw(st.sampled_from(RAW_JSON))}, {text[colon:]}"
        case 5 | 6:
            start = text.index('"', draw(st.integers(0, len(text) // 2)))
            end = text.index('"', start + 1) + 1
            text = f"{text[:start]}{text[start:end]}: 1, {text[start:]}"
        case _:
            text = json.dumps(draw(_twisted(json.loads(text))))
    return text.encode("utf-8", "surrogatepass")


@st.composite
def _twisted(draw: st.DrawFn, value: object) -> object:
    """A document of which one value, somewhere, is another or gone."""
    inside = draw(st.integers(0, 6)) > 0
    if isinstance(value, Mapping) and value and inside:
        key = draw(st.sampled_from(sorted(value)))
        changed = {**value, key: draw(_twisted(value[key]))}
        match draw(st.integers(0, 7)):
            case 0:
                del changed[key]
            case 1:
                new = draw(st.sampled_from(("", "x", key * 2, "\x1b[0m")))
                changed[new] = draw(st.sampled_from(VALUES))
        return changed
    if isinstance(value, list) and value and inside:
        number = draw(st.integers(0, len(value) - 1))
        new = [draw(_twisted(value[number]))] * draw(st.sampled_from((1, 0, 2)))
        return [*value[:number], *new, *value[number + 1 :]]
    if isinstance(value, str) and draw(st.integers(0, 4)) < 2:
        cut = draw(st.integers(0, len(value)))
        return value[:cut] + draw(st.sampled_from(NASTY)) + value[cut + 1 :]
    return draw(st.sampled_from(VALUES))
