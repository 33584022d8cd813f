"""``patches/series.toml``: the ideas in order, and which variant of each fits a release."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from toolkit.patches.patchfile import Variant, is_safe_path, parse_variant, read_patch
from toolkit.util.errors import InvalidSeries, PatchConflict
from toolkit.util.files import sha256

FILE = "series.toml"
_NAME = re.compile(r"(?!.{101})[a-z0-9]+(-[a-z0-9]+)*")
_LINK = re.compile(r"https?://")
_LABEL = re.compile(r"[a-z][a-z0-9]*")
_KEYS = {
    "series": ("name", "why", "upstream", "drop-when"),
    "distribution": ("name", "tree", "version-file"),
    "patch": ("name", "why", "upstream", "releases", "drop-when"),
}
_NEXT = "correct patches/ and run again; CONTRIBUTING.md shows the format"


@dataclass(frozen=True)
class Distribution:
    """A project on PyPI, and where its wheel's members stand in upstream's monorepo."""

    name: str
    tree: str
    version_file: str

    def path(self, member: str) -> str:
        """The monorepo's path of a wheel member."""
        return f"{self.tree}/{member}"


@dataclass(frozen=True)
class Patch:
    """One idea: why it exists, where upstream stands, and the first releases of its variants."""

    name: str
    why: str
    upstream: str
    releases: SpecifierSet
    drop_when: str
    variants: Mapping[Version, Path] = field(repr=False)


@dataclass(frozen=True)
class Series:
    """The whole of ``series.toml``. ``name`` is also the local version's label.

    ``related`` are links to changes upstream that are watched beside ``upstream``'s.
    """

    name: str
    why: str
    upstream: str
    drop_when: str
    distributions: tuple[Distribution, ...]
    patches: tuple[Patch, ...]
    related: tuple[str, ...] = ()

    @classmethod
    def load(cls, folder: Path) -> Series:
        """Read ``folder/series.toml`` and list the variants; raise InvalidSeries with every fault.

        Patch files are read when a release needs them; :meth:`check` reads them all.
        """
        try:
            raw = tomllib.loads((folder / FILE).read_text("utf-8"))
        except FileNotFoundError as error:
            raise InvalidSeries(f"{folder} has no {FILE}", next_step=_NEXT) from error
        except (ValueError, OSError, RecursionError) as error:
            raise InvalidSeries(f"{FILE} is no TOML: {error}", next_step=_NEXT) from error
        problems: list[str] = []
        related = _related(raw, problems)
        tables = _tables(raw, problems)
        _raise(problems)
        head = tables["series"][0]
        series = cls(
            head["name"],
            head["why"],
            head["upstream"],
            head["drop-when"],
            tuple(
                Distribution(row["name"], row["tree"], row["version-file"])
                for row in tables["distribution"]
            ),
            tuple(
                Patch(
                    row["name"],
                    row["why"],
                    row["upstream"],
                    SpecifierSet(row["releases"]),
                    row["drop-when"],
                    _variants(folder / row["name"], problems),
                )
                for row in tables["patch"]
            ),
            related,
        )
        known = {patch.name for patch in series.patches}
        extra = sorted(path.name for path in folder.iterdir() if path.is_dir())
        problems += [
            f"{name}/ stands in no [[patch]] of {FILE}" for name in extra if name not in known
        ]
        _raise(problems)
        return series

    def variants_for(self, version: Version) -> tuple[Variant, ...]:
        """The variants for a release, in the series' order, read and checked.

        A patch whose ``releases`` exclude the version is left out. Raises PatchConflict if a
        patch has no variant that old, InvalidSeries with everything wrong in the files.
        """
        problems: list[str] = []
        variants = [self._parse(*choice, problems) for choice in self.chosen(version)]
        _raise(problems)
        return tuple(variant for variant in variants if variant is not None)

    def chosen(self, version: Version) -> list[tuple[Patch, Version]]:
        """The ideas that are for a release, each with the first release of its variant.

        Raises PatchConflict if one has no variant that old.
        """
        chosen = []
        for patch in self.patches:
            if not patch.releases.contains(version, prereleases=True):
                continue
            since = max((first for first in patch.variants if first <= version), default=None)
            if since is None:
                raise PatchConflict(
                    f"patch {patch.name} begins with {min(patch.variants)}: "
                    f"it has no variant for {version}",
                    next_step=f"add patches/{patch.name}/{version}.patch, "
                    f"or narrow `releases` in patches/{FILE}",
                )
            chosen.append((patch, since))
        return chosen

    def check(self) -> None:
        """Read every variant there is; raise InvalidSeries once, with every fault."""
        problems: list[str] = []
        for patch in self.patches:
            for since in patch.variants:
                self._parse(patch, since, problems)
        _raise(problems)

    def _parse(self, patch: Patch, since: Version, problems: list[str]) -> Variant | None:
        variant = parse_variant(patch.name, since, patch.variants[since], problems)
        for change in variant.changes if variant else ():
            if self._distribution_of(change.path) is None:
                problems.append(
                    f"{patch.name}/{since}.patch changes {change.path}, "
                    "which belongs to no [[distribution]]"
                )
        return variant

    def _distribution_of(self, path: str) -> Distribution | None:
        owners = [d for d in self.distributions if path.startswith(f"{d.tree}/")]
        return max(owners, key=lambda owner: len(owner.tree), default=None)

    def locate(self, path: str) -> tuple[str, str]:
        """The distribution and the wheel member that a monorepo path stands for."""
        owner = self._distribution_of(path)
        if owner is None:
            raise InvalidSeries(f"{path} belongs to no [[distribution]]", next_step=_NEXT)
        return owner.name, path.removeprefix(f"{owner.tree}/")

    def digest(self, version: Version) -> str:
        """The sha256 (hex) of all that decides what the series does to a release."""
        stands = [
            self.name,
            [[d.name, d.tree, d.version_file] for d in self.distributions],
            [
                [patch.name, sha256(read_patch(patch.variants[since]))]
                for patch, since in self.chosen(version)
            ],
        ]
        return hashlib.sha256(json.dumps(stands).encode()).hexdigest()

    def local_version(
        self, version: Version, revision: int, release: Version | None = None
    ) -> Version:
        """Upstream's version with the series' label: ``1.8.9+dispatched.1`` for 1.8.9 and 1.

        A partner that a ``release`` of another version borrows pins that release, so it needs a
        name of its own: ``1.2.9+dispatched.1.with.1.2.10``.
        """
        borrower = "" if release in (None, version) else f".with.{release}"
        return Version(f"{version.public}+{self.name}.{revision}{borrower}")


