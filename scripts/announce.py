"""What the daily watch has to say to the maintainers: a pull request, an issue, both, or nothing.

Example:
    nox -s release -- new --json > outcome.json
    git diff > change.patch
    python scripts/announce.py outcome.json --change change.patch --out announcement

New variants and rows in patches/ make a pull request. A release that cannot be carried, or whose
proof says anything but `publish`, makes an issue, with the conflict report if there is one; if it
is the only one, what changes in patches/ waits with it, unless that one is fixed. The folder gets
`kind` (which of these, in words), and a title and a text for each, as in `issue.title` and
`issue.md`, which GitHub's own `gh` posts; nothing is sent from here.
"""

from __future__ import annotations

import sys
from pathlib import Path

# `python -P` and `-I` leave this folder out; an old Python ends at toolkit, with one line
sys.path.insert(0, str(Path(__file__).resolve().parent))
import toolkit as toolkit  # isort: split

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from toolkit.cli import Arguments, verb
from toolkit.util.errors import (
    CommandFailed,
    HashMismatch,
    NotWritable,
    SomeReleasesFailed,
    Unreachable,
)
from toolkit.util.files import write_whole, writing
from toolkit.util.markdown import cell, cut, fence
from toolkit.util.names import MAIN
from toolkit.util.strict_json import Malformed, load, value_of

PULL_REQUEST, ISSUE, NOTHING = "pull-request", "issue", "nothing"
# each wants a human; so does an error, but for those of the network or the machine
_WORDS = ("conflict", "regressed", "inconclusive", "fixed")
_PASSING = {error.exit_code for error in (Unreachable, HashMismatch, NotWritable, CommandFailed)}
# GitHub takes 65,536 characters, and a title of 256
_LONGEST, _TITLE = 60_000, 200


@dataclass(frozen=True)
class Announcement:
    """One thing to post; ``body`` is Markdown."""

    kind: str
    title: str
    body: str


def announce(rows: Sequence[dict[str, Any]], change: str, refresh: Path) -> list[Announcement]:
    """What the rows of `release --json` and the diff of patches/ amount to; each kind once.

    ``refresh`` is where releases wait for a human. Raises SomeReleasesFailed if one failed for a
    reason that may be gone tomorrow: then all are taken again.
    """
    failed = [f"{row['release']}: {row.get('error', '')}" for row in rows if _passes(row)]
    if failed:
        raise SomeReleasesFailed("\n".join(failed), next_step="run the watch again")
    odd = [row for row in rows if _word(row) in (*_WORDS, "error")]
    made = []
    if odd:
        named = ", ".join(f"{row['release']}: {row['verdict']}" for row in odd)
        text = "\n\n".join(_why(row, refresh) for row in odd)
        made.append(Announcement(ISSUE, f"{MAIN} {named}", text))
    good = [row for row in rows if _word(row) == "publish"]
    settled = good or all(_word(row) == "fixed" for row in odd)
    if change.strip() and settled:
        made.append(_pull_request(rows, good, change))
    return made


def _pull_request(
    rows: Sequence[dict[str, Any]], good: Sequence[dict[str, Any]], change: str
) -> Announcement:
    files = re.findall(r"^diff --git a/\S+ b/(\S+)$", change, re.M)
    released = ", ".join(value_of(row["release"], str, "release") for row in good)
    title = f"Carry the series to {MAIN} {released}" if good else "Bring releases.toml up to date"
    proofs = [f"- {row['release']}: {_proof(row)}" for row in rows]
    lines = ["The proof of what changes here:", "", *proofs, ""] if rows else []
    return Announcement(
        PULL_REQUEST, title, "\n".join([*lines, "Files:", "", *(f"- `{name}`" for name in files)])
    )


def _passes(row: dict[str, Any]) -> bool:
    return _word(row) == "error" and row.get("exit_code") in (None, *_PASSING)


def _word(row: dict[str, Any]) -> str:
    return value_of(row["verdict"], str, "verdict")


def _proof(row: dict[str, Any]) -> str:
    sides = [
        f"{name} wheels lose {side['tests']} of {side['of_tests']} tests and "
        f"{side['schedules']} of {side['of_schedules']} schedules"
        for name in ("official", "patched")
        if (side := row.get(name))
    ]
    carried = [f"carried from {row['carried_from']}"] if "carried_from" in row else []
    why = [] if sides else [cell(str(row.get("reason", ""))) or "see the issue"]
    return "; ".join([_word(row), *carried, *sides, *why])


def _why(row: dict[str, Any], refresh: Path) -> str:
    release = value_of(row["release"], str, "release")
    said = fence(str(row.get("error") or row.get("reason", "")))
    text = f"## {release}: {_word(row)}\n\n{said}"
    report = refresh / release / "report.md"
    if report.is_file():
        text += f"\n\n{report.read_text('utf-8').strip()}"
        text += f"\n\n`nox -s release -- {release}` puts these files on your machine."
    return text


@verb
def main(argv: Sequence[str] | None = None) -> None:
    """Run the verb; return its exit code."""
    arguments = Arguments(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = arguments.add_argument
    add("outcome", metavar="FILE", type=Path, help="what `release --json` printed")
    add("--change", metavar="FILE", type=Path, required=True, help="the diff of patches/")
    add("--refresh", metavar="DIR", type=Path, default=Path("dist/refresh"), help="%(default)s")
    add("--out", metavar="DIR", type=Path, required=True)
    options = arguments.parse_args(argv)

    try:
        rows = value_of(load(options.outcome.read_bytes(), "it"), list, "the outcome")
        change = options.change.read_text("utf-8")
        found = announce(rows, change, options.refresh)
    except (OSError, Malformed, ValueError, KeyError, TypeError) as error:
        raise CommandFailed(
            f"{options.outcome} is not what `release --json` prints: {error}",
            next_step="see what the release itself said",
        ) from error
    with writing(options.out):
        kinds = " ".join(one.kind for one in found) or NOTHING
        write_whole(options.out / "kind", kinds.encode())
        for one in found:
            title = one.title if len(one.title) <= _TITLE else f"{one.title[:_TITLE]}…"
            write_whole(options.out / f"{one.kind}.title", title.encode())
            write_whole(options.out / f"{one.kind}.md", cut(one.body, _LONGEST).encode())
    print(kinds)


if __name__ == "__main__":
    sys.exit(main())
