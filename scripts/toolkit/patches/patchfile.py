"""One patch file: its DEP-3 header and its hunks, checked before anything is applied."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from email.parser import HeaderParser
from email.utils import parseaddr
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from packaging.version import Version

from toolkit.util.errors import InvalidSeries
from toolkit.util.files import text_of

if TYPE_CHECKING:
    from unidiff.patch import Hunk, PatchedFile

MAX_PATCH = 1 << 20
# A file's bytes survive the trip through text, whatever their encoding.
ENCODING, ERRORS = "utf-8", "surrogateescape"
_MAIL = re.compile(rb"^From [0-9a-f]{40} Mon Sep 17 00:00:00 2001\r?$", re.M)
_DIFF = re.compile(r"^diff --git ", re.M)
# What git takes for a diff where unidiff is not looking: before the first `diff --git`.
_HIDDEN = re.compile(r"^(--- \S|\+\+\+ \S|@@ -)", re.M)
_FIELD = re.compile(
    r"^(Description|Origin|Forwarded|Last-Update|Applied-Upstream):[ \t]*(.*)$", re.M
)
_NO_NEWLINE = " No newline at end of file\n"
_ORIGINS = ("upstream", "backport", "vendor", "other")
_UNSUPPORTED = re.compile(
    r"^(old mode|new mode|deleted file|rename|copy|similarity|Binary files|GIT binary patch)", re.M
)


@dataclass(frozen=True)
class _Edit:
    """A hunk's two sides, and where the first is looked for: near line ``near``, from 0.

    ``at_start`` and ``at_end`` say that it must begin with the file, or end with it.
    """

    old: list[str]
    new: list[str]
    near: int
    far: int
    at_start: bool
    at_end: bool

    @classmethod
    def of(cls, hunk: Hunk) -> _Edit:
        """Read a hunk as ``apply_one_fragment`` in git's apply.c does."""
        marks = [line.line_type for line in hunk if line.line_type != "\\"]
        return cls(
            _side(hunk, "-"),
            _side(hunk, "+"),
            max(hunk.target_start - 1, 0),
            max(hunk.source_start - 1, 0),
            hunk.source_start <= 1,
            marks[-1:] != [" "],
        )

    def reverse(self) -> _Edit:
        """The edit that takes this one back, wherever its result is."""
        return _Edit(self.new, self.old, self.far, self.near, not self.new, not self.new)


@dataclass(frozen=True)
class FileChange:
    """The hunks for one file. ``path`` is the monorepo's, without ``a/`` or ``b/``."""

    path: str
    is_new: bool
    diff: PatchedFile

    @cached_property
    def _edits(self) -> list[_Edit]:
        return [_Edit.of(hunk) for hunk in self.diff]

    def applied(self, official: bytes) -> bytes | None:
        """``official`` with every hunk applied where ``git apply`` would; None if one does not fit.

        Hunks may be offset, never fuzzed. See :func:`_place` for the rules.
        """
        text, misfit = _apply(official, self._edits)
        return None if misfit is not None else text

    def misfit(self, official: bytes) -> str:
        """Name the first hunk that does not fit ``official``, for a message; empty if all fit."""
        number = _apply(official, self._edits)[1]
        if number is None:
            return ""
        hunk = self.diff[number]
        return (
            f"{self.path}, hunk {number + 1} of {len(self.diff)} "
            f"(@@ -{hunk.source_start},{hunk.source_length} "
            f"+{hunk.target_start},{hunk.target_length} @@)"
        )

    def undone(self, patched: bytes) -> bytes | None:
        """``patched`` with every hunk taken back, or None if it does not contain them all."""
        text, misfit = _apply(patched, [edit.reverse() for edit in self._edits])
        return None if misfit is not None else text


@dataclass(frozen=True)
class Variant:
    """``patches/<patch>/<since>.patch``: good from that release until the folder's next file.

    ``header`` holds the DEP-3 fields; Description falls back to the mail's subject.
    """

    patch: str
    since: Version
    path: Path
    data: bytes
    header: dict[str, str]
    changes: tuple[FileChange, ...]


