"""The append-only ledger of an index: files, yanks, and the status of projects.

One JSON document a line, in the order in which things happened. A line is a file, or an action on
files and projects of earlier lines. Everything else that an index shows follows from these lines.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from packaging.version import InvalidVersion, Version

from toolkit.util.distributions import MAIN
from toolkit.util.errors import IndexConflict, InvalidWheel
from toolkit.util.files import require_plain_name
from toolkit.util.strict_json import OPTIONAL, Malformed, decode, encode, load

LIST = "index.jsonl"
ACTIVE = "active"
QUARANTINED = "quarantined"
# No verb sets the last two; an index that has them is still read.
Status = Literal["active", "deprecated", "archived", "quarantined"]
# PEP 792: a project with such a status takes no further files.
CLOSED = ("archived", QUARANTINED)
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Listed:
    """One file of the index.

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
    provenance_sha256: str = field(default="", metadata=OPTIONAL)

    def __post_init__(self) -> None:
        """Raise InvalidWheel or ValueError for what must not stand in a path or on a page."""
        require_plain_name(self.filename)
        require_plain_name(self.project)
        Version(self.version)
        for digest in (self.sha256, self.metadata_sha256, self.verdict_sha256):
            if not _DIGEST.fullmatch(digest):
                raise ValueError(f"{digest!r} is no sha256")
        if not _TIME.fullmatch(self.upload_time):
            raise ValueError(f"{self.upload_time!r} is no time in UTC")
        datetime.fromisoformat(self.upload_time)

    @property
    def url(self) -> str:
        """Relative to the project's page; ``+`` is ``%2B``, which some servers insist on."""
        return f"../../files/{quote(self.filename)}"


@dataclass(frozen=True)
class Yank:
    """A file is yanked (PEP 592) for ``reason`` from ``time`` on, or no longer is."""

    action: Literal["yank", "unyank"]
    filename: str
    reason: str
    time: str


@dataclass(frozen=True)
class StatusChange:
    """A project has a status (PEP 792) for ``reason`` from ``time`` on."""

    action: Literal["status"]
    project: str
    status: Status
    reason: str
    time: str

    def __post_init__(self) -> None:
        """Raise InvalidWheel for a name that must not stand in a path or on a page."""
        require_plain_name(self.project)

    @property
    def retired_to(self) -> Version | None:
        """The fixed release, if :func:`retirement_reason` is the reason of this mark."""
        text = self.reason.removeprefix(f"fixed upstream in {MAIN} ").partition(":")[0]
        try:
            release = Version(text)
        except InvalidVersion:
            return None
        return release if self.reason == retirement_reason(release) else None


Entry = Listed | Yank | StatusChange
_KINDS: dict[str | None, type[Entry]] = {
    None: Listed,
    "yank": Yank,
    "unyank": Yank,
    "status": StatusChange,
}


def retirement_reason(release: Version | str) -> str:
    """Return why a series ended, for users of a yanked wheel or of a deprecated project."""
    return f"fixed upstream in {MAIN} {release}: the official wheels lose no function call any more"


@dataclass
class Ledger:
    """A ledger that was read, and what is appended to it.

    ``files`` by name in the order of publication, ``yanked``: file name -> reason, ``statuses``:
    project -> its last mark, without those that are active.
    """

    files: dict[str, Listed] = field(default_factory=dict)
    yanked: dict[str, str] = field(default_factory=dict)
    statuses: dict[str, StatusChange] = field(default_factory=dict)
    text: bytes = b""

    @classmethod
    def read(cls, folder: Path) -> Ledger:
        """Read the ledger of the index at ``folder``; return an empty one if there is none.

        Raises IndexConflict if it is not one of this toolkit.
        """
        try:
            raw = (folder / LIST).read_bytes()
        except FileNotFoundError:
            return cls()
        ledger, place = cls(), ""
        try:
            for number, line in _lines(raw):
                place = f"line {number}: "
                ledger.apply(_parse(load(line, "it")))
        except (ValueError, InvalidWheel) as error:
            raise IndexConflict(
                f"{folder / LIST} is not a list of ours: {place}{error}",
                next_step="put the list back from a copy, or publish into a new folder",
            ) from error
        ledger.text = raw
        return ledger

    @property
    def projects(self) -> set[str]:
        """The projects that have files."""
        return {entry.project for entry in self.files.values()}

    def offers(self, entry: Listed) -> bool:
        """Return whether clients may choose a file: not yanked, its project not quarantined."""
        mark = self.statuses.get(entry.project)
        quarantined = mark is not None and mark.status == QUARANTINED
        return not quarantined and entry.filename not in self.yanked

    def append(self, entry: Entry) -> None:
        """Apply ``entry`` and write it at the end of the text; raises Malformed as apply does."""
        self.apply(entry)
        self.text += (json.dumps(encode(entry), sort_keys=True) + "\n").encode()

    def apply(self, entry: Entry) -> None:
        """Change what the ledger says as ``entry`` demands, but not its text.

        Raises Malformed for a second file of a name, or a yank of a file that is not listed.
        """
        match entry:
            case Listed():
                if entry.filename in self.files:
                    raise Malformed(f"{entry.filename} is listed twice")
                self.files[entry.filename] = entry
            case Yank():
                if entry.filename not in self.files:
                    raise Malformed(f"{entry.filename} is not listed, so it cannot be yanked")
                self.yanked.pop(entry.filename, None)
                if entry.action == "yank":
                    self.yanked[entry.filename] = entry.reason
            case StatusChange():
                self.statuses.pop(entry.project, None)
                if entry.status != ACTIVE:
                    self.statuses[entry.project] = entry

    def end_retirements(self, release: Version, time: str) -> None:
        """Take back the marks of retirements, now that a patched ``release`` is published.

        Only a stable release later than the fixed one takes its mark back.
        """
        for mark in [*self.statuses.values()]:
            if (fixed := mark.retired_to) and release > fixed and not release.is_prerelease:
                self.append(StatusChange("status", mark.project, "active", "", time))


def _lines(raw: bytes) -> Iterator[tuple[int, str]]:
    text = raw.decode("utf-8")
    if text and not text.endswith("\n"):
        raise Malformed("its last line is cut off")
    yield from enumerate(text.split("\n")[:-1], start=1)


def _parse(document: Any) -> Entry:
    action = document.get("action") if isinstance(document, dict) else None
    if not isinstance(action, str | None) or action not in _KINDS:
        raise Malformed(f"the line has an unknown action: {action!r}")
    return decode(_KINDS[action], document, "the line")
