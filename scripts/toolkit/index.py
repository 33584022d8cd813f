"""A static simple index in a folder, which pip and uv use as it is or behind any web server.

``index.jsonl`` is the truth: an append-only list, one line a file. Everything under ``simple/``
is a pure function of it, and is made again wherever it differs. Files are in place before the
list names them, so the index is usable at every moment, whatever ends a publication.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout
from packaging.utils import parse_wheel_filename
from packaging.version import InvalidVersion, Version

from .candidate import Candidate, Claim, Parcel, Proof, plain
from .errors import IndexConflict, InvalidWheel, NotWritable, ToolkitError
from .files import TEMPORARY, sha256, sha256_of, write_whole, writing
from .pages import Listed, render
from .strict import Malformed, members
from .verdict import Verdict

LIST = "index.jsonl"
LOCK = ".lock"
PATIENCE = 60.0
_EXPECTED = {
    **dict.fromkeys(
        ("filename", "project", "version", "sha256", "upload_time", "requires_python"), str
    ),
    **dict.fromkeys(("metadata_sha256", "verdict_sha256"), str),
    "size": int,
}


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
) -> Publication:
    """Put ``wheels`` into the index at ``folder``, which is made if it is missing or empty.

    They must be the very files that the verdict ``publish`` speaks of, all of them. What is in
    the index already stays untouched. ``now`` (with a time zone) is the upload time of new files.
    ``picture`` is the SVG that prove drew, if it did; it goes beside the verdict.

    Raises NotProved, InvalidWheel, NotWritable, and IndexConflict if the folder is something
    else, is damaged, or holds other bytes under the same name.
    """
    parcel = Parcel.of(wheels, Proof.of(verdict), picture=picture, now=now)
    (done,) = publish_all([parcel], folder)
    if isinstance(done, ToolkitError):
        raise done
    return done


def publish_all(parcels: Sequence[Parcel], folder: Path) -> list[Publication | ToolkitError]:
    """Put each parcel into the index at ``folder``, whole or not at all, and make the pages once.

    The answers are in the order of ``parcels``: an error of one does not stop the others.
    Raises NotWritable, and IndexConflict if the folder is something else or is damaged.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        _require_ours(folder)
        try:
            with FileLock(folder / LOCK, timeout=PATIENCE):
                return _publish(folder, parcels)
        except Timeout as error:
            raise NotWritable(
                f"another publication has held {folder} for {PATIENCE:g} s",
                next_step="wait for it to end, then run the same command again",
            ) from error


def holds(folder: Path, listed: Mapping[str, Listed], claim: Claim) -> bool:
    """Whether the index has every wheel that ``claim`` names, whole, and its constraints.

    ``listed`` is what :func:`read_list` returned.
    """
    for name, digest in claim.wheels.items():
        entry = listed.get(name)
        path = folder / "files" / name
        if entry is None or entry.sha256 != digest:
            return False
        for place, wanted in ((path, digest), (_metadata(path), entry.metadata_sha256)):
            if not place.is_file() or sha256_of(place) != wanted:
                return False
    places = (folder / "verdicts" / claim.name, folder / constraints_name(claim))
    return all(place.is_file() for place in places)


def read_list(folder: Path) -> dict[str, Listed]:
    """The index's files by name, in the order of their publication; empty without a list.

    Raises IndexConflict if the list is not one of ours.
    """
    try:
        text = (folder / LIST).read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except UnicodeDecodeError as error:
        raise _damaged(folder / LIST, str(error)) from error
    listed: dict[str, Listed] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            document = json.loads(line)
            entry = Listed(**members(document, "the line", _EXPECTED, {}))
            plain(entry.filename)
            plain(entry.project)
            Version(entry.version)
        except (json.JSONDecodeError, Malformed, InvalidWheel, InvalidVersion) as error:
            raise _damaged(folder / LIST, f"line {number}: {error}") from error
        if entry.filename in listed:
            raise _damaged(folder / LIST, f"line {number}: {entry.filename} is listed twice")
        listed[entry.filename] = entry
    return listed


def consume_lines(folder: Path, verdict: Claim | Verdict) -> ConsumeLines:
    """How to install the wheels that ``verdict`` let into the index at ``folder``.

    Exact pins, because a range lets pip take a newer upstream release without the fix, and
    every distribution, because uv takes each project from the first index that has it. The
    constraints are the dependencies of the proof: old releases do not import with today's.
    """
    pins = sorted(
        {f"{name}=={version}" for name, version, _, _ in map(parse_wheel_filename, verdict.wheels)}
    )
    url = f"{(folder.resolve() / 'simple').as_uri()}/"
    claim = Proof.of(verdict) if isinstance(verdict, Verdict) else verdict
    constraints = ["--constraint", (folder.resolve() / constraints_name(claim)).as_uri()]
    return ConsumeLines(
        pip=shlex.join(["pip", "install", "--extra-index-url", url, *constraints, *pins]),
        uv=shlex.join(["uv", "pip", "install", "--index", url, *constraints, *pins]),
    )