def parse_variant(patch: str, since: Version, path: Path, problems: list[str]) -> Variant | None:
    """Read one patch file. What is wrong with it is added to ``problems``, each with its name."""
    from unidiff.errors import UnidiffParseError
    from unidiff.patch import PatchSet

    where = f"{patch}/{path.name}"
    data = read_patch(path)
    if damage := _damage(data):
        problems.append(f"{where} {damage}")
        return None
    text = data.decode(ENCODING, ERRORS)
    found: list[str] = []
    # about what git takes for the beginning of another mail
    if len(re.findall(rb"^From .*:\d\d", data, re.M)) != 1 or not _MAIL.match(data):
        found.append("is not one mail of `git format-patch --zero-commit`")
    start = _DIFF.search(text)
    head = text[: start.start() if start else None]
    if _HIDDEN.search(head):
        found.append("has a diff before its first `diff --git`")
    header = _header(head, found)
    changes: tuple[FileChange, ...] = ()
    try:
        diffs = PatchSet(text[start.start() :] if start else "")
        changes = tuple(FileChange(diff.path, diff.is_added_file, diff) for diff in diffs)
    except (UnidiffParseError, ValueError) as error:
        found.append(f"is no unified diff: {error}")
    else:
        found += [] if changes else ["is empty"]
        body = text[start.start() :] if start else ""
        marked = len(re.findall(r"^[-+ \\]", body, re.M))
        named = sum(2 for change in changes if change.diff)
        if marked != named + sum(len(hunk) for change in changes for hunk in change.diff):
            found.append("has lines outside of its hunks")
        found += _check_changes(changes)
    problems += [f"{where} {problem}" for problem in found]
    return None if found else Variant(patch, since, path, data, header, changes)


def read_patch(path: Path) -> bytes:
    """The bytes of a patch file; raise InvalidSeries, with the system's reason, without them."""
    try:
        return text_of(path)
    except OSError as error:
        raise InvalidSeries(
            f"the series is invalid:\n{path.parent.name}/{path.name} cannot be read: "
            f"{error.strerror}",
            next_step=f"restore it with `git checkout -- {path.parent.name}/{path.name}` "
            "in patches/, or let it be read",
        ) from error


def _damage(data: bytes) -> str:
    """Why that is no file that somebody wrote as a patch, as far as its bytes tell; or nothing."""
    if len(data) > MAX_PATCH:
        return f"is longer than {MAX_PATCH} bytes"
    if not data.strip():
        return "is empty"
    if b"\0" in data:
        return "is damaged: it has a NUL byte"
    if not data.endswith(b"\n"):
        return "is cut off: its last line has no end"
    return ""


def _header(text: str, found: list[str]) -> dict[str, str]:
    mail = HeaderParser().parsestr(text)
    fields = {name: value.strip() for name, value in _FIELD.findall(text)}
    subject = re.sub(r"^\[PATCH[^]]*\]\s*", "", " ".join(str(mail.get("Subject", "")).split()))
    if not fields.get("Description"):
        fields["Description"] = subject
    for name in ("Description", "Origin", "Forwarded", "Last-Update"):
        if not fields.get(name):
            found.append(f"has no {name}")
    origin = fields.get("Origin", "vendor")
    if origin.split(",")[0].split(":")[0] not in _ORIGINS and "://" not in origin:
        found.append(f"has an Origin that is none of {', '.join(_ORIGINS)} nor a URL: {origin!r}")
    if not all(parseaddr(str(mail.get("From", "")))):
        found.append("has no From of a name and an address")
    try:
        datetime.date.fromisoformat(fields.get("Last-Update") or "2020-02-02")
    except ValueError:
        found.append(f"has a Last-Update that is no date: {fields['Last-Update']!r}")
    if str(mail.get("Content-Transfer-Encoding", "8bit")).lower() not in ("7bit", "8bit"):
        found.append("has an encoded body; send it as 8bit")
    return fields


