"""Mutants of a series: each is one patched file without one hunk."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace

from toolkit.patches.patchfile import ENCODING, ERRORS, FileChange, Variant


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
    patch: str
    change: FileChange

    @property
    def header(self) -> str:
        (hunk,) = self.change.diff
        sides = f"-{hunk.source_start},{hunk.source_length} +{hunk.target_start}"
        return f"@@ {sides},{hunk.target_length} @@ {hunk.section_header}".rstrip()


def mutants_of(variants: Sequence[Variant], files: Mapping[str, bytes]) -> Iterator[Mutant]:
    """Every mutant of ``files`` (official bytes by monorepo path), in the series' order.

    A hunk is dropped where the series is applied, so that the later hunks are placed as git
    would place them; the variants must fit ``files``.
    """
    pieces = [
        _Piece(variant.patch, _only(change, number))
        for variant in variants
        for change in variant.changes
        for number in range(len(change.diff))
    ]
    for piece in pieces:
        path = piece.change.path
        there = [other for other in pieces if other.change.path == path]
        official = files.get(path, b"")
        whole, _ = _applied(official, there)
        text, unfit = _applied(official, [other for other in there if other is not piece])
        along = tuple(f"{other.patch} {other.header}" for other in unfit)
        inert = _code(text) == _code(whole) and _code(whole) is not None
        yield Mutant(piece.patch, path, piece.header, along, inert, text)


def _only(change: FileChange, number: int) -> FileChange:
    diff = copy(change.diff)
    diff[:] = [change.diff[number]]
    return replace(change, diff=diff)


def _applied(text: bytes, pieces: Sequence[_Piece]) -> tuple[bytes, list[_Piece]]:
    """``text`` with the pieces that fit, and those that do not."""
    unfit = []
    for piece in pieces:
        after = piece.change.applied(text)
        if after is None:
            unfit.append(piece)
        else:
            text = after
    return text, unfit


def _code(text: bytes) -> str | None:
    """What a module does, without comments, docstrings and layout; None if it is no Python."""
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
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
