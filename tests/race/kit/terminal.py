"""A picture as lines of text, at most 100 columns wide."""

from __future__ import annotations

import textwrap

from .picture import LANES, Arrow, Note, Picture, Row

WIDTH = 100
_X = {"server": 3, "mirror": 44, "agent": 78, "tool": 97}
_ANSI = {"loss": "\x1b[1;31m", "kept": "\x1b[32m", "quiet": "\x1b[2m", "": ""}
_END = "\x1b[0m"


def text(picture: Picture, *, colour: bool = False) -> str:
    """The picture for a terminal; ``colour`` adds ANSI's."""
    lines = [*_wrap(picture.title, WIDTH), ""]
    for names in ({lane: lane for lane in LANES}, LANES):
        line = _Line(frozenset(), ())
        for lane in picture.lanes:
            name = names[lane]
            line.put(min(max(0, _X[lane] - len(name) // 2), WIDTH - len(name)), name)
        lines.append(line.render(colour=colour))
    for row in picture.rows:
        lines += [line.render(colour=colour) for line in _lines(row, picture.lanes)]
    for sentence in (*picture.caption, "┃ this side knows the call, or runs its tool"):
        lines += _wrap(sentence, WIDTH)
    return "\n".join(lines) + "\n"


class _Line:
    """One line of characters with the lifelines in place."""

    def __init__(self, heavy: frozenset[str], lanes: tuple[str, ...]) -> None:
        self._cells = [" "] * WIDTH
        self._tones = [""] * WIDTH
        for lane in lanes:
            self._cells[_X[lane]] = "┃" if lane in heavy else "│"

    def put(self, at: int, what: str, tone: str = "") -> None:
        for cell, character in enumerate(what[: WIDTH - at], start=at):
            self._cells[cell], self._tones[cell] = character, tone

    def render(self, *, colour: bool) -> str:
        if not colour:
            return "".join(self._cells).rstrip()
        parts, last = [], ""
        for character, tone in zip(self._cells, self._tones, strict=True):
            parts.append((_END if last else "") + _ANSI[tone] if tone != last else "")
            parts.append(character)
            last = tone
        return "".join(parts).rstrip() + (_END if last else "")


def _lines(row: Row, lanes: tuple[str, ...]) -> list[_Line]:
    if row.divider:
        line = _Line(row.heavy, lanes)
        label = "".join(_wrap(row.divider, WIDTH - 8)[:1])
        line.put(0, f"╌╌ {label} ".ljust(WIDTH, "╌"))
        return [line]
    lines = []
    if row.arrow:
        inside, shaft = _arrow(row.arrow)
        for label in inside:
            lines.append(_Line(row.heavy, lanes))
            lines[-1].put(
                min(_X[row.arrow.source], _X[row.arrow.target]) + 2, label, row.arrow.tone
            )
        lines.append(_Line(row.heavy, lanes))
        lines[-1].put(min(_X[row.arrow.source], _X[row.arrow.target]) + 1, shaft, row.arrow.tone)
    first = max(0, len(lines) - 1)
    for note in row.notes:
        for number, part in enumerate(_note(note, lanes), start=first):
            while len(lines) <= number:
                lines.append(_Line(row.heavy, lanes))
            lines[number].put(_X[note.lane] + 2, part, note.tone)
    return lines


def _arrow(arrow: Arrow) -> tuple[list[str], str]:
    """The lines of the label that stand above the shaft, and the shaft."""
    room = abs(_X[arrow.source] - _X[arrow.target]) - 1
    above, inside = _wrap(arrow.label, room - 2), ""
    if len(above) <= 1 and len(arrow.label) <= room - 4:
        above, inside = [], f" {''.join(above)} "
    if _X[arrow.source] < _X[arrow.target]:
        return above, f"─{inside}".ljust(room - 1, "─") + "▶"
    return above, "◀" + f"{inside}─".rjust(room - 1, "─")


def _note(note: Note, lanes: tuple[str, ...]) -> list[str]:
    right = [_X[lane] for lane in lanes if _X[lane] > _X[note.lane]]
    return _wrap(note.text, min([*right, WIDTH + 1]) - _X[note.lane] - 3)


def _wrap(what: str, width: int) -> list[str]:
    lines = textwrap.wrap(what, max(width, 1), break_on_hyphens=False)
    return ["".join(c if c.isprintable() else "·" for c in line) for line in lines]