def _check_changes(changes: tuple[FileChange, ...]) -> list[str]:
    found = []
    seen: set[str] = set()
    for change in changes:
        diff, path = change.diff, change.path
        info = "".join(str(line) for line in diff.patch_info or ())
        sides = ((diff.source_file, "a/"), (diff.target_file, "b/"))
        if not all(name == "/dev/null" or name.startswith(side) for name, side in sides):
            found.append(f"has a path without a/ and b/: {path!r}")
        if not is_safe_path(path):
            found.append(f"has an unsafe path: {path!r}")
        if path in seen:
            found.append(f"changes {path} twice")
        seen.add(path)
        odd = diff.is_binary_file or diff.is_removed_file or diff.is_rename
        if odd or _UNSUPPORTED.search(info):
            found.append(f"does more to {path} than change its text or add it as a new .py file")
        elif change.is_new and not (path.endswith(".py") and "file mode 100644" in info):
            found.append(f"adds {path}, which is no plain .py file")
        elif not diff:
            found.append(f"has no hunk for {path}")
        elif not info.startswith(f"diff --git a/{path} b/{path}\n"):
            found.append(f"has another `diff --git` than for {path}")
        found += [f"{problem} in {path}" for hunk in diff for problem in _check_hunk(hunk)]
    return found


def _check_hunk(hunk: Hunk) -> Iterator[str]:
    """What git refuses in a hunk, or never writes."""
    marks = "".join(line.line_type for line in hunk)
    if not re.search("[-+]", marks):
        yield "has a hunk that changes nothing"
    if re.search(r"^\\|\\\\| \\.|-\\.*[- ]|\+\\.*[+ ]", marks):
        yield "has a line without an end that is not the last"
    if any(line.line_type == "\\" and line.value != _NO_NEWLINE for line in hunk):
        yield "has a backslash line other than git's"


def is_safe_path(path: str) -> bool:
    """Whether ``path`` is relative, POSIX, plain, and stays below its root."""
    parts = PurePosixPath(path).parts
    return (
        bool(parts)
        and "/".join(parts) == path
        and not path.startswith("/")
        and not re.match(r"[A-Za-z]:", path)
        and not set(path) & {"\\", "\0", '"', "\n", "\r"}
        and ".." not in parts
        and not any(part.lower().startswith((".git", "git~")) for part in parts)
    )


def _side(hunk: Hunk, own: str) -> list[str]:
    lines: list[str] = []
    last = ""
    for line in hunk:
        if line.line_type == "\\":
            if last in (" ", own):
                lines[-1] = lines[-1].removesuffix("\n")
            continue
        last = line.line_type or " "
        if last in (" ", own):
            lines.append(line.value)
    return lines


def apply_exactly(text: bytes, hunks: Iterable[Hunk]) -> bytes:
    """``text`` with some of the hunks of a diff of it, each at its very place."""
    lines = split_lines(text)
    for hunk in sorted(hunks, key=lambda hunk: hunk.source_start, reverse=True):
        start = max(hunk.source_start - 1, 0)
        lines[start : start + hunk.source_length] = _side(hunk, "+")
    return "".join(lines).encode(ENCODING, ERRORS)


def split_lines(text: bytes) -> list[str]:
    """The lines of ``text`` as git counts them, with their ends."""
    lines = text.decode(ENCODING, ERRORS).split("\n")
    return [f"{line}\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])


def _apply(text: bytes, edits: Sequence[_Edit]) -> tuple[bytes, int | None]:
    """Make the edits in their order; the second item is the number of the first without a place."""
    lines = split_lines(text)
    # no later hunk may match what an earlier one touched
    free: list[str | None] = list(lines)
    for number, edit in enumerate(edits):
        at = _place(free, edit)
        if at is None:
            return text, number
        lines[at : at + len(edit.old)] = edit.new
        free[at : at + len(edit.old)] = [None] * len(edit.new)
    return "".join(lines).encode(ENCODING, ERRORS), None


def _place(lines: Sequence[str | None], edit: _Edit) -> int | None:
    """Find an edit's place, by the rules of ``find_pos`` and ``match_fragment`` in git's apply.c.

    Of several places the one nearest to the hunk's own line is taken, the later one in a tie.
    """
    size, last = len(edit.old), len(lines) - len(edit.old)
    near = min(edit.near, len(lines))
    if edit.at_start or edit.at_end:
        near = 0 if edit.at_start else last
        if last < 0 or (edit.at_end and near != last):
            return None
    if lines[near : near + size] == edit.old:
        return near
    if edit.at_start or edit.at_end:
        return None
    places, at = [], -1
    with suppress(ValueError):
        while True:
            at = lines.index(edit.old[0], at + 1)
            if lines[at : at + size] == edit.old:
                places.append(at)
    return min(places, key=lambda at: (abs(at - near), at < near), default=None)
