"""A release of upstream and its official wheels."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache

from packaging.version import Version

from toolkit.util.addresses import public
from toolkit.util.distributions import MAIN, PARTNER
from toolkit.util.errors import HashMismatch, UnknownRelease, YankedRelease
from toolkit.util.http import LONGEST
from toolkit.util.strict_json import OPTIONAL, decode, encode, load

_SHA256 = re.compile(r"[0-9a-f]{64}")
_FILENAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+!-]{0,250}\.whl")


@dataclass(frozen=True)
class Artefact:
    """One wheel on PyPI. ``sha256`` in hex, ``size`` in bytes, ``yanked`` the reason or None.

    ``url`` is empty where it is not known; ``PyPI.with_addresses`` asks for it. Raises ValueError
    for an unsafe file name or hash, which make a path in the cache, for a name that is no wheel's,
    for an impossible size, and for a time without a zone. The keys of patches/releases.toml are in
    the metadata.
    """

    filename: str
    url: str
    sha256: str
    size: int
    upload_time: datetime = field(metadata={"json_name": "uploaded"})
    requires_python: str | None = field(
        default=None, metadata={**OPTIONAL, "json_name": "requires-python"}
    )
    yanked: str | None = field(default=None, metadata=OPTIONAL)

    def __post_init__(self) -> None:
        named = _FILENAME.fullmatch(self.filename) and _SHA256.fullmatch(self.sha256)
        if not named or not 0 < self.size <= LONGEST or self.upload_time.tzinfo is None:
            raise ValueError(
                f"{self.filename!r} is announced with sha256 {self.sha256!r}, "
                f"{self.size} bytes, uploaded {self.upload_time.isoformat()}"
            )
        _identity(self.filename)
        try:
            object.__setattr__(self, "upload_time", self.upload_time.astimezone(UTC))
        except OverflowError as error:
            raise ValueError(f"{self.upload_time.isoformat()} is at the end of time") from error

    @property
    def distribution(self) -> str:
        """The distribution in the file name, normalized."""
        return _identity(self.filename)[0]

    @property
    def version(self) -> str:
        """The version in the file name, normalized."""
        return _identity(self.filename)[1]

    def require_sha256(self, sha256: str, index: str) -> None:
        """Raise HashMismatch if an index lists this wheel of the catalogue with another hash."""
        if sha256.lower() != self.sha256:
            raise HashMismatch(
                f"{index} has another {self.filename} than patches/releases.toml: "
                f"its sha256 is {sha256.lower()}, not {self.sha256}",
                next_step="do not use this index; files on PyPI never change",
            )


@cache
def _identity(filename: str) -> tuple[str, str]:
    """Return the distribution and the version of a wheel; raises ValueError."""
    from packaging.utils import parse_wheel_filename

    distribution, version, _, _ = parse_wheel_filename(filename)
    return distribution, str(version)


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
        """Return the wheels of one of the two distributions."""
        return tuple(a for a in self.artefacts if a.distribution == distribution)

    def without_addresses(self) -> tuple[Artefact, ...]:
        """Return the wheels as the catalogue records them."""
        return tuple(replace(artefact, url="") for artefact in self.artefacts)

    def require_partner(self) -> None:
        """Raise UnknownRelease if no plugin goes with it."""
        if not self.of(PARTNER):
            raise UnknownRelease(
                f"there is no {PARTNER} that goes with {MAIN} {self.version}",
                next_step="choose a release from 1.0.2 on",
            )

    @property
    def digests(self) -> dict[str, str]:
        """The sha256 of each official wheel, by file name."""
        return {artefact.filename: artefact.sha256 for artefact in self.artefacts}

    def refuse_yanked(self) -> None:
        """Raise YankedRelease, with upstream's reason, if the release itself was yanked."""
        for artefact in self.of(MAIN):
            if artefact.yanked is not None:
                raise YankedRelease(
                    f"{MAIN} {self.version} was yanked: {artefact.yanked or 'no reason given'}",
                    next_step="choose another release, or insist with --yanked",
                )

    def to_json(self) -> str:
        """Return the release as JSON, without passwords; :meth:`from_json` reads it."""
        artefacts = tuple(replace(a, url=public(a.url)) for a in self.artefacts)
        document = encode(replace(self, artefacts=artefacts))
        return json.dumps({"format": 2, **document}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Release:
        """Read what :meth:`to_json` wrote; raises ValueError for anything else."""
        return decode(cls, load(text, "release"), "release", version=2)
