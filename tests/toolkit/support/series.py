"""Patch files and the table of a series, for the toolkit's tests."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path

from wheels import ENGINE_PATH, TREES, VERSION_FILES, source

FIELDS = {
    "Origin": "vendor",
    "Forwarded": "https://example.org/pull/1",
    "Last-Update": "2026-11-22",
}


def diff(path: str, old: str, new: str, context: int = 3) -> str:
    """git's diff of one file; an empty ``old`` is a new file."""
    sides = difflib.unified_diff(
        old.splitlines(keepends=True),
        new.splitlines(keepends=True),
        f"a/{path}" if old else "/dev/null",
        f"b/{path}",
        n=context,
    )
    head = f"diff --git a/{path} b/{path}\n" + ("" if old else "new file mode 100644\n")
    return head + "".join(sides)


def mail(
    *diffs: str, subject: str = "Guard the calls", fields: Mapping[str, str] | None = None
) -> str:
    """A patch file as `git format-patch` writes it, with DEP-3 fields in its body."""
    lines = "".join(f"{k}: {v}\n" for k, v in (FIELDS if fields is None else fields).items())
    return (
        f"From {'0' * 40} Mon Sep 17 00:00:00 2001\n"
        "From: A Maintainer <maintainer@example.org>\n"
        "Date: Sun, 22 Nov 2026 12:00:00 +0000\n"
        f"Subject: [PATCH] {subject}\n\nWhy it is so.\n\n{lines}---\n\n" + "".join(diffs)
    )


def write_series(
    folder: Path,
    patches: Mapping[str, Mapping[str, str]],
    *,
    releases: str = ">=1.0",
    extra: str = "",
) -> Path:
    """A series: ``patches`` maps a patch's name to its files, by release."""
    folder.mkdir(parents=True, exist_ok=True)
    why = 'why = "w"\nupstream = "https://example.org/1"\ndrop-when = "d"\n'
    text = f'[series]\nname = "dispatched"\n{why}{extra}'
    for name, tree in TREES.items():
        text += f'[[distribution]]\nname = "{name}"\ntree = "{tree}"\n'
        text += f'version-file = "{VERSION_FILES[name]}"\n'
    for name, variants in patches.items():
        text += f'[[patch]]\nname = "{name}"\nreleases = "{releases}"\n{why}'
        for release, content in variants.items():
            (folder / name).mkdir(exist_ok=True)
            (folder / name / f"{release}.patch").write_bytes(content.encode())
    (folder / "series.toml").write_text(text, "utf-8")
    return folder


def engine_patch(**changes: str) -> str:
    """A patch of the agents' module: the lines of :func:`source` that change."""
    return mail(diff(ENGINE_PATH, source(), source(**changes)))
