"""The flow's first half in one process: release, official wheels, patched tree, wheels."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from packaging.version import Version

from toolkit.patches.apply import Changed
from toolkit.patches.patchfile import Variant
from toolkit.patches.series import Distribution, Series
from toolkit.releases.catalogue import Catalogue, revision_for
from toolkit.releases.official import Fetched
from toolkit.releases.release import Release
from toolkit.releases.sources import apply_series
from toolkit.releases.verify import check_repacked
from toolkit.util.errors import InvalidSeries
from toolkit.util.files import is_dos, not_writable_errors, replacing, sha256_of
from toolkit.util.strict_json import mapping_of
from toolkit.util.workspace import Workspace
from toolkit.wheels.rewrite import FORMAT, rewrite
from toolkit.wheels.wheelfile import Wheel

_SUMS = "sha256.json"


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


def repack_release(
    fetched: Fetched,
    series: Series,
    workspace: Workspace,
    out: Path | None = None,
    *,
    catalogue: Catalogue | None = None,
    cached: bool = True,
) -> RepackedRelease:
    """Apply the series and repack what it changes into ``out``; every wheel is inspected first.

    The revision is the catalogue's, or one more if the bytes would differ from the recorded ones.
    With ``cached`` the same input is worked on once; without ``out`` the wheels stay in that
    cache. Raises as :func:`apply_series` does.
    """
    known = Catalogue.read(workspace.catalogue) if catalogue is None else catalogue
    return _Job(fetched, series, workspace, cached or out is None).run(out, known)


def repack_at(
    fetched: Fetched, series: Series, workspace: Workspace, revision: int, folder: Path
) -> tuple[Path, ...]:
    """The patched wheels at a revision that is given, made anew below ``folder``, from no cache.

    Raises as :func:`repack_release` does.
    """
    return _Job(fetched, series, workspace, False).at(revision, folder)[0]


@dataclass
class _Job:
    fetched: Fetched
    series: Series
    workspace: Workspace
    cached: bool
    # What git confirmed: it is the same at every revision.
    changed: Changed | None = None

    @property
    def version(self) -> Version:
        return self.fetched.release.version

    @cached_property
    def series_digest(self) -> str:
        return self.series.digest(self.version)

    @cached_property
    def variants(self) -> tuple[Variant, ...]:
        return self.series.variants_for(self.version)

    @cached_property
    def patched(self) -> set[str]:
        """The distributions that get a local version, by canonical name."""
        return {
            self.series.locate(change.path)[0]
            for variant in self.variants
            for change in variant.changes
        }

    def run(self, out: Path | None, catalogue: Catalogue) -> RepackedRelease:
        with self.workspace.scratch() if not self.cached else nullcontext() as scratch:
            store = self.workspace.repacked if scratch is None else scratch
            entry = catalogue.get(self.version)
            at = cache(lambda revision: self.at(revision, store))
            revision = revision_for(entry.row if entry else None, lambda recorded: at(recorded)[1])
            made, sums = at(revision)
            wheels = tuple(_deliver(path, sums[path.name], out) if out else path for path in made)
        names = [a.distribution for a in self.fetched.release.artefacts]
        kept = zip(names, self.fetched.paths, strict=True)
        passthrough = tuple(path for name, path in kept if name not in self.patched)
        return RepackedRelease(
            self.fetched.release,
            revision,
            wheels,
            self.fetched.paths,
            passthrough,
            self.series_digest,
            sums,
        )

    def at(self, revision: int, store: Path) -> tuple[tuple[Path, ...], dict[str, str]]:
        """The patched wheels at a revision, from ``store`` if whole, and their digests by name."""
        pins = self.pins(revision)
        said = [FORMAT, self.fetched.digests(), self.series_digest, revision]
        key = json.dumps([*said, sorted((name, str(pin)) for name, pin in pins.items())])
        folder = store / hashlib.sha256(key.encode()).hexdigest()
        sums = _whole(folder)
        if sums is None:
            with not_writable_errors(store):
                store.mkdir(parents=True, exist_ok=True)
                with self.lock(folder):
                    sums = _whole(folder) or self.fill(folder, pins)
        return tuple(folder / name for name in sums), sums

    def lock(self, folder: Path) -> AbstractContextManager[object]:
        if not self.cached:
            return nullcontext()
        from filelock import FileLock

        return FileLock(folder.with_suffix(".lock"))

    def fill(self, folder: Path, pins: Mapping[str, Version]) -> dict[str, str]:
        shutil.rmtree(folder, ignore_errors=True)
        with replacing(folder) as draft:
            draft.mkdir()
            sums = {path.name: sha256_of(path) for path in self.make(pins, draft)}
            (draft / _SUMS).write_text(json.dumps(sums, indent=1), "utf-8")
        return sums

    def pins(self, revision: int) -> dict[str, Version]:
        found = {}
        for distribution in self.series.distributions:
            artefacts = self.fetched.release.of(distribution.name)
            if artefacts:
                version = Version(artefacts[0].version)
                if distribution.name in self.patched:
                    version = self.series.local_version(version, revision, self.version)
                found[distribution.name] = version
        return found

    def make(self, pins: Mapping[str, Version], folder: Path) -> list[Path]:
        if not self.patched:
            raise InvalidSeries(
                f"the series changes nothing in {self.version}",
                next_step="use the official wheels, or widen `releases` in patches/series.toml",
            )
        made: list[Path] = []

        def repack_all(changed: Changed) -> None:
            for distribution in self.series.distributions:
                members = changed.get(distribution.name, {})
                if distribution.name in self.patched:
                    for wheel in self.fetched.each(distribution.name):
                        made.append(self.make_one(wheel, distribution, members, pins, folder))

        if self.changed is not None:
            repack_all(self.changed)
            return made
        with self.workspace.scratch(small=True) as scratch:
            tree = scratch / "tree"
            self.changed = apply_series(
                self.fetched, self.series, tree, variants=self.variants, meanwhile=repack_all
            ).changed
        return made

    def make_one(
        self,
        wheel: Wheel,
        distribution: Distribution,
        members: Mapping[str, bytes],
        pins: Mapping[str, Version],
        folder: Path,
    ) -> Path:
        version = pins[distribution.name]
        others = {name: pin for name, pin in pins.items() if name != distribution.name}
        path = rewrite(
            wheel,
            {name: _ends_of(wheel, name, text) for name, text in members.items()},
            version=version,
            pins=others,
            version_file=distribution.version_file,
            out_dir=folder,
        )
        check_repacked(
            wheel,
            path,
            series=self.series,
            variants=self.variants,
            version=version,
            pins=others,
            version_file=distribution.version_file,
        )
        return path


def _ends_of(wheel: Wheel, member: str, text: bytes) -> bytes:
    """``text`` with the line ends that the wheel has in ``member``, or in its other modules."""
    model = member if member in wheel.members else next(n for n in wheel.members if n[-3:] == ".py")
    return text.replace(b"\n", b"\r\n") if is_dos(wheel.read(model)) else text


def _whole(folder: Path) -> dict[str, str] | None:
    """The wheels of a kept result with their digests, if all have the bytes that they had."""
    try:
        sums = mapping_of(json.loads((folder / _SUMS).read_text("utf-8")), str, _SUMS)
        return sums if all(sha256_of(folder / n) == sha for n, sha in sums.items()) else None
    except (OSError, ValueError):
        return None


def _deliver(path: Path, sha: str, out: Path) -> Path:
    """Put a wheel into ``out``; one that is there already, byte for byte, is left alone."""
    target = out / path.name
    with not_writable_errors(out):
        if not (target.is_file() and sha256_of(target) == sha):
            with replacing(target) as draft:
                shutil.copyfile(path, draft)
    return target
