"""What the daily watch posts to the maintainers: a pull request, an issue, both, or nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.util.distributions import MAIN
from toolkit.util.errors import (
    CommandFailed,
    HashMismatch,
    NotWritable,
    SomeReleasesFailed,
    Unreachable,
)
from toolkit.util.files import not_writable_errors, write_whole
from toolkit.util.markdown import cell, cut, fence
from toolkit.util.strict_json import value_of

PULL_REQUEST, ISSUE, NOTHING = "pull-request", "issue", "nothing"
# Verdicts that need a maintainer. An error does too, unless the network or the machine caused it.
_FOR_MAINTAINERS = ("conflict", "regressed", "inconclusive", "fixed", "error")
_TEMPORARY = {error.exit_code for error in (Unreachable, HashMismatch, NotWritable, CommandFailed)}
# GitHub accepts bodies of 65,536 characters and titles of 256.
_MAX_BODY, _MAX_TITLE = 60_000, 200

# A row of `release --json`.
_Row = dict[str, Any]


@dataclass(frozen=True)
class Announcement:
    """One thing to post; ``body`` is Markdown."""

    kind: str
    title: str
    body: str


def announce(rows: Sequence[_Row], diff: str, conflicts: Path) -> list[Announcement]:
    """Turn the rows of `release --json` and the diff of patches/ into at most one of each kind.

    ``conflicts`` holds the reports of releases that wait for a maintainer. Raises
    SomeReleasesFailed if a release failed for a temporary reason: the next run takes all again.
    Raises ValueError, KeyError or TypeError for rows of another shape.
    """
    failed = [f"{row['release']}: {row.get('error', '')}" for row in rows if _is_temporary(row)]
    if failed:
        raise SomeReleasesFailed("\n".join(failed), next_step="run the watch again")
    announcements = []
    undecided = [row for row in rows if _verdict(row) in _FOR_MAINTAINERS]
    if undecided:
        title = ", ".join(f"{row['release']}: {row['verdict']}" for row in undecided)
        body = "\n\n".join(_section(row, conflicts) for row in undecided)
        announcements.append(Announcement(ISSUE, f"{MAIN} {title}", body))
    # Without a published release the diff waits for the maintainer's decision, so that the next
    # run sees the release as new again. A fixed release stays fixed.
    published = [row for row in rows if _verdict(row) == "publish"]
    if diff.strip() and (published or all(_verdict(row) == "fixed" for row in undecided)):
        announcements.append(_pull_request(rows, published, diff))
    return announcements


def write(announcements: Sequence[Announcement], folder: Path) -> str:
    """Write ``kind``, and a title and a text for each announcement; return the content of ``kind``.

    Raises NotWritable.
    """
    kinds = " ".join(each.kind for each in announcements) or NOTHING
    with not_writable_errors(folder):
        write_whole(folder / "kind", kinds.encode())
        for each in announcements:
            title = each.title
            title = title if len(title) <= _MAX_TITLE else f"{title[:_MAX_TITLE]}…"
            write_whole(folder / f"{each.kind}.title", title.encode())
            write_whole(folder / f"{each.kind}.md", cut(each.body, _MAX_BODY).encode())
    return kinds


def _pull_request(rows: Sequence[_Row], published: Sequence[_Row], diff: str) -> Announcement:
    files = re.findall(r"^diff --git a/\S+ b/(\S+)$", diff, re.M)
    names = ", ".join(value_of(row["release"], str, "release") for row in published)
    title = f"Carry the series to {MAIN} {names}" if names else "Bring releases.toml up to date"
    proofs = [f"- {row['release']}: {_proof(row)}" for row in rows]
    lines = ["The proof of what changes here:", "", *proofs, ""] if rows else []
    lines += ["Files:", "", *(f"- `{name}`" for name in files)]
    return Announcement(PULL_REQUEST, title, "\n".join(lines))


def _is_temporary(row: _Row) -> bool:
    return _verdict(row) == "error" and row.get("exit_code") in (None, *_TEMPORARY)


def _verdict(row: _Row) -> str:
    return value_of(row["verdict"], str, "verdict")


def _proof(row: _Row) -> str:
    """Describe the losses of both sides, or the reason why there was no proof, in one line."""
    rebased = [f"carried from {row['carried_from']}"] if "carried_from" in row else []
    losses = [
        f"{name} wheels lose {side['tests']} of {side['of_tests']} tests and "
        f"{side['schedules']} of {side['of_schedules']} schedules"
        for name in ("official", "patched")
        if (side := row.get(name))
    ]
    reason = cell(str(row.get("reason", ""))) or "see the issue"
    return "; ".join([_verdict(row), *rebased, *(losses or [reason])])


def _section(row: _Row, conflicts: Path) -> str:
    """Describe one release in an issue, with its conflict report if there is one."""
    release = value_of(row["release"], str, "release")
    reason = fence(str(row.get("error") or row.get("reason", "")))
    parts = [f"## {release}: {_verdict(row)}", reason]
    report = conflicts / release / "report.md"
    if report.is_file():
        parts.append(report.read_text("utf-8").strip())
        parts.append(f"`nox -s release -- {release}` puts these files on your machine.")
    return "\n\n".join(parts)
