"""A static simple index in a folder, which pip and uv use as it is or behind any web server.

``index.jsonl`` is the truth: an append-only list. Everything under ``simple/`` is a pure function
of it, and is made again wherever it differs. Files are in place before the list names them, so
the index is usable at every moment, whatever ends a publication.

Clients read one page after another while pages are replaced one after another. So pages that
gain files appear in the order of the list: wheels that pin a partner, the partner that they pin,
what was made for both, and the root; who sees a wheel finds all that must be taken with it. Pages
that lose files to a yank are replaced the other way round.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

from filelock import FileLock, Timeout
from packaging.utils import parse_wheel_filename
from packaging.version import Version

from toolkit.index.bundle import Bundle
from toolkit.index.layout import (
    constraints_name,
    content_of,
    damaged,
    places_beside,
    put,
    put_beside,
    put_proof,
    require_whole,
)
from toolkit.index.ledger import CLOSED, LIST, Ledger, Listed
from toolkit.index.metapackage import metapackage_name
from toolkit.index.pages import render
from toolkit.index.staged_wheel import Generated, StagedWheel
from toolkit.proof.verdict import Claim, Proof, Verdict
from toolkit.util.errors import IndexConflict, NotWritable, ToolkitError
from toolkit.util.files import (
    TEMPORARY,
    fsync_folder,
    not_writable_errors,
    sha256_of,
    write_together,
    write_whole,
)

LOCK = ".lock"
PATIENCE = 60.0


@dataclass(frozen=True)
class Publication:
    """What a call of :func:`publish` did: the files new to the index, and those it had."""

    new: tuple[str, ...]
    known: tuple[str, ...]


@dataclass(frozen=True)
class ConsumeLines:
    """The lines that a user of pip and a user of uv paste into a shell."""

    pip: str
    uv: str


def publish(
    wheels: Sequence[Path],
    verdict: Verdict,
    folder: Path,
    *,
    picture: Path | None = None,
    now: datetime | None = None,
    generated: Sequence[Generated] = (),
    statements: Mapping[str, bytes] | None = None,
) -> Publication:
    """Put ``wheels`` into the index at ``folder``, which is made if it is missing or empty.

    They must be the very files that the verdict ``publish`` speaks of, all of them. What is in
    the index already stays untouched. The other arguments are those of :meth:`Bundle.of`.

    Raises NotProved, InvalidWheel, NotWritable, and IndexConflict if the folder is something
    else, is damaged, or holds other bytes under the same name.
    """
    proof = Proof.of(verdict)
    bundle = Bundle.of(
        wheels, proof, picture=picture, now=now, generated=generated, statements=statements
    )
    (done,) = publish_all([bundle], folder)
    if isinstance(done, ToolkitError):
        raise done
    return done


def publish_all(bundles: Sequence[Bundle], folder: Path) -> list[Publication | ToolkitError]:
    """Put each bundle into the index at ``folder``, whole or not at all, and make the pages once.

    The answers are in the order of ``bundles``: an error of one does not stop the others.
    Raises NotWritable, and IndexConflict if the folder is something else or is damaged.
    """
    with locked_ledger(folder) as ledger:
        done: list[Publication | ToolkitError] = []
        for bundle in bundles:
            try:
                done.append(_store(folder, bundle, ledger))
            except ToolkitError as error:
                done.append(error)
        return done


def preview(bundle: Bundle, folder: Path) -> Publication:
    """What :func:`publish_all` would do with a bundle now; nothing is written."""
    if folder.is_dir():
        _require_ours(folder)
    ledger = Ledger.read(folder)
    return _outcome(bundle, _unpublished(folder, bundle, ledger))


@contextmanager
def locked_ledger(folder: Path) -> Iterator[Ledger]:
    """The list of the index at ``folder``, while no other process changes it.

    What the block adds to the list is written at its end, and the pages that this changes.
    Raises as :func:`publish_all`.
    """
    with not_writable_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        _require_ours(folder)
        with _locked(folder):
            ledger = Ledger.read(folder)
            _sweep(folder)
            if not (folder / LIST).exists():
                write_whole(folder / LIST, b"")
            known, withdrawn = ledger.text, set(ledger.yanked)
            try:
                yield ledger
            finally:
                if ledger.text != known:
                    for part in ("files", "verdicts", "constraints"):
                        fsync_folder(folder / part)
                    write_whole(folder / LIST, ledger.text)
                    fsync_folder(folder)
                _show(folder, ledger, withdrawing=not withdrawn >= ledger.yanked.keys())


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    lock = FileLock(folder / LOCK)
    seen = content_of(folder / LIST)
    while True:
        try:
            # often, as those who wait have no queue
            lock.acquire(timeout=PATIENCE, poll_interval=0.01)
            break
        except Timeout as error:
            if seen == (seen := content_of(folder / LIST)):
                raise NotWritable(
                    f"another publication has held {folder} for {PATIENCE:g} s",
                    next_step="wait for it to end, then run the same command again",
                ) from error
    try:
        yield
    finally:
        lock.release()


def read_list(folder: Path) -> dict[str, Listed]:
    """The index's files by name, in the order of their publication; empty without a list.

    Raises IndexConflict if the list is not one of ours.
    """
    return Ledger.read(folder).files


def holds(
    folder: Path, listed: Mapping[str, Listed], claim: Claim, also: Iterable[str] = ()
) -> bool:
    """Whether the index has every wheel that ``claim`` names, whole, and its constraints.

    So must be all that was published by the same verdict, and the files named by ``also``.
    ``listed`` is what :func:`read_list` returned.
    """
    entries = [listed.get(name) for name in (*claim.wheels, *also)]
    verdicts = {entry.verdict_sha256 for entry in entries if entry}
    if any(e is None or e.sha256 != claim.wheels.get(e.filename, e.sha256) for e in entries):
        return False
    together = (entry for entry in listed.values() if entry.verdict_sha256 in verdicts)
    if any(damaged(folder, entry) for entry in together):
        return False
    return all(place.is_file() for place in places_beside(folder, claim))


def consume_lines(folder: Path, verdict: Claim | Verdict, url: str | None = None) -> ConsumeLines:
    """How to install the wheels that ``verdict`` let into the index at ``folder``.

    ``url`` is where others see that folder.

    By the companion, which requires exactly the proved pair, or else by exact pins. pip takes the
    best of all indexes, where a stranger's companion could outrank ours, so it gets the very file.
    The constraints are the proof's dependencies: old releases do not import with today's.
    """
    claim = Proof.of(verdict) if isinstance(verdict, Verdict) else verdict
    base = (url or folder.resolve().as_uri()).rstrip("/")
    simple = f"{base}/simple/"
    constraints = ["--constraint", f"{base}/{quote(constraints_name(claim))}"]
    pip = uv = sorted(
        {f"{name}=={version}" for name, version, _, _ in map(parse_wheel_filename, claim.wheels)}
    )
    if companion := _companion(folder, claim):
        name, version, _, _ = parse_wheel_filename(companion.name)
        link = f"{base}/files/{quote(companion.name)}#sha256={sha256_of(companion)}"
        pip, uv = [f"{name} @ {link}"], [f"{name}=={version}"]
    return ConsumeLines(
        pip=shlex.join(["pip", "install", "--extra-index-url", simple, *constraints, *pip]),
        uv=shlex.join(["uv", "pip", "install", "--index", simple, *constraints, *uv]),
    )


def _companion(folder: Path, claim: Claim) -> Path | None:
    local = Version(claim.name.removesuffix(".json")).local or ""
    if not (revision := local.rpartition(".")[2]).isdecimal():
        return None
    path = folder / "files" / metapackage_name(claim.release, int(revision))
    return path if path.is_file() else None


def _show(folder: Path, ledger: Ledger, *, withdrawing: bool) -> None:
    pages = render(ledger.files.values(), ledger.yanked, ledger.statuses)
    order = reversed(pages) if withdrawing else iter(pages)
    changed = [page for page in order if content_of(folder / page) != pages[page]]
    write_together({folder / page: pages[page] for page in changed})


def _store(folder: Path, bundle: Bundle, ledger: Ledger) -> Publication:
    """Put the files in place, and their entries into ``ledger`` once all are there."""
    proof = bundle.proof
    new = _unpublished(folder, bundle, ledger)
    if new:
        referenced = {entry.verdict_sha256 for entry in ledger.files.values()}
        put_proof(folder, proof, referenced)
        for candidate in new:
            put(folder, candidate)
    put_beside(folder, proof, bundle.picture)
    for candidate in new:
        ledger.add(candidate.entry)
    if new and proof.verdict == "publish":
        ledger.revive(Version(proof.release), new[0].entry.upload_time)
    return _outcome(bundle, new)


def _outcome(bundle: Bundle, new: Sequence[StagedWheel]) -> Publication:
    names = {candidate.entry.filename for candidate in bundle.everything}
    fresh = {candidate.entry.filename for candidate in new}
    return Publication(tuple(sorted(fresh)), tuple(sorted(names - fresh)))


def _unpublished(folder: Path, bundle: Bundle, ledger: Ledger) -> list[StagedWheel]:
    """The wheels of a bundle that the index does not have.

    A generated wheel that was published once stays, whatever would be generated today.
    Raises IndexConflict if it has others under their names, or takes no more of a project.
    """
    new = []
    for candidate in bundle.everything:
        wanted = candidate.entry
        entry = ledger.files.get(wanted.filename)
        if entry is None:
            new.append(candidate)
        elif entry.sha256 != wanted.sha256 and candidate.content is None:
            raise IndexConflict(
                f"{folder} holds other bytes as {entry.filename}",
                next_step="published files never change: repack with the next revision",
            )
        else:
            require_whole(folder, entry)
    for project in {candidate.entry.project for candidate in new}:
        mark = ledger.statuses.get(project)
        if mark and mark.status in CLOSED:
            raise IndexConflict(
                f"{project} is {mark.status} in {folder}: {mark.reason or 'no reason given'}",
                next_step="mark it active again before publishing more of it",
            )
    return new


def _require_ours(folder: Path) -> None:
    strangers = [
        path.name
        for path in folder.iterdir()
        if path.name not in (LIST, LOCK) and not path.name.startswith(TEMPORARY)
    ]
    # In this order: the list comes first in a new index, so a racing publisher is no stranger.
    if strangers and not (folder / LIST).exists():
        raise IndexConflict(
            f"{folder} is not an index of ours: it holds {min(strangers)} and no {LIST}",
            next_step="name an empty folder or an index that publish.py made",
        )


def _sweep(folder: Path) -> None:
    """Remove what a killed publication left behind; the lock is ours."""
    for leftover in folder.rglob(f"{TEMPORARY}*"):
        leftover.unlink(missing_ok=True)
