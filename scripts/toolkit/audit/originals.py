"""The wheels of a release as they must be: PyPI's own, and the repacked ones, made again.

Nothing that a publisher says is believed: official wheels come from PyPI by their hash, patches
from the checkout, and the repack starts from these, not from any cache of repacked wheels.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from toolkit.index.metapackage import PROJECT, final_metapackage, make_metapackage, release_of
from toolkit.patches.series import Series
from toolkit.releases.catalogue import Catalogue
from toolkit.releases.official import OfficialWheels, Settings
from toolkit.releases.repack import repack_at
from toolkit.util.errors import ToolkitError


@dataclass(frozen=True, order=True)
class Origin:
    """The repack that a wheel's name stands for; ``revision`` 0 is the official release."""

    release: Version
    revision: int


@dataclass(frozen=True)
class Originals:
    """The ``official`` and the ``patched`` wheels of an origin, by file name.

    ``series`` is the digest of the patches. Without wheels, ``error`` says why there are none.
    """

    series: str = ""
    official: Mapping[str, bytes] = field(default_factory=dict)
    patched: Mapping[str, bytes] = field(default_factory=dict)
    error: str = ""
    next_step: str = ""

    @property
    def wheels(self) -> dict[str, bytes]:
        """All of them."""
        return {**self.official, **self.patched}


def origin_of(name: str, series: Series) -> Origin | None:
    """Return the origin that a wheel's file name stands for; None if it is not this series'."""
    try:
        project, version, _, _ = parse_wheel_filename(name)
        if project == PROJECT:
            return Origin(*release_of(version))
        if project not in {canonicalize_name(d.name) for d in series.distributions}:
            return None
        if version.local is None:
            return Origin(version, 0)
        label = re.fullmatch(rf"{series.name}\.(\d+)(?:\.with\.(.+))?", version.local)
        return Origin(Version(label[2] or version.public), int(label[1])) if label else None
    except (InvalidWheelFilename, InvalidVersion, ValueError):
        return None


@dataclass(frozen=True)
class Remaker:
    """Makes originals again; ``settings`` say where official wheels come from."""

    settings: Settings
    series: Series
    catalogue: Catalogue

    @cached_property
    def _releases(self) -> dict[str, Version]:
        """The release of each official wheel in the catalogue; of a shared partner, the first."""
        later_first = sorted(self.catalogue, reverse=True)
        return {a.filename: v for v in later_first for a in self.catalogue[v].official}

    def origin(self, name: str) -> Origin | None:
        """Return the origin of a wheel; an official partner's is the release that has it."""
        origin = origin_of(name, self.series)
        if origin and not origin.revision:
            return Origin(self._releases.get(name, origin.release), 0)
        return origin

    def originals(self, origin: Origin) -> Originals:
        """Make the wheels of ``origin`` again; if that fails, return the error."""
        try:
            fetched = self.settings.fetch(origin.release, quiet=True)
            official = {path.name: path.read_bytes() for path in fetched.paths}
            if origin.revision:
                series = self.series.digest(origin.release)
                return Originals(series, official, self._repack(fetched, series, origin))
            last = final_metapackage(fetched.paths, release=origin.release)
            return Originals("", official, {last.filename: last.data})
        except ToolkitError as error:
            problem = f"{type(error).__name__}: {error.problem}"
            return Originals(error=problem, next_step=error.next_step)

    def _repack(self, fetched: OfficialWheels, series: str, origin: Origin) -> dict[str, bytes]:
        """Make everything that is published of a revision, by file name."""
        with self.settings.workspace.scratch() as folder:
            wheels = repack_at(fetched, self.series, origin.revision, folder)
            patched = {canonicalize_name(path.name.partition("-")[0]) for path in wheels}
            pairs = zip(fetched.paths, fetched.release.artefacts, strict=True)
            partners = [path for path, artefact in pairs if artefact.distribution not in patched]
            metapackage = make_metapackage(
                [*wheels, *partners],
                release=origin.release,
                revision=origin.revision,
                series=series,
            )
            contents = {path.name: path.read_bytes() for path in wheels}
        return {**contents, metapackage.filename: metapackage.data}