def _raise(problems: list[str]) -> None:
    if problems:
        raise InvalidSeries("\n".join(["the series is invalid:", *problems]), next_step=_NEXT)


def _related(raw: dict[str, object], problems: list[str]) -> tuple[str, ...]:
    """Take the links out of ``[series]``; they are optional."""
    head = raw.get("series")
    links = head.pop("related", []) if isinstance(head, dict) else []
    if isinstance(links, list) and all(isinstance(link, str) for link in links):
        problems += [f"[series] related: {x} is no link" for x in links if not _LINK.match(x)]
        return tuple(links)
    problems.append("[series] related is no list of links")
    return ()


def _tables(raw: dict[str, object], problems: list[str]) -> dict[str, list[dict[str, str]]]:
    problems += [f"unknown key {key!r}" for key in raw if key not in _KEYS]
    tables: dict[str, list[dict[str, str]]] = {}
    for kind, keys in _KEYS.items():
        rows = raw.get(kind)
        if kind == "series":
            rows = [rows]
        if not isinstance(rows, list) or not rows or not all(isinstance(r, dict) for r in rows):
            problems.append(f"[{kind}] is missing, or is not the table it should be")
            continue
        tables[kind] = rows
        for row in rows:
            where = f"[{kind}] {row.get('name', '?')}"
            problems += [f"{where}: unknown key {key!r}" for key in row if key not in keys]
            good = {key for key in keys if isinstance(row.get(key), str) and str(row[key]).strip()}
            problems += [f"{where}: {key} is no text" for key in keys if key not in good]
            if good >= set(keys):
                problems += [f"{where}: {problem}" for problem in _values(kind, row)]
        names = [str(row.get("name")) for row in rows]
        problems += [
            f"[{kind}] {n} stands twice" for n in dict.fromkeys(names) if names.count(n) > 1
        ]
    return tables


def _values(kind: str, row: dict[str, str]) -> list[str]:
    found = []
    if not (_LABEL if kind == "series" else _NAME).fullmatch(row["name"]):
        found.append("name is not in plain small letters")
    if "upstream" in row and not _LINK.match(row["upstream"]):
        found.append("upstream is no link")
    found += [
        f"{k} is no safe path"
        for k in ("tree", "version-file")
        if not is_safe_path(row.get(k, "x"))
    ]
    try:
        # it looks at the versions in it only when it is asked
        SpecifierSet(row.get("releases", "")).contains("1")
    except ValueError as error:
        found.append(f"releases: {error}")
    return found


def _variants(folder: Path, problems: list[str]) -> dict[Version, Path]:
    found: dict[Version, Path] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        try:
            version = Version(path.stem)
        except ValueError:
            version = None
        if path.suffix != ".patch" or version is None or not path.is_file():
            problems.append(f"{folder.name}/{path.name} is not named <release>.patch")
        elif version in found:
            problems.append(
                f"{folder.name} has {found[version].name} and {path.name}: the same release"
            )
        else:
            found[version] = path
    if not found:
        problems.append(f"{folder.name}/ has no <release>.patch")
    return dict(sorted(found.items()))
