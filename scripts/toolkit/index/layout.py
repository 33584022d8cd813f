"""What lies in an index beside its list and its pages: wheels, proofs, constraints."""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path

from packaging.utils import parse_wheel_filename

from toolkit.index.ledger import LIST, Listed
from toolkit.index.staged_wheel import StagedWheel
from toolkit.proof.verdict import Claim, Proof
from toolkit.util.errors import IndexConflict
from toolkit.util.files import sha256, sha256_of, write_whole


def wheel_of(folder: Path, entry: Listed) -> Path:
    """Where the index at ``folder`` has a wheel."""
    return folder / "files" / entry.filename


def put(folder: Path, candidate: StagedWheel) -> None:
    """Put a wheel in place, its METADATA and the statement on it."""
    path = wheel_of(folder, candidate.entry)
    write_whole(path, candidate.read())
    write_whole(_metadata(path), candidate.metadata)
    if candidate.statement is not None:
        write_whole(_statement(path), candidate.statement)


def damaged(folder: Path, entry: Listed) -> Path | None:
    """A file of ``entry`` that is not what was published, if there is one."""
    path = wheel_of(folder, entry)
    places = {path: entry.sha256, _metadata(path): entry.metadata_sha256}
    if entry.provenance_sha256:
        places[_statement(path)] = entry.provenance_sha256
    for place, wanted in places.items():
        if not place.is_file() or sha256_of(place) != wanted:
            return place
    return None


def require_whole(folder: Path, entry: Listed) -> None:
    """Raise IndexConflict unless the files of ``entry`` are what was published."""
    if place := damaged(folder, entry):
        raise IndexConflict(
            f"{place} is damaged: it is not what was published",
            next_step="see who changed it, and put the published file back",
        )


def require_index(folder: Path) -> None:
    """Raise IndexConflict unless there is an index of ours."""
    if not (folder / LIST).is_file():
        raise IndexConflict(
            f"{folder} is not an index of ours: it has no {LIST}",
            next_step="name an index that publish.py made",
        )


def put_proof(folder: Path, proof: Proof, referenced: Set[str]) -> None:
    """Put a verdict in place; ``referenced`` are the sha256 of those by which files were published.

    Raises IndexConflict if its name is taken by one of these.
    """
    path = folder / "verdicts" / proof.name
    known = content_of(path)
    if known is not None and known != proof.data and sha256(known) in referenced:
        raise IndexConflict(
            f"{path} holds another verdict, by which files were published",
            next_step="repack with the next revision",
        )
    if known != proof.data:
        write_whole(path, proof.data)


def put_beside(folder: Path, proof: Proof, picture: Path | None) -> None:
    """Put what a proof comes with in place: its dependencies, and its picture (an SVG) if any."""
    verdict, constraints = places_beside(folder, proof)
    drawing = verdict.with_suffix(".svg")
    if picture and (drawn := content_of(picture)) and not drawing.exists():
        write_whole(drawing, drawn)
    if not constraints.exists():
        head = f"# What {proof.release} was proved with.\n"
        # the pair too: uv takes a yanked version only if it is named, not for a dependency's sake
        pair = {str(n): str(v) for n, v, _, _ in map(parse_wheel_filename, proof.wheels)}
        pins = sorted({**proof.dependencies, **pair}.items())
        lines = [f"{name}=={version}\n" for name, version in pins]
        write_whole(constraints, "".join([head, *lines]).encode())


def places_beside(folder: Path, claim: Claim) -> tuple[Path, Path]:
    """Where the verdict of a claim and its constraints lie."""
    return folder / "verdicts" / claim.name, folder / constraints_name(claim)


def constraints_name(claim: Claim) -> str:
    """Where in an index the dependencies of a proof stand, as pip and uv read constraints."""
    # without a plus sign, which some servers and clients take for a space
    return f"constraints/{claim.name.removesuffix('.json').replace('+', '-')}.txt"


def _metadata(wheel: Path) -> Path:
    return wheel.with_name(f"{wheel.name}.metadata")


def _statement(wheel: Path) -> Path:
    return wheel.with_name(f"{wheel.name}.provenance.json")


def content_of(path: Path) -> bytes | None:
    """A file's bytes, or None without it."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
