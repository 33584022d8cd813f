"""Patched wheels of a release: the series applied to the official ones, and nothing else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache, cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.version import Version

from toolkit.patches.series import Distribution, Series
from toolkit.releases.catalogue import Catalogue, revision_for
from toolkit.releases.official import OfficialWheels
from toolkit.releases.release import Release
from toolkit.releases.sources import apply_series, by_member
from toolkit.releases.verify import verify_repacked
from toolkit.util.errors import InvalidSeries
from toolkit.util.files import is_dos, not_writable_errors, replacing, sha256_of
from toolkit.util.store import Store
from toolkit.util.strict_json import decode, load
from toolkit.util.workspace import Workspace
from toolkit.wheels.rewrite import FORMAT, rewrite
from toolkit.wheels.wheelfile import Wheel

if TYPE_CHECKING:
    from toolkit.environments.pair import WheelPair


@dataclass(frozen=True)
class RepackedRelease:
    """A release, repacked.

    ``wheels`` are the patched ones, ``official`` every official one of both distributions, and
    ``passthrough`` those official ones that no patch touches. ``sums`` maps the names of
    ``wheels`` to sha256 in hex.
    """

    release: Release
    revision: int
    wheels: tuple[Path, ...]
    official: tuple[Path, ...]
    passthrough: tuple[Path, ...]
    series_digest: str
    sums: Mapping[str, str]

    def pair(self, python: str | None = None) -> WheelPair:
        """The wheels that run on this machine, and on ``python``, official and patched.

        Raises EnvironmentUnresolvable if a distribution has none.
        """
        from toolkit.environments.pair import WheelPair
        from toolkit.environments.platforms import fitting

        patched = fitting([*self.wheels, *self.passthrough], python)
        return WheelPair(
            official=tuple(fitting(self.official, python)),
            patched=tuple(patched),
            release=str(self.release.version),
            uploaded=self.release.uploaded,
            series=self.series_digest,
            others=tuple(wheel for wheel in self.wheels if wheel not in patched),
        )


def repack_release(
    official: OfficialWheels,
    series: Series,
    workspace: Workspace,
    out: Path | None = None,
    *,
    catalogue: Catalogue | None = None,
    cached: bool = True,
) -> RepackedRelease:
    """Apply the series and repack what it changes into ``out``; every wheel is verified first.

    The revision is the catalogue's, or one more if the bytes would differ from the recorded ones.
    With ``cached`` the same input is worked on once; without ``out`` the wheels stay in that
    cache. Raises as :func:`apply_series` does.
    """
    # the wheels at a revision, from the cache or made anew
    if catalogue is None:
        catalogue = Catalogue.read(workspace.catalogue)
    work = _Repack(official, series)
    entry = catalogue.get(work.version)
    cached = cached or out is None
    with nullcontext() if cached else workspace.scratch() as scratch:

        @cache
        def at(revision: int) -> Mapping[Path, str]:
            if scratch is None:
                return work.cached(revision, Store(workspace.repacked))
            return work.make(revision, scratch / str(revision))

        # the revision that these bytes have, and the wheels at it
        revision = revision_for(entry.row if entry else None, lambda recorded: _names(at(recorded)))
        wheels = at(revision)
        sums = _names(wheels)
        if out:
            wheels = {_deliver(path, sha, out): sha for path, sha in wheels.items()}
    paths = tuple(wheels), official.paths, work.passthrough
    return RepackedRelease(official.release, revision, *paths, work.series_digest, sums)


def repack_at(
    official: OfficialWheels, series: Series, revision: int, folder: Path
) -> tuple[Path, ...]:
    """Make the patched wheels at a given revision below ``folder``, from no cache.

    Raises as :func:`repack_release` does.
    """
    return tuple(_Repack(official, series).make(revision, folder))


@dataclass
class _Repack:
    """The patched wheels of one release, at any revision: the series is applied once."""

    official: OfficialWheels
    series: Series

    def __post_init__(self) -> None:
        self.version = self.official.release.version
        self.series_digest = self.series.digest(self.version)
        self.variants = self.series.variants_for(self.version)

    @cached_property
    def patched(self) -> set[str]:
        """The distributions that get a local version, by canonical name."""
        return {
            self.series.locate(change.path)[0]
            for variant in self.variants
            for change in variant.changes
        }

    @cached_property
    def changed(self) -> Mapping[str, Mapping[str, bytes]]:
        """The wheel members that the series changes, by distribution."""
        if not self.patched:
            raise InvalidSeries(
                f"the series changes nothing in {self.version}",
                next_step="use the official wheels, or widen `releases` in patches/series.toml",
            )
        return by_member(self.series, apply_series(self.official, self.series, self.variants))

    @property
    def passthrough(self) -> tuple[Path, ...]:
        """The official wheels of distributions that stay as they are."""
        names = [artefact.distribution for artefact in self.official.release.artefacts]
        pairs = zip(names, self.official.paths, strict=True)
        return tuple(path for name, path in pairs if name not in self.patched)

    def cached(self, revision: int, store: Store) -> Mapping[Path, str]:
        """Return the wheels at a revision and their sha256, made unless ``store`` has them."""
        pins = {name: str(version) for name, version in self.pins(revision).items()}
        official = [*self.official.release.digests.values()]
        inputs = [FORMAT, official, self.series_digest, revision, pins]
        folder = store.path(inputs, suffix="")
        if wheels := store.get(inputs, partial(_undamaged, folder)):
            return wheels
        made = self.make(revision, folder)
        # last, as wheels without their sums are not used
        store.put(inputs, json.dumps(_names(made)).encode())
        return made

    def make(self, revision: int, folder: Path) -> Mapping[Path, str]:
        """Write and verify the wheels of every patched distribution; return their sha256."""
        pins, changed = self.pins(revision), self.changed
        sums = {}
        for distribution in self.series.distributions:
            if distribution.name in self.patched:
                members = changed.get(distribution.name, {})
                for source in self.official.each(distribution.name):
                    wheel = self.make_one(source, distribution, members, pins, folder)
                    sums[wheel.path] = wheel.sha256
        return sums

    def pins(self, revision: int) -> dict[str, Version]:
        """The version that each distribution has, and by which the other requires it."""
        pins = {}
        for distribution in self.series.distributions:
            artefacts = self.official.release.of(distribution.name)
            if artefacts:
                version = Version(artefacts[0].version)
                if distribution.name in self.patched:
                    version = self.series.local_version(version, revision, self.version)
                pins[distribution.name] = version
        return pins

    def make_one(
        self,
        official: Wheel,
        distribution: Distribution,
        members: Mapping[str, bytes],
        pins: Mapping[str, Version],
        folder: Path,
    ) -> Wheel:
        version = pins[distribution.name]
        others = {name: pin for name, pin in pins.items() if name != distribution.name}
        path = rewrite(
            official,
            {name: _ends_of(official, name, text) for name, text in members.items()},
            version=version,
            pins=others,
            version_file=distribution.version_file,
            out_dir=folder,
        )
        return verify_repacked(
            official,
            path,
            series=self.series,
            variants=self.variants,
            version=version,
            pins=others,
            version_file=distribution.version_file,
        )


def _ends_of(wheel: Wheel, member: str, text: bytes) -> bytes:
    """``text`` with the line ends that the wheel has in ``member``, or in its other modules."""
    model = member if member in wheel.members else next(n for n in wheel.members if n[-3:] == ".py")
    return text.replace(b"\n", b"\r\n") if is_dos(wheel.read(model)) else text


def _names(wheels: Mapping[Path, str]) -> dict[str, str]:
    return {path.name: sha for path, sha in wheels.items()}


def _undamaged(folder: Path, data: bytes) -> dict[Path, str]:
    """Read the sums of kept wheels; raise ValueError or OSError unless each has its bytes."""
    sums = decode(dict[str, str], load(data, "sums"), "sums")
    if any(sha256_of(folder / name) != sha for name, sha in sums.items()):
        raise ValueError(f"{folder} is damaged")
    return {folder / name: sha for name, sha in sums.items()}


def _deliver(path: Path, sha: str, out: Path) -> Path:
    """Put a wheel into ``out``; one that is there already, byte for byte, is left alone."""
    target = out / path.name
    with not_writable_errors(out):
        if not (target.is_file() and sha256_of(target) == sha):
            with replacing(target) as draft:
                shutil.copyfile(path, draft)
    return target
