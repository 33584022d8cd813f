"""Mutated input for every reader: `nox -s fuzz -- --help`.

A case is made from a seed and a number alone. What a reader makes of it must be one clear
ToolkitError, or provably harmless; each subject says what that means for it. Anything else, a
traceback and more than LONGEST seconds of work among them, is a Fault.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from types import FrameType

from toolkit.util.errors import ToolkitError

# CPU seconds a case may take, and characters that an error may have
LONGEST = 20.0
WORDIEST = 60_000

# What parsers, terminals, pages and file systems stumble over.
NASTY = (
    *("", " ", "\0", "\n", "\r", "\r\n\r\n", "\t", "\v", "\x1b[31m\x1b]0;x\7", "\x7f", "\x85"),
    *("\u2028", "\u202e", "\ud800", "\ufeff", "é", "e\u0301", "ﬁ", "İ", "🙂", "\U0010ffff"),
    *(
        "..",
        "../../x.py",
        "/etc/passwd",
        "C:\\x.py",
        "a\\..\\b",
        "//host/x",
        ".git/config",
        "aux.py",
    ),
    *(
        "<script>alert(1)</script>",
        '"><img src=x onerror=y>',
        "]]>",
        "&lt;",
        "|a|b|",
        "[/]",
        "[red]",
    ),
    *("%s%n", "${jndi:x}", "$(id)", "`id`", "; id", "-rf", "--output=x", "x" * 5000, "9" * 5000),
    *("-1", "0", "1e999", "NaN", "Infinity", "null", "true", "[" * 3000, "{" * 3000, "é" * 300),
    *("From x@y Mon Sep 17 00:00:00 2001", "diff --git a/x b/x", "--- a/x\n+++ b/x\n@@ -1 +1 @@"),
    *("file:///etc/passwd", "ftp://127.0.0.1/x", "http://[::1", "javascript:alert(1)", "\\u0000"),
)


class Fault(AssertionError):
    """A reader did what it must not do."""


@dataclass(frozen=True)
class Subject:
    """A reader: ``case`` makes one mutated input, lets it be read, and says what became of it."""

    name: str
    case: Callable[[Random, Path], str]


@dataclass
class Tally:
    """How many cases ended how, and the faults with the words that make each again."""

    classes: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


def fuzz(subject: Subject, cases: Sequence[int], seed: int, folder: Path) -> Tally:
    """Try the cases of these numbers; ``folder`` is theirs to write to."""
    tally = Tally()
    for number in cases:
        try:
            with _limited():
                random = Random(f"{seed} {number}")  # noqa: S311  (repeatable, not secret)
                tally.classes[subject.case(random, folder)] += 1
        except Exception:  # noqa: BLE001  (any is a fault)
            said = traceback.format_exc(limit=-4)
            tally.faults.append(f"{subject.name}, --seed {seed} --only {number}:\n{said}")
    return tally


def refused(error: ToolkitError) -> str:
    """The class of a case that was refused, if the error is one that helps and does no harm."""
    for text in (error.problem, error.next_step, str(error)):
        if not text.strip() or len(text) > WORDIEST:
            raise Fault(f"an error of {len(text)} characters")
        if not all(c.isprintable() or c in "\n\t" for c in text):
            raise Fault(f"an error that steers the terminal: {text!r}")
    return f"refused as {type(error).__name__}"


@contextmanager
def _limited() -> Iterator[None]:
    def late(_: int, __: FrameType | None) -> None:
        raise Fault(f"more than {LONGEST:g} s of work")

    before = signal.signal(signal.SIGVTALRM, late)
    signal.setitimer(signal.ITIMER_VIRTUAL, LONGEST)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def scarred(random: Random, data: bytes, other: bytes = b"") -> bytes:
    """``data`` after a few accidents: bits, bytes, cuts, copies, and pieces of something else."""
    scars = bytearray(data)
    for _ in range(random.choice((1, 1, 1, 2, 3, 8))):
        at, to = sorted(random.randrange(len(scars) + 1) for _ in range(2))
        to = min(to, at + random.choice((1, 2, 4, 16, 200)))
        match random.randrange(7):
            case 0 if scars:
                scars[min(at, len(scars) - 1)] ^= 1 << random.randrange(8)
            case 1 if scars:
                scars[min(at, len(scars) - 1)] = random.choice((0, 1, 0x7F, 0x80, 0xFF, 10, 13))
            case 2:
                del scars[at:to]
            case 3:
                scars[at:at] = scars[at:to]
            case 4:
                scars[at:to] = random.choice(NASTY).encode("utf-8", "surrogatepass")
            case 5 if other:
                start = random.randrange(len(other))
                scars[at:to] = other[start : start + random.choice((4, 30, 200))]
            case _:
                del scars[random.choice((0, at, len(scars) // 2)) :]
    return bytes(scars)


def shuffled(random: Random, text: str, hostile: Sequence[str]) -> str:
    """``text`` with lines lost, doubled, moved, split, and hostile ones among them."""
    lines = text.splitlines(keepends=True) or [""]
    for _ in range(random.choice((1, 1, 2, 3))):
        at = random.randrange(len(lines))
        match random.randrange(7):
            case 0 if len(lines) > 1:
                del lines[at]
            case 1:
                lines.insert(random.randrange(len(lines) + 1), lines[at])
            case 2:
                lines.insert(at, random.choice(hostile))
            case 3:
                lines[at] = random.choice(hostile)
            case 4:
                line = lines[at]
                cut = random.randrange(len(line) + 1)
                lines[at] = line[:cut] + random.choice(NASTY) + line[cut:]
            case 5:
                lines[at] = lines[at].replace(
                    "\n", random.choice(("\r\n", "\r", "", "\n\n", " \n"))
                )
            case _:
                lines[at] = lines[at].swapcase()
    return "".join(lines)


def twisted(random: Random, value: object, pool: Sequence[object]) -> object:
    """A JSON document of which one value, somewhere, is another or gone."""
    children: list[object] = list(value) if isinstance(value, dict | list) else []
    if isinstance(value, Mapping) and children and random.random() < 0.85:
        key = random.choices(children, [len(str(value[child])) for child in children])[0]
        changed = {**value, key: twisted(random, value[key], pool)}
        match random.randrange(8):
            case 0:
                del changed[key]
            case 1:
                changed[random.choice(("", "x", str(key) * 2, "\x1b[0m"))] = random.choice(pool)
        return changed
    if isinstance(value, list) and children and random.random() < 0.85:
        at = random.randrange(len(value))
        new = twisted(random, value[at], pool)
        return [*value[:at], *random.choice(([new], [], [new, new])), *value[at + 1 :]]
    if isinstance(value, str) and random.random() < 0.4:
        cut = random.randrange(len(value) + 1)
        return value[:cut] + random.choice(NASTY) + value[cut + random.randrange(4) :]
    return random.choice(pool)


def main(argv: Sequence[str] | None = None) -> int:
    """Fuzz every reader, print the tally, and return 1 if there was a fault."""
    # They import this module.
    import fuzz_lists
    import fuzz_series
    import fuzz_wheels

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=2000, help="cases for each reader")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, help="the case of this number alone")
    parser.add_argument("--subject", action="append", help="this reader alone")
    parser.add_argument("--wheel", type=Path, action="append", default=[], help="one more seed")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    cases = range(options.count) if options.only is None else [options.only]
    faults: list[str] = []
    table = {}
    with tempfile.TemporaryDirectory() as folder:
        wheels = fuzz_wheels.subjects(Path(folder), options.wheel)
        for subject in (*wheels, *fuzz_series.subjects(), *fuzz_lists.subjects(Path(folder))):
            if options.subject and subject.name not in options.subject:
                continue
            tally = fuzz(subject, cases, options.seed, Path(folder))
            faults += tally.faults
            table[subject.name] = {**dict(tally.classes.most_common()), "faults": len(tally.faults)}
    if options.json:
        print(json.dumps(table, indent=1))
    else:
        for name, classes in table.items():
            print(f"{name}: " + ", ".join(f"{n} {word}" for word, n in classes.items()))
    print("\n".join(faults), file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    # under its own name too, as the subjects import it
    import fuzzing

    sys.exit(fuzzing.main())
