"""An index's append-only list: its files, which of them are yanked, and what projects are.

One JSON document a line, in the order in which things happened: a file, or an action on files
and projects that were there before. Whatever else an index shows is a function of these lines.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

from packaging.version import InvalidVersion, Version

from toolkit.util.errors import IndexConflict, InvalidWheel
from toolkit.util.files import require_plain_name
from toolkit.util.names import MAIN
from toolkit.util.strict_json import Malformed, load, members

LIST = "index.jsonl"
ACTIVE = "active"
QUARANTINED = "quarantined"
STATUSES = (ACTIVE, "deprecated", "archived", QUARANTINED)
# takes no further files, as PEP 792 demands
CLOSED = ("archived", QUARANTINED)


@dataclass(frozen=True)
class Listed:
    """One file of the index, as its list tells it.

    ``project`` is normalised, ``size`` is in bytes, ``upload_time`` is UTC to the second
    (``2026-11-22T15:00:00Z``), ``requires_python`` is empty where the wheel admits every Python,
    ``provenance_sha256`` is empty where no statement stands beside the wheel.
    """

    filename: str
    project: str
    version: str
    sha256: str
    size: int
    upload_time: str
    requires_python: str
    metadata_sha256: str
    verdict_sha256: str
    provenance_sha256: str = ""

    @property
    def url(self) -> str:
        """Relative to the project's page; ``+`` is ``%2B``, which some servers insist on."""
        return f"../../files/{quote(self.filename)}"


@dataclass(frozen=True)
class Yank:
    """A file is yanked (PEP 592) for ``reason`` from ``time`` on, or no longer is."""

    ACTIONS: ClassVar = ("yank", "unyank")
    action: str
    filename: str
    reason: str
    time: str


@dataclass(frozen=True)
class Mark:
    """A project has one of STATUSES (PEP 792) for ``reason`` from ``time`` on."""

    ACTIONS: ClassVar = ("status",)
    action: str
    project: str
    status: str
    reason: str
    time: str

    @property
    def retired_to(self) -> Version | None:
        """The release that :func:`retired_by` names in ``reason``, if it is the reason."""
        named = self.reason.removeprefix(f"fixed upstream in {MAIN} ").partition(":")[0]
        try:
            release = Version(named)
        except InvalidVersion:
            return None
        return release if self.reason == retired_by(release) else None


Entry = Listed | Yank | Mark


def retired_by(release: Version | str) -> str:
    """Why a series ended, for users of a yanked wheel or of a deprecated project."""
    return f"fixed upstream in {MAIN} {release}: the official wheels lose no function call any more"


@dataclass
class Ledger:
    """A list that was read, and what is added to it.

    ``files`` by name in the order of publication, ``yanked``: file name -> reason, ``statuses``:
    project -> the mark it bears, without those that are active.
    """

    files: dict[str, Listed] = field(default_factory=dict)
    yanked: dict[str, str] = field(default_factory=dict)
    statuses: dict[str, Mark] = field(default_factory=dict)
    text: bytes = b""

    @classmethod
    def read(cls, folder: Path) -> Ledger:
        """The list of the index at ``folder``; an empty one without it.

        Raises IndexConflict if it is not one of ours.
        """
        try:
            raw = (folder / LIST).read_bytes()
        except FileNotFoundError:
            return cls()
        ledger = cls()
        try:
            for number, line in _lines(raw):
                where = f"line {number}: "
                ledger.take(_parse(load(line, "it")))
        except (ValueError, InvalidWheel) as error:
            where = "" if isinstance(error, UnicodeDecodeError | _Cut) else where
            raise IndexConflict(
                f"{folder / LIST} is not a list of ours: {where}{error}",
                next_step="put the list back from a copy, or publish into a new folder",
            ) from error
        ledger.text = raw
        return ledger

    @property
    def projects(self) -> set[str]:
        """The projects that have files."""
        return {entry.project for entry in self.files.values()}

    def offers(self, entry: Listed) -> bool:
        """Whether clients may choose a file: it is not yanked, nor its project quarantined."""
        mark = self.statuses.get(entry.project)
        withheld = mark is not None and mark.status == QUARANTINED
        return not withheld and entry.filename not in self.yanked

    def add(self, entry: Entry) -> None:
        """Append ``entry``; raises Malformed if it speaks of what is not there."""
        self.take(entry)
        self.text += _line(entry)

    def revive(self, release: Version, time: str) -> None:
        """Take the marks of a retirement back, now that a patched ``release`` is published.

        It must be later than the one that was fixed, and stable as that was.
        """
        for mark in [*self.statuses.values()]:
            if (fixed := mark.retired_to) and release > fixed and not release.is_prerelease:
                self.add(Mark("status", mark.project, ACTIVE, "", time))

    def take(self, entry: Entry) -> None:
        """What ``entry`` changes; the text stays."""
        match entry:
            case Listed():
                if entry.filename in self.files:
                    raise Malformed(f"{entry.filename} is listed twice")
                self.files[entry.filename] = entry
            case Yank():
                if entry.filename not in self.files:
                    raise Malformed(f"{entry.filename} is not listed, so nobody can yank it")
                self.yanked.pop(entry.filename, None)
                if entry.action == "yank":
                    self.yanked[entry.filename] = entry.reason
            case Mark():
                self.statuses.pop(entry.project, None)
                if entry.status != ACTIVE:
                    self.statuses[entry.project] = entry


class _Cut(ValueError):
    pass


_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_TEXTS = ("filename", "project", "version", "sha256", "upload_time", "requires_python")
_FILE: dict[str, type] = {
    **dict.fromkeys((*_TEXTS, "metadata_sha256", "verdict_sha256"), str),
    "size": int,
}
_YANK = dict.fromkeys(("action", "filename", "reason", "time"), str)
_MARK = dict.fromkeys(("action", "project", "status", "reason", "time"), str)


def _lines(raw: bytes) -> Iterator[tuple[int, str]]:
    text = raw.decode("utf-8")
    if text and not text.endswith("\n"):
        raise _Cut("its last line is cut off")
    yield from enumerate(text.split("\n")[:-1], start=1)


def _parse(document: Any) -> Entry:
    action = document.get("action") if isinstance(document, dict) else None
    if action is None:
        entry = Listed(**members(document, "the line", _FILE, {"provenance_sha256": str}))
        require_plain_name(entry.filename)
        require_plain_name(entry.project)
        for digest in (entry.sha256, entry.metadata_sha256, entry.verdict_sha256):
            if not _DIGEST.fullmatch(digest):
                raise Malformed(f"{digest!r} is no sha256")
        try:
            Version(entry.version)
        except InvalidVersion as error:
            raise Malformed(str(error)) from error
        if not _TIME.fullmatch(entry.upload_time):
            raise Malformed(f"{entry.upload_time!r} is no time in UTC")
        datetime.fromisoformat(entry.upload_time)
        return entry
    if action in Yank.ACTIONS:
        return Yank(**members(document, "the line", _YANK, {}))
    if action not in Mark.ACTIONS:
        raise Malformed(f"the line has an unknown action: {action!r}")
    mark = Mark(**members(document, "the line", _MARK, {}))
    require_plain_name(mark.project)
    if mark.status not in STATUSES:
        raise Malformed(f"{mark.status!r} is none of {', '.join(STATUSES)}")
    return mark


def _line(entry: Entry) -> bytes:
    document = asdict(entry)
    if not document.get("provenance_sha256", "-"):
        del document["provenance_sha256"]
    return (json.dumps(document, sort_keys=True) + "\n").encode()
