"""Mutants of a series: each is one patched file without one hunk."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace

from toolkit.patches.hunks import ENCODING, ERRORS, FileChange
from toolkit.patches.patchfile import Variant


@dataclass(frozen=True)
class Mutant:
    """The text that ``path`` (the monorepo's) has when one hunk is dropped from the series.

    ``hunk`` is its header as the patch says it. ``along`` names later hunks (patch and header)
    that do not fit without it and are dropped with it. ``inert``: dropping it changes no code.
    """

    patch: str
    path: str
    hunk: str
    along: tuple[str, ...]
    inert: bool
    text: bytes


@dataclass(frozen=True)
class _Piece:
    """A change of one hunk."""

    patch: str
    change: FileChange

    @property
    def header(self) -> str:
        return str(self.change.diff[0]).partition("\n")[0].rstrip()


def mutants_of(variants: Sequence[Variant], files: Mapping[str, bytes]) -> Iterator[Mutant]:
    """Yield every mutant of ``files`` (official bytes by monorepo path), in the series' order.

    A hunk is dropped where the series is applied, so that the later hunks are placed as git
    would place them; the variants must fit ``files``.
    """
    pieces = [
        _Piece(variant.patch, _with_one_hunk(change, number))
        for variant in variants
        for change in variant.changes
        for number in range(len(change.diff))
    ]
    for piece in pieces:
        path = piece.change.path
        same_file = [other for other in pieces if other.change.path == path]
        official = files.get(path, b"")
        patched, _ = _applied(official, same_file)
        text, unfit = _applied(official, [other for other in same_file if other is not piece])
        along = tuple(f"{other.patch} {other.header}" for other in unfit)
        inert = _code(text) == _code(patched) is not None
        yield Mutant(piece.patch, path, piece.header, along, inert, text)


def _with_one_hunk(change: FileChange, number: int) -> FileChange:
    diff = copy(change.diff)
    diff[:] = [change.diff[number]]
    return replace(change, diff=diff)


def _applied(text: bytes, pieces: Sequence[_Piece]) -> tuple[bytes, list[_Piece]]:
    """Return ``text`` with the pieces that fit, and those that do not."""
    unfit = []
    for piece in pieces:
        after = piece.change.applied(text)
        if after is None:
            unfit.append(piece)
        else:
            text = after
    return text, unfit


def _code(text: bytes) -> str | None:
    """Return what a module does, without comments, docstrings, layout; None if it is no Python."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text.decode(ENCODING, ERRORS))
    except (SyntaxError, ValueError):
        return None
    for node in ast.walk(tree):
        if isinstance(body := getattr(node, "body", None), list):
            node.body = [line for line in body if not _is_text(line)]  # type: ignore[attr-defined]
    return ast.dump(tree)


def _is_text(node: ast.stmt) -> bool:
    value = node.value if isinstance(node, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)
