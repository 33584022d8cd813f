"""Which releases a command line means: names, `all`, and ranges over the catalogue."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from .catalogue import Catalogue, Entry
from .errors import UnknownRelease
from .release import PARTNER

ALL = "all"
HELP = (
    "such as 1.8.9; a range such as '>=1.5,<1.6'; or all. Pre-releases belong to `all`, and to "
    "the ranges that enclose them; yanked releases only with --yanked (default: the newest)"
)


@dataclass(frozen=True)
class LeftOut:
    """A release of the catalogue that `all` or a range encloses and that cannot be taken."""

    version: Version
    reason: str


@dataclass(frozen=True)
class Selection:
    """What to work on, in order, each once; a name None is the newest release."""

    names: tuple[Version | str | None, ...]
    left_out: tuple[LeftOut, ...] = ()


def select(
    words: Sequence[str], catalogue: Catalogue, *, yanked: bool, as_of: datetime | None
) -> Selection:
    """The releases that ``words`` name; without words, the newest.

    A release by name is taken as it is, whether or not the catalogue has it. `all` and ranges are
    over those releases of the catalogue that existed at ``as_of``; what cannot be taken of them is
    told with the reason. Raises UnknownRelease if a range encloses none.
    """
    if not words:
        return Selection((None,))
    names: dict[Version | str, None] = {}
    left_out: dict[Version, LeftOut] = {}
    for word in words:
        if (versions := _range(word)) is None:
            names[_name(word)] = None
            continue
        found = list(_within(versions, catalogue, as_of))
        if not found:
            raise UnknownRelease(
                f"no release in patches/releases.toml is in {word}",
                next_step="run update, or widen the range",
            )
        for entry in found:
            if reason := _obstacle(entry, yanked=yanked):
                left_out[entry.version] = LeftOut(entry.version, reason)
            else:
                names[entry.version] = None
    return Selection(
        tuple(names), tuple(one for version, one in left_out.items() if version not in names)
    )


def _range(word: str) -> SpecifierSet | None:
    if word == ALL:
        return SpecifierSet()
    try:
        return SpecifierSet(word) if word[0] in "<>=!~" else None
    except InvalidSpecifier as error:
        raise UnknownRelease(
            f"{word} is no range of releases", next_step="write one such as '>=1.5,<1.6'"
        ) from error


def _name(word: str) -> Version | str:
    try:
        return Version(word)
    except InvalidVersion:
        return word


def _within(
    versions: SpecifierSet, catalogue: Catalogue, as_of: datetime | None
) -> Iterator[Entry]:
    for version, entry in catalogue.items():
        inside = versions.contains(version, prereleases=True)
        if inside and entry.official and entry.existed(as_of):
            yield entry


def _obstacle(entry: Entry, *, yanked: bool) -> str:
    """Why a release is not taken unless it is named; or nothing."""
    if not entry.partner:
        return f"there is no {PARTNER} that goes with it"
    if entry.yanked is not None and not yanked:
        return f"yanked: {entry.yanked or 'no reason given'} (--yanked takes it)"
    return ""
