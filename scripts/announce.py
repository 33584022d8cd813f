"""What the daily watch has to say to the maintainers: a pull request, an issue, or nothing.

Example:
    nox -s release -- --json > outcome.json
    git diff > change.patch
    python scripts/announce.py outcome.json --change change.patch --out announcement

New variants and rows in patches/ make a pull request. A release that cannot be carried, or whose
proof says anything but `publish`, makes an issue, with the conflict report if there is one. The
folder gets `kind`, `title` and `body.md`, which GitHub's own `gh` posts; nothing is sent from here.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.errors import CommandFailed, SomeReleasesFailed, run_verb
from toolkit.files import write_whole, writing
from toolkit.release import MAIN
from toolkit.strict import Malformed, load, value_of

PULL_REQUEST, ISSUE, NOTHING = "pull-request", "issue", "nothing"
# each wants a human; an error of the network or the machine does not
_WORDS = ("conflict", "regressed", "inconclusive", "fixed")
# GitHub takes 65,536 characters
_LONGEST = 60_000


@dataclass(frozen=True)
class Announcement:
    """What to post, if anything; ``body`` is Markdown."""

    kind: str
    title: str = ""
    body: str = ""


def announce(rows: Sequence[dict[str, Any]], change: str, refresh: Path) -> Announcement:
    """What the rows of `release --json` and the diff of patches/ amount to.

    ``refresh`` is where releases wait for a human. Raises SomeReleasesFailed if one failed for a
    reason of its own.
    """
    failed = [f"{row['release']}: {row.get('error', '')}" for row in rows if _word(row) == "error"]
    if failed:
        raise SomeReleasesFailed("\n".join(failed), next_step="run the watch again")
    odd = [row for row in rows if _word(row) in _WORDS]
    if odd:
        named = ", ".join(f"{row['release']}: {row['verdict']}" for row in odd)
        return Announcement(
            ISSUE, f"{MAIN} {named}", "\n\n".join(_why(row, refresh) for row in odd)
        )
    if not change.strip():
        return Announcement(NOTHING)
    files = re.findall(r"^diff --git a/\S+ b/(\S+)$", change, re.M)
    released = ", ".join(value_of(row["release"], str, "release") for row in rows)
    lines = [f"- `{name}`" for name in files]
    proofs = [f"- {row['release']}: {_proof(row)}" for row in rows]
    body = "\n".join(["The proof of what changes here:", "", *proofs, "", "Files:", "", *lines])
    return Announcement(PULL_REQUEST, f"Carry the series to {MAIN} {released}", body)


def _word(row: dict[str, Any]) -> str:
    return value_of(row["verdict"], str, "verdict")


def _proof(row: dict[str, Any]) -> str:
    sides = [
        f"{name} wheels lose {side['tests']} of {side['of_tests']} tests and "
        f"{side['schedules']} of {side['of_schedules']} schedules"
        for name in ("official", "patched")
        if (side := row.get(name))
    ]
    carried = f"; carried from {row['carried_from']}" if "carried_from" in row else ""
    return f"{_word(row)}{carried}; {'; '.join(sides)}"


def _why(row: dict[str, Any], refresh: Path) -> str:
    release = value_of(row["release"], str, "release")
    text = f"## {release}: {_word(row)}\n\n```\n{row.get('error') or row.get('reason', '')}\n```"
    report = refresh / release / "report.md"
    if report.is_file():
        text += f"\n\n{report.read_text('utf-8').strip()}"
    return text


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb; return its exit code."""
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = arguments.add_argument
    add("outcome", metavar="FILE", type=Path, help="what `release --json` printed")
    add("--change", metavar="FILE", type=Path, required=True, help="the diff of patches/")
    add("--refresh", metavar="DIR", type=Path, default=Path("dist/refresh"), help="%(default)s")
    add("--out", metavar="DIR", type=Path, required=True)
    options = arguments.parse_args(argv)

    def body() -> None:
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
            write_whole(options.out / "kind", found.kind.encode())
            write_whole(options.out / "title", found.title.encode())
            write_whole(options.out / "body.md", found.body[:_LONGEST].encode())
        print(found.kind)

    return run_verb(body)


if __name__ == "__main__":
    sys.exit(main())
