"""Publish bundles of proved wheels in a static simple index.

pip and uv use the index's folder as it is, or behind any web server.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from packaging.utils import parse_wheel_filename
from packaging.version import Version

from toolkit.index.bundle import Bundle
from toolkit.index.layout import (
    constraints_name,
    damaged_file,
    extras_of,
    require_index,
    require_undamaged,
    store_extras,
    store_verdict,
    store_wheel,
)
from toolkit.index.ledger import CLOSED, Ledger, Listed
from toolkit.index.metapackage import metapackage_name
from toolkit.index.staged_wheel import StagedWheel
from toolkit.index.transaction import locked_ledger, require_own_folder
from toolkit.proof.verdict import Claim
from toolkit.util.errors import IndexConflict, ToolkitError
from toolkit.util.files import sha256_of


@dataclass(frozen=True)
class Publication:
    """What publishing a bundle did: the files new to the index, and those it had."""

    new: tuple[str, ...]
    known: tuple[str, ...]


@dataclass(frozen=True)
class ConsumeLines:
    """The commands that a user of pip and a user of uv paste into a shell."""

    pip: str
    uv: str


def publish(bundle: Bundle, folder: Path, *, dry_run: bool = False) -> Publication:
    """Publish one bundle in the index at ``folder``; with ``dry_run`` write nothing.

    The folder is made if it is missing or empty. What the index has already stays untouched.
    Raises NotWritable, and IndexConflict if the folder is something else, is damaged, or holds
    other bytes under the same name.
    """
    if dry_run:
        if folder.is_dir():
            require_own_folder(folder)
        return _publication(bundle, _unpublished(folder, bundle, Ledger.read(folder)))
    (answer,) = publish_all([bundle], folder)
    if isinstance(answer, ToolkitError):
        raise answer
    return answer


def publish_all(bundles: Sequence[Bundle], folder: Path) -> list[Publication | ToolkitError]:
    """Publish each bundle whole or not at all, then write the pages once.

    Returns a publication or an error for each bundle, in order: an error of one does not stop the
    others. Raises NotWritable, and IndexConflict if the folder is something else or is damaged.
    """
    with locked_ledger(folder) as ledger:
        answers: list[Publication | ToolkitError] = []
        for bundle in bundles:
            try:
                answers.append(_store(folder, bundle, ledger))
            except ToolkitError as error:
                answers.append(error)
        return answers


def repair(folder: Path) -> int:
    """Make lost and altered pages of an index again, as every change does; return its files."""
    require_index(folder)
    with locked_ledger(folder) as ledger:
        return len(ledger.files)


def holds_all_of(
    folder: Path, listed: Mapping[str, Listed], claim: Claim, also: Iterable[str] = ()
) -> bool:
    """Return whether the index has every wheel of ``claim``, undamaged, and its constraints.

    The same goes for all files published by the same verdict and those named in ``also``.
    ``listed`` holds the files of the ledger, by name.
    """
    entries = [listed.get(name) for name in (*claim.wheels, *also)]
    verdicts = {entry.verdict_sha256 for entry in entries if entry}
    if any(e is None or e.sha256 != claim.wheels.get(e.filename, e.sha256) for e in entries):
        return False
    together = (entry for entry in listed.values() if entry.verdict_sha256 in verdicts)
    if any(damaged_file(folder, entry) for entry in together):
        return False
    return all(path.is_file() for path in extras_of(folder, claim))


def consume_lines(folder: Path, claim: Claim, url: str | None = None) -> ConsumeLines:
    """Return the commands that install the wheels of ``claim`` from the index at ``folder``.

    ``url`` is the folder's address for others. The commands name the metapackage, which requires
    exactly the proved pair, or without one the exact pins. pip takes the best version of all
    indexes, and somebody else's metapackage could outrank this one, so pip gets the very file.
    The constraints are the proof's dependencies: old releases do not import with today's.
    """
    base = (url or folder.resolve().as_uri()).rstrip("/")
    simple = f"{base}/simple/"
    constraints = ["--constraint", f"{base}/{quote(constraints_name(claim))}"]
    pip = uv = sorted(
        {f"{name}=={version}" for name, version, _, _ in map(parse_wheel_filename, claim.wheels)}
    )
    if metapackage := _metapackage(folder, claim):
        name, version, _, _ = parse_wheel_filename(metapackage.name)
        link = f"{base}/files/{quote(metapackage.name)}#sha256={sha256_of(metapackage)}"
        pip, uv = [f"{name} @ {link}"], [f"{name}=={version}"]
    return ConsumeLines(
        pip=shlex.join(["pip", "install", "--extra-index-url", simple, *constraints, *pip]),
        uv=shlex.join(["uv", "pip", "install", "--index", simple, *constraints, *uv]),
    )


def _metapackage(folder: Path, claim: Claim) -> Path | None:
    local = Version(claim.name.removesuffix(".json")).local or ""
    if not (revision := local.rpartition(".")[2]).isdecimal():
        return None
    path = folder / "files" / metapackage_name(claim.release, int(revision))
    return path if path.is_file() else None


def _store(folder: Path, bundle: Bundle, ledger: Ledger) -> Publication:
    """Put the files in place, and their entries into ``ledger`` once all are there."""
    proof = bundle.proof
    new = _unpublished(folder, bundle, ledger)
    if new:
        referenced = {entry.verdict_sha256 for entry in ledger.files.values()}
        store_verdict(folder, proof, referenced)
        for wheel in new:
            store_wheel(folder, wheel)
    store_extras(folder, proof, bundle.picture)
    for wheel in new:
        ledger.append(wheel.entry)
    if new and proof.verdict == "publish":
        ledger.end_retirements(Version(proof.release), new[0].entry.upload_time)
    return _publication(bundle, new)


def _publication(bundle: Bundle, new: Sequence[StagedWheel]) -> Publication:
    fresh = {wheel.entry.filename for wheel in new}
    present = {wheel.entry.filename for wheel in bundle.wheels} - fresh
    return Publication(tuple(sorted(fresh)), tuple(sorted(present)))


def _unpublished(folder: Path, bundle: Bundle, ledger: Ledger) -> list[StagedWheel]:
    """Return the wheels of a bundle that the index does not have.

    A published metapackage stays, whatever would be generated today.
    Raises IndexConflict if the index has other bytes, damaged ones, or a closed project.
    """
    new = []
    for wheel in bundle.wheels:
        entry = ledger.files.get(wheel.entry.filename)
        if entry is None:
            new.append(wheel)
        elif entry.sha256 != wheel.entry.sha256 and wheel.content is None:
            raise IndexConflict(
                f"{folder} holds other bytes as {entry.filename}",
                next_step="published files never change: repack with the next revision",
            )
        else:
            require_undamaged(folder, entry)
    for project in {wheel.entry.project for wheel in new}:
        mark = ledger.statuses.get(project)
        if mark and mark.status in CLOSED:
            raise IndexConflict(
                f"{project} is {mark.status} in {folder}: {mark.reason or 'no reason given'}",
                next_step="mark it active again before publishing more of it",
            )
    return new
