"""``patches/series.toml``: the patches in order, and which variant of each fits a release."""

from __future__ import annotations

import json
import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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
        """Return the monorepo's path of a wheel member."""
        return f"{self.tree}/{member}"


@dataclass(frozen=True)
class Patch:
    """Why a patch exists, where upstream stands, and the first releases of its variants."""

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

        Patch files are read when a release needs them.
        """
        try:
            document = tomllib.loads((folder / FILE).read_text("utf-8"))
        except FileNotFoundError as error:
            raise InvalidSeries(f"{folder} has no {FILE}", next_step=_NEXT) from error
        except (ValueError, OSError, RecursionError) as error:
            raise InvalidSeries(f"{FILE} is no TOML: {error}", next_step=_NEXT) from error
        problems: list[str] = []
        tables = _tables(document, problems)
        _reject(problems)
        (head,) = tables["series"]
        patches = []
        for row in tables["patch"]:
            releases, variants = row["releases"], _variants(folder / row["name"], problems)
            texts = _fields(row, "releases")
            patches.append(Patch(**texts, releases=SpecifierSet(releases), variants=variants))
        folders = {path.name for path in folder.iterdir() if path.is_dir()}
        unlisted = sorted(folders - {patch.name for patch in patches})
        problems += [f"{name}/ stands in no [[patch]] of {FILE}" for name in unlisted]
        _reject(problems)
        return cls(
            **_fields(head, "related"),
            related=tuple(head.get("related", ())),
            distributions=tuple(Distribution(**_fields(row)) for row in tables["distribution"]),
            patches=tuple(patches),
        )

    def variants_for(self, version: Version) -> tuple[Variant, ...]:
        """Read and check the variants for a release; return them in the series' order.

        A patch whose ``releases`` exclude the version is left out. Raises PatchConflict if a
        patch has no variant that old, InvalidSeries with everything wrong in the files.
        """
        problems: list[str] = []
        variants = []
        for patch, since in self.chosen(version):
            path = patch.variants[since]
            if variant := parse_variant(patch.name, since, path, problems):
                variants.append(variant)
                problems += [
                    f"{patch.name}/{path.name} changes {change.path}, "
                    "which belongs to no [[distribution]]"
                    for change in variant.changes
                    if self._distribution_of(change.path) is None
                ]
        _reject(problems)
        return tuple(variants)

    def chosen(self, version: Version) -> list[tuple[Patch, Version]]:
        """Return the patches that are for a release, each with the first release of its variant.

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

    def _distribution_of(self, path: str) -> Distribution | None:
        owners = [d for d in self.distributions if path.startswith(f"{d.tree}/")]
        return max(owners, key=lambda owner: len(owner.tree), default=None)

    def locate(self, path: str) -> tuple[str, str]:
        """Return the distribution and the wheel member of a monorepo path."""
        owner = self._distribution_of(path)
        if owner is None:
            raise InvalidSeries(f"{path} belongs to no [[distribution]]", next_step=_NEXT)
        return owner.name, path.removeprefix(f"{owner.tree}/")

    def digest(self, version: Version) -> str:
        """Return the sha256 (hex) of all that decides what the series does to a release."""
        distributions = [[d.name, d.tree, d.version_file] for d in self.distributions]
        chosen = [(patch.name, patch.variants[since]) for patch, since in self.chosen(version)]
        patches = [[name, sha256(read_patch(path))] for name, path in chosen]
        return sha256(json.dumps([self.name, distributions, patches]).encode())

    def local_version(
        self, version: Version, revision: int, release: Version | None = None
    ) -> Version:
        """Return upstream's version with the series' label, as ``1.8.9+dispatched.1``.

        A partner that a ``release`` of another version borrows pins that release, so it needs a
        name of its own: ``1.2.9+dispatched.1.with.1.2.10``.
        """
        borrower = "" if release in (None, version) else f".with.{release}"
        return Version(f"{version.public}+{self.name}.{revision}{borrower}")


def _reject(problems: list[str]) -> None:
    if problems:
        raise InvalidSeries("\n".join(["the series is invalid:", *problems]), next_step=_NEXT)


def _fields(row: Mapping[str, Any], *others: str) -> dict[str, Any]:
    """Return a table's texts by the names of a dataclass's fields, but for ``others``."""
    return {key.replace("-", "_"): text for key, text in row.items() if key not in others}


def _tables(document: Mapping[str, Any], problems: list[str]) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of each kind of table; add every fault to ``problems``."""
    problems += [f"unknown key {key!r}" for key in document if key not in _KEYS]
    tables: dict[str, list[dict[str, Any]]] = {}
    for kind in _KEYS:
        rows = [document.get(kind)] if kind == "series" else document.get(kind)
        if not isinstance(rows, list) or not rows or not all(isinstance(r, dict) for r in rows):
            problems.append(f"[{kind}] is missing, or is not the table it should be")
            continue
        tables[kind] = rows
        for row in rows:
            label = f"[{kind}] {row.get('name', '?')}"
            problems += [f"{label}: {fault}" for fault in _faults(kind, row)]
        names = Counter(str(row.get("name")) for row in rows)
        problems += [f"[{kind}] {name} stands twice" for name, n in names.items() if n > 1]
    return tables


def _faults(kind: str, row: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with one table: its keys, or else its values."""
    links = row.get("related", [])
    if not isinstance(links, list) or not all(isinstance(link, str) for link in links):
        yield "related is no list of links"
    else:
        yield from (f"related: {link} is no link" for link in links if not _LINK.match(link))
    allowed = (*_KEYS[kind], *(("related",) if kind == "series" else ()))
    yield from (f"unknown key {key!r}" for key in row if key not in allowed)
    texts = {key: row[key] for key in _KEYS[kind] if isinstance(row.get(key), str)}
    if missing := [key for key in _KEYS[kind] if not texts.get(key, "").strip()]:
        yield from (f"{key} is no text" for key in missing)
        return
    if not (_LABEL if kind == "series" else _NAME).fullmatch(texts["name"]):
        yield "name is not in plain small letters"
    if not _LINK.match(texts.get("upstream", "https://")):
        yield "upstream is no link"
    for key in ("tree", "version-file"):
        if not is_safe_path(texts.get(key, "x")):
            yield f"{key} is no safe path"
    try:
        # a SpecifierSet reads the versions in it only when it is used
        SpecifierSet(texts.get("releases", "")).contains("1")
    except ValueError as error:
        yield f"releases: {error}"


def _variants(folder: Path, problems: list[str]) -> dict[Version, Path]:
    """Return a patch's files by the first release of each, oldest first."""
    variants: dict[Version, Path] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        try:
            version = Version(path.stem)
        except ValueError:
            version = None
        if path.suffix != ".patch" or version is None or not path.is_file():
            problems.append(f"{folder.name}/{path.name} is not named <release>.patch")
        elif version in variants:
            names = f"{variants[version].name} and {path.name}"
            problems.append(f"{folder.name} has {names}: the same release")
        else:
            variants[version] = path
    if not variants:
        problems.append(f"{folder.name}/ has no <release>.patch")
    return dict(sorted(variants.items()))
