"""A release and its official wheels, in a cache by content."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from packaging.version import Version

from toolkit.util.addresses import public
from toolkit.util.errors import YankedRelease
from toolkit.util.http import LONGEST
from toolkit.util.names import MAIN
from toolkit.util.strict_json import load, members, value_of

if TYPE_CHECKING:
    pass

_SHA256 = re.compile(r"[0-9a-f]{64}")
_FILENAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+!-]{0,250}\.whl")


@dataclass(frozen=True)
class Artefact:
    """One wheel on PyPI. ``sha256`` in hex, ``size`` in bytes, ``yanked`` the reason or None.

    ``url`` is empty where it is not known; ``PyPI.located`` asks for it. Name and hash
    make a path in the cache: ValueError for what is no plain name, digest, size or time.
    """

    distribution: str
    version: str
    filename: str
    url: str
    sha256: str
    size: int
    upload_time: datetime
    requires_python: str | None
    yanked: str | None

    def __post_init__(self) -> None:
        named = _FILENAME.fullmatch(self.filename) and _SHA256.fullmatch(self.sha256)
        if not named or not 0 < self.size <= LONGEST or self.upload_time.tzinfo is None:
            raise ValueError(
                f"{self.filename!r} is announced with sha256 {self.sha256!r}, "
                f"{self.size} bytes, uploaded {self.upload_time.isoformat()}"
            )


@dataclass(frozen=True)
class Release:
    """An agents release: its official wheels, and those of the plugin that goes with it."""

    version: Version
    artefacts: tuple[Artefact, ...]

    @property
    def uploaded(self) -> datetime:
        """When the newest of the wheels was uploaded: the day to resolve dependencies as of."""
        return max(artefact.upload_time for artefact in self.artefacts)

    def of(self, distribution: str) -> tuple[Artefact, ...]:
        """The wheels of one of the two distributions."""
        return tuple(a for a in self.artefacts if a.distribution == distribution)

    def refuse_yanked(self) -> None:
        """Raise YankedRelease, with upstream's reason, if the release itself was yanked."""
        for artefact in self.of(MAIN):
            if artefact.yanked is not None:
                raise YankedRelease(
                    f"{MAIN} {self.version} was yanked: {artefact.yanked or 'no reason given'}",
                    next_step="choose another release, or insist with --yanked",
                )

    def to_json(self) -> str:
        """The release as a JSON document without passwords; :meth:`from_json` reads it."""
        rows = [
            {**asdict(a), "upload_time": a.upload_time.isoformat(), "url": public(a.url)}
            for a in self.artefacts
        ]
        return json.dumps({"format": 1, "version": str(self.version), "artefacts": rows}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Release:
        """Read what :meth:`to_json` wrote; raise ValueError for anything else."""
        outer = {"format": int, "version": str, "artefacts": list}
        raw = members(load(text, "release"), "release", outer, {})
        loose = dict.fromkeys(("requires_python", "yanked"), object)
        keys = dict.fromkeys(Artefact.__dataclass_fields__, str) | {"size": int} | loose
        artefacts = []
        for row in raw["artefacts"]:
            fields = members(row, "artefact", keys, {})
            for name in loose:
                value_of(fields[name] or "", str, name)
            when = datetime.fromisoformat(fields.pop("upload_time"))
            artefacts.append(Artefact(**fields, upload_time=when))
        return cls(Version(raw["version"]), tuple(artefacts))
