"""One patch file: its DEP-3 header and its diff, checked before anything is applied."""

from __future__ import annotations

import datetime
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from email.parser import HeaderParser
from email.utils import parsedate_to_datetime
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from packaging.version import Version

from toolkit.patches.hunks import ENCODING, ERRORS, FileChange
from toolkit.util.errors import InvalidSeries
from toolkit.util.files import text_of

if TYPE_CHECKING:
    from unidiff.patch import Hunk

MAX_PATCH = 1 << 20
_MAIL = re.compile(rb"^From [0-9a-f]{40} Mon Sep 17 00:00:00 2001\r?$", re.M)
# What git takes for a diff where unidiff does not look: before the first `diff --git`.
_HIDDEN = re.compile(r"^(--- \S|\+\+\+ \S|@@ -)", re.M)
_FIELD = re.compile(
    r"^(Description|Origin|Forwarded|Last-Update|Applied-Upstream):[ \t]*(.*)$", re.M
)
# What git neither splits at a boundary nor joins, as it does where lines are "flowed".
_PLAIN_TEXT = re.compile(r'text/plain; *charset="?(utf-8|us-ascii)"?')
_EXTENDED = re.compile(r"index [0-9a-f]+\.\.[0-9a-f]+(?: 100644)?|new file mode 100644")
_PARAGRAPHS = re.compile(r"\n(?:[^\S\n]*\n)+")
_DATE = re.compile(r"(?:\w{3}, )?\d\d? \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}", re.A)
_NO_NEWLINE = " No newline at end of file\n"
_ORIGINS = ("upstream", "backport", "vendor", "other")
_UNSUPPORTED = re.compile(
    r"^(old mode|new mode|deleted file|rename|copy|similarity|Binary files|GIT binary patch)", re.M
)


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
    """Read one patch file; add every fault, with the file's name, to ``problems``."""
    data = read_patch(path)
    header, changes, faults = _parse(data)
    problems += [f"{patch}/{path.name} {fault}" for fault in faults]
    return None if faults else Variant(patch, since, path, data, header, changes)


# releases share most of their patches
@lru_cache(maxsize=128)
def _parse(data: bytes) -> tuple[dict[str, str], tuple[FileChange, ...], list[str]]:
    """Return the header's fields, the changes, and every fault."""
    if fault := _damage(data):
        return {}, (), [fault]
    faults = []
    # what git takes for the beginning of another mail
    if len(re.findall(rb"^From .*:\d\d", data, re.M)) != 1 or not _MAIL.match(data):
        faults.append("is not one mail of `git format-patch --zero-commit`")
    head, mark, diff = data.decode(ENCODING, ERRORS).partition("\ndiff --git ")
    if _HIDDEN.search(head):
        faults.append("has a diff before its first `diff --git`")
    header = _header(head, faults)
    return header, _changes(f"diff --git {diff}" if mark else "", faults), faults


def read_patch(path: Path) -> bytes:
    """Return the bytes of a patch file; raise InvalidSeries, with the system's reason."""
    try:
        return text_of(path)
    except OSError as error:
        name = f"{path.parent.name}/{path.name}"
        raise InvalidSeries(
            f"the series is invalid:\n{name} cannot be read: {error.strerror}",
            next_step=f"restore it with `git checkout -- {name}` in patches/, or let it be read",
        ) from error


def _damage(data: bytes) -> str:
    """Return why these bytes are no whole text file, or an empty string."""
    if len(data) > MAX_PATCH:
        return f"is longer than {MAX_PATCH} bytes"
    if not data.strip():
        return "is empty"
    if b"\0" in data:
        return "is damaged: it has a NUL byte"
    return "" if data.endswith(b"\n") else "is cut off: its last line has no end"


def _header(text: str, faults: list[str]) -> dict[str, str]:
    """Read the DEP-3 fields of a mail, and check them and the mail's own headers."""
    mail: dict[str, list[str]] = {}
    # as they stand: Message.get fails where a value mixes encodings
    for name, value in HeaderParser().parsestr(text).raw_items():
        mail.setdefault(name.lower(), []).append(str(value))
    fields = {name: value.strip() for name, value in _FIELD.findall(text)}
    subject = re.sub(r"^\[PATCH[^]]*\]\s*", "", " ".join(mail.get("subject", [""])[0].split()))
    fields["Description"] = fields.get("Description") or subject
    required = ("Description", "Origin", "Forwarded", "Last-Update")
    faults += [f"has no {name}" for name in required if not fields.get(name)]
    origin = fields.get("Origin", "vendor")
    if origin.split(",")[0].split(":")[0] not in _ORIGINS and "://" not in origin:
        faults.append(f"has an Origin that is none of {', '.join(_ORIGINS)} nor a URL: {origin!r}")
    # git takes what stands first in the body before the mail's own
    start = "\n".join(_PARAGRAPHS.split(text)[:2])
    authors, dates = (
        re.findall(rf"^{name}:(.*(?:\n[ \t].*)*)", start, re.M | re.I) for name in ("From", "Date")
    )
    if "from" not in mail or not all(map(_is_author, authors)):
        faults.append("has no From of a name and an address")
    if not all(map(_is_date, dates)):
        faults.append("has a Date unlike `Sun, 22 Nov 2026 12:00:00 +0000`")
    try:
        datetime.date.fromisoformat(fields.get("Last-Update") or "2020-02-02")
    except ValueError:
        faults.append(f"has a Last-Update that is no date: {fields['Last-Update']!r}")
    if not all(_PLAIN_TEXT.fullmatch(kind.lower()) for kind in mail.get("content-type", [])):
        faults.append("has a Content-Type other than text/plain; charset=UTF-8")
    if not {*map(str.lower, mail.get("content-transfer-encoding", []))} <= {"7bit", "8bit"}:
        faults.append("has an encoded body; send it as 8bit")
    return fields