def constraints_name(claim: Claim) -> str:
    """Where in an index the dependencies of a proof stand, as pip and uv read constraints."""
    # without a plus sign, which some servers and clients take for a space
    return f"constraints/{claim.name.removesuffix('.json').replace('+', '-')}.txt"


def _constraints(proof: Claim) -> bytes:
    head = f"# What {proof.release} was proved with.\n"
    lines = [f"{name}=={version}\n" for name, version in sorted(proof.dependencies.items())]
    return "".join([head, *lines]).encode()


def _publish(folder: Path, parcels: Sequence[Parcel]) -> list[Publication | ToolkitError]:
    listed = read_list(folder)
    _sweep(folder)
    if not (folder / LIST).exists():
        write_whole(folder / LIST, b"")
    known = len(listed)
    done: list[Publication | ToolkitError] = []
    try:
        for parcel in parcels:
            try:
                done.append(_store(folder, parcel, listed))
            except ToolkitError as error:
                done.append(error)
    finally:
        if len(listed) > known:
            write_whole(folder / LIST, b"".join(map(_line, listed.values())))
        for page, wanted in render(listed.values()).items():
            if _bytes(folder / page) != wanted:
                write_whole(folder / page, wanted)
    return done


def _store(folder: Path, parcel: Parcel, listed: dict[str, Listed]) -> Publication:
    """Put the files in place, and their entries into ``listed`` once all are there."""
    candidates, proof = parcel.candidates, parcel.proof
    new = [c for c in candidates if not _is_published(folder, c, listed)]
    if new:
        referenced = {entry.verdict_sha256 for entry in listed.values()}
        _store_proof(folder / "verdicts" / proof.name, proof.data, referenced)
        for candidate in new:
            path = folder / "files" / candidate.entry.filename
            write_whole(path, candidate.read())
            write_whole(_metadata(path), candidate.metadata)
    drawing = (folder / "verdicts" / proof.name).with_suffix(".svg")
    if parcel.picture and (drawn := _bytes(parcel.picture)) and not drawing.exists():
        write_whole(drawing, drawn)
    if not (constraints := folder / constraints_name(proof)).exists():
        write_whole(constraints, _constraints(proof))
    listed |= {c.entry.filename: c.entry for c in new}
    names = {c.entry.filename for c in candidates}
    fresh = {c.entry.filename for c in new}
    return Publication(tuple(sorted(fresh)), tuple(sorted(names - fresh)))


def _is_published(folder: Path, candidate: Candidate, listed: Mapping[str, Listed]) -> bool:
    entry = listed.get(candidate.entry.filename)
    if entry is None:
        return False
    if entry.sha256 != candidate.entry.sha256:
        raise IndexConflict(
            f"{folder} holds other bytes as {entry.filename}",
            next_step="published files never change: repack with the next revision",
        )
    path = folder / "files" / entry.filename
    for place, wanted in ((path, entry.sha256), (_metadata(path), sha256(candidate.metadata))):
        if not place.is_file() or sha256_of(place) != wanted:
            raise IndexConflict(
                f"{place} is damaged: it is not what was published",
                next_step="see who changed it, and put the published file back",
            )
    return True


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


def _store_proof(path: Path, proof: bytes, referenced: set[str]) -> None:
    known = _bytes(path)
    if known is not None and known != proof and sha256(known) in referenced:
        raise IndexConflict(
            f"{path} holds another verdict, by which files were published",
            next_step="repack with the next revision",
        )
    if known != proof:
        write_whole(path, proof)


def _sweep(folder: Path) -> None:
    """Remove what a killed publication left behind; the lock is ours."""
    for leftover in folder.rglob(f"{TEMPORARY}*"):
        leftover.unlink(missing_ok=True)


def _line(entry: Listed) -> bytes:
    return (json.dumps(asdict(entry), sort_keys=True) + "\n").encode()


def _metadata(wheel: Path) -> Path:
    return wheel.with_name(f"{wheel.name}.metadata")


def _bytes(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _damaged(path: Path, reason: str) -> IndexConflict:
    return IndexConflict(
        f"{path} is not a list of ours: {reason}",
        next_step="put the list back from a copy, or publish into a new folder",
    )
