"""The files of an index beside its ledger and its pages: wheels, verdicts and constraints."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import parse_wheel_filename
from packaging.version import Version

from toolkit.index.ledger import LIST, Ledger, Listed
from toolkit.index.staged_wheel import StagedWheel
from toolkit.proof.verdict import Claim, Proof
from toolkit.util.errors import IndexConflict
from toolkit.util.files import sha256, sha256_of, write_whole
from toolkit.util.strict_json import decode, load, value_of

FOLDERS = ("files", "verdicts", "constraints")
_RESTORE = "see who changed it, and put the published file back"


@dataclass(frozen=True)
class StoredVerdict:
    """A verdict of an index; ``version`` is the release and revision that its file name gives."""

    version: Version
    release: str
    verdict: str
    wheels: Mapping[str, str]


def wheel_path(folder: Path, entry: Listed) -> Path:
    """Return where the index at ``folder`` keeps a wheel."""
    return folder / "files" / entry.filename


def store_wheel(folder: Path, wheel: StagedWheel) -> None:
    """Write a wheel, its METADATA and its statement."""
    path = wheel_path(folder, wheel.entry)
    write_whole(path, wheel.read())
    write_whole(_metadata(path), wheel.metadata)
    if wheel.statement is not None:
        write_whole(_statement(path), wheel.statement)


def damaged_file(folder: Path, entry: Listed) -> Path | None:
    """Return a file of ``entry`` that is missing or not what was published; None if all are."""
    path = wheel_path(folder, entry)
    digests = {path: entry.sha256, _metadata(path): entry.metadata_sha256}
    if entry.provenance_sha256:
        digests[_statement(path)] = entry.provenance_sha256
    for file, digest in digests.items():
        if not file.is_file() or sha256_of(file) != digest:
            return file
    return None


def require_undamaged(folder: Path, entry: Listed) -> None:
    """Raise IndexConflict unless the files of ``entry`` are what was published."""
    if path := damaged_file(folder, entry):
        raise IndexConflict(f"{path} is damaged: it is not what was published", next_step=_RESTORE)


def require_index(folder: Path) -> None:
    """Raise IndexConflict unless ``folder`` is an index."""
    if not (folder / LIST).is_file():
        raise IndexConflict(
            f"{folder} is not an index of ours: it has no {LIST}",
            next_step="name an index that publish.py made",
        )


def store_verdict(folder: Path, proof: Proof, referenced: Set[str]) -> None:
    """Write a verdict; ``referenced`` are the sha256 of those by which files were published.

    Raises IndexConflict if one of these has the same name.
    """
    path = folder / "verdicts" / proof.name
    stored = read_or_none(path)
    if stored is not None and stored != proof.data and sha256(stored) in referenced:
        raise IndexConflict(
            f"{path} holds another verdict, by which files were published",
            next_step="repack with the next revision",
        )
    if stored != proof.data:
        write_whole(path, proof.data)


def store_extras(folder: Path, proof: Proof, picture: Path | None) -> None:
    """Write a proof's dependencies as constraints, and its picture (an SVG) if there is one."""
    verdict, constraints = extras_of(folder, proof)
    target = verdict.with_suffix(".svg")
    if picture and (drawing := read_or_none(picture)) and not target.exists():
        write_whole(target, drawing)
    if not constraints.exists():
        head = f"# What {proof.release} was proved with.\n"
        # the pair too: uv takes a yanked version only if it is named, not for a dependency's sake
        pair = {str(n): str(v) for n, v, _, _ in map(parse_wheel_filename, proof.wheels)}
        pins = sorted({**proof.dependencies, **pair}.items())
        lines = [f"{name}=={version}\n" for name, version in pins]
        write_whole(constraints, "".join([head, *lines]).encode())


def extras_of(folder: Path, claim: Claim) -> tuple[Path, Path]:
    """Return where the verdict of a claim and its constraints are."""
    return folder / "verdicts" / claim.name, folder / constraints_name(claim)


def constraints_name(claim: Claim) -> str:
    """Return the path, below an index, of the constraints file with a proof's dependencies."""
    # without a plus sign, which some servers and clients take for a space
    return f"constraints/{claim.name.removesuffix('.json').replace('+', '-')}.txt"


def stored_verdicts(folder: Path) -> dict[str, StoredVerdict]:
    """Return every verdict of the index at ``folder`` by its sha256.

    Raises IndexConflict for a damaged one.
    """
    verdicts = {}
    for path in sorted((folder / "verdicts").glob("*.json")):
        try:
            data = path.read_bytes()
            document = value_of(load(data, "it"), dict, "it")
            verdicts[sha256(data)] = StoredVerdict(
                Version(path.stem),
                value_of(document["release"], str, "release"),
                value_of(document["verdict"], str, "verdict"),
                decode(dict[str, str], document["wheels"], "wheels"),
            )
        except (OSError, ValueError, KeyError) as error:
            raise IndexConflict(
                f"{path} is damaged: it is no verdict: {error}", next_step=_RESTORE
            ) from error
    return verdicts


def own_files(folder: Path, ledger: Ledger) -> list[tuple[Listed, Version]]:
    """Return the files that upstream did not make, with the release and revision they belong to.

    Raises IndexConflict as :func:`stored_verdicts`.
    """
    verdicts = stored_verdicts(folder)
    return [
        (entry, verdict.version)
        for entry in ledger.files.values()
        if (verdict := verdicts.get(entry.verdict_sha256))
        and (Version(entry.version).local or entry.filename not in verdict.wheels)
    ]


def read_or_none(path: Path) -> bytes | None:
    """Return a file's bytes, or None if there is no such file."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _metadata(wheel: Path) -> Path:
    return wheel.with_name(f"{wheel.name}.metadata")


def _statement(wheel: Path) -> Path:
    return wheel.with_name(f"{wheel.name}.provenance.json")