def _is_author(text: str) -> bool:
    """Return whether git finds a name and an address, whatever the name is encoded in (RFC 2047).

    Git drops what follows a name without ``@`` and ``>``, and refuses a name of punctuation alone
    (``handle_from`` in its mailinfo.c, ``fmt_ident`` in its ident.c).
    """
    try:
        author = str(make_header(decode_header(text.strip())))
    except (HeaderParseError, LookupError, ValueError):
        return False
    return bool(re.fullmatch(r".*\w.*<[^<>@\s]+@[^<>@\s]+>", author, re.DOTALL))


def _is_date(text: str) -> bool:
    """Return whether a date is one of RFC 5322 since 1971, which git reads as everybody does."""
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return False
    return bool(_DATE.fullmatch(text.strip())) and date.year > 1970


def _changes(text: str, faults: list[str]) -> tuple[FileChange, ...]:
    """Read a diff with unidiff, and check that git reads the same."""
    from unidiff.errors import UnidiffParseError
    from unidiff.patch import PatchSet

    try:
        diffs = PatchSet(text)
        changes = tuple(FileChange(diff.path, diff.is_added_file, diff) for diff in diffs)
    except (UnidiffParseError, ValueError) as error:
        faults.append(f"is no unified diff: {error}")
        return ()
    if not changes:
        faults.append("is empty")
    # each marked line belongs to a hunk, or names one of the two files
    lines = sum(2 + sum(map(len, diff)) for diff in diffs if diff)
    if len(re.findall(r"^[-+ \\]", text, re.M)) != lines:
        faults.append("has lines outside of its hunks")
    for path, count in Counter(change.path for change in changes).items():
        faults += [f"changes {path} twice"] if count > 1 else []
    sections = re.split(r"^(?=diff --git )", text, flags=re.M)[1:]
    for change, section in zip(changes, sections, strict=False):
        faults += _change_faults(change)
        # unidiff believes `diff --git`, and git refuses other names after it
        old = "/dev/null" if change.is_new else f"a/{change.path}"
        names = f"\n--- {old}\n+++ b/{change.path}"
        if change.diff and not section.partition("\n@@ -")[0].endswith(names):
            faults.append(f"has other names than {change.path} after `diff --git`")
        if not all(map(_EXTENDED.fullmatch, section.partition("\n--- ")[0].splitlines()[1:])):
            faults.append(f"has other lines than git's after `diff --git` of {change.path}")
        faults += [f"{fault} in {change.path}" for hunk in change.diff for fault in _faults(hunk)]
    return changes


def _change_faults(change: FileChange) -> Iterator[str]:
    """Yield why a change is not one of text alone, in a safe place."""
    diff, path = change.diff, change.path
    info = "".join(map(str, diff.patch_info or ()))
    sides = ((diff.source_file, "a/"), (diff.target_file, "b/"))
    if not all(name == "/dev/null" or name.startswith(side) for name, side in sides):
        yield f"has a path without a/ and b/: {path!r}"
    if not is_safe_path(path):
        yield f"has an unsafe path: {path!r}"
    is_other = diff.is_binary_file or diff.is_removed_file or diff.is_rename
    if is_other or _UNSUPPORTED.search(info):
        yield f"does more to {path} than change its text or add it as a new .py file"
    elif change.is_new and not (path.endswith(".py") and "file mode 100644" in info):
        yield f"adds {path}, which is no plain .py file"
    elif not diff:
        yield f"has no hunk for {path}"


def _faults(hunk: Hunk) -> Iterator[str]:
    """Yield what git refuses in a hunk, or never writes."""
    marks = "".join(line.line_type for line in hunk)
    if not re.search("[-+]", marks):
        yield "has a hunk that changes nothing"
    if re.search(r"^\\|\\\\| \\.|-\\.*[- ]|\+\\.*[+ ]", marks):
        yield "has a line without an end that is not the last"
    if any(line.line_type == "\\" and line.value != _NO_NEWLINE for line in hunk):
        yield "has a backslash line other than git's"


def is_safe_path(path: str) -> bool:
    """Return whether ``path`` is relative, POSIX, plain, and stays below its root."""
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
